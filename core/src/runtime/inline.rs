//! Replacing calls of ONNX model-local functions by the functions' bodies.
//!
//! The graphs are written in coarse functions whose bodies are standard operators. onnxruntime inlines them itself;
//! tract and OpenVINO do not support functions and are given the inlined form.

use std::collections::HashMap;
use std::prelude::v1::*;

use prost::Message;
use tract_onnx::pb::{AttributeProto, FunctionProto, ModelProto, NodeProto};

/// Calls within calls beyond this depth are refused: functions that call each other would never end.
const MAX_DEPTH: usize = 8;
/// Nodes beyond this number are refused: a few nested calls can ask for billions.
const MAX_NODES: usize = 100_000;

/// Why a model could not be inlined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InlineError {
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The model contains no graph.
    #[error("ONNX model without a graph")]
    NoGraph,
    /// A call has more inputs or outputs than its function declares.
    #[error("node {node}: {given} {what}, function {function} has {declared}")]
    Arity {
        /// Name of the calling node.
        node: String,
        /// Name of the function.
        function: String,
        /// `inputs` or `outputs`.
        what: &'static str,
        /// Their number in the call.
        given: usize,
        /// Their number in the declaration.
        declared: usize,
    },
    /// Calls are nested too deep.
    #[error("node {node}: function calls nested more than {max} deep")]
    Depth {
        /// Name of the calling node.
        node: String,
        /// Greatest depth that is accepted.
        max: usize,
    },
    /// The inlined graph would be too large.
    #[error("more than {max} nodes after inlining")]
    Size {
        /// Greatest number of nodes that is accepted.
        max: usize,
    },
}

/// Returns the ONNX model in `bytes` with every call of a model-local function replaced by the function's body.
///
/// Values inside a body are named `CALL/NAME` after the calling node.
///
/// # Errors
/// [`InlineError`] if the bytes are not an ONNX model, if a call does not fit its function, or if the result would
/// exceed the bounds on nesting and on the number of nodes.
pub fn inline_functions(bytes: &[u8]) -> Result<Vec<u8>, InlineError> {
    let mut model = ModelProto::decode(bytes)?;
    inline_model(&mut model, |_, _| false)?;
    Ok(model.encode_to_vec())
}

/// As [`inline_functions`], in place, and leaving alone the calls of functions that `keep` wants by domain and name.
pub(crate) fn inline_model(model: &mut ModelProto, keep: impl Fn(&str, &str) -> bool) -> Result<(), InlineError> {
    let functions = std::mem::take(&mut model.functions);
    let by_name: Functions<'_> = functions
        .iter()
        .map(|f| ((f.domain(), f.name()), f))
        .filter(|((domain, name), _)| !keep(domain, name))
        .collect();
    let graph = model.graph.as_mut().ok_or(InlineError::NoGraph)?;
    let mut nodes = Vec::with_capacity(graph.node.len());
    for node in std::mem::take(&mut graph.node) {
        expand(node, &by_name, 0, &mut nodes)?;
    }
    graph.node = nodes;
    model.opset_import.retain(|o| by_name.keys().all(|&(domain, _)| domain != o.domain));
    Ok(())
}

type Functions<'a> = HashMap<(&'a str, &'a str), &'a FunctionProto>;

fn expand(
    node: NodeProto,
    functions: &Functions<'_>,
    depth: usize,
    out: &mut Vec<NodeProto>,
) -> Result<(), InlineError> {
    let Some(function) = functions.get(&(node.domain.as_str(), node.op_type.as_str())) else {
        if out.len() >= MAX_NODES {
            return Err(InlineError::Size { max: MAX_NODES });
        }
        out.push(node);
        return Ok(());
    };
    if depth >= MAX_DEPTH {
        return Err(InlineError::Depth { node: node.name, max: MAX_DEPTH });
    }
    let arity = |what, given: usize, declared: usize| {
        let (node, function) = (node.name.clone(), node.op_type.clone());
        if given > declared { Err(InlineError::Arity { node, function, what, given, declared }) } else { Ok(()) }
    };
    arity("inputs", node.input.len(), function.input.len())?;
    arity("outputs", node.output.len(), function.output.len())?;

    // Inputs left out of a call are empty names, as everywhere in ONNX.
    let given = node.input.iter().chain(std::iter::repeat(&EMPTY)).cloned();
    let mut names: HashMap<String, String> = function.input.iter().cloned().zip(given).collect();
    names.extend(function.output.iter().cloned().zip(node.output.iter().cloned()));
    names.insert(String::new(), String::new());
    let mut rename =
        |name: &str| names.entry(name.to_owned()).or_insert_with(|| format!("{}/{name}", node.name)).clone();
    for body in &function.node {
        let inner = NodeProto {
            input: body.input.iter().map(|n| rename(n)).collect(),
            output: body.output.iter().map(|n| rename(n)).collect(),
            name: format!("{}/{}", node.name, body.name),
            op_type: body.op_type.clone(),
            domain: body.domain.clone(),
            attribute: body.attribute.iter().filter_map(|a| bind(a, &node.attribute)).collect(),
            doc_string: String::new(),
        };
        expand(inner, functions, depth + 1, out)?;
    }
    Ok(())
}

