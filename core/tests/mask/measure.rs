use umedsam::mask::{MeasureOptions, Measurer, Spacing};
use umedsam::{Error, VolumeSize};

use crate::shapes::{image, picture, slices};

#[test]
fn objects_are_measured_in_pixels_and_mm() {
    let (labels, size) = picture(&[".222.", ".222.", "....7", "....."]);
    let intensities: Vec<i16> = (0..20).map(|i| i - 3).collect();
    let options = MeasureOptions::new().with_spacing(Spacing::new(0.5, 2.0, 10.0).unwrap()).with_diameters();
    let mut measurer = Measurer::new();
    let found = measurer.measure_with_intensities(&labels, &intensities, size, &options).unwrap();
    let [two, seven] = found else { panic!("{found:?}") };
    assert_eq!((two.label, two.voxels, two.first, two.last), (2, 6, [1, 0, 0], [3, 1, 0]));
    assert_eq!((two.area(), two.volume(), two.extents()), (6.0, 60.0, [1.5, 4.0, 10.0]));
    assert_eq!(two.centroid, [2.5, 1.0, 0.5]);
    assert_eq!(two.mean_intensity, Some(f64::from(1 + 2 + 3 + 6 + 7 + 8) / 6.0 - 3.0));
    let longest = two.diameters.unwrap().diameters.longest;
    assert!((longest.length - 1.5f64.hypot(4.0)).abs() < 1e-12, "{longest:?}");
    assert_eq!((seven.label, seven.voxels, seven.mean_intensity), (7, 1, Some(11.0)));

    let plain = measurer.measure(&labels, size, &MeasureOptions::new()).unwrap();
    assert_eq!((plain[0].mean_intensity, plain[0].diameters, plain[0].extents()), (None, None, [3.0, 2.0, 1.0]));
    assert_eq!(measurer.measure(&[0u8; 20], size, &options).unwrap(), []);
}

#[test]
fn the_diameter_of_a_volume_is_that_of_its_largest_part_in_a_slice() {
    // Two parts in slice 0, far apart; the longest diameter is in slice 2, and equal in slice 3.
    let (labels, size) = slices(&[
        &["1...11", "......", "......"],
        &["......", ".111..", "......"],
        &["......", ".1111.", ".1111."],
        &["......", ".1111.", ".1111."],
    ]);
    let mut measurer = Measurer::new();
    let found = measurer.measure(&labels, size, &MeasureOptions::new().with_diameters()).unwrap();
    assert_eq!(found.len(), 1);
    let best = found[0].diameters.unwrap();
    assert_eq!((best.z, best.diameters.longest.length), (2, 20.0f64.sqrt()));
    assert_eq!((found[0].voxels, found[0].first, found[0].last), (22, [0, 0, 0], [5, 2, 3]));
}

#[test]
fn many_labels_come_in_order() {
    let labels: Vec<u16> = (0..1000).rev().collect();
    let size = VolumeSize { depth: 10, height: 10, width: 10 };
    let mut measurer = Measurer::new();
    let found = measurer.measure(&labels, size, &MeasureOptions::new()).unwrap();
    assert!(found.iter().map(|o| o.label).eq(1..1000) && found.iter().all(|o| o.voxels == 1));
    let error = measurer.measure_with_intensities(&labels, &[0u8; 3], size, &MeasureOptions::new()).unwrap_err();
    assert!(matches!(error, Error::BufferSize { expected: 1000, actual: 3 }));
    assert!(measurer.measure(&labels, image(10, 10), &MeasureOptions::new()).is_err());
}
