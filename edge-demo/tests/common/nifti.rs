//! NIfTI files made here.
#![allow(missing_docs, unreachable_pub, reason = "a part of a test")]

use std::path::Path;

/// Writes whole numbers, x fastest, of so many columns, rows and slices, with this matrix.
pub fn nifti(path: &Path, size: [i16; 3], matrix: [[f32; 4]; 3], value: impl Fn([i32; 3]) -> i16) {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, field: &[u8]| bytes[at..][..field.len()].copy_from_slice(field);
    put(0, &348i32.to_le_bytes());
    for (i, d) in [3, size[0], size[1], size[2], 1, 1, 1, 1].iter().enumerate() {
        put(40 + 2 * i, &d.to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    put(108, &[352f32, 1.0, 0.0].map(f32::to_le_bytes).concat());
    put(254, &1i16.to_le_bytes());
    put(280, &matrix.as_flattened().iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>());
    put(344, b"n+1\0");
    let [w, h, d] = size.map(i32::from);
    for (z, y, x) in (0..d).flat_map(|z| (0..h).flat_map(move |y| (0..w).map(move |x| (z, y, x)))) {
        bytes.extend(value([x, y, z]).to_le_bytes());
    }
    std::fs::write(path, bytes).unwrap();
}
