//! What can go wrong before and around inference.

use std::fmt;
use std::prelude::v1::*;

/// An input that cannot be segmented, with the value that is wrong and the bound that it breaks.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An image or a slice of zero or absurd size.
    #[error("image is {width}x{height} pixels; each side must be 1 to {max}")]
    ImageSize {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// Largest side accepted.
        max: usize,
    },
    /// A buffer does not hold the image, or the network's input, that it is said to hold.
    #[error("buffer holds {actual} values, the image needs {expected}")]
    BufferSize {
        /// Values needed.
        expected: usize,
        /// Values given.
        actual: usize,
    },
    /// A row stride shorter than a row.
    #[error("row stride {stride} is shorter than a row of {row} values")]
    Stride {
        /// Stride given, in values.
        stride: usize,
        /// Values in a row.
        row: usize,
    },
    /// A crop that reaches beyond its image.
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
    /// NaN or infinity among the pixels of a floating-point image.
    #[error("pixel {index} is {value}; floating-point images must be finite")]
    PixelNotFinite {
        /// Index into the buffer.
        index: usize,
        /// The value found.
        value: f64,
    },
    /// An intensity window without a width, or of numbers that are not finite.
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
        /// Bytes asked for.
        bytes: u64,
    },
    /// NaN or infinity in a box.
    #[error("box {}: {coordinate} is {value}, not a finite number", index + 1)]
    BoxNotFinite {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
        /// Which coordinate (`x0`, `y0`, ...).
        coordinate: &'static str,
        /// The value found.
        value: f64,
    },
    /// A box whose end lies before its start.
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
    /// A box that does not touch the image.
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
    /// A volume of no slices or of an absurd number.
    #[error("volume has {depth} slices; 1 to {max} are accepted")]
    VolumeDepth {
        /// Slices given.
        depth: usize,
        /// Most slices accepted.
        max: usize,
    },
    /// A slice whose size is not the volume's.
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
    /// A mask that the propagation did not ask for, or that it has already.
    #[error("slice {z}: no mask of object {object} was asked for")]
    NotRequested {
        /// Index of the slice.
        z: usize,
        /// Position of the object in the list of boxes, from 0.
        object: usize,
    },
    /// The next slice was asked for before this one's masks were all there.
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
        /// Slices done.
        done: usize,
        /// Slices in all.
        total: usize,
    },
    /// More objects than a label map can number.
    #[error("{count} boxes; a label map holds at most {max}")]
    TooManyBoxes {
        /// Boxes given.
        count: usize,
        /// Most labels possible.
        max: usize,
    },
    /// A spacing that is no length.
    #[error("spacing along {axis} is {}; it must be finite and above 0", Plain(*value))]
    Spacing {
        /// `x`, `y` or `z`.
        axis: char,
        /// The value found.
        value: f64,
    },
    /// An embedding that does not belong to this model or has another size.
    #[error("embedding: {0}")]
    Embedding(String),
    /// The network answered a box with NaN or infinity: its weights or the box are unusable.
    #[error("box {}: the network's answer is not a finite number", index + 1)]
    NotFinite {
        /// Position of the box in the request, from 0; messages count from 1, as labels do.
        index: usize,
    },
    /// A model file that cannot be used.
    #[cfg(feature = "runtime")]
    #[error(transparent)]
    Bundle(#[from] crate::BundleError),
    /// A graph was given inputs of other shapes than it takes.
    #[cfg(feature = "runtime")]
    #[error("{graph}: {message}")]
    Input {
        /// Name of the graph.
        graph: &'static str,
        /// The input, its shape and the shape expected.
        message: String,
    },
    /// The graph engine refused or failed.
    #[cfg(feature = "runtime")]
    #[error("{stage}: {message}")]
    Engine {
        /// What was being done (`encoder: load`, `decoder: run`, ...).
        stage: String,
        /// The engine's account, with its chain of causes.
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
