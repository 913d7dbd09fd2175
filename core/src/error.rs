//! Errors of segmentation.

use std::fmt;
use std::prelude::v1::*;

/// Why something could not be segmented, with the value that is wrong and the bound that it violates.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A side of an image or a slice is out of its bounds.
    #[error("image is {width}x{height} pixels; each side must be 1 to {max}")]
    ImageSize {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Largest side that is accepted.
        max: usize,
    },
    /// A buffer is shorter than the image, or not of the length of the network's input, that it should contain.
    #[error("buffer holds {actual} values, the image needs {expected}")]
    BufferSize {
        /// Number of values needed.
        expected: usize,
        /// Number of values given.
        actual: usize,
    },
    /// A row stride is shorter than a row.
    #[error("row stride {stride} is shorter than a row of {row} values")]
    Stride {
        /// Stride given, in values.
        stride: usize,
        /// Number of values in a row.
        row: usize,
    },
    /// A crop reaches beyond its image.
    #[error("crop of {width}x{height} pixels at ({x}, {y}) reaches beyond the image of {image_width}x{image_height}")]
    CropOutside {
        /// First column of the crop.
        x: usize,
        /// First row of the crop.
        y: usize,
        /// Width of the crop.
        width: usize,
        /// Height of the crop.
        height: usize,
        /// Width of the image.
        image_width: usize,
        /// Height of the image.
        image_height: usize,
    },
    /// A pixel of a floating-point image is NaN or infinite.
    #[error("pixel {index} is {value}; floating-point images must be finite")]
    PixelNotFinite {
        /// Index of the pixel's value in the buffer.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// The width of an intensity window is not above 0, or one of its numbers is not finite.
    #[error(
        "window of width {} at level {}; both must be finite and the width above 0",
        Plain((*width).into()), Plain((*level).into())
    )]
    Window {
        /// Its centre.
        level: f32,
        /// Its width.
        width: f32,
    },
    /// The system has no memory for a large buffer.
    #[error("no memory for {bytes} bytes")]
    Memory {
        /// Number of bytes asked for.
        bytes: u64,
    },
    /// A coordinate of a box is NaN or infinite.
    #[error("box {}: {coordinate} is {value}, not a finite number", index + 1)]
    BoxNotFinite {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
        /// Which coordinate (`x0`, `y0`, ...).
        coordinate: &'static str,
        /// The value found.
        value: f64,
    },
    /// A box ends before it starts.
    #[error("box {}: {axis}0 = {} lies beyond {axis}1 = {}", index + 1, Plain(*start), Plain(*end))]
    BoxReversed {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
        /// `x`, `y` or `z`.
        axis: char,
        /// Start coordinate.
        start: f64,
        /// End coordinate.
        end: f64,
    },
    /// A box does not touch the image.
    #[error(
        "box {}: {axis} range {}..{} lies outside the image (0..{size})",
        index + 1, Plain(*start), Plain(*end)
    )]
    BoxOutside {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
        /// `x`, `y` or `z`.
        axis: char,
        /// Start coordinate.
        start: f64,
        /// End coordinate.
        end: f64,
        /// Size of the image along this axis, in pixels.
        size: usize,
    },
    /// The number of a volume's slices is out of its bounds.
    #[error("volume has {depth} slices; 1 to {max} are accepted")]
    VolumeDepth {
        /// Number of slices given.
        depth: usize,
        /// Greatest number that is accepted.
        max: usize,
    },
    /// A volume has no such slice.
    #[error("slice {z}: the volume has slices 0 to {}", depth - 1)]
    SliceOutside {
        /// Index of the slice.
        z: usize,
        /// Number of slices of the volume.
        depth: usize,
    },
    /// A slice is not of the volume's size.
    #[error("slice {z} is {width}x{height} pixels, the volume's slices are {expected_width}x{expected_height}")]
    SliceSize {
        /// Index of the slice.
        z: usize,
        /// Width of the slice.
        width: usize,
        /// Height of the slice.
        height: usize,
        /// Width of the volume.
        expected_width: usize,
        /// Height of the volume.
        expected_height: usize,
    },
    /// A mask was supplied that the propagation did not request, or that it has already.
    #[error("slice {z}: no mask of object {object} was asked for")]
    NotRequested {
        /// Index of the slice.
        z: usize,
        /// Position of the object in the list of boxes, from 0.
        object: usize,
    },
    /// The next slice was requested before all masks of this one were supplied.
    #[error("slice {z}: the mask of object {object} is still to come")]
    NotSupplied {
        /// Index of the slice.
        z: usize,
        /// Position of the object in the list of boxes, from 0.
        object: usize,
    },
    /// The caller's progress function ended the work.
    #[error("cancelled after {done} of {total} slices")]
    Cancelled {
        /// Number of slices done.
        done: usize,
        /// Number of slices in all.
        total: usize,
    },
    /// There are more boxes than a label map has labels.
    #[error("{count} boxes; a label map holds at most {max}")]
    TooManyBoxes {
        /// Number of boxes given.
        count: usize,
        /// Greatest number that is accepted.
        max: usize,
    },
    /// The spacing of pixels or slices is not a length.
    #[error("spacing along {axis} is {}; it must be finite and above 0", Plain(*value))]
    Spacing {
        /// `x`, `y` or `z`.
        axis: char,
        /// The value found.
        value: f64,
    },
    /// An option of [`UncertaintyOptions`](crate::UncertaintyOptions) is out of its range.
    #[error("uncertainty: {option} is {}; {low} to {high} are accepted", Plain(*value))]
    Uncertainty {
        /// Name of the field.
        option: &'static str,
        /// The value found.
        value: f64,
        /// Least value that is accepted.
        low: f64,
        /// Greatest value that is accepted.
        high: f64,
    },
    /// An embedding was made by another model.
    #[error("embedding: {0}")]
    Embedding(String),
    /// Stored values are not as many as an embedding has.
    #[error("embedding: {actual} values; it has {expected}")]
    EmbeddingLength {
        /// Number of values of an embedding.
        expected: usize,
        /// Number of values given.
        actual: usize,
    },
    /// A stored value of an embedding is NaN or infinite.
    #[error("embedding: value {index} is {value}; all must be finite")]
    EmbeddingNotFinite {
        /// Its position, from 0.
        index: usize,
        /// The value found.
        value: f32,
    },
    /// The folder of an embedding cache cannot be made.
    #[cfg(feature = "runtime")]
    #[error("{}: {source}", path.display())]
    CacheFolder {
        /// The folder.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The network's output for a box is NaN or infinite, which means that its weights or its input are unusable.
    #[error("box {}: the network's answer is not a finite number", index + 1)]
    NotFinite {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
    },
    /// A model bundle cannot be used.
    #[cfg(feature = "runtime")]
    #[error(transparent)]
    Bundle(#[from] crate::BundleError),
    /// The inputs of a graph are not of the shapes that it takes.
    #[cfg(feature = "runtime")]
    #[error("{graph}: {message}")]
    Input {
        /// Name of the graph.
        graph: &'static str,
        /// The input, its shape, and the shape that is expected.
        message: String,
    },
    /// A graph could not be loaded or run.
    #[cfg(feature = "runtime")]
    #[error("{stage}: {message}")]
    Engine {
        /// The graph and the step that failed: `encoder: load`, `decoder: run`, ...
        stage: String,
        /// The cause, with its own causes.
        message: String,
    },
}

/// A number in messages: as short as it reads back, with an exponent where it would be hundreds of digits.
pub(crate) struct Plain(pub(crate) f64);

impl fmt::Display for Plain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = self.0.abs();
        if size >= 1e16 || (size > 0.0 && size < 1e-5) { write!(f, "{:e}", self.0) } else { write!(f, "{}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_numbers_are_short() {
        let error = Error::BoxReversed { index: 0, axis: 'x', start: 1e308, end: 2.5 };
        assert_eq!(error.to_string(), "box 1: x0 = 1e308 lies beyond x1 = 2.5");
        assert_eq!(Plain(-3e-308).to_string(), "-3e-308");
    }
}
