//! Writing function bodies out of standard operators.

use tract_onnx::pb::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};

use super::proto;

/// Domain of our functions.
pub const DOMAIN: &str = "umedsam";
/// Version of our functions: a runtime that fuses them must know it.
pub const DOMAIN_VERSION: i64 = 1;
/// Operator set of the bodies: the first with LayerNormalization.
pub const OPSET: i64 = 17;

/// LayerNorm's epsilon in the transformer blocks (PyTorch's default).
pub(super) const LAYER_NORM_EPS: f32 = 1e-5;
/// LayerNorm2d's epsilon in the neck and the mask head.
pub(super) const LAYER_NORM_2D_EPS: f32 = 1e-6;

pub(super) fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto { domain: domain.into(), version }
}

/// The nodes of a function's body; every method appends nodes and names the value that they make.
#[derive(Debug, Default)]
pub(super) struct Body {
    nodes: Vec<NodeProto>,
}

impl Body {
    pub(super) fn op(&mut self, op_type: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let name = format!("{}{}", op_type.to_lowercase(), self.nodes.len());
        self.nodes.push(NodeProto {
            name: name.clone(),
            op_type: op_type.into(),
            input: inputs.iter().map(|&s| s.into()).collect(),
            output: vec![name.clone()],
            attribute,
            ..Default::default()
        });
        name
    }

    pub(super) fn scalar(&mut self, v: f32) -> String {
        self.op("Constant", &[], vec![proto::value(proto::tensor_f32("", &[], &[v]))])
    }

    pub(super) fn index(&mut self, v: i64) -> String {
        self.op("Constant", &[], vec![proto::value(proto::tensor_i64("", &[], &[v]))])
    }

    pub(super) fn ints(&mut self, v: &[i64]) -> String {
        self.op("Constant", &[], vec![proto::ints("value_ints", v)])
    }

    /// The integers of the calling node's attribute.
    pub(super) fn ints_of_call(&mut self, attribute: &str) -> String {
        self.op("Constant", &[], vec![proto::ints_of_call("value_ints", attribute)])
    }

    pub(super) fn add(&mut self, a: &str, b: &str) -> String {
        self.op("Add", &[a, b], vec![])
    }

    pub(super) fn mul(&mut self, a: &str, b: &str) -> String {
        self.op("Mul", &[a, b], vec![])
    }

    pub(super) fn matmul(&mut self, a: &str, b: &str) -> String {
        self.op("MatMul", &[a, b], vec![])
    }

    pub(super) fn linear(&mut self, x: &str, weight: &str, bias: &str) -> String {
        let product = self.matmul(x, weight);
        self.add(&product, bias)
    }

    pub(super) fn transpose(&mut self, x: &str, order: &[i64]) -> String {
        self.op("Transpose", &[x], vec![proto::ints("perm", order)])
    }

    pub(super) fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape], vec![])
    }

    pub(super) fn reshape_by(&mut self, x: &str, attribute: &str) -> String {
        let shape = self.ints_of_call(attribute);
        self.op("Reshape", &[x, &shape], vec![])
    }

    pub(super) fn relu(&mut self, x: &str) -> String {
        self.op("Relu", &[x], vec![])
    }

    pub(super) fn softmax(&mut self, x: &str) -> String {
        self.op("Softmax", &[x], vec![proto::int("axis", -1)])
    }

    pub(super) fn layer_norm(&mut self, x: &str, weight: &str, bias: &str, epsilon: f32) -> String {
        let attributes = vec![proto::int("axis", -1), proto::float("epsilon", epsilon)];
        self.op("LayerNormalization", &[x, weight, bias], attributes)
    }

    /// The exact GELU, spelled as PyTorch exports it, which is the form that runtimes recognise.
    pub(super) fn gelu(&mut self, x: &str) -> String {
        let root = self.scalar(std::f32::consts::SQRT_2);
        let scaled = self.op("Div", &[x, &root], vec![]);
        let erf = self.op("Erf", &[&scaled], vec![]);
        let one = self.scalar(1.0);
        let shifted = self.add(&erf, &one);
        let product = self.mul(x, &shifted);
        let half = self.scalar(0.5);
        self.mul(&product, &half)
    }

    /// Channels-last to channels-first.
    pub(super) fn channels_first(&mut self, x: &str) -> String {
        self.transpose(x, &[0, 3, 1, 2])
    }

    /// Channels-first to channels-last.
    pub(super) fn channels_last(&mut self, x: &str) -> String {
        self.transpose(x, &[0, 2, 3, 1])
    }

    pub(super) fn conv(&mut self, x: &str, weight: &str, bias: &str) -> String {
        self.op("Conv", &[x, weight, bias], vec![])
    }

    /// Closes the body: `value` becomes the function's output `y`.
    pub(super) fn into_function(
        mut self,
        name: &str,
        doc: &str,
        inputs: &[&str],
        attributes: &[&str],
        value: &str,
    ) -> FunctionProto {
        if let Some(node) = self.nodes.iter_mut().find(|n| n.output[0] == value) {
            node.output[0] = "y".into();
        }
        for node in &mut self.nodes {
            for input in node.input.iter_mut().filter(|i| *i == value) {
                *input = "y".into();
            }
        }
        FunctionProto {
            name: Some(name.into()),
            domain: Some(DOMAIN.into()),
            doc_string: Some(doc.into()),
            input: inputs.iter().map(|&s| s.into()).collect(),
            output: vec!["y".into()],
            attribute: attributes.iter().map(|&s| s.into()).collect(),
            node: self.nodes,
            opset_import: vec![opset("", OPSET)],
        }
    }
}