static EMPTY: String = String::new();

/// An attribute of a body's node: itself, or the call's attribute that it refers to; absent if the call has none.
fn bind(attribute: &AttributeProto, call: &[AttributeProto]) -> Option<AttributeProto> {
    if attribute.ref_attr_name.is_empty() {
        return Some(attribute.clone());
    }
    let given = call.iter().find(|a| a.name == attribute.ref_attr_name)?;
    Some(AttributeProto { name: attribute.name.clone(), ..given.clone() })
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::GraphProto;

    use super::*;

    fn node(op: &str, name: &str, inputs: &[&str]) -> NodeProto {
        let domain = if op.starts_with('F') { "d" } else { "" };
        NodeProto {
            op_type: op.into(),
            domain: domain.into(),
            name: name.into(),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![name.into()],
            ..Default::default()
        }
    }

    fn function(name: &str, body: Vec<NodeProto>) -> FunctionProto {
        FunctionProto {
            name: Some(name.into()),
            domain: Some("d".into()),
            input: vec!["x".into()],
            output: vec!["y".into()],
            node: body,
            ..Default::default()
        }
    }

    fn inlined(nodes: Vec<NodeProto>, functions: Vec<FunctionProto>) -> Result<Vec<NodeProto>, InlineError> {
        let graph = GraphProto { node: nodes, ..Default::default() };
        let mut model = ModelProto { graph: Some(graph), functions, ..Default::default() };
        inline_model(&mut model, |_, _| false)?;
        Ok(model.graph.unwrap_or_default().node)
    }

    #[test]
    fn names_inside_a_body_are_kept_apart_and_attributes_are_bound() {
        let mut relu = node("Relu", "t", &["x"]);
        relu.attribute.push(AttributeProto { name: "axis".into(), ref_attr_name: "a".into(), ..Default::default() });
        relu.attribute.push(AttributeProto { name: "gone".into(), ref_attr_name: "b".into(), ..Default::default() });
        let body = vec![relu, node("Neg", "y", &["t"])];
        let mut first = node("F", "one", &["in"]);
        first.attribute.push(AttributeProto { name: "a".into(), i: 7, ..Default::default() });
        let nodes = inlined(vec![first, node("F", "two", &["one"])], vec![function("F", body)]).unwrap();
        let wiring: Vec<String> =
            nodes.iter().map(|n| format!("{}({})={}", n.op_type, n.input.join(","), n.output.join(","))).collect();
        assert_eq!(wiring, ["Relu(in)=one/t", "Neg(one/t)=one", "Relu(one)=two/t", "Neg(two/t)=two"]);
        assert_eq!(nodes[0].attribute.len(), 1);
        assert_eq!((nodes[0].attribute[0].name.as_str(), nodes[0].attribute[0].i), ("axis", 7));
        assert!(nodes[2].attribute.is_empty());
    }

    #[test]
    fn functions_cannot_call_each_other_for_ever() {
        let functions =
            vec![function("F", vec![node("FF", "y", &["x"])]), function("FF", vec![node("F", "y", &["x"])])];
        let error = inlined(vec![node("F", "out", &["in"])], functions).unwrap_err();
        assert!(matches!(error, InlineError::Depth { max: MAX_DEPTH, .. }), "{error}");
    }

    #[test]
    fn a_few_functions_cannot_ask_for_billions_of_nodes() {
        let call = |depth: usize| node(&"F".repeat(depth), "y", &["x"]);
        let mut functions = vec![function("F", vec![node("Relu", "y", &["x"])])];
        functions.extend((2..=7).map(|depth| function(&"F".repeat(depth), vec![call(depth - 1); 100])));
        let error = inlined(vec![call(7)], functions).unwrap_err();
        assert!(matches!(error, InlineError::Size { max: MAX_NODES }), "{error}");
    }

    #[test]
    fn a_call_with_too_many_inputs_is_refused() {
        let functions = vec![function("F", vec![node("Relu", "y", &["x"])])];
        let error = inlined(vec![node("F", "out", &["a", "b"])], functions).unwrap_err();
        assert_eq!(error.to_string(), "node out: 2 inputs, function F has 1");
        assert!(inline_functions(b"\xff\xff").is_err());
        assert!(matches!(inline_functions(&[]), Err(InlineError::NoGraph)));
    }
}
