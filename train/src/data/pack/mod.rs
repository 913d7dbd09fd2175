//! Packs: what training reads of labelled slices, small enough to be carried to another machine.
//!
//! A pack is one file, a shard of a data set: `umedpack`, the version (u32), the length of the index (u32), the index
//! (JSON), for each slice its picture and its labels, and the SHA-256 of it all. Numbers are little-endian.
//!
//! A picture on the network's grid is lossless JPEG XL; one whose three channels are equal has a single channel there.
//! Labels are deflated: one or two bytes a pixel, then for each usable label, in order, its box in the slice before and
//! in the one after, x0, y0, x1, y1 with both ends within, one byte each; x0 beyond x1 where it has none; then for each of
//! them the box of all of its slices, none in an image, and its first and last slice (u16). Which labels are usable is told
//! by the label map and `min-area`.

mod error;
mod labels;
mod picture;
mod read;
mod slice;
mod write;

pub use error::{PackError, PackProblem};
pub use read::Pack;
use serde::{Deserialize, Serialize};
pub use slice::{Beside, PackSlice};
pub use write::{Encoded, Shard};

/// First bytes.
const MAGIC: &[u8; 8] = b"umedpack";
/// Version of the format.
const VERSION: u32 = 2;
/// Bytes before the index.
const HEADER: usize = 16;
/// Bytes after all else.
const DIGEST: usize = 32;

/// What a pack says of itself.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Index {
    preprocessing: u32,
    min_area: usize,
    slices: Vec<Item>,
}

/// What a pack says of a slice.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Item {
    /// Name of the case's file.
    case: String,
    z: usize,
    width: usize,
    height: usize,
    channels: usize,
    /// Bytes of a label.
    depth: usize,
    /// Bytes of the picture as stored.
    picture: usize,
    /// Bytes of the labels as stored.
    labels: usize,
}
