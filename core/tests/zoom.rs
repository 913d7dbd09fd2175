//! Which parts of an image are looked at closer.

use proptest::prelude::*;
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::zoom::{plan, window};
use umedsam::{Error, Frame, ImageView, MaskLogits, PixelBox, Region, ZoomOptions};

const AUTO: ZoomOptions = ZoomOptions::new();

fn region(x: usize, y: usize, width: usize, height: usize) -> Region {
    Region { x, y, width, height }
}

#[test]
fn a_window_is_a_square_around_its_box() {
    let of = |x0, y0, x1, y1, margin| window(&PixelBox::new(x0, y0, x1, y1), 1000, 600, margin);
    // 100 columns, 0.6 times as much on each side, in both directions.
    assert_eq!(of(400.0, 300.0, 499.0, 339.0, 0.6), region(340, 210, 220, 220));
    // Moved inwards at the edges, cut only where the image is smaller.
    assert_eq!(of(0.0, 560.0, 99.0, 599.0, 0.6), region(0, 380, 220, 220));
    assert_eq!(of(300.0, 100.0, 599.0, 399.0, 1.0), region(0, 0, 900, 600));
    // No smaller than 32 pixels, and a margin of 0 still shows the whole box.
    assert_eq!(of(50.0, 60.0, 50.0, 60.0, 0.6), region(34, 44, 32, 32));
    assert_eq!(of(100.6, 100.0, 200.4, 150.0, 0.0), region(100, 75, 101, 101));
    assert_eq!(window(&PixelBox::new(3.0, 3.0, 4.0, 4.0), 20, 50, 0.6), region(0, 0, 20, 32));
}

#[test]
fn small_boxes_share_windows_with_neighbours_and_large_ones_stay_in_the_image() {
    let boxes = [
        PixelBox::new(500.0, 500.0, 519.0, 519.0), // a small neighbour: at least a fifth of the window
        PixelBox::new(0.0, 0.0, 399.0, 100.0),     // more than a third of the image
        PixelBox::new(440.0, 440.0, 479.0, 479.0), // makes a window of 88 pixels from 416
        PixelBox::new(418.0, 440.0, 437.0, 459.0), // within it, but without room on the left
        PixelBox::new(470.0, 470.0, 489.0, 489.0), // within it, with room
        PixelBox::new(450.0, 450.0, 459.0, 459.0), // within it, but too small for it
    ];
    let found: Vec<(Region, Vec<usize>)> =
        plan(&boxes, 1000, 800, &AUTO).into_iter().map(|w| (w.region, w.boxes)).collect();
    let expected = [
        (region(0, 0, 1000, 800), vec![1]),
        (region(488, 488, 44, 44), vec![0]),
        (region(416, 416, 88, 88), vec![2, 4]),
        (region(406, 428, 44, 44), vec![3]),
        (region(439, 439, 32, 32), vec![5]),
    ];
    assert_eq!(found, expected);

    // The smallest window suits every box that is small enough for it.
    let specks = [PixelBox::new(50.0, 50.0, 52.0, 52.0), PixelBox::new(55.0, 57.0, 55.0, 58.0)];
    assert_eq!(plan(&specks, 1000, 800, &AUTO)[0].boxes, [0, 1]);

    // Where the image ends no room is asked for.
    let corner = [PixelBox::new(0.0, 0.0, 59.0, 59.0), PixelBox::new(0.0, 70.0, 39.0, 109.0)];
    assert_eq!(plan(&corner, 1000, 800, &AUTO)[0].boxes, [0, 1]);
}

#[test]
fn what_gains_least_stays_in_the_image() {
    // Windows of 44, 220 and 110 pixels, the second with two boxes: 1/44, 2/220 and 1/110 by gain.
    let square = |x: f64, y: f64, side: f64| PixelBox::new(x, y, x + side - 1.0, y + side - 1.0);
    let boxes = [square(900.0, 900.0, 20.0), square(100.0, 100.0, 100.0), square(500.0, 500.0, 50.0), {
        square(110.0, 110.0, 90.0)
    }];
    let boxes_of = |max| -> Vec<Vec<usize>> {
        plan(&boxes, 1000, 1000, &AUTO.with_max_windows(max)).into_iter().map(|w| w.boxes).collect()
    };
    assert_eq!(boxes_of(3), [vec![0], vec![1, 3], vec![2]]);
    assert_eq!(boxes_of(2), [vec![2], vec![0], vec![1, 3]]);
    assert_eq!(boxes_of(1), [vec![1, 2, 3], vec![0]]);
    assert_eq!(boxes_of(0), [vec![0, 1, 2, 3]]);
    assert!(plan(&[], 1000, 1000, &AUTO).is_empty());
    assert_eq!(plan(&boxes, 1000, 1000, &AUTO.with_max_share(f64::NAN)).len(), 1);
}

