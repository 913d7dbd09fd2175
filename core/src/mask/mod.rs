//! Masks as people use them: cleaned, outlined and measured.
//!
//! Nothing here is done unless it is asked for. All of it works on label maps (0 is background, every other value an
//! object) of images and of volumes, and on masks of 0 and 1 alike; an image is a volume of one slice.
//!
//! - [`Cleaner`] keeps the largest component of each object, drops those below a size, and fills holes.
//! - [`Contours`] outlines objects by polygons with holes, along the edges of their pixels.
//! - [`Measurer`] counts and measures objects: area or volume, extents, longest and perpendicular diameter, intensity.
//! - [`Components`] numbers the components themselves.
//!
//! Each of them keeps its memory, so that another mask of the kind takes none.
//!
//! ```
//! use umedsam::mask::{CleanOptions, Cleaner, Connectivity, Contours, MeasureOptions, Measurer, Spacing};
//! use umedsam::{Frame, MaskLogits, VolumeSize};
//!
//! # fn main() -> Result<(), umedsam::Error> {
//! # let values: Vec<f32> = (0..256 * 256).map(|i| if i / 256 < 100 && i % 256 < 60 { 3.0 } else { -3.0 }).collect();
//! let logits = MaskLogits::new(&values, Frame::new(512, 512)?);
//! let mut mask = vec![0u8; 512 * 512];
//! logits.mask_into(&mut mask);
//! let size = VolumeSize { depth: 1, height: 512, width: 512 };
//! Cleaner::new().clean(&mut mask, size, &CleanOptions::new().with_largest().with_holes_filled())?;
//!
//! let mut contours = Contours::new();
//! contours.find(&mask, 512, 512, Connectivity::All)?;
//! let polygon = contours.polygons().next().unwrap();
//! assert_eq!((polygon.outer().len(), polygon.area()), (4, 200 * 120));
//!
//! let mut measurer = Measurer::new();
//! let spacing = Spacing::new(0.5, 0.5, 1.0)?;
//! let objects = measurer.measure(&mask, size, &MeasureOptions::new().with_spacing(spacing).with_diameters())?;
//! assert_eq!(objects[0].area(), 100.0 * 60.0);
//! # Ok(()) }
//! ```

mod clean;
mod components;
mod contours;
mod diameters;
mod holes;
mod label;
mod measure;
mod spacing;

pub use clean::{CleanOptions, Cleaned, Cleaner};
pub use components::{Component, Components, Connectivity};
pub use contours::{Contours, Corner, Polygon};
pub use diameters::{Calipers, Diameter, Diameters};
pub use label::Label;
pub use measure::{MeasureOptions, Measurer, ObjectMeasures, SliceDiameters};
pub use spacing::Spacing;

use crate::geometry::MAX_SIDE;
use crate::{Error, Frame, VolumeSize};

/// Checks that a label map is of a size, and that the size is one that volumes have.
fn check<T>(labels: &[T], size: VolumeSize) -> Result<(), Error> {
    Frame::new(size.width, size.height)?;
    if size.depth == 0 || size.depth > MAX_SIDE {
        return Err(Error::VolumeDepth { depth: size.depth, max: MAX_SIDE });
    }
    let expected = size.depth.saturating_mul(size.height).saturating_mul(size.width);
    if labels.len() != expected {
        return Err(Error::BufferSize { expected, actual: labels.len() });
    }
    Ok(())
}
