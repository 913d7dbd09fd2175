//! The network of a run: what of it is trained, what goes in, what comes out.

use std::sync::Arc;

use tch::{Device, Kind, Tensor, nn};

use super::TrainError;
use super::teacher::{Taught, Teacher};
use crate::autocast;
use crate::config::{Arithmetic, BatchNorm, Config, ModelConfig};
use crate::data::{Batch, Picture, Sample, images};
use crate::embeddings::EmbeddingCache;
use crate::encoder::FrozenEncoder;
use crate::model::LiteMedSam;

/// The network, its variables, and the embeddings of its encoder where that is frozen.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) variables: nn::VarStore,
    pub(super) model: LiteMedSam,
    frozen: Option<FrozenEncoder>,
    /// Whom the losses ask, where they do.
    teacher: Option<Teacher>,
    config: ModelConfig,
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
}

impl Network {
    /// The network with the variables that are there; parameters that aren't trained lose their gradients.
    pub(super) fn new(variables: nn::VarStore, model: LiteMedSam, config: &Config) -> Result<Self, TrainError> {
        let (quantization, cache, config) = (&config.quantization, &config.cache, &config.model);
        let names: Vec<String> = variables.variables().into_keys().collect();
        let is_layer = |name: &&String| {
            let of = |v: &String| v.rsplit_once('.').is_some_and(|(layer, _)| layer.starts_with(name.as_str()));
            names.iter().any(of)
        };
        if let Some(name) = quantization.keep.iter().find(|name| !is_layer(name)) {
            return Err(TrainError::NothingKept { name: name.clone() });
        }
        let mut any = false;
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
            any = true;
            if name.starts_with("image_encoder.") {
                encoder = Encoder::Trained;
            }
        }
        if !any {
            return Err(TrainError::NothingTrained { names: config.trained.clone() });
        }
        let frozen = match encoder {
            Encoder::Frozen => Some(FrozenEncoder::quantized(&variables, config.arithmetic, quantization, cache)?),
            Encoder::Drifting | Encoder::Trained => None,
        };
        Ok(Self { variables, model, frozen, teacher: None, config: config.clone(), encoder, encoded: 0 })
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
        self.sorted(Tensor::requires_grad)
    }

    /// BatchNorm's running statistics, where they move.
    pub(super) fn statistics(&self) -> Vec<Tensor> {
        if self.config.batch_norm == BatchNorm::Frozen {
            return Vec::new();
        }
        let running = self.variables.variables().into_iter().filter(|(name, _)| name.contains(".running_"));
        running.map(|(_, value)| value).collect()
    }

    fn sorted(&self, wanted: impl Fn(&Tensor) -> bool) -> Vec<(String, Tensor)> {
        let mut found: Vec<(String, Tensor)> =
            self.variables.variables().into_iter().filter(|(_, value)| wanted(value)).collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// Samples on the device, with their embeddings where the encoder is frozen.
    pub(super) fn prepare(&mut self, samples: &[Sample]) -> Result<Prepared, TrainError> {
        let batch = Batch::new(samples, self.device());
        let input = if self.encoder == Encoder::Frozen {
            Input::Embeddings(self.embed(samples)?)
        } else {
            self.encoded += samples.len() as u64;
            let pictures: Vec<&Picture> = samples.iter().map(|s| &s.picture).collect();
            Input::Images(images(&pictures, self.device())?)
        };
        let own = match &input {
            Input::Embeddings(embeddings) => Some(embeddings),
            Input::Images(_) => None,
        };
        let autocast = self.autocast();
        let teacher = match &mut self.teacher {
            Some(teacher) => Some(teacher.ask(samples, &batch.boxes, own)?),
            None => None,
        };
        drop(autocast);
        Ok(Prepared { batch, teacher, input })
    }

    /// Embeddings (N,256,64,64) as the encoder is now, without gradients and with BatchNorm's running statistics.
    pub(super) fn embed(&mut self, samples: &[Sample]) -> Result<Tensor, TrainError> {
        if let Some(frozen) = &mut self.frozen {
            let pictures = samples.iter().map(|s| (&s.picture, s.embedding.as_ref()));
            return Ok(frozen.embed_all(&self.model, pictures)?);
        }
        let pictures: Vec<&Picture> = samples.iter().map(|s| &s.picture).collect();
        self.encoded += samples.len() as u64;
        let _autocast = self.autocast();
        let images = images(&pictures, self.device())?;
        Ok(tch::no_grad(|| self.model.encode(&images, false).to_kind(Kind::Float)))
    }

    /// Logits (N,1,256,256), predicted IoU (N,1) and embeddings (N,256,64,64) of a batch, with gradients to what is
    /// trained.
    pub(super) fn forward(&self, prepared: &Prepared) -> (Tensor, Tensor, Tensor) {
        let _autocast = self.autocast();
        let embeddings = match &prepared.input {
            Input::Embeddings(embeddings) => embeddings.shallow_clone(),
            Input::Images(images) => {
                let moves = self.config.batch_norm == BatchNorm::Batch;
                if self.encoder == Encoder::Trained {
                    self.model.encode(images, moves)
                } else {
                    tch::no_grad(|| self.model.encode(images, moves))
                }
            }
        };
        let (logits, iou) = self.model.decode(&embeddings, &prepared.batch.boxes);
        (logits, iou, embeddings)
    }

    /// As [`Self::forward`], of embeddings and boxes, without gradients.
    pub(super) fn decode(&self, embeddings: &Tensor, boxes: &Tensor) -> (Tensor, Tensor) {
        tch::no_grad(|| {
            let _autocast = self.autocast();
            self.model.decode(embeddings, boxes)
        })
    }

    fn autocast(&self) -> Option<autocast::Guard> {
        (self.config.arithmetic == Arithmetic::Bf16).then(|| autocast::bf16(self.device()))
    }
}
