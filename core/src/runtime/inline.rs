//! Replacing calls of ONNX model-local functions by the functions' bodies.
//!
//! Our graphs are written in coarse functions whose bodies are standard operators. onnxruntime inlines them by itself;
//! tract and OpenVINO don't know functions, so they get the inlined form.

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
    /// The bytes are no ONNX model.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The model holds no graph.
    #[error("ONNX model without a graph")]
    NoGraph,
    /// More inputs or outputs than the function declares.
    #[error("node {node}: {given} {what}, function {function} has {declared}")]
    Arity {
        /// Calling node.
        node: String,
        /// Function called.
        function: String,
        /// `inputs` or `outputs`.
        what: &'static str,
        /// Number in the call.
        given: usize,
        /// Number declared.
        declared: usize,
    },
    /// Calls nested too deep.
    #[error("node {node}: function calls nested more than {max} deep")]
    Depth {
        /// Calling node.
        node: String,
        /// Greatest depth.
        max: usize,
    },
    /// The inlined graph would be too large.
    #[error("more than {max} nodes after inlining")]
    Size {
        /// Greatest number of nodes.
        max: usize,
    },
}

/// The ONNX model in `bytes` with every call of a model-local function replaced by the function's body.
///
/// Values inside a body are renamed `CALL/NAME`, after the calling node, so that the result is readable.
pub fn inline_functions(bytes: &[u8]) -> Result<Vec<u8>, InlineError> {
    let mut model = ModelProto::decode(bytes)?;
    inline_model(&mut model)?;
    Ok(model.encode_to_vec())
}

/// As [`inline_functions`], in place.
pub(crate) fn inline_model(model: &mut ModelProto) -> Result<(), InlineError> {
    let functions = std::mem::take(&mut model.functions);
    let by_name: Functions<'_> = functions.iter().map(|f| ((f.domain(), f.name()), f)).collect();
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
