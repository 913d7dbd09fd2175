//! Masks to look at.

use proptest::prelude::*;
use umedsam::VolumeSize;

/// An image and its size, from lines of characters: `.` is 0, a digit is itself.
pub(crate) fn picture(lines: &[&str]) -> (Vec<u8>, VolumeSize) {
    slices(&[lines])
}

/// As [`picture`], slice by slice.
pub(crate) fn slices(slices: &[&[&str]]) -> (Vec<u8>, VolumeSize) {
    let size = VolumeSize { depth: slices.len(), height: slices[0].len(), width: slices[0][0].len() };
    let labels: Vec<u8> = slices.concat().concat().bytes().map(|c| if c == b'.' { 0 } else { c - b'0' }).collect();
    assert_eq!(labels.len(), size.depth * size.height * size.width);
    (labels, size)
}

pub(crate) fn image(width: usize, height: usize) -> VolumeSize {
    VolumeSize { depth: 1, height, width }
}

/// An image of the pixels whose centres, from the upper left corner, are `inside`.
pub(crate) fn drawn(width: usize, height: usize, inside: impl Fn(f64, f64) -> bool) -> Vec<u8> {
    (0..width * height).map(|i| inside((i % width) as f64 + 0.5, (i / width) as f64 + 0.5).into()).collect()
}

/// Random label maps of up to 3 objects, from sparse to dense, with smooth ones among them.
pub(crate) fn labels(max: [usize; 3]) -> impl Strategy<Value = (Vec<u8>, VolumeSize)> {
    (1..=max[0], 1..=max[1], 1..=max[2], 1..=3u8, 1..=9u8, any::<bool>()).prop_flat_map(
        |(depth, height, width, count, tenths, smooth)| {
            let size = VolumeSize { depth, height, width };
            let len = depth * height * width;
            proptest::collection::vec((0..10u8, 1..=count), len).prop_map(move |cells| {
                let mut labels: Vec<u8> = cells.iter().map(|&(d, l)| if d < tenths { l } else { 0 }).collect();
                if smooth {
                    // Each voxel takes the value of the one before its row's third: blocks of equal labels.
                    for i in 0..len {
                        labels[i] = labels[i / width / 2 * 2 % height * width + i % width / 3 * 3];
                    }
                }
                (labels, size)
            })
        },
    )
}
