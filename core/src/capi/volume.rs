//! Volumes, slice by slice.

use core::ops::ControlFlow;
use std::ffi::c_void;
use std::prelude::v1::*;
use std::ptr::null_mut;
use std::sync::Mutex;

use super::image::{Pixels, umedsam_image, umedsam_window, window_of};
use super::pointers::{buffer, free, lock, reference, result, values};
use super::session::umedsam_session;
use super::slices::{Source, VolumeSlices, voxels};
use super::status::{Failure, call, umedsam_status};
use crate::geometry::MAX_SIDE;
use crate::intensity::Window;
use crate::volume::Start;
use crate::{Error, Frame, VolumeOptions, VolumeSize, VoxelBox};

/// A box in voxels of a volume: the rectangle in the middle slice, and the first and the last slice, which belong to it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct umedsam_voxel_box {
    /// Left column.
    pub x0: f64,
    /// Top row.
    pub y0: f64,
    /// First slice.
    pub z0: f64,
    /// Right column, not less than x0.
    pub x1: f64,
    /// Bottom row, not less than y0.
    pub y1: f64,
    /// Last slice, not less than z0.
    pub z1: f64,
}

/// Fills in the image of slice `z`, whose pixels must stay until the callback is called again or
/// umedsam_volume_segment returns. It returns 0, or another number if there is no such slice to be had.
///
/// It must return: no C++ exception and no longjmp may leave it.
pub type umedsam_slice_fn =
    Option<unsafe extern "C-unwind" fn(user: *mut c_void, z: usize, image: *mut umedsam_image) -> i32>;

/// Is told of the slices done and the slices in all. It returns 0 to go on, or another number to cancel.
///
/// It must return: no C++ exception and no longjmp may leave it.
pub type umedsam_progress_fn = Option<unsafe extern "C-unwind" fn(user: *mut c_void, done: usize, total: usize) -> i32>;

/// A volume to be segmented: its size, where its slices come from, and how the work is done. One call at a time may use
/// it; a second one, from a callback too, gets UMEDSAM_STATUS_BUSY.
#[derive(Debug)]
pub struct umedsam_volume(Mutex<Volume>);

#[derive(Debug)]
struct Volume {
    size: VolumeSize,
    options: VolumeOptions,
    source: Option<Source>,
    window: Option<Window>,
    progress: Progress,
}

#[derive(Clone, Copy, Debug)]
struct Progress {
    report: umedsam_progress_fn,
    user: *mut c_void,
}

// SAFETY: the pointers are followed only by the call that segments, and the caller answers for them.
unsafe impl Send for Volume {}

/// Makes a volume of `depth` slices of `height` rows of `width` voxels, each 1 to 65536. Free it with
/// umedsam_volume_free.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_new(
    depth: usize,
    height: usize,
    width: usize,
    volume: *mut *mut umedsam_volume,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let place = unsafe { result(volume, null_mut(), "volume") }?;
        let size = VolumeSize { depth, height, width };
        Frame::new(width, height)?;
        if depth == 0 || depth > MAX_SIDE {
            return Err(Error::VolumeDepth { depth, max: MAX_SIDE }.into());
        }
        voxels(size)?;
        let volume = Volume {
            size,
            options: VolumeOptions::new(),
            source: None,
            window: None,
            progress: Progress { report: None, user: null_mut() },
        };
        *place = Box::into_raw(Box::new(umedsam_volume(Mutex::new(volume))));
        Ok(())
    })
}

/// Frees a volume. NULL is passed over.
///
/// Threads: any, once nobody uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_free(volume: *mut umedsam_volume) {
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { free(volume) }
}

unsafe fn change(
    volume: *mut umedsam_volume,
    change: impl FnOnce(&mut Volume) -> Result<(), Failure>,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let volume = unsafe { reference(volume, "volume") }?;
        change(&mut *lock(&volume.0, "volume")?)
    })
}

