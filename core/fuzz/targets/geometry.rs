//! Boxes and images of any numbers: what is accepted lies within the image and the model's grid.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umedsam::volume::Propagation;
use umedsam::{Frame, PixelBox, VolumeSize, VoxelBox};

fuzz_target!(|input: ([f64; 6], [u16; 3], [u64; 2])| {
    let ([x0, y0, z0, x1, y1, z1], [depth, height, width], [huge_width, huge_height]) = input;
    let _ = Frame::new(huge_width as usize, huge_height as usize);
    let Ok(frame) = Frame::new(width.into(), height.into()) else { return };
    if let Ok(b) = frame.to_model(&PixelBox::new(x0, y0, x1, y1), 0) {
        let [x0, y0, x1, y1] = [b.x0, b.y0, b.x1, b.y1];
        assert!(0.0 <= x0 && x0 <= x1 && x1 <= 256.0 && 0.0 <= y0 && y0 <= y1 && y1 <= 256.0, "{b:?}");
    }
    // Labels of at most a few megabytes.
    let size = VolumeSize { depth: (depth % 64).into(), height: (height % 256).into(), width: (width % 256).into() };
    let b = VoxelBox::new(x0, y0, z0, x1, y1, z1);
    if let Ok(mut propagation) = Propagation::new(&[b], size) {
        let request = propagation.next_request().unwrap().unwrap();
        assert!(request.z < size.depth && request.prompts.len() == 1);
    }
});
