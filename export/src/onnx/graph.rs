//! Assembling a graph of function calls and weights.

use std::collections::BTreeSet;

use half::f16;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use umedsam::Storage;
use umedsam::runtime::functions::{DOMAIN, DOMAIN_VERSION, EXACT, Function};
use umedsam::runtime::quantize_weights;

use super::body::{OPSET, opset};
use super::{Block, OnnxError, proto};
use crate::plan::{FloatPrecision, Plan};

/// Weights of fewer values stay in f32: biases, norms and position frequencies cost nothing and decide much.
const SMALLEST_F16: usize = 1024;

/// A graph under construction.
#[derive(Debug)]
pub(super) struct GraphBuilder<'a> {
    graph: GraphProto,
    blocks: Vec<Block>,
    storage: Storage,
    plan: &'a Plan,
}

/// A finished graph.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) onnx: Vec<u8>,
    pub(super) blocks: Vec<Block>,
}

impl<'a> GraphBuilder<'a> {
    pub(super) fn new(name: &str, storage: Storage, plan: &'a Plan, inputs: Vec<ValueInfoProto>) -> Self {
        let graph = GraphProto { name: name.into(), input: inputs, ..Default::default() };
        Self { graph, blocks: Vec::new(), storage, plan }
    }

    /// Adds weights and names the f32 value that holds them. In f16 they are stored in half the bytes and cast once,
    /// when the graph is loaded.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<String, OnnxError> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape of {name}");
        if self.storage == Storage::F32 || values.len() < SMALLEST_F16 {
            self.graph.initializer.push(proto::tensor_f32(name, shape, values));
            return Ok(name.into());
        }
        let halves: Vec<f16> = values.iter().map(|&v| f16::from_f32(v)).collect();
        if let Some(i) = halves.iter().position(|h| !h.is_finite()) {
            return Err(OnnxError::F16Range { tensor: name.into(), value: values[i] });
        }
        let stored = format!("{name}.f16");
        self.graph.initializer.push(proto::tensor_f16(&stored, shape, &halves));
        let to = vec![proto::int("to", DataType::Float as i64)];
        Ok(self.node("Cast", "", name, &[&stored], to))
    }

    /// Adds the weights of a block that computes in floats; they, too, are in 8 bits if the model is. `axis` is that of
    /// the output channels.
    pub(super) fn float_matrix(
        &mut self,
        block: &str,
        name: &str,
        shape: &[usize],
        axis: usize,
        values: &[f32],
    ) -> Result<String, OnnxError> {
        if !self.is_int8(block) || values.len() < SMALLEST_F16 {
            return self.weight(name, shape, values);
        }
        let (channels, within) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        let [integers, scale] = self.integers(name, shape, values, channels, |i| i / within % channels);
        // 0 would not be written; counted from the end it is the same axis.
        let axis = axis as i64 - shape.len() as i64;
        Ok(self.node("DequantizeLinear", "", name, &[&integers, &scale], vec![proto::int("axis", axis)]))
    }

    /// Adds the weights of a product with activations and names the inputs that they are to a block that has a form in 8
    /// bits: integers and scales if it is written in that, else one of f32.
    pub(super) fn matrix(
        &mut self,
        block: &str,
        name: &str,
        shape: &[usize],
        values: &[f32],
        channels: usize,
        channel: impl Fn(usize) -> usize,
    ) -> Result<Vec<String>, OnnxError> {
        if self.is_int8(block) {
            return Ok(self.integers(name, shape, values, channels, channel).into());
        }
        Ok(vec![self.weight(name, shape, values)?])
    }

    /// Adds weights in 8 bits: integers, and a scale for each output channel.
    fn integers(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
        channels: usize,
        channel: impl Fn(usize) -> usize,
    ) -> [String; 2] {
        let (integers, scale) = quantize_weights(values, channels, channel);
        let names = [format!("{name}.int8"), format!("{name}.scale")];
        self.graph.initializer.push(proto::tensor_i8(&names[0], shape, &integers));
        self.graph.initializer.push(proto::tensor_f32(&names[1], &[channels], &scale));
        names
    }

    /// Whether a block, or its weights if its function has no 8-bit form, is in 8 bits.
    fn is_int8(&self, block: &str) -> bool {
        self.storage == Storage::Int8 && self.plan.block(block).is_none()
    }

    /// Adds a constant that keeps its precision.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.graph.initializer.push(proto::tensor_f32(name, shape, values));
        name.into()
    }

    /// Whether there is a value of this name that is no input.
    pub(super) fn has(&self, name: &str) -> bool {
        self.graph.initializer.iter().any(|t| t.name == name) || self.graph.node.iter().any(|n| n.name == name)
    }

    /// Adds indices below 256, stored in a byte each and cast once, when the graph is loaded.
    pub(super) fn indices(&mut self, name: &str, shape: &[usize], values: &[u8]) -> String {
        let stored = format!("{name}.u8");
        self.graph.initializer.push(proto::tensor_u8(&stored, shape, values));
        self.node("Cast", "", name, &[&stored], vec![proto::int("to", DataType::Int64 as i64)])
    }

    /// Adds a standard operator whose output has the given name.
    pub(super) fn op(&mut self, op_type: &str, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.node(op_type, "", name, inputs, attributes)
    }

    /// Calls one of our functions, in the 8-bit form where it has one and the block is in 8 bits.
    pub(super) fn call(
        &mut self,
        function: &Function,
        block: &str,
        inputs: &[&str],
        mut attr: Vec<AttributeProto>,
        products: usize,
    ) -> String {
        let has_int8 = function.has_int8();
        let name = function.name_in(has_int8 && self.is_int8(block));
        if self.plan.block(block) == Some(FloatPrecision::F32) {
            attr.push(proto::int(EXACT, 1));
        }
        let output = self.node(&name, DOMAIN, block, inputs, attr);
        self.blocks.push(Block { name: block.into(), function: name, has_int8, products: products as u64 });
        output
    }

    fn node(&mut self, op: &str, domain: &str, name: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        self.graph.node.push(NodeProto {
            name: name.into(),
            op_type: op.into(),
            domain: domain.into(),
            input: inputs.iter().map(|&i| i.into()).collect(),
            output: vec![name.into()],
            attribute,
            ..Default::default()
        });
        name.into()
    }

    /// The ONNX file: the graph and those of `functions` that it calls.
    pub(super) fn finish(mut self, outputs: Vec<ValueInfoProto>, functions: Vec<FunctionProto>) -> Built {
        self.graph.output = outputs;
        let used: BTreeSet<&str> = self.blocks.iter().map(|b| b.function.as_str()).collect();
        let model = ModelProto {
            // The first version with model-local functions.
            ir_version: 8,
            producer_name: "umedsam-export".into(),
            producer_version: env!("CARGO_PKG_VERSION").into(),
            opset_import: vec![opset("", OPSET), opset(DOMAIN, DOMAIN_VERSION)],
            graph: Some(self.graph),
            functions: functions.into_iter().filter(|f| used.contains(f.name())).collect(),
            ..Default::default()
        };
        Built { onnx: model.encode_to_vec(), blocks: self.blocks }
    }
}
