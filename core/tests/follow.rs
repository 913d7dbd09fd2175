//! Following objects from one slice, with masks that are made here.

use umedsam::volume::{End, Follow, FollowOptions, Followed, MARGIN};
use umedsam::{Error, Frame, ImageView, MaskLogits, PixelBox, VolumeSize};

const SIDE: usize = 64;
const SIZE: VolumeSize = VolumeSize { depth: 30, height: SIDE, width: SIDE };

/// Logits of a disc in pixels of the image.
fn disc(x: f64, y: f64, radius: f64) -> Vec<f32> {
    let scale = 256.0 / SIDE as f64;
    let at = |i: usize| ((i % 256) as f64 / scale - x).powi(2) + ((i / 256) as f64 / scale - y).powi(2);
    (0..256 * 256).map(|i| if at(i) < radius * radius { 4.0 } else { -4.0 }).collect()
}

/// A bright disc on a dark slice.
fn image(x: f64, y: f64, radius: f64) -> Vec<u8> {
    let at = |i: usize| ((i % SIDE) as f64 - x).powi(2) + ((i / SIDE) as f64 - y).powi(2);
    (0..SIDE * SIDE).map(|i| if at(i) < radius * radius { 200 } else { 60 + (i * 7 % 11) as u8 }).collect()
}

/// Follows objects whose discs and predicted IoU in each slice are given; the images show the first object.
fn follow(
    objects: &[&dyn Fn(usize) -> (f64, f64, f64, f32)],
    start: usize,
    options: &FollowOptions,
) -> (Followed, Vec<usize>) {
    let frame = Frame::new(SIDE, SIDE).unwrap();
    let boxes: Vec<PixelBox> = objects
        .iter()
        .map(|object| {
            let (x, y, r, _) = object(start);
            PixelBox::new(x - r, y - r, x + r, y + r)
        })
        .collect();
    let mut follow = Follow::new(&boxes, start, SIZE, options).unwrap();
    let mut asked = Vec::new();
    let mut before = usize::MAX;
    while let Some(request) = follow.next_request().unwrap() {
        assert!(follow.remaining() < before, "what remains shrinks");
        before = follow.remaining();
        asked.push(request.z);
        let (x, y, r, _) = objects[0](request.z);
        let pixels = image(x, y, r);
        let image = ImageView::gray8(&pixels, SIDE, SIDE).unwrap();
        for prompt in &request.prompts {
            let (x, y, r, iou) = objects[prompt.object](request.z);
            let logits = disc(x, y, r);
            follow.supply(request.z, prompt.object, &MaskLogits::new(&logits, frame), iou, &image).unwrap();
        }
    }
    assert_eq!(follow.remaining(), 0);
    (follow.finish(), asked)
}

fn found(followed: &Followed, object: usize) -> Vec<usize> {
    followed.objects[object].slices.iter().map(|s| s.z).collect()
}

