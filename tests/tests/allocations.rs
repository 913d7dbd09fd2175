//! What a warm session takes of memory: nothing.

use allocation_counter::measure;
use umedsam::{ImageView, Model, ModelBox, Precision, SessionOptions};
use umedsam_tests::picture;

#[test]
fn a_warm_session_encodes_and_decodes_without_memory() {
    let model = Model::bundled().unwrap();
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let boxes: Vec<ModelBox> =
        (0u8..6).map(|i| ModelBox { x0: f32::from(i) * 20.0, y0: 40.0, x1: 150.0, y1: 180.0 }).collect();
    for precision in Precision::ALL {
        let mut session = model.session(&SessionOptions::new().with_precision(precision)).unwrap();
        let mut embedding = session.encode(&image).unwrap();
        session.decode(&embedding, &boxes, |_, _, _| {}).unwrap();
        let encode = measure(|| session.encode_into(&image, &mut embedding).unwrap());
        assert_eq!(encode.count_total, 0, "{precision}: encode");
        let decode = measure(|| session.decode(&embedding, &boxes, |_, _, _| {}).unwrap());
        assert_eq!(decode.count_total, 0, "{precision}: decode");
    }
}
