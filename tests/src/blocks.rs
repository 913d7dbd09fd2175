//! Each fused block against the body of the function that it replaces, on the values that reach it in the network, with
//! every set of kernels that this CPU runs, the portable one among them. The memory of the blocks holds NaN wherever
//! they did not write.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::{Execution, Graph, GraphOptions, Kernels};
use umedsam::{ImageView, Precision};

use crate::values::{max_difference, picture, scale};

/// Three boxes on the model's grid.
pub const BOXES: [f32; 12] = [10.0, 20.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25, 0.0, 0.0, 255.0, 255.0];

/// A tensor: its shape and its values.
pub type Value = (Vec<usize>, Vec<f32>);

/// The picture as the encoder takes it.
pub fn image() -> Value {
    let mut input = vec![0.0; INPUT_LEN];
    let pixels = picture();
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, 256, 256).unwrap(), &mut input);
    (vec![1, 3, 256, 256], input)
}

/// Threads of a test: WebAssembly has one.
const fn threads() -> usize {
    if cfg!(target_family = "wasm") { 1 } else { 2 }
}

/// Sets of kernels that are tested, the fastest first: elsewhere than on x86-64 the others would take too long, emulated.
const fn sets() -> usize {
    if cfg!(target_arch = "x86_64") { usize::MAX } else { 1 }
}

/// Whether tract runs the node's body only, as part of another's weights.
fn is_constant(node: &NodeProto) -> bool {
    node.domain != "umedsam" || node.op_type == "PositionEncoding"
}

/// The shape of a block's result: images and tokens are told apart by their length.
fn shape(len: usize) -> Vec<usize> {
    let image = |side: usize, c: usize| vec![1, side, side, c];
    match len / 256 {
        16384 => image(256, 64),
        8192 => image(128, 128),
        2560 => image(64, 160),
        5120 => image(64, 320),
        4096 => vec![1, 4096, 256],
        n if n == 3 * 4096 => vec![3, 4096, 256],
        n if n == 3 * 7 => vec![3, 7, 256],
        n if n == 3 * 256 => vec![3, 256, 256],
        _ => vec![len],
    }
}

/// The values of all blocks of a model, from the functions' bodies in tract.
fn values_of(model: &ModelProto, inputs: &[(&str, Value)]) -> HashMap<String, Value> {
    let mut tapped = model.clone();
    let graph = tapped.graph.as_mut().unwrap();
    let names: Vec<String> = graph.node.iter().filter(|n| !is_constant(n)).map(|n| n.output[0].clone()).collect();
    graph.output = names.iter().map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
    let options = GraphOptions::default().with_execution(Execution::Operators).with_threads(threads());
    let shapes: Vec<(usize, &[usize])> =
        inputs.iter().enumerate().map(|(i, (_, (shape, _)))| (i, &shape[..])).collect();
    let mut graph = Graph::load("bodies", &tapped.encode_to_vec(), &shapes, &options).unwrap();
    assert!(!graph.is_fused());
    graph.run(&inputs.iter().map(|(_, (shape, v))| (&shape[..], &v[..])).collect::<Vec<_>>()).unwrap();
    let mut values: HashMap<String, Value> = inputs.iter().map(|(name, v)| ((*name).into(), v.clone())).collect();
    for (i, name) in names.into_iter().enumerate() {
        let found = graph.output(i).unwrap().to_vec();
        values.insert(name, (shape(found.len()), found));
    }
    // The embedding is channels-first.
    if let Some(embedding) = values.get_mut("embedding") {
        embedding.0 = vec![1, 256, 64, 64];
    }
    values
}

/// The model of one call: its weights, and as inputs what other blocks give it.
fn alone(model: &ModelProto, call: &NodeProto, values: &HashMap<String, Value>) -> (Vec<u8>, Vec<String>) {
    let graph = model.graph.as_ref().unwrap();
    let mut inputs: Vec<String> = Vec::new();
    for name in call.input.iter().filter(|name| values.contains_key(*name)) {
        if !inputs.contains(name) {
            inputs.push(name.clone());
        }
    }
    let info = |name: &String| {
        let declared = graph.input.iter().chain(&graph.output).find(|v| v.name == *name).cloned();
        declared.unwrap_or_else(|| ValueInfoProto { name: name.clone(), ..graph.input[0].clone() })
    };
    let mut needed: HashSet<&String> = call.input.iter().collect();
    let mut nodes = vec![call.clone()];
    for node in graph.node.iter().rev().filter(|n| is_constant(n)) {
        if needed.contains(&node.output[0]) {
            needed.extend(&node.input);
            nodes.insert(0, node.clone());
        }
    }
    let single = GraphProto {
        node: nodes,
        initializer: graph.initializer.iter().filter(|t| needed.contains(&t.name)).cloned().collect(),
        input: inputs.iter().map(info).collect(),
        output: vec![ValueInfoProto { name: call.output[0].clone(), ..Default::default() }],
        ..Default::default()
    };
    let functions = model.functions.clone();
    let opset_import = model.opset_import.clone();
    let ir_version = model.ir_version;
    let model = ModelProto { ir_version, opset_import, functions, graph: Some(single), ..Default::default() };
    (model.encode_to_vec(), inputs)
}

/// Checks one call of each function and shape; `tolerance` is in parts of the result's scale.
fn check(model: &[u8], inputs: &[(&str, Value)], precisions: &[(Precision, f32)]) -> HashMap<String, Value> {
    let model = ModelProto::decode(model).unwrap();
    let values = values_of(&model, inputs);
    let mut seen = HashSet::new();
    for call in model.graph.as_ref().unwrap().node.iter().filter(|n| !is_constant(n)) {
        let (onnx, names) = alone(&model, call, &values);
        let given: Vec<(&[usize], &[f32])> = names.iter().map(|n| (&values[n].0[..], &values[n].1[..])).collect();
        let shapes: Vec<(usize, &[usize])> = given.iter().enumerate().map(|(i, (shape, _))| (i, *shape)).collect();
        if !seen.insert((call.op_type.clone(), format!("{shapes:?}"))) {
            continue;
        }
        let expected = &values[&call.output[0]].1;
        for kernels in Kernels::available().take(sets()) {
            for &(precision, tolerance) in precisions {
                // The bodies of functions in 8 bits round what they multiply, other precisions don't.
                let tolerance = if call.op_type.ends_with("Int8") { tolerance.max(0.02) } else { tolerance };
                // Slow where nothing helps it; its rounded products have tests of their own.
                if kernels.name() == "portable" && precision != Precision::F32 {
                    continue;
                }
                let options = GraphOptions::default().with_precision(precision).with_kernels(kernels);
                let options = options.with_threads(threads()).with_poisoned_memory();
                let mut graph = Graph::load("fused", &onnx, &shapes, &options).unwrap();
                assert!(graph.is_fused());
                graph.run(&given).unwrap();
                let difference = max_difference(graph.output(0).unwrap(), expected) / scale(expected);
                let what = format!("{} in {precision} by {}: {difference:e}", call.name, kernels.name());
                println!("{what}");
                assert!(difference < tolerance, "{what}");
            }
        }
    }
    values
}

/// Checks all blocks of a model.
pub fn check_model(encoder: &[u8], decoder: &[u8], precisions: &[(Precision, f32)]) {
    let mut values = check(encoder, &[("image", image())], precisions);
    let embedding = values.remove("embedding").unwrap();
    check(decoder, &[("embedding", embedding), ("boxes", (vec![3, 4], BOXES.into()))], precisions);
}
