//! The runtimes that this program runs itself: our session, and tract as it comes.

use std::fs;
use std::path::Path;

use anyhow::Context;
use tract_core::internal::*;
use tract_core::runtime::RunOptions;
use tract_linalg::multithread::Executor;
use tract_onnx::prelude::{Framework, InferenceModelExt};
use umedsam::{Embedding, Frame, MODEL_SIDE, ModelBox, Precision, Session, SessionOptions};
use umedsam_benches::load_model;

/// The network in some runtime.
pub(crate) trait Network {
    /// An encoded image.
    type Embedding;

    /// The runtime's version.
    fn version(&self) -> anyhow::Result<String>;

    /// Encodes a prepared input.
    fn encode(&mut self, image: &[f32]) -> anyhow::Result<Self::Embedding>;

    /// Decodes boxes in one pass and hands over each one's logits.
    fn decode(
        &mut self,
        image: &Self::Embedding,
        boxes: &[ModelBox],
        take: &mut dyn FnMut(&[f32]),
    ) -> anyhow::Result<()>;
}

/// Our session.
pub(crate) struct Ours {
    session: Session,
    frame: Frame,
}

impl Ours {
    pub(crate) fn load(model: Option<&Path>, precision: Precision, threads: usize) -> anyhow::Result<Self> {
        let options = SessionOptions::new().with_threads(threads).with_precision(precision);
        Ok(Self { session: load_model(model)?.session(&options)?, frame: Frame::new(MODEL_SIDE, MODEL_SIDE)? })
    }
}

impl Network for Ours {
    type Embedding = Embedding;

    fn version(&self) -> anyhow::Result<String> {
        Ok(env!("CARGO_PKG_VERSION").into())
    }

    fn encode(&mut self, image: &[f32]) -> anyhow::Result<Embedding> {
        Ok(self.session.encode_input(image, self.frame)?)
    }

    fn decode(&mut self, image: &Embedding, boxes: &[ModelBox], take: &mut dyn FnMut(&[f32])) -> anyhow::Result<()> {
        Ok(self.session.decode(image, boxes, |_, logits, _| take(logits.values()))?)
    }
}

/// tract on the inlined graphs, without any operator of ours.
pub(crate) struct Tract {
    encoder: TypedSimpleState,
    decoder: TypedSimpleState,
}

impl Tract {
    pub(crate) fn load(folder: &Path, threads: usize) -> anyhow::Result<Self> {
        let executor = if threads > 1 { Executor::multithread(threads) } else { Executor::SingleThread };
        let load = |name: &str, shape: Option<&[usize]>| {
            let mut model = tract_onnx::onnx().model_for_path(folder.join(name))?;
            if let Some(shape) = shape {
                model = model.with_input_fact(0, f32::fact(shape).into())?;
            }
            let options = RunOptions { executor: Some(executor.clone()), ..RunOptions::default() };
            TypedSimplePlan::new_with_options(model.into_optimized()?, &options)?.spawn()
        };
        Ok(Self {
            encoder: load("encoder.inlined.onnx", Some(&[1, 3, MODEL_SIDE, MODEL_SIDE]))?,
            decoder: load("decoder.inlined.onnx", None)?,
        })
    }
}

impl Network for Tract {
    type Embedding = TValue;

    /// The version that the workspace is locked to.
    fn version(&self) -> anyhow::Result<String> {
        let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.lock"))?;
        let entry = lock.split("\nname = \"tract-core\"\nversion = \"").nth(1).context("tract-core in Cargo.lock")?;
        Ok(entry.split('"').next().unwrap_or_default().into())
    }

    fn encode(&mut self, image: &[f32]) -> anyhow::Result<TValue> {
        let input = Tensor::from_shape(&[1, 3, MODEL_SIDE, MODEL_SIDE], image)?;
        Ok(self.encoder.run(tvec!(input.into_tvalue()))?.remove(0))
    }

    fn decode(&mut self, image: &TValue, boxes: &[ModelBox], take: &mut dyn FnMut(&[f32])) -> anyhow::Result<()> {
        let coordinates: Vec<f32> = boxes.iter().flat_map(|b| b.to_array()).collect();
        let prompts = Tensor::from_shape(&[boxes.len(), 4], &coordinates)?;
        let outputs = self.decoder.run(tvec!(image.clone(), prompts.into_tvalue()))?;
        let logits = outputs[0].try_as_plain_ram()?;
        logits.as_slice::<f32>()?.chunks_exact(MODEL_SIDE * MODEL_SIDE).for_each(take);
        Ok(())
    }
}
