//! A picture without a file, and how far values are apart.

/// Largest absolute difference.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "lengths");
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |m, d| if d.is_nan() { f32::INFINITY } else { f32::max(m, d) })
}

/// Largest absolute value.
pub fn scale(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |m, v| m.max(v.abs()))
}

/// The synthetic picture: 256x256 RGB.
pub fn picture() -> Vec<u8> {
    let value = |i: u64| {
        let (y, x, c) = (i / 768, i / 3 % 256, i % 3);
        let noise = (i * 2_654_435_761 % (1 << 32)) >> 27;
        let disc = u64::from(x.abs_diff(120).pow(2) + y.abs_diff(90).pow(2) < 2500);
        x / 4 + y / 8 + disc * 90 + c * 20 + noise
    };
    (0..256 * 256 * 3).map(|i| value(i) as u8).collect()
}
