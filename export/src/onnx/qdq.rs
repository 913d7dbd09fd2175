//! The 8-bit graph in QuantizeLinear and DequantizeLinear, for toolchains that know these and not our functions.

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto};
use umedsam::runtime::quantize_weights;

use super::{OnnxError, proto};
use crate::layers::{Input, Layer};
use crate::plan::Plan;

/// A graph of standard operators in f32 with the inputs of its `layers` rounded to 256 steps of their ranges in `plan`,
/// and their weights in integers with a scale for each output channel.
///
/// Ranges are fixed, as such graphs have them, so that it loses more than our own form, which measures them.
pub(super) fn qdq<'a>(onnx: &[u8], layers: impl Iterator<Item = &'a Layer>, plan: &Plan) -> Result<Vec<u8>, OnnxError> {
    let mut model = ModelProto::decode(onnx)?;
    let graph = model.graph.as_mut().ok_or(umedsam::runtime::InlineError::NoGraph)?;
    for layer in layers.filter(|layer| plan.block(&layer.block).is_none()) {
        let missing = || OnnxError::NoLayer { layer: layer.name.clone() };
        let at = graph.node.iter().position(|node| node.input.get(1) == Some(&layer.value)).ok_or_else(missing)?;
        let mut added = vec![weights(graph, layer).ok_or_else(missing)?];
        if layer.input != Input::Pixels {
            let range = plan.range(&layer.name).ok_or_else(|| OnnxError::NoRange { layer: layer.name.clone() })?;
            added.extend(activations(graph, layer, at, range));
        }
        graph.node[at].input[1].clone_from(&format!("{}.dq", layer.value));
        graph.node.splice(at..at, added);
    }
    Ok(model.encode_to_vec())
}

/// Stores a layer's weights as integers; the node that makes floats of them, or nothing if the graph has no such weights.
fn weights(graph: &mut GraphProto, layer: &Layer) -> Option<NodeProto> {
    let tensor = graph.initializer.iter_mut().find(|tensor| tensor.name == layer.value)?;
    let values: Vec<f32> = tensor.raw_data.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
    // A product's weights are (inputs, outputs), a convolution's (outputs, ...).
    let (axis, within) = if shape.len() == 2 { (1, 1) } else { (0, values.len() / layer.n) };
    let (integers, scale) = quantize_weights(&values, layer.n, |i| i / within % layer.n);
    let [q, s] = ["int8", "scale"].map(|part| format!("{}.{part}", layer.value));
    *tensor = proto::tensor_i8(&q, &shape, &integers);
    graph.initializer.push(proto::tensor_f32(&s, &[layer.n], &scale));
    let zero = format!("{}.zero", layer.value);
    graph.initializer.push(proto::tensor_i8(&zero, &[layer.n], &vec![0; layer.n]));
    let axis = proto::int("axis", axis - shape.len() as i64);
    Some(node("DequantizeLinear", &[&q, &s, &zero], format!("{}.dq", layer.value), vec![axis]))
}

/// The nodes that round what reaches a layer.
fn activations(graph: &mut GraphProto, layer: &Layer, at: usize, [least, greatest]: [f32; 2]) -> Vec<NodeProto> {
    let step = if greatest > least { (greatest - least) / 255.0 } else { 1.0 };
    let zero = (-least / step).round_ties_even() as u8;
    let [s, z, q, x] = ["step", "offset", "q", "x"].map(|part| format!("{}.{part}", layer.value));
    graph.initializer.push(proto::tensor_f32(&s, &[], &[step]));
    graph.initializer.push(proto::tensor_u8(&z, &[], &[zero]));
    let input = std::mem::replace(&mut graph.node[at].input[0], x.clone());
    let quantize = node("QuantizeLinear", &[&input, &s, &z], q.clone(), vec![]);
    vec![quantize, node("DequantizeLinear", &[&q, &s, &z], x, vec![])]
}

fn node(op: &str, inputs: &[&str], output: String, attribute: Vec<tract_onnx::pb::AttributeProto>) -> NodeProto {
    NodeProto {
        name: output.clone(),
        op_type: op.into(),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: vec![output],
        attribute,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::layers;

    #[test]
    fn a_layer_that_the_graph_lacks_is_an_error() {
        let layer = layers().remove(0);
        let product = NodeProto { input: vec!["x".into(), layer.value.clone()], ..Default::default() };
        for (nodes, what) in [(vec![], "no product"), (vec![product], "no weights")] {
            let graph = GraphProto { node: nodes, ..Default::default() };
            let model = ModelProto { graph: Some(graph), ..Default::default() };
            let error = qdq(&model.encode_to_vec(), [&layer].into_iter(), &Plan::default()).expect_err(what);
            assert!(matches!(&error, OnnxError::NoLayer { layer: name } if *name == layer.name), "{what}: {error}");
        }
    }
}