/// The slices are one after another in memory, `slice_stride` bytes from a slice to the next and `row_stride` from a row
/// to the next; 0 if they follow one another without gaps. `channels` is 1 or 3, `pixel_type` one of enum
/// umedsam_pixel_type. The voxels must stay until the volume is segmented, and need no alignment.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_voxels(
    volume: *mut umedsam_volume,
    voxels: *const c_void,
    channels: i32,
    pixel_type: i32,
    row_stride: usize,
    slice_stride: usize,
) -> umedsam_status {
    let set = |v: &mut Volume| {
        let VolumeSize { width, height, .. } = v.size;
        let first = umedsam_image { pixels: voxels, width, height, row_stride, channels, pixel_type };
        // SAFETY: the caller's duty, at the head of the header.
        let slice = unsafe { Pixels::new(&first) }?;
        let slice_stride = if slice_stride == 0 { slice.row_stride() * height } else { slice_stride };
        if slice_stride < slice.size() {
            let message = format!("slice_stride {slice_stride} is shorter than a slice of {} bytes", slice.size());
            return Err(Failure::new(umedsam_status::Image, message));
        }
        let size = slice_stride.saturating_mul(v.size.depth - 1).saturating_add(slice.size());
        if isize::try_from(size).is_err() {
            return Err(Failure::new(umedsam_status::Image, "the voxels are beyond all memory"));
        }
        v.source = Some(Source::Voxels { first, slice_stride });
        Ok(())
    };
    // SAFETY: as above.
    unsafe { change(volume, set) }
}

/// The slices come one by one from a callback, some of them twice. `user` is handed to it. It is called by the thread
/// that called umedsam_volume_segment.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_slices(
    volume: *mut umedsam_volume,
    slice: umedsam_slice_fn,
    user: *mut c_void,
) -> umedsam_status {
    let set = |v: &mut Volume| {
        let slice = slice.ok_or_else(|| Failure::new(umedsam_status::Pointer, "slice is NULL"))?;
        v.source = Some(Source::Callback { slice, user });
        Ok(())
    };
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { change(volume, set) }
}

/// Sets the window that brings voxels to 8 bits. It is copied. Voxels of 16 bits need one; of 8 bits they are taken as
/// they are without one, and NULL takes it away again. A window by percentiles needs umedsam_volume_set_voxels, since it
/// is that of the whole volume, and a copy of the voxels while they are brought to 8 bits.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_window(
    volume: *mut umedsam_volume,
    window: *const umedsam_window,
) -> umedsam_status {
    let set = |v: &mut Volume| {
        // SAFETY: the caller's duty, at the head of the header.
        v.window = unsafe { window_of(window) }?;
        Ok(())
    };
    // SAFETY: as above.
    unsafe { change(volume, set) }
}

/// Sets the callback that is told of the progress after each slice and can cancel; NULL is none. `user` is handed to
/// it. It is called by the thread that called umedsam_volume_segment.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_progress(
    volume: *mut umedsam_volume,
    progress: umedsam_progress_fn,
    user: *mut c_void,
) -> umedsam_status {
    let set = |v: &mut Volume| {
        v.progress = Progress { report: progress, user };
        Ok(())
    };
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { change(volume, set) }
}

/// Sets how many bytes of embeddings are kept for slices that are tried as the first of an object, or that are passed
/// upwards by one object and downwards by another, 4 MiB each; 64 MiB unless set. A slice that finds no room is encoded
/// twice.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_cache_bytes(volume: *mut umedsam_volume, bytes: usize) -> umedsam_status {
    let set = |v: &mut Volume| {
        v.options.cache_bytes = bytes;
        Ok(())
    };
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { change(volume, set) }
}

/// With 1, boxes are carried from slice to slice as the published LiteMedSAM does it, to the voxel; a mask then depends
/// on its place in the list, and begins in the middle slice of its box. With 0, as unless set, it does not depend on that,
/// and carried boxes stay within the caller's box and 2 pixels of the network's grid.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_upstream_rounding(
    volume: *mut umedsam_volume,
    upstream: i32,
) -> umedsam_status {
    let set = |v: &mut Volume| {
        v.options.upstream_rounding = match upstream {
            0 => false,
            1 => true,
            _ => return Err(Failure::new(umedsam_status::Argument, format!("upstream {upstream} is neither 0 nor 1"))),
        };
        Ok(())
    };
    // SAFETY: the caller's duty, at the head of the header.
    unsafe { change(volume, set) }
}

