//! Volumes to send.

/// A bright ellipsoid in noise, as NIfTI of 16 bits, of so many columns, rows and slices.
pub(crate) fn nifti([width, height, depth]: [usize; 3], seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, &348i32.to_le_bytes());
    for (i, side) in [3, width, height, depth, 1, 1, 1, 1].into_iter().enumerate() {
        put(40 + 2 * i, &(side as i16).to_le_bytes());
    }
    put(70, &4i16.to_le_bytes());
    put(72, &16i16.to_le_bytes());
    for (i, spacing) in [1.0f32, 1.0, 1.0, 2.5].into_iter().enumerate() {
        put(76 + 4 * i, &spacing.to_le_bytes());
    }
    put(108, &352f32.to_le_bytes());
    put(112, &1f32.to_le_bytes());
    put(344, b"n+1\0");
    let far = |v: usize, side: usize| ((v as f64 - side as f64 / 2.0) / (0.25 * side as f64)).powi(2);
    let mut noise = seed;
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let inside = far(z, depth.max(8)) * 0.5 + far(y, height) + far(x, width) < 1.0;
                let value = if inside { 900 } else { 200 } + (noise >> 57) as i16;
                bytes.extend_from_slice(&value.to_le_bytes());
            }
        }
    }
    bytes
}
