//! What sessions take of memory, counted by the allocator, beside what they say of it.

use allocation_counter::measure;
use umedsam::{Embedding, ImageView, Model, PixelBox, Precision, Session, SessionOptions};

/// What `work` returns, the bytes that it keeps, and those that it held at most.
fn counted<R>(work: impl FnOnce() -> R) -> (R, usize, usize) {
    let mut result = None;
    let info = measure(|| result = Some(work()));
    (result.unwrap(), info.bytes_current as usize, info.bytes_max as usize)
}

fn options(precision: Precision, max_batch: usize) -> SessionOptions {
    SessionOptions::new().with_precision(precision).with_max_batch(max_batch)
}

fn encode(session: &mut Session) -> Embedding {
    let pixels: Vec<u8> = (0..200 * 150).map(|i| (i % 200) as u8).collect();
    session.encode(&ImageView::gray8(&pixels, 200, 150).unwrap()).unwrap()
}

fn boxes(count: usize) -> Vec<PixelBox> {
    (0..count).map(|i| PixelBox::new(20.0 + i as f64, 30.0, 120.0, 110.0)).collect()
}

/// Whether two numbers of bytes are within 2 %.
fn close(a: usize, b: usize) -> bool {
    a.abs_diff(b) * 50 <= a.max(b)
}

#[test]
fn a_static_model_is_not_copied() {
    let (model, kept, most) = counted(|| Model::bundled().unwrap());
    assert!(kept < 16_384 && most * 50 < model.size_bytes(), "{kept} bytes kept, at most {most}");
}

#[test]
fn memory_is_what_was_said_beforehand() {
    for (precision, max_batch) in [(Precision::Int8, 1), (Precision::Int8, 4), (Precision::F32, 4)] {
        let model = Model::bundled().unwrap();
        let (mut session, loaded, most) = counted(|| model.session(&options(precision, max_batch)).unwrap());
        let said = session.memory().unwrap();
        let what = format!("{precision}, {max_batch} boxes: {loaded} bytes loaded, at most {most}; {said:?}");
        // The network's input is there from the beginning.
        assert!(close(loaded, said.weights + 3 * 256 * 256 * 4), "{what}");
        assert!(most * 10 <= loaded * 13, "{what}");
        let (embedding, encoded, _) = counted(|| encode(&mut session));
        let (_, decoded, _) = counted(|| drop(session.segment(&embedding, &boxes(max_batch)).unwrap()));
        let taken = loaded + encoded + decoded - size_of_val(embedding.values());
        let now = session.memory().unwrap();
        assert!(close(taken, now.total()), "{what}, {taken} taken");
        assert_eq!((now.weights, now.buffers, now.scratch), (said.weights, said.buffers, said.scratch));
        println!("{what}, {taken} taken");
    }
}

#[test]
fn sessions_share_weights_and_give_all_back() {
    let model = Model::bundled().unwrap();
    let kept = measure(|| {
        let (mut first, ..) = counted(|| model.session(&options(Precision::Int8, 2)).unwrap());
        let (mut second, more, _) = counted(|| model.clone().session(&options(Precision::Int8, 2)).unwrap());
        let memory = second.memory().unwrap();
        assert!(more < memory.buffers / 20, "{more} bytes more, {memory:?}");
        let embedding = encode(&mut first);
        let masks = first.segment(&embedding, &boxes(3)).unwrap();
        drop(first);
        let again = encode(&mut second);
        assert_eq!(embedding.values(), again.values());
        for (a, b) in masks.iter().zip(second.segment(&embedding, &boxes(3)).unwrap()) {
            assert_eq!(a.logits().values(), b.logits().values());
        }
        // Another precision shares nothing with it.
        let other = model.session(&options(Precision::F32, 2)).unwrap().memory().unwrap();
        assert!(other.weights > memory.weights);
    });
    // A list of what was shared is left.
    assert!(kept.bytes_current < 1024, "{kept:?}");
}

/// Masks of an image, by a session with two threads.
fn masks(session: &mut Session, shade: u8) -> Vec<Vec<f32>> {
    let pixels: Vec<u8> = (0..200 * 150).map(|i| (i % 200) as u8 ^ shade).collect();
    let embedding = session.encode(&ImageView::gray8(&pixels, 200, 150).unwrap()).unwrap();
    let found = session.segment(&embedding, &boxes(2)).unwrap();
    found.iter().map(|s| s.logits().values().to_vec()).collect()
}

#[test]
fn sessions_on_the_same_threads_give_the_same_masks_at_the_same_time() {
    let model = Model::bundled().unwrap();
    let new = || model.session(&options(Precision::Int8, 2).with_threads(2)).unwrap();
    let shades = [0, 90, 255];
    let expected = shades.map(|shade| masks(&mut new(), shade));
    assert_ne!(expected[0], expected[1]);
    std::thread::scope(|scope| {
        for (shade, expected) in shades.into_iter().zip(&expected) {
            scope.spawn(move || {
                let mut session = new();
                (0..2).for_each(|_| assert!(masks(&mut session, shade) == *expected, "{shade}"));
            });
        }
    });
}
