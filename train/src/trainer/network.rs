//! The network of a run: what of it is trained, what goes in, what comes out.

use std::sync::Arc;

use tch::{Device, Kind, Tensor, nn};

use super::TrainError;
use super::teacher::{Taught, Teacher};
use crate::autocast;
use crate::config::{BatchNorm, Config, Engine, ModelConfig, Precision};
use crate::data::{Batch, Staged};
use crate::embeddings::EmbeddingCache;
use crate::encoder::FrozenEncoder;
use crate::model::{self, LiteMedSam};

/// The network, its variables, and the embeddings of its encoder where that is frozen.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) variables: nn::VarStore,
    pub(super) model: LiteMedSam,
    frozen: Option<FrozenEncoder>,
    /// Whom the losses ask, where they do.
    teacher: Option<Teacher>,
    config: ModelConfig,
    engine: Engine,
    encoder: Encoder,
    /// Images that went through an encoder that isn't frozen.
    encoded: u64,
}

/// What the encoder does in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoder {
    /// Nothing changes in it: an image has one embedding for the whole run.
    Frozen,
    /// Its parameters stay, the statistics of its BatchNorm move.
    Drifting,
    /// Its parameters are trained.
    Trained,
}

/// A batch with its network input.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) teacher: Option<Taught>,
    input: Input,
}

#[derive(Debug)]
enum Input {
    /// (N,256,64,64), which no gradient enters.
    Embeddings(Tensor),
    /// (N,3,256,256).
    Images(Tensor),
}

impl Prepared {
    /// The input by its name, for a report.
    pub(super) fn input(&self) -> (&'static str, &Tensor) {
        match &self.input {
            Input::Embeddings(embeddings) => ("embeddings", embeddings),
            Input::Images(images) => ("images", images),
        }
    }

    /// Samples.
    pub(super) fn len(&self) -> usize {
        self.batch.masks.size()[0] as usize
    }

    /// The batch in pieces of at most `most` samples, which share its memory.
    pub(super) fn pieces(&self, most: usize) -> impl Iterator<Item = Self> {
        (0..self.len()).step_by(most).map(move |start| {
            let (start, length) = (start as i64, most.min(self.len() - start) as i64);
            let part = |t: &Tensor| t.narrow(0, start, length);
            Self {
                batch: self.batch.narrow(start, length),
                teacher: self
                    .teacher
                    .as_ref()
                    .map(|t| Taught { logits: part(&t.logits), embeddings: part(&t.embeddings) }),
                input: match &self.input {
                    Input::Embeddings(embeddings) => Input::Embeddings(part(embeddings)),
                    Input::Images(images) => Input::Images(part(images)),
                },
            }
        })
    }
}

impl Network {
    /// The network with the variables that are there; parameters that aren't trained lose their gradients.
    pub(super) fn new(variables: nn::VarStore, mut model: LiteMedSam, config: &Config) -> Result<Self, TrainError> {
        let (quantization, cache, engine) = (&config.quantization, &config.cache, &config.engine);
        let config = &config.model;
        let names: Vec<String> = variables.variables().into_keys().collect();
        let is_layer = |name: &&String| {
            let of = |v: &String| v.rsplit_once('.').is_some_and(|(layer, _)| layer.starts_with(name.as_str()));
            names.iter().any(of)
        };
        if let Some(name) = quantization.keep.iter().find(|name| !is_layer(name)) {
            return Err(TrainError::NothingKept { name: name.clone() });
        }
        let trainable: Vec<String> =
            variables.variables().into_iter().filter(|(_, v)| v.requires_grad()).map(|(name, _)| name).collect();
        let named = |prefix: &&String| trainable.iter().any(|name| name.starts_with(prefix.as_str()));
        let nothing: Vec<String> = config.trained.iter().filter(|prefix| !named(prefix)).cloned().collect();
        if !nothing.is_empty() {
            return Err(TrainError::NothingTrained { names: nothing });
        }
        let mut encoder = if config.batch_norm == BatchNorm::Batch { Encoder::Drifting } else { Encoder::Frozen };
        for (name, variable) in variables.variables() {
            if !variable.requires_grad() {
                continue;
            }
            if !config.trains(&name) {
                // The handle shares the variable.
                let _ = variable.set_requires_grad(false);
                continue;
            }
            if name.starts_with("image_encoder.") {
                encoder = Encoder::Trained;
            }
        }
        let frozen = match encoder {
            Encoder::Frozen => {
                Some(FrozenEncoder::quantized(&variables, config.precision, engine, quantization, cache)?)
            }
            Encoder::Drifting | Encoder::Trained => None,
        };
        let engine = engine.on(variables.device());
        model.fuse_attention(engine.fused_attention);
        Ok(Self { variables, model, frozen, teacher: None, config: config.clone(), engine, encoder, encoded: 0 })
    }

    /// Asks a teacher of these variables in every batch from now on.
    pub(super) fn learn_from(
        &mut self,
        teacher: (nn::VarStore, LiteMedSam),
        config: &Config,
    ) -> Result<(), TrainError> {
        let own = self.variables.variables();
        let alike = |(name, value): (String, Tensor)| !name.starts_with("image_encoder.") || value.equal(&own[&name]);
        let frozen = self.encoder == Encoder::Frozen && !config.quantization.enabled;
        let shared = frozen && teacher.0.variables().into_iter().all(alike);
        self.teacher = Some(Teacher::new(teacher, shared, config)?);
        Ok(())
    }

    /// The teacher's variables, to be saved.
    pub(super) fn teacher(&self) -> Option<&nn::VarStore> {
        self.teacher.as_ref().map(|teacher| &teacher.variables)
    }

