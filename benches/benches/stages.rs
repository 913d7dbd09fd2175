//! Time of each stage, from pixels to a mask.
#![allow(missing_docs, reason = "criterion's macros make public functions")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use umedsam::metrics::{Convention, score_case};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::volume::Propagation;
use umedsam::{Frame, ImageView, MaskLogits, Model, ModelBox, Precision, SessionOptions, VolumeSize, VoxelBox};

fn pixels(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 2_654_435_761) >> 13) as u8).collect()
}

/// A disc in the middle of the model's grid.
fn logits() -> Vec<f32> {
    (0..256 * 256i32).map(|i| 3000.0 - ((i % 256 - 128).pow(2) + (i / 256 - 128).pow(2)) as f32).collect()
}

fn around_inference(c: &mut Criterion) {
    let mut preprocessor = Preprocessor::new();
    let mut input = vec![0.0; INPUT_LEN];
    for (w, h) in [(512, 512), (640, 480), (4032, 3024)] {
        let pixels = pixels(w * h * 3);
        let image = ImageView::rgb8(&pixels, w, h).unwrap();
        c.bench_function(&format!("preprocess {w}x{h} RGB"), |b| {
            b.iter(|| preprocessor.preprocess_into(&image, &mut input));
        });
    }
    let logits = logits();
    for (w, h) in [(512, 512), (4032, 3024)] {
        let mut labels = vec![0u16; w * h];
        let mask = MaskLogits::new(&logits, Frame::new(w, h).unwrap());
        c.bench_function(&format!("postprocess {w}x{h}"), |b| b.iter(|| mask.paint(1, &mut labels)));
    }
    let (w, h) = (512, 512);
    let mask = MaskLogits::new(&logits, Frame::new(w, h).unwrap());
    let size = VolumeSize { depth: 16, height: h, width: w };
    let start = || Propagation::new(&[VoxelBox::new(100.0, 100.0, 0.0, 400.0, 400.0, 15.0)], size).unwrap();
    c.bench_function("propagate 16 slices 512x512", |b| {
        b.iter_batched(
            start,
            |mut propagation| {
                while let Some(request) = propagation.next_request().unwrap() {
                    propagation.supply(request.z, 0, &mask).unwrap();
                }
                propagation
            },
            BatchSize::LargeInput,
        );
    });
}

/// Both conventions on a volume with one liver-sized organ, found a little too far to one side.
fn scoring(c: &mut Criterion) {
    let (d, h, w) = (100i64, 512i64, 512i64);
    let organ = |shift: i64| -> Vec<u16> {
        let inside = |i: i64| {
            let (z, y, x) = (i / (h * w) - 50, i / w % h - 260, i % w - 230 - shift);
            (z * 4).pow(2) + y.pow(2) + x.pow(2) < 150 * 150
        };
        (0..d * h * w).map(|i| u16::from(inside(i))).collect()
    };
    let (gt, pred) = (organ(0), organ(3));
    let shape = [100, 512, 512];
    let mut group = c.benchmark_group("score 512x512x100");
    group.sample_size(10);
    group.bench_function("one organ", |b| {
        b.iter(|| score_case(&gt, &pred, &shape, Some([0.8, 0.8, 2.5]), Convention::Boundary));
    });
    group.finish();
}

fn inference(c: &mut Criterion) {
    let model = Model::bundled().unwrap();
    let pixels = pixels(256 * 256);
    let image = ImageView::gray8(&pixels, 256, 256).unwrap();
    for precision in Precision::ALL {
        let mut group = c.benchmark_group(format!("{precision}, 1 thread"));
        group.sample_size(10);
        let mut session = model.session(&SessionOptions::new().with_precision(precision)).unwrap();
        group.bench_function("encode", |b| b.iter(|| session.encode(&image).unwrap()));
        let embedding = session.encode(&image).unwrap();
        for count in [1, 16] {
            let side = |i: usize| ModelBox { x0: i as f32 * 8.0, y0: 40.0, x1: i as f32 * 8.0 + 100.0, y1: 180.0 };
            let boxes: Vec<ModelBox> = (0..count).map(side).collect();
            group.bench_function(format!("decode {count}"), |b| {
                b.iter(|| session.decode(&embedding, &boxes, |_, _, _| {}).unwrap());
            });
        }
        group.bench_function("load the built-in model", |b| {
            b.iter(|| model.session(&SessionOptions::new().with_precision(precision)).unwrap());
        });
        group.finish();
    }
}

criterion_group! {
    name = stages;
    config = Criterion::default().without_plots();
    targets = around_inference, scoring, inference
}
criterion_main!(stages);
