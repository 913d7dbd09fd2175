//! Writing function bodies out of standard operators.

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, FunctionProto, NodeProto, OperatorSetIdProto};
use umedsam::runtime::functions::{DOMAIN, EXACT, Function};

use super::proto;

/// Operator set of the bodies: the first with LayerNormalization.
pub const OPSET: i64 = 17;

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

    /// A linear layer without bias. In 8 bits its activations are quantized, token by token, to 256 steps between their
    /// least and greatest value, of which 0 is one.
    pub(super) fn product(&mut self, int8: bool, x: &str, weight: &str) -> String {
        if !int8 {
            return self.matmul(x, weight);
        }
        let (rounded, step, zero) = self.rounded(x, true);
        let sum = self.op("MatMulInteger", &[&rounded, weight], vec![]);
        let sum = self.cast(&sum, DataType::Float);
        // What the zero step adds to every sum.
        let (weights, axes) = (self.cast(weight, DataType::Float), self.ints(&[0]));
        let columns = self.op("ReduceSum", &[&weights, &axes], vec![proto::int("keepdims", 1)]);
        let excess = self.mul(&zero, &columns);
        let sum = self.op("Sub", &[&sum, &excess], vec![]);
        let scale = self.mul(&step, &format!("{weight}_scale"));
        self.mul(&sum, &scale)
    }

    /// As [`product`](Self::product), with a bias.
    pub(super) fn linear_in(&mut self, int8: bool, x: &str, weight: &str, bias: &str) -> String {
        let product = self.product(int8, x, weight);
        self.add(&product, bias)
    }

    /// A 3x3 convolution of a whole channels-first image in integers: one step size for all of it, since a sum runs over
    /// nine pixels.
    pub(super) fn conv3x3_int8(&mut self, x: &str, weight: &str) -> String {
        let (rounded, step, zero) = self.rounded(x, false);
        let zero = self.cast(&zero, DataType::Uint8);
        let pads = vec![proto::ints("pads", &[1, 1, 1, 1])];
        let sum = self.op("ConvInteger", &[&rounded, weight, &zero], pads);
        let sum = self.cast(&sum, DataType::Float);
        let scale = self.reshape(&format!("{weight}_scale"), &[1, -1, 1, 1]);
        let scale = self.mul(&step, &scale);
        self.mul(&sum, &scale)
    }

    /// Activations in 8 bits, the size of a step and the number of the step that is 0: for each row, or for all.
    fn rounded(&mut self, x: &str, by_row: bool) -> (String, String, String) {
        let extreme = |b: &mut Self, reduce: &str, limit: &str, zero: &str| {
            let attributes = if by_row { vec![proto::ints("axes", &[-1])] } else { vec![proto::no("keepdims")] };
            let found = b.op(reduce, &[x], attributes);
            b.op(limit, &[&found, zero], vec![])
        };
        let none = self.scalar(0.0);
        let least = extreme(self, "ReduceMin", "Min", &none);
        let greatest = extreme(self, "ReduceMax", "Max", &none);
        let range = self.op("Sub", &[&greatest, &least], vec![]);
        let steps = self.scalar(255.0);
        let step = self.op("Div", &[&range, &steps], vec![]);
        let (positive, one) = (self.op("Greater", &[&step, &none], vec![]), self.scalar(1.0));
        let step = self.op("Where", &[&positive, &step, &one], vec![]);
        let offset = self.op("Div", &[&least, &step], vec![]);
        let offset = self.op("Neg", &[&offset], vec![]);
        let zero = self.op("Round", &[&offset], vec![]);
        let scaled = self.op("Div", &[x, &step], vec![]);
        let shifted = self.add(&scaled, &zero);
        let nearest = self.op("Round", &[&shifted], vec![]);
        let clipped = self.op("Clip", &[&nearest, &none, &steps], vec![]);
        (self.cast(&clipped, DataType::Uint8), step, zero)
    }

    fn cast(&mut self, x: &str, to: DataType) -> String {
        self.op("Cast", &[x], vec![proto::int("to", to as i64)])
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

    /// Closes the body of a function in its floating-point or 8-bit form: `value` becomes the output `y`.
    pub(super) fn into_function(mut self, function: &Function, int8: bool, value: &str) -> FunctionProto {
        if let Some(node) = self.nodes.iter_mut().find(|n| n.output[0] == value) {
            node.output[0] = "y".into();
        }
        for node in &mut self.nodes {
            for input in node.input.iter_mut().filter(|i| *i == value) {
                *input = "y".into();
            }
        }
        FunctionProto {
            name: Some(function.name_in(int8)),
            domain: Some(DOMAIN.into()),
            doc_string: Some(function.doc.into()),
            input: function.inputs_in(int8).map(|(name, _)| name).collect(),
            output: vec!["y".into()],
            attribute: function.attributes.iter().chain(&[EXACT]).map(|&s| s.into()).collect(),
            node: self.nodes,
            opset_import: vec![opset("", OPSET)],
        }
    }
}
