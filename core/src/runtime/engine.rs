//! One ONNX graph, loaded, optimised and ready to run.

use std::prelude::v1::*;

use prost::Message;
use tract_core::internal::*;

use tract_core::runtime::RunOptions;
use tract_linalg::multithread::Executor;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{Framework, InferenceModelExt};

use super::inline::inline_model;
use crate::Error;

/// A loaded graph with its plan and the state that runs it.
#[derive(Debug)]
pub(crate) struct Graph {
    name: &'static str,
    state: TypedSimpleState,
}

impl Graph {
    /// Loads an ONNX model. `shapes` fixes the sizes of the inputs; an input that it doesn't name keeps the sizes, and
    /// the symbols, of the file.
    pub(crate) fn load(
        name: &'static str,
        onnx: &[u8],
        shapes: &[(usize, &[usize])],
        executor: Executor,
    ) -> Result<Self, Error> {
        let engine = |e: TractError| failure(name, "load", &e);
        let mut proto = ModelProto::decode(onnx).map_err(|e| engine(e.into()))?;
        inline_model(&mut proto).map_err(|e| engine(e.into()))?;
        let mut model = tract_onnx::onnx().model_for_proto_model(&proto).map_err(engine)?;
        drop(proto);
        for &(input, shape) in shapes {
            let fact = f32::fact(shape).into();
            model = model.with_input_fact(input, fact).map_err(engine)?;
        }
        let model = model.into_optimized().map_err(engine)?;
        let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
        let plan = TypedSimplePlan::new_with_options(model, &options).map_err(engine)?;
        let state = plan.spawn().map_err(engine)?;
        Ok(Self { name, state })
    }

    /// Runs the graph once.
    pub(crate) fn run(&mut self, inputs: TVec<TValue>) -> Result<TVec<TValue>, Error> {
        self.state.run(inputs).map_err(|e| failure(self.name, "run", &e))
    }
}

fn failure(graph: &str, step: &str, error: &TractError) -> Error {
    Error::Engine { stage: format!("{graph}: {step}"), message: format!("{error:#}") }
}

/// The values of an f32 tensor.
pub(crate) fn floats(tensor: &Tensor) -> Result<&[f32], Error> {
    tensor.try_as_plain_ram().and_then(|t| t.as_slice()).map_err(|e| failure("tensor", "read", &e))
}

/// A tensor of these values.
pub(crate) fn tensor(shape: &[usize], values: &[f32]) -> Result<Tensor, Error> {
    Tensor::from_shape(shape, values).map_err(|e| failure("tensor", "make", &e))
}