#[test]
fn objects_end_for_their_own_reasons_and_no_slice_is_asked_for_twice() {
    // A ball; one that vanishes above and runs into something large below; and one that never ends.
    let ball = |z: usize| {
        let left = 100.0 - (z as f64 - 14.0).powi(2);
        // Beyond its ends something else is drawn, elsewhere and without certainty.
        if left > 9.0 { (32.0, 32.0, left.sqrt(), 0.9) } else { (20.0, 44.0, 9.0, 0.2) }
    };
    let grows = |z: usize| {
        (
            30.0,
            30.0,
            if z > 16 {
                0.0
            } else if z < 12 {
                25.0
            } else {
                8.0
            },
            0.95,
        )
    };
    let endless = |_: usize| (32.0, 32.0, 10.0, 0.95);
    let (followed, asked) = follow(&[&ball, &grows, &endless], 14, &FollowOptions::new().with_max_slices(15));
    assert_eq!(asked, (14..30).chain((0..14).rev()).collect::<Vec<_>>());
    assert_eq!(found(&followed, 0), (5..=23).collect::<Vec<_>>());
    assert_eq!((followed.objects[0].before, followed.objects[0].after), (End::Lost, End::Lost));
    assert_eq!(found(&followed, 1), (12..=16).collect::<Vec<_>>());
    assert_eq!((followed.objects[1].before, followed.objects[1].after), (End::Grown, End::Empty));
    assert_eq!((followed.objects[2].before, followed.objects[2].after), (End::Volume, End::Volume));
    // Each object's way is its own, and what is painted are its slices.
    let (alone, asked) = follow(&[&ball], 14, &FollowOptions::new());
    assert_eq!(alone.objects[0], followed.objects[0]);
    assert_eq!(asked, (14..=24).chain((4..14).rev()).collect::<Vec<_>>(), "no slice after that of the end");
    let pixels = SIDE * SIDE;
    for (z, slice) in alone.labels.chunks(pixels).enumerate() {
        let area = slice.iter().filter(|&&l| l == 1).count();
        let told = alone.objects[0].slices.iter().find(|s| s.z == z).map_or(0, |s| s.area);
        assert_eq!(area, told, "slice {z}");
    }
    // Without the rule it goes on until something else ends it.
    let all = FollowOptions::new().with_min_log_odds(f64::NEG_INFINITY);
    let (whole, _) = follow(&[&ball], 14, &all.with_max_slices(12));
    assert_eq!(found(&whole, 0), (2..=26).collect::<Vec<_>>());
    assert_eq!((whole.objects[0].before, whole.objects[0].after), (End::Limit, End::Limit));
    assert!(whole.objects[0].slices.iter().all(|s| (s.z == 14) == s.evidence.is_none()));
    // Nothing in the user's slice.
    let (none, asked) = follow(&[&|_| (9.0, 9.0, 0.0, 0.9)], 7, &FollowOptions::new());
    assert_eq!((asked, &none.objects[0].slices[..]), (vec![7], &[][..]));
    assert_eq!((none.objects[0].before, none.objects[0].after), (End::Empty, End::Empty));
    assert!(follow(&[], 7, &FollowOptions::new()).1.is_empty());
}

#[test]
fn masks_are_carried_and_only_those_that_were_asked_for_are_taken() {
    let frame = Frame::new(SIDE, SIDE).unwrap();
    let pixels = image(32.0, 32.0, 8.0);
    let view = ImageView::gray8(&pixels, SIDE, SIDE).unwrap();
    let boxes = [PixelBox::new(20.0, 20.0, 40.0, 40.0)];
    let mut follow = Follow::new(&boxes, 3, SIZE, &FollowOptions::new()).unwrap();
    let logits: Vec<f32> = (0..256 * 256)
        .map(|i| if (100..=139).contains(&(i % 256)) && (120..=159).contains(&(i / 256)) { 1.0 } else { -1.0 })
        .collect();
    let mask = MaskLogits::new(&logits, frame);
    let supply = |follow: &mut Follow, z, object, image: &ImageView<'_>| follow.supply(z, object, &mask, 0.9, image);
    assert!(matches!(supply(&mut follow, 3, 0, &view), Err(Error::NotRequested { z: 3, object: 0 })));
    let request = follow.next_request().unwrap().unwrap();
    assert_eq!((request.z, request.prompts[0].model_box.to_array()), (3, [80., 80., 160., 160.]));
    assert!(matches!(follow.next_request(), Err(Error::NotSupplied { z: 3, object: 0 })));
    for (z, object) in [(4, 0), (3, 1)] {
        assert!(matches!(supply(&mut follow, z, object, &view), Err(Error::NotRequested { .. })));
    }
    let small = ImageView::gray8(&pixels, 32, 32).unwrap();
    assert!(matches!(supply(&mut follow, 3, 0, &small), Err(Error::SliceSize { z: 3, width: 32, .. })));
    supply(&mut follow, 3, 0, &view).unwrap();
    assert!(supply(&mut follow, 3, 0, &view).is_err(), "once only");
    let next = follow.next_request().unwrap().unwrap();
    let margin = MARGIN as f32;
    let [x0, y0, x1, y1] = next.prompts[0].model_box.to_array();
    assert_eq!((next.z, [x0, y0, x1, y1]), (4, [100. - margin, 120. - margin, 139. + margin, 159. + margin]));

    let refused = |z, size| Follow::new(&boxes, z, size, &FollowOptions::new()).unwrap_err();
    assert_eq!(refused(30, SIZE).to_string(), "slice 30: the volume has slices 0 to 29");
    assert!(matches!(refused(0, VolumeSize { depth: 0, ..SIZE }), Error::VolumeDepth { depth: 0, .. }));
    assert!(matches!(refused(0, VolumeSize { width: 9, height: 9, ..SIZE }), Error::BoxOutside { index: 0, .. }));
}
