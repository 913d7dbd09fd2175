//! Windows against numpy's arithmetic, by hand.

use umedsam::Error;
use umedsam::intensity::{Rule, Step, Values, Window, to_u8, to_u8_into};

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
    assert_eq!(to_u8(&[f64::MAX, f64::MIN], Window::Percentile).unwrap(), [255, 0]);
    // The same in every type, and what was done.
    let ints: Vec<u16> = (0..=1000).collect();
    let (same, intake) = Values::U16(ints).into_u8(Window::Percentile).unwrap();
    assert_eq!(same, out);
    let low = 5.0 * (1.0 - 0.995) + 6.0 * 0.995;
    assert!(
        matches!(intake.steps[..], [Step::Window { rule: Rule::Percentile, low: l, .. }] if (l - low).abs() < 1e-9)
    );
    assert!(intake.to_string().starts_with("u16, window 5.99"), "{intake}");
}

#[test]
fn values_must_be_finite() {
    let error = to_u8(&[1.0, f32::INFINITY], Window::LUNG).unwrap_err();
    assert!(matches!(error, Error::PixelNotFinite { index: 1, .. }), "{error}");
}

/// Signed CT: water has 0, a value like any other between air and bone.
#[test]
fn zero_is_no_background_among_negative_values() {
    let hu: Vec<i16> = (-1000..=1000).collect();
    let (out, intake) = Values::I16(hu).into_u8(Window::Percentile).unwrap();
    assert_eq!(out[999..=1001], [127, 127, 127]);
    assert!(out.is_sorted() && (out[0], out[2000]) == (0, 255));
    assert!(matches!(intake.steps[..], [Step::Window { rule: Rule::SignedPercentile, .. }]));
}

#[test]
fn whole_numbers_of_a_byte_are_kept_in_every_type() {
    for values in [Values::U8(vec![0, 7, 255]), Values::I64(vec![0, 7, 255]), Values::F32(vec![-0.0, 7.0, 255.0])] {
        let number_type = values.number_type();
        let (pixels, intake) = values.into_u8(Window::Percentile).unwrap();
        assert_eq!((pixels, intake.number_type, intake.steps.len()), (vec![0, 7, 255], number_type, 0));
    }
}

/// Two levels of which the brighter is all that is not zero: both percentiles are the same, and the picture is not black.
#[test]
fn a_picture_of_two_levels_keeps_both() {
    let (pixels, intake) = Values::U16(vec![0, 60_000, 0]).into_u8(Window::Percentile).unwrap();
    assert_eq!(pixels, [0, 255, 0]);
    assert!(matches!(intake.steps[..], [Step::Window { rule: Rule::Range, low: 0.0, high: 60_000.0 }]));
}

#[test]
fn a_window_has_a_width() {
    for (level, width) in [(40.0, 0.0), (40.0, -1.0), (40.0, f32::NAN), (f32::NAN, 1.0), (0.0, f32::INFINITY)] {
        let error = to_u8(&[1.0f32], Window::Level { level, width }).unwrap_err();
        assert!(matches!(error, Error::Window { .. }), "{error}");
        assert!(error.to_string().contains("above 0"), "{error}");
    }
}

#[test]
fn rows_with_gaps_are_brought_to_8_bits_in_place() {
    let (width, height, stride) = (7, 5, 9);
    let image: Vec<u16> = (0..width * height).map(|i| (i * i * 31 % 4096) as u16).collect();
    let strided: Vec<u16> = image.chunks(width).flat_map(|row| row.iter().copied().chain([65_535; 2])).collect();
    for window in [Window::Percentile, Window::Level { level: 900.0, width: 1500.0 }] {
        let mut pixels = [9; 35];
        // The last row may end with its last pixel.
        let found = to_u8_into(&strided[..43], width, height, stride, window, &mut pixels).unwrap();
        assert_eq!(pixels, to_u8(&image, window).unwrap()[..], "{window:?}");
        let Step::Window { low, high, .. } = found else { panic!("{found:?}") };
        assert!((0.0..high).contains(&low) && high < 4096.0);
    }
    let mut floats: Vec<f32> = strided.iter().map(|&v| v.into()).collect();
    floats[7] = f32::NAN;
    let into = |values: &[f32], stride, len| {
        to_u8_into(values, width, height, stride, Window::LUNG, &mut vec![0; len])
            .map(|_| ())
            .map_err(|e| e.to_string())
    };
    assert_eq!(into(&floats, stride, 35), Ok(()));
    assert_eq!(into(&floats, 6, 35).unwrap_err(), "row stride 6 is shorter than a row of 7 values");
    assert_eq!(into(&floats[..42], stride, 35).unwrap_err(), "buffer holds 42 values, the image needs 43");
    assert_eq!(into(&floats, stride, 34).unwrap_err(), "buffer holds 34 values, the image needs 35");
    floats[11] = f32::NAN;
    assert_eq!(into(&floats, stride, 35).unwrap_err(), "pixel 11 is NaN; floating-point images must be finite");
}

#[test]
fn values_of_one_type_are_joined() {
    let mut values = Values::I16(vec![1, -2]);
    values.reserve(2).unwrap();
    assert_eq!(values.append(Values::I16(vec![3])), Ok(()));
    assert_eq!(values.append(Values::U16(vec![4])), Err(Values::U16(vec![4])));
    assert_eq!(values, Values::I16(vec![1, -2, 3]));
}
