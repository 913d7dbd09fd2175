//! What runs for every slice takes no memory once it is warm.

use umedsam::mask::{CleanOptions, Cleaner, Connectivity, Contours, MeasureOptions, Measurer};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::volume::{Propagation, Request};
use umedsam::{Frame, ImageView, MaskLogits, VolumeSize, VoxelBox};

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn a_second_image_of_a_size_is_prepared_without_memory() {
    for (w, h) in [(300, 410), (512, 512), (100, 80)] {
        let pixels = vec![7; w * h * 3];
        let image = ImageView::rgb8(&pixels, w, h).unwrap();
        let mut input = vec![0.0; INPUT_LEN];
        let mut preprocessor = Preprocessor::new();
        assert!(allocations(|| _ = preprocessor.preprocess_into(&image, &mut input)) > 0);
        let held = preprocessor.capacity_bytes();
        assert_eq!(allocations(|| _ = preprocessor.preprocess_into(&image, &mut input)), 0, "{w}x{h}");
        assert_eq!(preprocessor.capacity_bytes(), held);
    }
}

#[test]
fn masks_are_painted_without_memory() {
    let logits = vec![1.0; 256 * 256];
    let mask = MaskLogits::new(&logits, Frame::new(1000, 700).unwrap());
    let mut labels = vec![0u16; 700_000];
    assert_eq!(allocations(|| assert_eq!(mask.paint(1, &mut labels), 700_000)), 0);
    assert_eq!(allocations(|| assert_eq!(mask.area(), 700_000)), 0);
}

#[test]
fn masks_are_carried_on_without_memory() {
    let logits: Vec<f32> = (0..256 * 256).map(|i| if i % 256 < 90 { 1.0 } else { -1.0 }).collect();
    let mask = MaskLogits::new(&logits, Frame::new(300, 410).unwrap());
    let boxes = [VoxelBox::new(10.0, 20.0, 0.0, 200.0, 220.0, 9.0)];
    let size = VolumeSize { depth: 10, height: 410, width: 300 };
    let mut request = Request::default();
    let mut propagation = Propagation::empty();
    let mut through = |upstream: bool| {
        let mut taken = allocations(|| propagation.restart(&boxes, size).unwrap());
        if upstream {
            propagation = std::mem::replace(&mut propagation, Propagation::empty()).with_upstream_rounding();
        }
        let mut slices = 0;
        while propagation.remaining() > 0 {
            taken += allocations(|| assert!(propagation.next_request_into(&mut request).unwrap()));
            let supplied = allocations(|| propagation.supply(request.z, 0, &mask).unwrap());
            slices += 1;
            assert!(supplied == 0 || upstream && slices == 1);
        }
        assert!(slices == 10 && propagation.labels().iter().any(|l| *l > 0));
        taken
    };
    assert!(through(false) > 0);
    assert_eq!(through(false), 0);
    assert_eq!(through(true), 0);
}

#[test]
fn a_second_mask_is_cleaned_outlined_and_measured_without_memory() {
    let size = VolumeSize { depth: 3, height: 60, width: 70 };
    let labels: Vec<u16> = (0..3 * 60 * 70).map(|i| u16::from(i % 11 > 2) * (1 + (i / 700 % 2) as u16)).collect();
    let (mut cleaner, mut contours, mut measurer) = (Cleaner::new(), Contours::new(), Measurer::new());
    let mut round = || {
        let mut copy = labels.clone();
        allocations(|| {
            cleaner.clean(&mut copy, size, &CleanOptions::new().with_largest().with_holes_filled()).unwrap();
            contours.find(&labels[..4200], 70, 60, Connectivity::All).unwrap();
            assert!(contours.polygons().map(|p| p.holes().len() + p.outer().len()).sum::<usize>() > 100);
            let options = MeasureOptions::new().with_diameters();
            assert_eq!(measurer.measure_with_intensities(&labels, &labels, size, &options).unwrap().len(), 2);
        })
    };
    assert!(round() > 0);
    assert_eq!(round(), 0);
}
