//! A volume with one bright object, of 8 bits.

use std::path::Path;

use super::npz;

/// Slices, rows and columns.
pub const SHAPE: [usize; 3] = [24, 56, 72];

pub fn blob() -> Vec<u8> {
    let [depth, height, width] = SHAPE;
    let mut voxels = Vec::with_capacity(depth * height * width);
    let mut noise = 1u32;
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let far = |v: usize, middle: f64, radius: f64| ((v as f64 - middle) / radius).powi(2);
                let inside = far(z, 12.0, 9.0) + far(y, 27.0, 15.0) + far(x, 40.0, 18.0) < 1.0;
                voxels.push(if inside { 170 } else { 60 } + (noise >> 27) as u8);
            }
        }
    }
    voxels
}

fn floats(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// Writes pixels as a case with one box, of 4 or of 6 numbers.
pub fn case(path: &Path, shape: &[usize], pixels: &[u8], one: &[f64]) {
    let boxes = floats(one);
    let spacing = floats(&[0.8, 0.8, 2.0]);
    npz(
        path,
        &[
            ("imgs", "|u1", shape, pixels),
            ("boxes", "<f8", &[1, one.len()], &boxes),
            ("spacing", "<f8", &[3], &spacing),
        ],
    );
}
