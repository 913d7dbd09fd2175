//! MetaImage, ITK's own format: `.mha`, or `.mhd` with its values in another file. Our own, as the header is small and no
//! well-kept reader bounds what it reads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use umedsam::VolumeSize;
use umedsam::intensity::NumberType;

use crate::read::{Packing, Problem, ReadError, ReadOptions, Source, plain};
use crate::scan::{Affine, Applied, Display, Origin, Scan};

const LINE: usize = 1 << 14;
const LINES: usize = 1 << 10;

/// Whether a file that begins so is MetaImage: by the first key of its header.
pub(crate) fn is_metaimage(head: &[u8]) -> bool {
    let line = head.split(|b| *b == b'\n').next().unwrap_or_default();
    let key = line.split(|b| *b == b'=').next().unwrap_or_default().trim_ascii();
    line.contains(&b'=') && matches!(key, b"ObjectType" | b"NDims" | b"Comment" | b"ObjectSubType")
}

/// Reads a MetaImage file, or its header, whose values are in another file beside it.
///
/// # Errors
/// [`ReadError`] if the file is damaged or shorter than it says, if it holds what is not read, or takes more memory than
/// the options allow.
pub fn read(path: &Path, options: &ReadOptions) -> Result<Scan, ReadError> {
    let fail = |problem: Problem| problem.at(path);
    let mut source = Source::open(path).map_err(fail)?;
    let header = Header::read(&mut source).map_err(fail)?;
    let data = match header.file.as_str() {
        "LOCAL" => path.into(),
        name => {
            let data = path.with_file_name(name);
            source = Source::open(&data).map_err(|problem| problem.at(&data))?;
            data
        }
    };
    volume(path, &header, source, options).map_err(|problem| problem.at(&data))
}

/// The file of the values, where they are beside their header.
pub(crate) fn data_file(path: &Path) -> Option<PathBuf> {
    let header = Source::open(path).and_then(|mut source| Header::read(&mut source)).ok()?;
    (header.file != "LOCAL").then(|| path.with_file_name(header.file))
}

/// The fields that matter.
struct Header {
    sizes: Vec<usize>,
    kind: NumberType,
    channels: usize,
    big: bool,
    packed: bool,
    /// Bytes before the values; -1 if the values are the file's last bytes.
    skip: i64,
    spacing: Vec<f64>,
    /// Directions of the axes, one after the other, and the place of the first voxel, in LPS.
    directions: Option<Vec<f64>>,
    origin: Option<Vec<f64>>,
    file: String,
}

impl Header {
    fn read(source: &mut Source) -> Result<Self, Problem> {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        while !fields.contains_key("ElementDataFile") {
            let line = source.line(LINE)?.ok_or(Problem::Ended { part: "the header", expected: 1, actual: 0 })?;
            let (key, value) = line.split_once('=').ok_or_else(|| {
                let line: String = line.chars().take(80).collect();
                Problem::Damaged(format!("a line without a field: '{line}'"))
            })?;
            fields.insert(key.trim().into(), value.trim().into());
            if fields.len() > LINES {
                return Err(Problem::Damaged(format!("a header of more than {LINES} lines")));
            }
        }
        Self::of(&fields)
    }

    fn of(fields: &BTreeMap<String, String>) -> Result<Self, Problem> {
        let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).map(String::as_str);
        let require = |name: &'static str| text(&[name]).ok_or_else(|| Problem::field(name, "missing", "a value"));
        let kind = fields.get("ObjectType").map_or("Image", String::as_str);
        if kind != "Image" {
            return Err(Problem::Unsupported(format!("MetaImage of a {kind}, which is no image")));
        }
        let truth = |names: &[&str]| text(names).is_some_and(|text| text.starts_with(['T', 't', '1']));
        if !truth(&["BinaryData"]) && text(&["BinaryData"]).is_some() {
            return Err(Problem::Unsupported("MetaImage with values as text, which is not read".into()));
        }
        let sizes: Option<Vec<usize>> =
            require("DimSize")?.split_whitespace().map(|n| n.parse().ok().filter(|n| *n > 0)).collect();
        let dimensions = require("NDims")?;
        let wrong = || Problem::field("DimSize", require("DimSize").unwrap_or_default(), "NDims sizes above 0");
        let sizes = sizes.filter(|sizes| dimensions == sizes.len().to_string()).ok_or_else(wrong)?;
        if !(2..=4).contains(&sizes.len()) {
            return Err(Problem::Unsupported(format!("{} dimensions; 2 to 4 are read", sizes.len())));
        }
        let channels = text(&["ElementNumberOfChannels"]).unwrap_or("1");
        let channels = channels.parse().map_err(|_| Problem::field("ElementNumberOfChannels", channels, "1 or 3"))?;
        let numbers = |names: &[&str], field: &'static str, count: usize| {
            let Some(text) = text(names) else { return Ok(None) };
            let found: Option<Vec<f64>> = text.split_whitespace().map(|v| v.parse().ok()).collect();
            match found.filter(|v| v.len() == count && v.iter().all(|v| v.is_finite())) {
                Some(found) => Ok(Some(found)),
                None => Err(Problem::field(field, text, "a finite number for each axis")),
            }
        };
        let n = sizes.len();
        let spacing = numbers(&["ElementSpacing", "ElementSize"], "ElementSpacing", n)?;
        let spacing = spacing.unwrap_or_else(|| vec![1.0; n]);
        if spacing.iter().any(|v| *v <= 0.0) {
            return Err(Problem::field("ElementSpacing", format!("{spacing:?}"), "lengths above 0"));
        }
        let skip = text(&["HeaderSize"]).unwrap_or("0");
        let file = require("ElementDataFile")?.to_string();
        if file.starts_with("LIST") || file.contains('%') {
            return Err(Problem::Unsupported("values in several files, which are not read".into()));
        }
        let beside = Path::new(&file).components().count() == 1 && !file.starts_with(['.', '/', '\\']);
        if !beside {
            return Err(Problem::field("ElementDataFile", file, "a file beside the header"));
        }
        Ok(Self {
            kind: number_type(require("ElementType")?)?,
            channels,
            big: truth(&["BinaryDataByteOrderMSB", "ElementByteOrderMSB"]),
            packed: truth(&["CompressedData"]),
            skip: skip.parse().map_err(|_| Problem::field("HeaderSize", skip, "a whole number from -1"))?,
            directions: numbers(&["TransformMatrix", "Rotation", "Orientation"], "TransformMatrix", n * n)?,
            origin: numbers(&["Offset", "Position", "Origin"], "Offset", n)?,
            sizes,
            spacing,
            file,
        })
    }

    /// The affine in RAS, where the file tells a place.
    fn affine(&self) -> Result<Option<Affine>, Problem> {
        let (Some(directions), Some(origin)) = (&self.directions, &self.origin) else { return Ok(None) };
        let n = self.sizes.len();
        if n < 3 {
            return Ok(None);
        }
        let step = |axis: usize| [0, 1, 2].map(|i| directions[axis * n + i] * self.spacing[axis]);
        let [x, y, z] = [step(0), step(1), step(2)];
        let affine = Affine([0, 1, 2].map(|i| [x[i], y[i], z[i], origin[i]])).flipped();
        match affine.is_regular() {
            true => Ok(Some(affine)),
            false => Err(Problem::field("TransformMatrix", format!("{directions:?}"), "directions that span a volume")),
        }
    }
}

