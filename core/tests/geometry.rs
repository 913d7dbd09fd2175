//! Boxes and sizes that a person or a file may give.

use proptest::prelude::*;
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::volume::Propagation;
use umedsam::{Error, Frame, ImageView, MaskLogits, PixelBox, VolumeSize, VoxelBox};

fn refusal(b: PixelBox) -> Error {
    Frame::new(100, 50).unwrap().to_model(&b, 3).unwrap_err()
}

#[test]
fn boxes_that_name_nothing_are_refused() {
    let message = |x0, y0, x1, y1| refusal(PixelBox::new(x0, y0, x1, y1)).to_string();
    assert_eq!(message(1.0, f64::NAN, 3.0, 4.0), "box 4: y0 is NaN, not a finite number");
    assert_eq!(message(1.0, 2.0, f64::INFINITY, 4.0), "box 4: x1 is inf, not a finite number");
    assert_eq!(message(9.0, 2.0, 3.0, 4.0), "box 4: x0 = 9 lies beyond x1 = 3");
    assert_eq!(message(100.0, 2.0, 120.0, 4.0), "box 4: x range 100..120 lies outside the image (0..100)");
    assert_eq!(message(1.0, -9.0, 3.0, -4.0), "box 4: y range -9..-4 lies outside the image (0..50)");
    let size = |depth| VolumeSize { depth, height: 50, width: 100 };
    let volume = |z0, z1| Propagation::new(&[VoxelBox::new(0.0, 0.0, z0, 9.0, 9.0, z1)], size(8)).map(|_| ());
    assert_eq!(volume(8.0, 9.0).unwrap_err().to_string(), "box 1: z range 8..9 lies outside the image (0..8)");
    assert_eq!(volume(5.0, 4.0).unwrap_err().to_string(), "box 1: z0 = 5 lies beyond z1 = 4");
    volume(7.0, 1e300).unwrap();
    for depth in [0, 65_537, usize::MAX] {
        let error = Propagation::new(&[], size(depth)).unwrap_err();
        assert!(matches!(error, Error::VolumeDepth { max: 65_536, .. }), "{error}");
    }
}

#[test]
fn a_single_pixel_is_a_box_and_what_sticks_out_is_cut() {
    let frame = Frame::new(100, 50).unwrap();
    let model = |x0, y0, x1, y1| frame.to_model(&PixelBox::new(x0, y0, x1, y1), 0).unwrap().to_array();
    assert_eq!(model(10.0, 10.0, 10.0, 10.0), [25.0, 25.0, 25.0, 25.0]);
    assert_eq!(model(-5.0, -1e300, 1e300, 20.0), [0.0, 0.0, 256.0, 51.0]);
}

#[test]
fn sizes_are_bounded() {
    for (w, h) in [(0, 5), (5, 0), (65_537, 1), (1, usize::MAX)] {
        assert!(matches!(Frame::new(w, h), Err(Error::ImageSize { .. })), "{w}x{h}");
    }
    assert!(matches!(ImageView::rgb8(&[0; 11], 2, 2), Err(Error::BufferSize { expected: 12, actual: 11 })));
    assert!(matches!(ImageView::gray8_strided(&[0; 99], 9, 2, 8), Err(Error::Stride { stride: 8, row: 9 })));
    // Upstream would ask for a side of 0.
    let frame = Frame::new(3, 20_000).unwrap();
    assert_eq!((frame.scaled_width(), frame.scaled_height()), (1, 256));
    let pixels = vec![9; 60_000];
    let mut input = vec![1.0; INPUT_LEN];
    Preprocessor::new().preprocess_into(&ImageView::gray8(&pixels, 3, 20_000).unwrap(), &mut input);
    assert!(input.iter().all(|&v| v == 0.0));
}

#[test]
fn overlapping_objects_keep_the_later_label_whatever_comes_first() {
    let (everywhere, nowhere) = (vec![1.0; 256 * 256], vec![-1.0; 256 * 256]);
    let boxes = [VoxelBox::new(0.0, 0.0, 0.0, 9.0, 9.0, 3.0), VoxelBox::new(0.0, 0.0, 1.0, 9.0, 9.0, 1.0)];
    let frame = Frame::new(16, 12).unwrap();
    let mut propagation = Propagation::new(&boxes, VolumeSize { depth: 4, height: 12, width: 16 }).unwrap();
    while let Some(request) = propagation.next_request().unwrap() {
        for prompt in &request.prompts {
            let logits = if request.z == 3 { &nowhere } else { &everywhere };
            propagation.supply(request.z, prompt.object, &MaskLogits::new(logits, frame)).unwrap();
        }
    }
    let slices: Vec<u16> = propagation.labels().chunks(16 * 12).map(|s| s[0]).collect();
    assert_eq!(slices, [1, 2, 1, 0]);
}