/// With 1, masks are carried from the middle slice of each box. With 0, as unless set, from the one of five slices for
/// which the network predicts the best mask, which takes up to five decodes of each object more; the slices that are tried
/// count in the progress too, whose total may change once they are done.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_set_middle_start(volume: *mut umedsam_volume, middle: i32) -> umedsam_status {
    let set = |v: &mut Volume| {
        v.options.start = match middle {
            0 => Start::Surest,
            1 => Start::Middle,
            _ => return Err(Failure::new(umedsam_status::Argument, format!("middle {middle} is neither 0 nor 1"))),
        };
        Ok(())
    };
    // SAFETY: as above.
    unsafe { change(volume, set) }
}

/// Gets the number of labels: depth * height * width.
///
/// Threads: one at a time for the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_label_count(
    volume: *const umedsam_volume,
    count: *mut usize,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (count, volume) = unsafe { (result(count, 0, "count")?, reference(volume, "volume")?) };
        *count = voxels(lock(&volume.0, "volume")?.size)?;
        Ok(())
    })
}

/// Segments the objects in `box_count` boxes, 1 to 65535, slice by slice. What goes into which buffer:
///
/// - `labels`, of `labels_len` numbers, depth slices of height rows of width without gaps: i + 1 for the object of box i,
///   0 elsewhere. Of objects that overlap, the later one is seen. umedsam_volume_label_count tells how many there are.
///   The work takes as much memory again.
/// - `predicted_iou`, of `box_count` floats, or NULL: the mean of the estimates that umedsam_segment gives, over the
///   slices of the object.
///
/// UMEDSAM_STATUS_CANCELLED is returned if the progress callback ended the work, UMEDSAM_STATUS_CALLBACK if the slice
/// callback failed. If the call does not succeed, what the buffers hold is undefined.
///
/// Threads: one at a time for the same session or the same volume.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn umedsam_volume_segment(
    volume: *mut umedsam_volume,
    session: *mut umedsam_session,
    boxes: *const umedsam_voxel_box,
    box_count: usize,
    labels: *mut u16,
    labels_len: usize,
    predicted_iou: *mut f32,
) -> umedsam_status {
    call(|| {
        // SAFETY: the caller's duty, at the head of the header.
        let (volume, session, boxes) = unsafe {
            (reference(volume, "volume")?, reference(session, "session")?, values(boxes, box_count, "boxes")?)
        };
        let volume = lock(&volume.0, "volume")?;
        let mut session = lock(&session.0, "session")?;
        if boxes.is_empty() {
            return Err(Failure::new(umedsam_status::Argument, "box_count is 0"));
        }
        let boxes: Vec<VoxelBox> = boxes.iter().map(|b| VoxelBox::new(b.x0, b.y0, b.z0, b.x1, b.y1, b.z1)).collect();
        // SAFETY: as above.
        let (labels, ious) = unsafe {
            (
                buffer(labels, labels_len, voxels(volume.size)?, "labels")?,
                buffer(predicted_iou, box_count, box_count, "predicted_iou")?,
            )
        };
        let labels = labels.ok_or_else(|| Failure::new(umedsam_status::Pointer, "labels is NULL"))?;
        let source = volume.source.ok_or_else(|| {
            Failure::new(umedsam_status::Argument, "the volume has no slices; set its voxels or its slice callback")
        })?;
        // SAFETY: as above.
        let slices = unsafe { VolumeSlices::new(volume.size, source, volume.window) }?;
        let Progress { report, user } = volume.progress;
        let progress = |done, total| match report {
            // SAFETY: as above.
            Some(report) if unsafe { report(user, done, total) } != 0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        };
        let found = session.segment_volume(slices, volume.size, &boxes, &volume.options, progress)?;
        labels.copy_from_slice(&found.labels);
        if let Some(ious) = ious {
            ious.copy_from_slice(&found.predicted_iou);
        }
        Ok(())
    })
}
