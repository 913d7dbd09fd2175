//! Windows against numpy's arithmetic, by hand.

use umedsam::Error;
use umedsam::intensity::{Window, to_u8};

#[test]
fn a_window_in_hounsfield_units() {
    let hu = [-1000.0, -160.0, -159.0, 40.0, 239.0, 240.0, 3000.0];
    // (hu + 160) / 400 * 255, cut to 0..255 and truncated.
    assert_eq!(to_u8(&hu, Window::ABDOMEN).unwrap(), [0, 0, 0, 127, 254, 255, 255]);
}

#[test]
fn percentiles_leave_zeros_alone() {
    // 1..=1000: numpy's 0.5th percentile is 5.995, the 99.5th 995.005.
    let values: Vec<f32> = (0..=1000).map(|v| v as f32).collect();
    let out = to_u8(&values, Window::Percentile).unwrap();
    assert_eq!((out[0], out[5], out[6], out[500], out[995], out[996]), (0, 0, 0, 127, 254, 255));
    assert_eq!(to_u8(&[0.0; 4], Window::Percentile).unwrap(), [0; 4]);
    assert_eq!(to_u8(&[f32::MAX, f32::MIN], Window::Percentile).unwrap(), [255, 0]);
}

#[test]
fn values_must_be_finite() {
    let error = to_u8(&[1.0, f32::INFINITY], Window::LUNG).unwrap_err();
    assert!(matches!(error, Error::PixelNotFinite { index: 1, .. }), "{error}");
}
