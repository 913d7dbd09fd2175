//! A call of one of our functions, as tract holds it between reading the file and building the block.

use std::prelude::v1::*;

use tract_core::internal::*;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{Expansion, InferenceOp, InferenceResult, IntoExp, Solver, TensorProxy, expand};

use super::attributes::Attributes;

/// What the names of functions in 8 bits end with.
const INT8: &str = "Int8";

/// The functions that run fused.
pub(crate) const FUNCTIONS: [&str; 20] = [
    "PatchEmbed",
    "MbConv",
    "PatchMerging",
    "WindowAttention",
    "LocalConv",
    "Mlp",
    "Neck",
    "ImageTokens",
    "BoxTokens",
    "FirstSelfAttention",
    "SelfAttention",
    "TokenToImage",
    "ImageToToken",
    "TokenMlp",
    "MaskHead",
    "IouHead",
    "WindowAttentionInt8",
    "MlpInt8",
    "NeckInt8",
    "MaskHeadInt8",
];

/// One call: the function's name and its attributes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) function: String,
    attributes: Attributes,
}

/// Lets tract read the calls.
pub(crate) fn register(onnx: &mut Onnx) {
    for function in FUNCTIONS {
        onnx.op_register.insert(function, parse);
    }
}

fn parse(_: &ParsingContext<'_>, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let attributes = Attributes::read(node)?;
    Ok((expand(Call { function: node.op_type.clone(), attributes }), vec![]))
}

impl Call {
    /// The `N` integers of an attribute.
    pub(super) fn attribute<const N: usize>(&self, name: &str) -> TractResult<[i64; N]> {
        Ok(self.attributes.get(name)?)
    }

    /// The function's name without the mark of its 8-bit form.
    pub(crate) fn kind(&self) -> &str {
        self.function.strip_suffix(INT8).unwrap_or(&self.function)
    }

    /// Whether the file wants it in f32, whatever the session computes in: what lower precision would break.
    pub(super) fn exact(&self) -> TractResult<bool> {
        Ok(self.attributes.flag("exact")?)
    }

    /// Whether it is the 8-bit form, in which a matrix takes two inputs: integers and scales.
    fn int8(&self) -> bool {
        self.function.ends_with(INT8)
    }

    /// Number of its inputs, the first ones, that other blocks compute; the rest are weights.
    pub(crate) fn computed_inputs(&self) -> usize {
        match self.kind() {
            "SelfAttention" | "MaskHead" => 2,
            "TokenToImage" | "ImageToToken" => 3,
            _ => 1,
        }
    }

    /// The output's shape for inputs of these shapes.
    fn shape(&self, inputs: &[TVec<TDim>]) -> TractResult<TVec<TDim>> {
        let size = |input: usize, axis: usize| -> TractResult<TDim> {
            let shape = inputs.get(input).with_context(|| format!("{}: input {input} is missing", self.function))?;
            let size = shape.get(axis);
            size.cloned().with_context(|| format!("{}: input {input} has no axis {axis}", self.function))
        };
        Ok(match self.kind() {
            "PatchEmbed" => tvec![size(0, 0)?, size(0, 2)?, size(0, 3)?, size(3, 0)?],
            "PatchMerging" => {
                let strides: [i64; 2] = self.attribute("strides")?;
                ensure!(strides.iter().all(|s| (1..=2).contains(s)), "strides {strides:?}");
                let part = |axis: usize| Ok::<_, TractError>(size(0, axis)?.divceil(strides[axis - 1] as usize));
                tvec![size(0, 0)?, part(1)?, part(2)?, size(5, 0)?]
            }
            "Neck" if self.int8() => tvec![size(0, 0)?, size(5, 0)?, size(0, 1)?, size(0, 2)?],
            "Neck" => tvec![size(0, 0)?, size(4, 0)?, size(0, 1)?, size(0, 2)?],
            "ImageTokens" => tvec![size(0, 0)?, size(0, 2)? * size(0, 3)?, size(0, 1)?],
            "BoxTokens" => tvec![size(0, 0)?, size(2, 1)? + size(3, 1)?, size(2, 2)?],
            "ImageToToken" => tvec![size(0, 0)?, size(2, 1)?, size(2, 2)?],
            "MaskHead" => {
                let cells = size(1, 1)?.to_usize()?;
                let side = 4 * cells.isqrt();
                ensure!(side * side == 16 * cells, "{cells} image tokens are no square");
                tvec![size(0, 0)?, side.to_dim(), side.to_dim()]
            }
            "IouHead" => tvec![size(0, 0)?],
            _ => inputs.first().with_context(|| format!("{}: no input", self.function))?.clone(),
        })
    }
}

impl Expansion for Call {
    fn name(&self) -> StaticName {
        self.function.clone().into()
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
        self.function.clone().into()
    }
    op_as_typed_op!();
}

impl EvalOp for Call {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, _: TVec<TValue>) -> TractResult<TVec<TValue>> {
        // Calls are replaced by blocks before anything runs; tract tries this one when all inputs are constants.
        bail!("{}: not built yet", self.function)
    }
}

impl TypedOp for Call {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let shapes: Vec<TVec<TDim>> = inputs.iter().map(|f| f.shape.to_tvec()).collect();
        Ok(tvec!(f32::fact(self.shape(&shapes)?)))
    }
    as_op!();
}