#[test]
fn a_crop_shows_the_same_pixels() {
    let pixels: Vec<u8> = (0..40 * 30 * 3).map(|i| (i * 7 % 251) as u8).collect();
    let image = ImageView::rgb8(&pixels, 40, 30).unwrap();
    let part: Vec<u8> = (11..11 + 19).flat_map(|y| pixels[(y * 40 + 23) * 3..][..17 * 3].iter().copied()).collect();
    let input = |view: &ImageView<'_>| {
        let mut input = vec![0.0; INPUT_LEN];
        Preprocessor::new().preprocess_into(view, &mut input);
        input
    };
    let crop = image.crop(23, 11, 17, 19).unwrap();
    assert_eq!((crop.width(), crop.height()), (17, 19));
    assert_eq!(input(&crop), input(&ImageView::rgb8(&part, 17, 19).unwrap()));
    assert_eq!(input(&image.crop(20, 10, 20, 20).unwrap().crop(3, 1, 17, 19).unwrap()), input(&crop));

    for (x, y, w, h) in [(24, 11, 17, 19), (23, 12, 17, 19), (usize::MAX, 0, 1, 1), (0, usize::MAX, 1, 2)] {
        assert!(matches!(image.crop(x, y, w, h), Err(Error::CropOutside { image_width: 40, .. })), "{x},{y},{w},{h}");
    }
    assert!(matches!(image.crop(40, 0, 0, 5), Err(Error::ImageSize { .. })));
}

#[test]
fn a_part_is_painted_in_its_place_and_the_later_box_is_seen() {
    let logits: Vec<f32> = (0..256 * 256).map(|i| if (i / 256 + i % 256) % 90 < 60 { 1.0 } else { -1.0 }).collect();
    let mask = MaskLogits::new(&logits, Frame::new(17, 19).unwrap());
    let mut part = vec![0u16; 17 * 19];
    let area = mask.paint_max(5, &mut part);
    assert!((1..17 * 19).contains(&area));
    for before in [0u16, 7] {
        let mut labels = vec![before; 40 * 30];
        assert_eq!(mask.paint_max_at(5, &mut labels, 40, (23, 11)), area);
        for (i, &label) in labels.iter().enumerate() {
            let (x, y) = (i % 40, i / 40);
            let within = (23..40).contains(&x) && (11..30).contains(&y);
            let painted = if within { part[(y - 11) * 17 + x - 23] } else { 0 };
            assert_eq!(label, before.max(painted), "{x},{y}");
        }
    }
}

fn boxes() -> impl Strategy<Value = (usize, usize, Vec<PixelBox>)> {
    (1usize..3000, 1usize..3000).prop_flat_map(|(w, h)| {
        // Mostly small, as where zooming matters, and some that stick out of the image.
        let span = |n: usize| (-20.0..n as f64, prop_oneof![0.0..40.0f64, 0.0..n as f64]);
        let one = (span(w), span(h)).prop_map(|((x, dx), (y, dy))| PixelBox::new(x, y, x + dx, y + dy));
        let frame = Frame::new(w, h).unwrap();
        let clamped = one.prop_filter_map("beside the image", move |b| frame.clamp(&b, 0).ok());
        (Just(w), Just(h), prop::collection::vec(clamped, 0..60))
    })
}

proptest! {
    #[test]
    fn every_box_is_seen_once_within_a_window_of_the_image(
        (w, h, boxes) in boxes(), margin in 0.0..4.0f64, share in 0.0..1.0f64, max in 0usize..12,
    ) {
        let options = AUTO.with_margin(margin).with_max_share(share).with_max_windows(max);
        let windows = plan(&boxes, w, h, &options);
        prop_assert_eq!(&windows, &plan(&boxes, w, h, &options));
        let whole = region(0, 0, w, h);
        prop_assert!(windows.iter().filter(|window| window.region != whole).count() <= max);
        prop_assert!(windows.iter().skip(1).all(|window| window.region != whole));
        let mut seen: Vec<usize> = windows.iter().flat_map(|window| window.boxes.iter().copied()).collect();
        seen.sort_unstable();
        prop_assert_eq!(seen, (0..boxes.len()).collect::<Vec<_>>());
        for window in &windows {
            let r = window.region;
            prop_assert!(r.width > 0 && r.height > 0 && r.x + r.width <= w && r.y + r.height <= h, "{:?}", r);
            prop_assert!(!window.boxes.is_empty() && window.boxes.is_sorted());
            for &i in &window.boxes {
                // In pixels: what ends in the pixel beyond the last belongs to the last.
                let b = boxes[i];
                prop_assert!(b.x0 as usize >= r.x && b.y0 as usize >= r.y, "{:?} in {:?}", b, r);
                prop_assert!((b.x1 as usize).min(w - 1) < r.x + r.width, "{:?} in {:?}", b, r);
                prop_assert!((b.y1 as usize).min(h - 1) < r.y + r.height, "{:?} in {:?}", b, r);
                let side = (b.x1 - b.x0).max(b.y1 - b.y0);
                prop_assert!(r == whole || side - 1.0 <= share * w.max(h) as f64);
            }
        }
    }

    #[test]
    fn a_window_lies_in_the_image_whatever_the_box(
        w in 1usize..70_000, h in 1usize..70_000, margin in any::<f64>(),
        x0 in any::<f64>(), y0 in any::<f64>(), x1 in any::<f64>(), y1 in any::<f64>(),
    ) {
        let r = window(&PixelBox::new(x0, y0, x1, y1), w, h, margin);
        prop_assert!(r.x + r.width <= w && r.y + r.height <= h, "{:?}", r);
        prop_assert!(r.width >= w.min(32) && r.height >= h.min(32));
        prop_assert!(r.width == r.height || r.width == w || r.height == h);
    }
}
