//! What tract does: it reads, types and folds the graphs that [`onnx`](super::onnx) does not, down to calls of our functions
//! where nothing else remains; and it runs any graph operator by operator.

use std::prelude::v1::*;

use anyhow::Result;
use prost::Message;
use tract_core::internal::*;
use tract_core::ops::konst::Const;
use tract_core::ops::source::TypedSource;
use tract_core::runtime::RunOptions;
use tract_linalg::multithread::Executor;
use tract_onnx::Onnx;
use tract_onnx::model::ParsingContext;
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};
use tract_onnx::prelude::{Framework, InferenceModel, InferenceModelExt};
use tract_onnx::tract_hir::internal::{Expansion, InferenceOp, InferenceResult, IntoExp, Solver, TensorProxy, expand};

use super::calls::{Operand, Size};
use super::constant::Constant;
use super::functions::{ALL, DOMAIN, DOMAIN_VERSION, Function};
use super::inline::inline_model;
use super::onnx::message::Attribute;
use super::ops::{Call, Settings};
use super::program::{Builder, Program};

/// A graph that runs operator by operator.
#[derive(Debug)]
pub(super) struct Plan {
    state: TypedSimpleState,
    outputs: TVec<TValue>,
}

impl Plan {
    pub(super) fn new(onnx: &[u8], shapes: &[(usize, &[usize])], threads: usize) -> Result<Self> {
        let mut proto = ModelProto::decode(onnx)?;
        inline_model(&mut proto, |_, _| false)?;
        let model = read(&tract_onnx::onnx(), &proto, shapes)?.into_optimized()?;
        let executor = if threads > 1 { Executor::multithread(threads) } else { Executor::SingleThread };
        let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
        let state = TypedSimplePlan::new_with_options(model, &options)?.spawn()?;
        Ok(Self { state, outputs: tvec![] })
    }

    pub(super) fn run(&mut self, inputs: &[(&[usize], &[f32])]) -> Result<()> {
        let tensors = inputs.iter().map(|(shape, values)| Ok(Tensor::from_shape(shape, values)?.into_tvalue()));
        let tensors = tensors.collect::<Result<TVec<TValue>>>()?;
        self.outputs = self.state.run(tensors)?;
        for output in &self.outputs {
            output.try_as_plain_ram()?.as_slice::<f32>()?;
        }
        Ok(())
    }

    /// The values of an output of the last run.
    pub(super) fn output(&self, index: usize) -> Option<&[f32]> {
        self.outputs.get(index)?.try_as_plain_ram().ok()?.as_slice().ok()
    }
}

/// The program of a graph in which nothing but constants is left beside its calls.
pub(super) fn program(onnx: &[u8], shapes: &[(usize, &[usize])], settings: Settings) -> Result<Program> {
    let mut proto = ModelProto::decode(onnx)?;
    let ours = proto.opset_import.iter().any(|o| (o.domain.as_str(), o.version) == (DOMAIN, DOMAIN_VERSION));
    ensure!(ours, "no functions of {DOMAIN} {DOMAIN_VERSION}");
    let fused = |name: &str| Function::find(name).is_some_and(|(function, _)| function.is_fused());
    inline_model(&mut proto, |domain, name| domain == DOMAIN && fused(name))?;
    let mut onnx = tract_onnx::onnx();
    for function in ALL.iter().filter(|f| f.is_fused()) {
        for int8 in [false, function.has_int8()] {
            onnx.op_register.0.insert(function.name_in(int8), parse);
        }
    }
    let model = read(&onnx, &proto, shapes)?.into_typed()?.into_decluttered()?;
    let given = model.input_outlets()?;
    let inputs = given.iter().map(|&outlet| sizes(model.outlet_fact(outlet)?.shape.iter())).collect::<Result<_>>()?;
    let mut operands: HashMap<OutletId, Operand<'static>> =
        given.iter().enumerate().map(|(i, &outlet)| (outlet, Operand::Input(i))).collect();
    let mut calls = Vec::new();
    for id in model.eval_order()? {
        let node = model.node(id);
        if node.op_is::<TypedSource>() {
            continue;
        }
        let operand = if let Some(constant) = node.op_as::<Const>() {
            Operand::Constant(Arc::new(Constant::of_tract(constant.val())))
        } else {
            let call = node.op_as::<Call>();
            let call = call.with_context(|| format!("{} is {}, no function of ours", node.name, node.op))?.clone();
            let read = |outlet| operands.get(outlet).cloned().with_context(|| format!("an input of {}", node.name));
            let operands: Vec<_> = node.inputs.iter().map(read).collect::<Result<_>>()?;
            calls.push((node.name.clone(), call, operands));
            Operand::Call(calls.len() - 1)
        };
        operands.insert(OutletId::new(id, 0), operand);
    }
    let outputs = model.output_outlets()?.iter().map(|outlet| match operands.get(outlet) {
        Some(&Operand::Call(call)) => Ok(call),
        _ => bail!("an output that no function computes"),
    });
    let outputs = outputs.collect::<Result<_>>()?;
    // What a call was made from goes once its block is built.
    drop((proto, model, operands));
    let mut builder = Builder::new(inputs, settings)?;
    for (name, call, operands) in calls {
        builder.push(call, &operands).context(name)?;
    }
    Ok(builder.finish(outputs))
}

fn read(onnx: &Onnx, proto: &ModelProto, shapes: &[(usize, &[usize])]) -> Result<InferenceModel> {
    let mut model = onnx.model_for_proto_model(proto)?;
    for &(input, shape) in shapes {
        model = model.with_input_fact(input, f32::fact(shape).into())?;
    }
    Ok(model)
}

fn parse(_: &ParsingContext<'_>, node: &NodeProto) -> Result<(Box<dyn InferenceOp>, Vec<String>)> {
    let attributes: Vec<Attribute<'_>> = node.attribute.iter().map(attribute).collect();
    Ok((expand(Call::new(&node.op_type, &attributes)?), vec![]))
}

fn attribute(a: &AttributeProto) -> Attribute<'_> {
    Attribute { name: &a.name, kind: a.r#type as u64, int: a.i, ints: a.ints.clone() }
}

/// The size of an axis: a symbol is the batch.
fn size(dim: &TDim) -> Result<Size> {
    let at = |n: i64| dim.symbols().iter().fold(SymbolValues::default(), |v, s| v.with(s, n));
    let (one, two) = (dim.eval(&at(1)).to_usize()?, dim.eval(&at(2)).to_usize()?);
    ensure!(one == two || Some(two) == one.checked_mul(2), "a size that is not in proportion to the batch");
    Ok(Size { one, batched: one != two })
}

fn sizes<'d>(dims: impl IntoIterator<Item = &'d TDim>) -> Result<Vec<Size>> {
    dims.into_iter().map(size).collect()
}

/// The shape of a call's result.
fn result_shape(call: &Call, inputs: &[TVec<TDim>]) -> Result<TVec<TDim>> {
    let given: Vec<Vec<Size>> = inputs.iter().map(sizes).collect::<Result<_>>()?;
    let dim = |wanted: Size| {
        if !wanted.batched {
            return Ok(wanted.one.to_dim());
        }
        // Only what an input has itself depends on the batch.
        let known = inputs.iter().flatten().zip(given.iter().flatten()).find(|(_, size)| **size == wanted);
        Ok(known.context("a size that no input has")?.0.clone())
    };
    call.shape(&given)?.into_iter().map(dim).collect()
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
            s.equals(&outputs[0].shape, result_shape(self, &shapes)?)
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
        Ok(tvec!(f32::fact(result_shape(self, &shapes)?)))
    }
    as_op!();
}
