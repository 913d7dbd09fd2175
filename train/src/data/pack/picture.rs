//! Pictures as JPEG XL.

use jxl_oxide::{AllocTracker, JxlImage, PixelFormat};

use super::Item;
use super::error::PackProblem;
use crate::data::case::Picture;

/// Memory that decoding one picture may take: some ten times what the largest takes.
const MEMORY: usize = 64 << 20;

/// The picture with one channel if its three are equal: the network's input is the same.
pub(super) fn slim(picture: &Picture) -> Picture {
    let gray = picture.channels == 3 && picture.pixels.chunks_exact(3).all(|p| p[0] == p[1] && p[1] == p[2]);
    if !gray {
        return picture.clone();
    }
    Picture { pixels: picture.pixels.iter().step_by(3).copied().collect(), channels: 1, ..*picture }
}

/// The picture of an item, whose JPEG XL has as many channels or only one.
pub(super) fn decode(jxl: &[u8], item: &Item) -> Result<Picture, PackProblem> {
    let Item { width, height, channels, .. } = *item;
    let fail = |problem: &dyn std::fmt::Display| PackProblem::Picture(format!("JPEG XL: {problem}"));
    let tracker = AllocTracker::with_limit(MEMORY);
    let image = JxlImage::builder().alloc_tracker(tracker).read(jxl).map_err(|e| fail(&e))?;
    // What the header says is checked before anything is made of its size.
    let header = &image.image_header().metadata;
    let bits = header.bit_depth.bits_per_sample();
    if header.xyb_encoded || header.orientation != 1 || bits != 8 {
        return Err(fail(&"not a lossless picture of 8 bits"));
    }
    let size = (image.width() as usize, image.height() as usize);
    if size != (width, height) {
        let found = format!("{} x {} pixels", size.0, size.1);
        return Err(PackProblem::value(found, format!("{width} x {height}")));
    }
    let stored = match image.pixel_format() {
        PixelFormat::Gray => 1,
        PixelFormat::Rgb if channels == 3 => 3,
        other => return Err(PackProblem::value(format!("{other:?}"), format!("at most {channels} channels"))),
    };
    if !image.is_loading_done() {
        return Err(fail(&"ends too early"));
    }
    let render = image.render_frame(0).map_err(|e| fail(&e))?;
    let mut pixels = vec![0; width * height * stored];
    let mut stream = render.stream_no_alpha();
    if stream.channels() as usize != stored || stream.write_to_buffer(&mut pixels) != pixels.len() {
        return Err(fail(&"has too few pixels"));
    }
    if stored < channels {
        pixels = pixels.into_iter().flat_map(|v| [v; 3]).collect();
    }
    Ok(Picture { pixels, channels, width, height })
}