    /// Whether a batch needs the network's inputs.
    pub(super) fn takes_images(&self) -> bool {
        self.frozen.as_ref().is_none_or(FrozenEncoder::takes_images)
            || self.teacher.as_ref().is_some_and(Teacher::takes_images)
    }

    pub(super) const fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(super) fn device(&self) -> Device {
        self.variables.device()
    }

    /// Images encoded since the last call.
    pub(super) fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded) + self.frozen.as_mut().map_or(0, FrozenEncoder::take_encoded)
    }

    /// Where a frozen encoder's embeddings are kept.
    pub(super) fn cache(&self) -> Option<Arc<EmbeddingCache>> {
        self.frozen.as_ref().and_then(|frozen| frozen.cache().cloned())
    }

    /// The trained parameters in order of their names.
    pub(super) fn parameters(&self) -> Vec<(String, Tensor)> {
        self.sorted(|_, value| value.requires_grad())
    }

    /// Which of `model.trained` have no gradient, of any of their parameters.
    pub(super) fn unreached(&self) -> Vec<String> {
        let parameters = self.parameters();
        let reached = |prefix: &&String| {
            parameters.iter().any(|(name, value)| name.starts_with(prefix.as_str()) && value.grad().defined())
        };
        self.config.trained.iter().filter(|prefix| !reached(prefix)).cloned().collect()
    }

    /// BatchNorm's running statistics, where they move.
    pub(super) fn statistics(&self) -> Vec<Tensor> {
        self.named_statistics().into_iter().map(|(_, value)| value).collect()
    }

    /// The same in order of their names.
    pub(super) fn named_statistics(&self) -> Vec<(String, Tensor)> {
        if self.config.batch_norm == BatchNorm::Frozen {
            return Vec::new();
        }
        self.sorted(|name, _| name.contains(".running_"))
    }

    fn sorted(&self, wanted: impl Fn(&str, &Tensor) -> bool) -> Vec<(String, Tensor)> {
        let mut found: Vec<(String, Tensor)> =
            self.variables.variables().into_iter().filter(|(name, value)| wanted(name, value)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// Samples on the device, with their embeddings where the encoder is frozen. At most `at_once` images are encoded
    /// together.
    pub(super) fn prepare(&mut self, staged: &Staged, at_once: usize) -> Result<Prepared, TrainError> {
        let mut batch = staged.to_device(self.device());
        let input = if self.encoder == Encoder::Frozen {
            Input::Embeddings(self.embed(staged, &batch, at_once)?)
        } else {
            self.encoded += staged.pictures.len() as u64;
            Input::Images(images(&batch))
        };
        let own = match &input {
            Input::Embeddings(embeddings) => Some(embeddings),
            Input::Images(_) => None,
        };
        let autocast = self.autocast();
        let teacher = match &mut self.teacher {
            Some(teacher) => Some(teacher.ask((staged, &batch), own, at_once)?),
            None => None,
        };
        drop(autocast);
        if let Some(taught) = &teacher {
            batch.complete(&taught.logits);
        }
        Ok(Prepared { batch, teacher, input })
    }

    /// Embeddings (N,256,64,64), or (1,256,64,64) where all samples share a picture, as the encoder is now, without
    /// gradients and with BatchNorm's running statistics.
    pub(super) fn embed(&mut self, staged: &Staged, batch: &Batch, at_once: usize) -> Result<Tensor, TrainError> {
        if let Some(frozen) = &mut self.frozen {
            return Ok(batch.of_samples(frozen.embed_all(&self.model, (staged, batch), at_once, true)?));
        }
        let images = images(batch);
        self.encoded += staged.pictures.len() as u64;
        let _autocast = self.autocast();
        let encode = |images: &Tensor| self.model.encode(&self.laid_out(images), false).to_kind(Kind::Float);
        let parts: Vec<Tensor> = tch::no_grad(|| images.split(at_once.max(1) as i64, 0).iter().map(encode).collect());
        Ok(batch.of_samples(Tensor::cat(&parts, 0)))
    }

    fn laid_out(&self, images: &Tensor) -> Tensor {
        if self.engine.channels_last { model::channels_last(images) } else { images.shallow_clone() }
    }

    /// Logits (N,1,256,256), predicted IoU (N,1) and embeddings (N,256,64,64) of a batch, with gradients to what is
    /// trained.
    pub(super) fn forward(&self, prepared: &Prepared) -> (Tensor, Tensor, Tensor) {
        let _autocast = self.autocast();
        let embeddings = match &prepared.input {
            Input::Embeddings(embeddings) => embeddings.shallow_clone(),
            Input::Images(images) => {
                let moves = self.config.batch_norm == BatchNorm::Batch;
                let images = self.laid_out(images);
                if self.encoder == Encoder::Trained {
                    self.model.encode(&images, moves)
                } else {
                    tch::no_grad(|| self.model.encode(&images, moves))
                }
            }
        };
        let (logits, iou) = self.model.decode(&embeddings, &prepared.batch.boxes);
        (logits, iou, embeddings)
    }

    /// Logits (N,1,256,256) and predicted IoU (N,1) of a batch, without gradients.
    pub(super) fn decode_batch(
        &mut self,
        staged: &Staged,
        batch: &Batch,
        at_once: usize,
    ) -> Result<(Tensor, Tensor), TrainError> {
        let embeddings = self.embed(staged, batch, at_once)?;
        Ok(tch::no_grad(|| {
            let _autocast = self.autocast();
            self.model.decode(&embeddings, &batch.boxes)
        }))
    }

    fn autocast(&self) -> Option<autocast::Guard> {
        (self.config.precision == Precision::Bf16).then(|| autocast::bf16(self.device()))
    }
}

fn images(batch: &Batch) -> Tensor {
    batch.images.as_ref().expect("a loader that was told to make the network's inputs").shallow_clone()
}
