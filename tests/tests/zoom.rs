//! Images segmented window by window, with the built-in model.

use umedsam::zoom::plan;
use umedsam::{Error, ImageView, Model, PixelBox, Session, SessionOptions, ZoomOptions};
use umedsam_tests::cell;

/// One box at a time, so that a box's mask does not depend on its company to the last bit.
fn session() -> Session {
    Model::bundled().unwrap().session(&SessionOptions::new().with_max_batch(1)).unwrap()
}

/// A large box, a small one within it, and another small one elsewhere that overlaps neither's window.
const LARGE: PixelBox = PixelBox::new(300.0, 250.0, 560.0, 500.0);
const SMALL: PixelBox = PixelBox::new(360.0, 305.0, 496.0, 442.0);
const OTHER: PixelBox = PixelBox::new(20.0, 20.0, 60.0, 70.0);

#[test]
fn without_zoom_an_image_is_segmented_as_a_whole() {
    let (pixels, width, height) = cell();
    let image = ImageView::gray8(&pixels, width, height).unwrap();
    let mut session = session();
    let boxes = [LARGE, SMALL, PixelBox::new(-5.0, 20.0, 60.0, 9999.0)];
    let embedding = session.encode(&image).unwrap();
    let mut labels = vec![0u16; width * height];
    let separate = session.segment(&embedding, &boxes).unwrap();
    for (segmentation, label) in separate.iter().zip(1..) {
        segmentation.logits().paint(label, &mut labels);
    }
    let iou: Vec<f32> = separate.iter().map(|s| s.predicted_iou()).collect();
    for zoom in [None, Some(ZoomOptions::new().with_max_windows(0))] {
        let before = session.stats();
        let found = session.segment_image(&image, &boxes, zoom.as_ref()).unwrap();
        assert_eq!((&found.labels, &found.predicted_iou), (&labels, &iou));
        assert_eq!(session.stats().encodes - before.encodes, 1);
    }
}

#[test]
fn of_objects_that_overlap_the_later_box_is_seen_through_windows_too() {
    let (pixels, width, height) = cell();
    let image = ImageView::gray8(&pixels, width, height).unwrap();
    let mut session = session();
    let zoom = ZoomOptions::new();
    let objects = [LARGE, SMALL, OTHER];
    let alone = objects.map(|one| session.segment_image(&image, &[one], Some(&zoom)).unwrap());
    for order in [[0, 1, 2], [1, 2, 0]] {
        let boxes = order.map(|i| objects[i]);
        assert_eq!(plan(&boxes, width, height, &zoom).len(), 3);
        let before = session.stats();
        let found = session.segment_image(&image, &boxes, Some(&zoom)).unwrap();
        let spent = session.stats();
        assert_eq!((spent.encodes - before.encodes, spent.decodes - before.decodes), (3, 3));
        let mut labels = vec![0u16; width * height];
        let mut overlap = 0;
        for (i, label) in order.into_iter().zip(1..) {
            for (seen, _) in labels.iter_mut().zip(&alone[i].labels).filter(|(_, l)| **l == 1) {
                overlap += usize::from(*seen > 0);
                *seen = label;
            }
        }
        assert!(overlap > 1000, "{overlap} px");
        assert!(found.labels == labels);
        assert_eq!(found.predicted_iou, order.map(|i| alone[i].predicted_iou[0]));
    }
}

#[test]
fn a_wrong_box_is_named_by_its_place_in_the_request() {
    let pixels = vec![7; 400 * 300];
    let image = ImageView::gray8(&pixels, 400, 300).unwrap();
    let mut session = session();
    for zoom in [None, Some(ZoomOptions::new())] {
        let mut error = |x0, x1| {
            let boxes = [PixelBox::new(0.0, 0.0, 390.0, 200.0), PixelBox::new(x0, 5.0, x1, 9.0)];
            session.segment_image(&image, &boxes, zoom.as_ref()).unwrap_err()
        };
        assert!(matches!(error(400.0, 410.0), Error::BoxOutside { index: 1, axis: 'x', size: 400, .. }));
        assert!(matches!(error(9.0, 5.0), Error::BoxReversed { index: 1, axis: 'x', .. }));
        assert!(matches!(error(f64::NAN, 5.0), Error::BoxNotFinite { index: 1, coordinate: "x0", .. }));
    }
    assert_eq!(session.stats().encodes, 0);
}
