//! What fused blocks are checked against: the bodies of the functions that they replace, which tract runs on the values
//! that reach them in a network.

use std::collections::{HashMap, HashSet};

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, ValueInfoProto};
use umedsam::runtime::{Execution, Graph, GraphOptions};

use crate::block::{BOXES, Block, Value, image};

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

/// One call of each function and shape.
fn of_graph(model: &ModelProto, values: &HashMap<String, Value>) -> Vec<Block> {
    let mut seen = HashSet::new();
    let calls = model.graph.as_ref().unwrap().node.iter().filter(|n| !is_constant(n));
    let block = |call: &NodeProto| {
        let (onnx, names) = alone(model, call, values);
        let inputs: Vec<Value> = names.iter().map(|name| values[name].clone()).collect();
        let shapes: Vec<Vec<usize>> = inputs.iter().map(|(shape, _)| shape.clone()).collect();
        let expected = values[&call.output[0]].1.clone();
        let (name, function) = (call.name.clone(), call.op_type.clone());
        seen.insert((function.clone(), shapes)).then_some(Block { name, function, onnx, inputs, expected })
    };
    calls.filter_map(block).collect()
}

/// The blocks of a model.
pub fn blocks(encoder: &[u8], decoder: &[u8]) -> Vec<Block> {
    let [encoder, decoder] = [encoder, decoder].map(|onnx| ModelProto::decode(onnx).unwrap());
    let values = values_of(&encoder, &[("image", image())]);
    let mut blocks = of_graph(&encoder, &values);
    let inputs = [("embedding", values["embedding"].clone()), ("boxes", (vec![3, 4], BOXES.into()))];
    blocks.extend(of_graph(&decoder, &values_of(&decoder, &inputs)));
    blocks
}
