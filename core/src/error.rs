//! What can go wrong before and around inference.

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
        value: f32,
    },
    /// NaN or infinity in a box.
    #[error("box {index}: {coordinate} is {value}, not a finite number")]
    BoxNotFinite {
        /// Position of the box in the request, from 0.
        index: usize,
        /// Which coordinate (`x0`, `y0`, ...).
        coordinate: &'static str,
        /// The value found.
        value: f64,
    },
    /// A box whose end lies before its start.
    #[error("box {index}: {axis}0 = {start} lies beyond {axis}1 = {end}")]
    BoxReversed {
        /// Position of the box in the request, from 0.
        index: usize,
        /// `x`, `y` or `z`.
        axis: char,
        /// Start coordinate.
        start: f64,
        /// End coordinate.
        end: f64,
    },
    /// A box that does not touch the image.
    #[error("box {index}: {axis} range {start}..{end} lies outside the image (0..{size})")]
    BoxOutside {
        /// Position of the box in the request, from 0.
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
    /// There is no memory for a volume's label map.
    #[error("no memory for the labels of {depth} slices of {height}x{width} voxels, 2 bytes each")]
    Memory {
        /// Slices of the volume.
        depth: usize,
        /// Rows of a slice.
        height: usize,
        /// Columns of a slice.
        width: usize,
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
    /// An embedding that does not belong to this model or has another size.
    #[error("embedding: {0}")]
    Embedding(String),
    /// The network answered a box with NaN or infinity: its weights or the box are unusable.
    #[error("box {index}: the network's answer is not a finite number")]
    NotFinite {
        /// Position of the box in the request, from 0.
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
