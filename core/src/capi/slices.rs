//! Where the slices of a volume come from.

use std::ffi::c_void;
use std::prelude::v1::*;

use super::image::{PixelType, Pixels, umedsam_image, windowed};
use super::status::{Failure, umedsam_status};
use crate::intensity::Window;
use crate::volume::Slices;
use crate::{ImageView, VolumeSize};

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Voxels { first: umedsam_image, slice_stride: usize },
    Callback { slice: unsafe extern "C-unwind" fn(*mut c_void, usize, *mut umedsam_image) -> i32, user: *mut c_void },
}

/// The voxels of a volume.
pub(super) fn voxels(size: VolumeSize) -> Result<usize, Failure> {
    let count = size.depth.checked_mul(size.height).and_then(|n| n.checked_mul(size.width));
    count.ok_or_else(|| Failure::new(umedsam_status::Volume, "the volume is beyond all memory"))
}

/// The slices of a volume, brought to 8 bits.
pub(super) struct VolumeSlices {
    size: VolumeSize,
    source: Source,
    window: Option<Window>,
    /// The slice that is lent, if it had to be brought to 8 bits.
    slice: Vec<u8>,
    /// All of them, if their window is that of the whole volume. `source` points into it.
    all: Vec<u8>,
}

impl VolumeSlices {
    /// # Safety
    /// What the source says of its memory holds until this is dropped.
    pub(super) unsafe fn new(size: VolumeSize, source: Source, window: Option<Window>) -> Result<Self, Failure> {
        let mut slices = Self { size, source, window, slice: Vec::new(), all: Vec::new() };
        if window == Some(Window::Percentile) {
            // SAFETY: by contract.
            unsafe { slices.spread_all() }?;
        }
        Ok(slices)
    }

    /// # Safety
    /// As for `new`.
    unsafe fn spread_all(&mut self) -> Result<(), Failure> {
        let Source::Voxels { first, slice_stride } = self.source else {
            return Err(Failure::new(umedsam_status::Argument, "a window by percentiles needs the volume in memory"));
        };
        let slices = (0..self.size.depth).map(|z| nth(&first, slice_stride, z));
        // SAFETY: by contract.
        let slices: Vec<Pixels<'_>> = slices.map(|s| unsafe { Pixels::new(&s) }).collect::<Result<_, _>>()?;
        let channels = first.channels.unsigned_abs() as usize;
        let count = voxels(self.size)?.saturating_mul(channels);
        let rows = slices.iter().flat_map(Pixels::rows);
        self.all = windowed(PixelType::of(first.pixel_type)?, Window::Percentile, count, rows)?;
        let pixels = self.all.as_ptr().cast();
        let pixel_type = super::image::umedsam_pixel_type::U8 as i32;
        let first = umedsam_image { pixels, row_stride: 0, pixel_type, ..first };
        let slice_stride = self.size.height * self.size.width * channels;
        (self.source, self.window) = (Source::Voxels { first, slice_stride }, None);
        Ok(())
    }
}

/// Slice `z` of a volume whose first slice this is.
fn nth(first: &umedsam_image, slice_stride: usize, z: usize) -> umedsam_image {
    umedsam_image { pixels: first.pixels.cast::<u8>().wrapping_add(z * slice_stride).cast(), ..*first }
}

impl Slices for VolumeSlices {
    type Error = Failure;

    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, Failure> {
        let image = match self.source {
            Source::Voxels { ref first, slice_stride } => nth(first, slice_stride, z),
            Source::Callback { slice, user } => {
                let mut image = umedsam_image::BLANK;
                // SAFETY: the caller's duty, at the head of the header.
                let code = unsafe { slice(user, z, &raw mut image) };
                if code != 0 {
                    let message = format!("slice {z}: the slice callback returned {code}");
                    return Err(Failure::new(umedsam_status::Callback, message));
                }
                image
            }
        };
        // SAFETY: as above; the view is dropped before the next slice is asked for.
        let pixels = unsafe { Pixels::new(&image) }?;
        pixels.view(self.window, &mut self.slice)
    }
}