fn volume(path: &Path, header: &Header, mut source: Source, options: &ReadOptions) -> Result<Scan, Problem> {
    let mut applied = Vec::new();
    let side = |axis: usize| header.sizes.get(axis).copied().unwrap_or(1);
    let (width, height, depth, volumes) = (side(0), side(1), side(2), side(3));
    let index = match (volumes, options.frame) {
        (1, None) => 0,
        (of, Some(index)) if index < of => index,
        (of, _) => return Err(Problem::Frames { what: "volumes", of }),
    };
    if volumes > 1 {
        applied.push(Applied::Frame { index, of: volumes });
    }
    if header.channels != 1 && !(header.channels == 3 && header.kind == NumberType::U8) {
        let (n, kind) = (header.channels, header.kind);
        return Err(Problem::Unsupported(format!("voxels of {n} values of {kind}; 1, or 3 of u8, are read")));
    }
    let beyond = || Problem::field("DimSize", format!("{:?}", header.sizes), "a volume that has room in memory");
    let voxels = [width, height, depth].iter().try_fold(1u64, |n, &d| n.checked_mul(d as u64)).ok_or_else(beyond)?;
    let bytes = voxels.checked_mul((header.channels * header.kind.size()) as u64).ok_or_else(beyond)?;
    let before = bytes.checked_mul(index as u64).ok_or_else(beyond)?;
    let all = bytes.checked_mul(volumes as u64).ok_or_else(beyond)?;
    match header.skip {
        -1 => source.skip_to_last(all)?,
        skip => source.skip(u64::try_from(skip).map_err(|_| Problem::field("HeaderSize", skip, "-1 or more"))?)?,
    }
    if header.packed {
        source = source.unpacked(Packing::Zlib);
    }
    source.expect("the voxels", before.saturating_add(bytes))?;
    options.allow(bytes)?;
    source.skip(before)?;
    let count = usize::try_from(voxels).map_err(|_| beyond())?;
    let values = plain(header.kind, &mut source, count * header.channels, header.big)?;
    applied.extend(source.finish(all - before - bytes, options)?);
    let affine = header.affine()?;
    if affine.is_none() {
        applied.push(Applied::Note("the file tells no place in the patient".into()));
    }
    let own = |axis: usize| header.spacing.get(axis).copied();
    let spacing = [own(0).unwrap_or(1.0), own(1).unwrap_or(1.0), own(2).or(own(1)).unwrap_or(1.0)];
    Ok(Scan {
        values,
        channels: header.channels,
        size: VolumeSize { depth, height, width },
        affine,
        spacing: Some(spacing),
        modality: None,
        path: path.into(),
        origin: Origin::Other(BTreeMap::new()),
        display: Display::default(),
        applied,
    })
}

fn number_type(text: &str) -> Result<NumberType, Problem> {
    Ok(match text {
        "MET_CHAR" => NumberType::I8,
        "MET_UCHAR" | "MET_UCHAR_ARRAY" => NumberType::U8,
        "MET_SHORT" => NumberType::I16,
        "MET_USHORT" => NumberType::U16,
        "MET_INT" | "MET_LONG" => NumberType::I32,
        "MET_UINT" | "MET_ULONG" => NumberType::U32,
        "MET_LONG_LONG" => NumberType::I64,
        "MET_ULONG_LONG" => NumberType::U64,
        "MET_FLOAT" => NumberType::F32,
        "MET_DOUBLE" => NumberType::F64,
        _ => return Err(Problem::field("ElementType", text, "a type of the format")),
    })
}
