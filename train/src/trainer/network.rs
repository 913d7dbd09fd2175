//! The network of a run: what of it is trained, what goes in, what comes out.

use std::io;
use std::sync::Arc;

use tch::{Device, Tensor, nn};

use super::TrainError;
use crate::autocast;
use crate::config::{Arithmetic, BatchNorm, CacheConfig, ModelConfig};
use crate::data::{Batch, Picture, Sample, images};
use crate::embeddings::EmbeddingCache;
use crate::model::LiteMedSam;

/// The network, its variables, and the embeddings of its encoder where that is frozen.
#[derive(Debug)]
pub(super) struct Network {
    pub(super) variables: nn::VarStore,
    pub(super) model: LiteMedSam,
    pub(super) cache: Option<Arc<EmbeddingCache>>,
    config: ModelConfig,
    encoder: Encoder,
    /// Images that went through the encoder.
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
    pub(super) fn new(
        variables: nn::VarStore,
        model: LiteMedSam,
        config: &ModelConfig,
        cache: &CacheConfig,
    ) -> Result<Self, TrainError> {
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
        let cache = if encoder == Encoder::Frozen {
            let open = |e: io::Error| TrainError::Cache { source: e };
            EmbeddingCache::open(cache, &variables).map_err(open)?.map(Arc::new)
        } else {
            None
        };
        Ok(Self { variables, model, cache, config: config.clone(), encoder, encoded: 0 })
    }

    pub(super) fn device(&self) -> Device {
        self.variables.device()
    }

    /// Images encoded since the last call.
    pub(super) fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded)
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
        Ok(Prepared { batch, input })
    }

    /// Embeddings (N,256,64,64) as the encoder is now, without gradients and with BatchNorm's running statistics.
    pub(super) fn embed(&mut self, samples: &[Sample]) -> Result<Tensor, TrainError> {
        let device = self.device();
        let missing: Vec<&Sample> = samples.iter().filter(|s| s.embedding.is_none()).collect();
        // One at a time gains nothing from company on a CPU, and its bits don't depend on it.
        let together = if device == Device::Cpu { 1 } else { missing.len().max(1) };
        let mut fresh = Vec::with_capacity(missing.len());
        for samples in missing.chunks(together) {
            let pictures: Vec<&Picture> = samples.iter().map(|s| &s.picture).collect();
            let embeddings = tch::no_grad(|| -> Result<Tensor, TrainError> {
                let _autocast = self.autocast();
                Ok(self.model.encode(&images(&pictures, device)?, false).to_kind(tch::Kind::Float))
            })?;
            self.encoded += samples.len() as u64;
            for (i, sample) in samples.iter().enumerate() {
                let embedding = embeddings.narrow(0, i as i64, 1);
                fresh.push(match &self.cache {
                    Some(cache) => {
                        let stored = cache.put(&sample.picture, &embedding);
                        stored.map_err(|source| TrainError::Cache { source })?.to_tensor(device)
                    }
                    None => embedding,
                });
            }
        }
        let mut fresh = fresh.into_iter();
        let of = |sample: &Sample| match &sample.embedding {
            Some(stored) => Some(stored.to_tensor(device)),
            None => fresh.next(),
        };
        let all: Vec<Tensor> = samples.iter().filter_map(of).collect();
        Ok(Tensor::cat(&all, 0))
    }

    /// Logits (N,1,256,256) and predicted IoU (N,1) of a batch, with gradients to what is trained.
    pub(super) fn forward(&self, prepared: &Prepared) -> (Tensor, Tensor) {
        let _autocast = self.autocast();
        let encoded;
        let embeddings = match &prepared.input {
            Input::Embeddings(embeddings) => embeddings,
            Input::Images(images) => {
                let moves = self.config.batch_norm == BatchNorm::Batch;
                encoded = if self.encoder == Encoder::Trained {
                    self.model.encode(images, moves)
                } else {
                    tch::no_grad(|| self.model.encode(images, moves))
                };
                &encoded
            }
        };
        self.model.decode(embeddings, &prepared.batch.boxes)
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
