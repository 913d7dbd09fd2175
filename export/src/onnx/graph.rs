//! Assembling a graph of function calls and weights.

use std::collections::BTreeSet;

use half::f16;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use umedsam::Precision;
use umedsam::runtime::quantize_weights;

use super::body::{DOMAIN, DOMAIN_VERSION, Form, OPSET, opset};
use super::{OnnxError, proto};

/// Weights of fewer values stay in f32: biases, norms and position frequencies cost nothing and decide much.
const SMALLEST_F16: usize = 1024;

/// A graph under construction.
#[derive(Debug)]
pub(super) struct GraphBuilder {
    graph: GraphProto,
    used: BTreeSet<String>,
    precision: Precision,
}

impl GraphBuilder {
    pub(super) fn new(name: &str, precision: Precision, inputs: Vec<ValueInfoProto>) -> Self {
        let graph = GraphProto { name: name.into(), input: inputs, ..Default::default() };
        Self { graph, used: BTreeSet::new(), precision }
    }

    /// Adds weights and names the f32 value that holds them. In f16 they are stored in half the bytes and cast once,
    /// when the graph is loaded.
    pub(super) fn weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<String, OnnxError> {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "shape of {name}");
        if self.precision == Precision::F32 || values.len() < SMALLEST_F16 {
            self.graph.initializer.push(proto::tensor_f32(name, shape, values));
            return Ok(name.into());
        }
        if let (Precision::Int8, [_, n]) = (self.precision, shape) {
            let [integers, scale] = self.integers(name, shape, values, *n, |i| i % n);
            return Ok(self.node("DequantizeLinear", "", name, &[&integers, &scale], vec![proto::int("axis", 1)]));
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

    /// Adds the weights of a product with activations and names the inputs that they are to a function: one of f32, or
    /// integers and scales if the function has a form in 8 bits and the model is in it.
    pub(super) fn matrix(
        &mut self,
        name: &str,
        shape: &[usize],
        values: &[f32],
        channels: usize,
        channel: impl Fn(usize) -> usize,
    ) -> Result<Vec<String>, OnnxError> {
        if self.precision == Precision::Int8 {
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

    /// The form of functions that the model is written in.
    pub(super) fn form(&self) -> Form {
        if self.precision == Precision::Int8 { Form::Int8 } else { Form::Float }
    }

    /// Adds a constant that keeps its precision.
    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.graph.initializer.push(proto::tensor_f32(name, shape, values));
        name.into()
    }

    /// Whether a weight or constant of this name was added.
    pub(super) fn has(&self, name: &str) -> bool {
        self.graph.initializer.iter().any(|t| t.name == name)
    }

    /// Adds a list of indices.
    pub(super) fn indices(&mut self, name: &str, shape: &[usize], values: &[i64]) -> String {
        self.graph.initializer.push(proto::tensor_i64(name, shape, values));
        name.into()
    }

    /// Adds a standard operator whose output has the given name.
    pub(super) fn op(&mut self, op_type: &str, name: &str, inputs: &[&str], attributes: Vec<AttributeProto>) -> String {
        self.node(op_type, "", name, inputs, attributes)
    }

    /// Calls one of our functions that has a form in 8 bits.
    pub(super) fn call_form(
        &mut self,
        function: &str,
        name: &str,
        inputs: &[&str],
        attr: Vec<AttributeProto>,
    ) -> String {
        self.call(&self.form().name(function), name, inputs, attr)
    }

    /// Calls one of our functions.
    pub(super) fn call(&mut self, function: &str, name: &str, inputs: &[&str], attr: Vec<AttributeProto>) -> String {
        self.used.insert(function.into());
        self.node(function, DOMAIN, name, inputs, attr)
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
    pub(super) fn finish(mut self, outputs: Vec<ValueInfoProto>, functions: Vec<FunctionProto>) -> Vec<u8> {
        self.graph.output = outputs;
        let used = &self.used;
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
        model.encode_to_vec()
    }
}
