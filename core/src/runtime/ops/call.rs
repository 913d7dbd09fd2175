//! A call of one of our functions, as tract holds it between reading the file and building the block.

use std::prelude::v1::*;

use tract_core::internal::*;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Expansion, InferenceOp, InferenceResult, IntoExp, Solver, TensorProxy, expand};

use super::shape::Sizes;
use crate::runtime::functions::{ALL, EXACT, Function, STRIDES};

/// One call: the function, its form, and the attributes that are lists of integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// The function's name in this form.
    pub(crate) name: String,
    pub(super) function: &'static Function,
    /// Whether it is the 8-bit form, in which a matrix takes two inputs: integers and scales.
    int8: bool,
    attributes: Vec<(String, Vec<i64>)>,
}

/// Lets tract read the calls.
pub(crate) fn register(onnx: &mut Onnx) {
    for function in ALL.iter().filter(|f| f.is_fused()) {
        for int8 in [false, function.has_int8()] {
            onnx.op_register.0.insert(function.name_in(int8), parse);
        }
    }
}

fn parse(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let name = node.op_type.clone();
    let (function, int8) = Function::find(&name).with_context(|| format!("function {name} is not known"))?;
    let attribute = |a: &tract_onnx::pb::AttributeProto| {
        (a.name.clone(), if a.ints.is_empty() { vec![a.i] } else { a.ints.clone() })
    };
    let attributes = node.attribute.iter().map(attribute).collect();
    Ok((expand(Call { name, function, int8, attributes }), vec![]))
}

impl Call {
    /// An attribute's integers.
    pub(crate) fn attribute(&self, name: &str) -> TractResult<&[i64]> {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, v)| v.as_slice()).with_context(|| format!("{}: attribute {name} is missing", self.name))
    }

    /// Whether the file wants it in f32, whatever the session computes in: what lower precision would harm.
    pub(super) fn exact(&self) -> bool {
        self.attribute(EXACT).is_ok_and(|v| v == [1])
    }

    /// What an input is called in messages.
    pub(super) fn input_name(&self, index: usize) -> String {
        let name = self.function.inputs_in(self.int8).nth(index).map_or_else(String::new, |(name, _)| name);
        format!("{}: input {index} ({name})", self.name)
    }

    /// Number of its inputs, the first ones, that other blocks compute; the rest are weights.
    pub(crate) fn computed_inputs(&self) -> usize {
        self.function.activations()
    }

    /// The output's shape for inputs of these shapes, which must be those of the function.
    fn shape(&self, inputs: &[TVec<TDim>]) -> TractResult<TVec<TDim>> {
        let expected = self.function.inputs_in(self.int8).count();
        ensure!(inputs.len() == expected, "{}: {} inputs, {expected} expected", self.name, inputs.len());
        let mut sizes = Sizes::default();
        for (index, ((_, shape), given)) in self.function.inputs_in(self.int8).zip(inputs).enumerate() {
            sizes.bind(shape, given).with_context(|| self.input_name(index))?;
        }
        let shape = sizes.shape(self.function.output, self.attribute(STRIDES).ok());
        shape.with_context(|| self.name.clone())
    }
}

impl Expansion for Call {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        s.equals(&outputs[0].datum_type, f32::datum_type())?;
        let shapes: Vec<_> = inputs.iter().map(|i| (&i.shape).bex()).collect();
        s.given_all(shapes, move |s, shapes| {
            let shapes: Vec<TVec<TDim>> = shapes.into_iter().collect();
            s.equals(&outputs[0].shape, self.shape(&shapes)?)
        })
    }

    fn wire(&self, name: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        model.wire_node(name, self.clone(), inputs)
    }
}

impl Op for Call {
    fn name(&self) -> StaticName {
        self.name.clone().into()
    }
    op_as_typed_op!();
}

impl EvalOp for Call {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, _: TVec<TValue>) -> TractResult<TVec<TValue>> {
        // Calls are replaced by blocks before anything runs; tract tries this one when all inputs are constants.
        bail!("{}: not built yet", self.name)
    }
}

impl TypedOp for Call {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: Vec<TVec<TDim>> = inputs.iter().map(|f| f.shape.to_tvec()).collect();
        Ok(tvec!(f32::fact(self.shape(&shapes)?)))
    }
    as_op!();
}