#[test]
fn only_the_masks_that_were_asked_for_are_taken_and_all_of_them() {
    let everywhere = vec![1.0; 256 * 256];
    let size = VolumeSize { depth: 4, height: 12, width: 16 };
    let boxes = [VoxelBox::new(0.0, 0.0, 0.0, 9.0, 9.0, 3.0), VoxelBox::new(0.0, 0.0, 2.0, 9.0, 9.0, 2.0)];
    let mut propagation = Propagation::new(&boxes, size).unwrap();
    let mask = |width, height| MaskLogits::new(&everywhere, Frame::new(width, height).unwrap());
    let supply = |way: &mut Propagation, z, object| way.supply(z, object, &mask(16, 12));
    // Before any request, then another slice, another object, none, and one twice.
    assert!(matches!(supply(&mut propagation, 1, 0), Err(Error::NotRequested { z: 1, object: 0 })));
    assert_eq!(propagation.next_request().unwrap().unwrap().z, 1);
    for (z, object) in [(2, 0), (usize::MAX, 0), (1, 1), (1, usize::MAX)] {
        let error = supply(&mut propagation, z, object).unwrap_err();
        assert!(matches!(error, Error::NotRequested { .. }), "{z}, {object}: {error}");
    }
    let error = propagation.supply(1, 0, &mask(12, 16)).unwrap_err();
    assert!(matches!(error, Error::SliceSize { z: 1, width: 12, height: 16, expected_width: 16, .. }), "{error}");
    assert!(matches!(propagation.next_request(), Err(Error::NotSupplied { z: 1, object: 0 })));
    assert!(propagation.labels().iter().all(|&l| l == 0));
    supply(&mut propagation, 1, 0).unwrap();
    assert!(supply(&mut propagation, 1, 0).is_err());
    assert_eq!(propagation.next_request().unwrap().unwrap().prompts.len(), 2);
}

#[test]
fn carried_boxes_stay_within_the_users_box_but_for_a_margin() {
    let square = |first: usize, last: usize| -> Vec<f32> {
        let inside = |i: usize| (first..=last).contains(&(i % 256)) && (first..=last).contains(&(i / 256));
        (0..256 * 256).map(|i| if inside(i) { 1.0 } else { -1.0 }).collect()
    };
    let frame = Frame::new(256, 256).unwrap();
    let size = VolumeSize { depth: 2, height: 256, width: 256 };
    let next = |mask: &[f32], upstream: bool| {
        let mut propagation = Propagation::new(&[VoxelBox::new(100.0, 100.0, 0.0, 150.0, 150.0, 1.0)], size).unwrap();
        if upstream {
            propagation = propagation.with_upstream_rounding();
        }
        assert_eq!(
            propagation.next_request().unwrap().unwrap().prompts[0].model_box.to_array(),
            [100., 100., 150., 150.]
        );
        propagation.supply(0, 0, &MaskLogits::new(mask, frame)).unwrap();
        propagation.next_request().unwrap().unwrap().prompts[0].model_box.to_array()
    };
    // A mask that is smaller than the box, one that leaves it on all sides, and one beside it.
    assert_eq!(next(&square(120, 130), false), [117., 117., 133., 133.]);
    assert_eq!(next(&square(60, 200), false), [98., 98., 152., 152.]);
    assert_eq!(next(&square(10, 40), false), [100., 100., 150., 150.]);
    assert_eq!(next(&square(60, 200), true), [57., 57., 203., 203.]);
}

#[test]
fn labels_that_no_memory_holds_are_an_error() {
    let size = VolumeSize { depth: 65_536, height: 65_536, width: 65_536 };
    let error = Propagation::new(&[], size).unwrap_err();
    assert!(matches!(error, Error::Memory { .. }), "{error}");
}

#[test]
fn the_box_that_comes_later_hides_what_it_covers() {
    let half =
        |left: bool| -> Vec<f32> { (0..256 * 256).map(|i| if (i % 256 < 160) == left { 1.0 } else { -1.0 }).collect() };
    let frame = Frame::new(256, 256).unwrap();
    let mut labels = vec![0u16; 256 * 256];
    let (left, all) = (half(true), vec![1.0; 256 * 256]);
    MaskLogits::new(&all, frame).paint(1, &mut labels);
    MaskLogits::new(&left, frame).paint(300, &mut labels);
    assert_eq!((labels[10], labels[200]), (300, 1));
}

proptest! {
    #[test]
    fn any_box_is_mapped_into_the_grid_or_refused(
        w in 1usize..5000, h in 1usize..5000,
        x0 in any::<f64>(), y0 in -1e4..1e4f64, x1 in -1e4..1e4f64, y1 in any::<f64>(),
    ) {
        if let Ok(b) = Frame::new(w, h).unwrap().to_model(&PixelBox::new(x0, y0, x1, y1), 0) {
            prop_assert!(b.to_array().iter().all(|v| (0.0..=256.0).contains(v)));
            prop_assert!(b.x0 <= b.x1 && b.y0 <= b.y1);
        }
    }

    #[test]
    fn masks_skip_nothing_that_is_positive(w in 1usize..90, h in 1usize..90, seed in any::<u32>()) {
        // Against the plain loop over every pixel.
        let mut state = seed;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 24 < 3 { (state >> 8) as f32 } else { -1e5 }
        };
        let logits: Vec<f32> = (0..256 * 256).map(|_| noise()).collect();
        let frame = Frame::new(w, h).unwrap();
        let mut mask = vec![0; w * h];
        MaskLogits::new(&logits, frame).mask_into(&mut mask);
        let tap = |i: usize, n: usize, m: usize| {
            let p = (n as f32 / m as f32 * (i as f32 + 0.5) - 0.5).max(0.0);
            let a = (p as usize).min(n - 1);
            (a, (a + 1).min(n - 1), p - a as f32)
        };
        for y in 0..h {
            let (a, b, fy) = tap(y, frame.scaled_height(), h);
            for x in 0..w {
                let (l, r, fx) = tap(x, frame.scaled_width(), w);
                let column = |c: usize| logits[a * 256 + c] * (1.0 - fy) + logits[b * 256 + c] * fy;
                let value = column(l) * (1.0 - fx) + column(r) * fx;
                prop_assert_eq!(mask[y * w + x] == 1, value > 0.0, "{},{}", x, y);
            }
        }
    }
}
