//! A network that is not trained, whose outputs others are measured by.

use tch::{Tensor, nn};

use super::TrainError;
use crate::config::{Config, QuantizationConfig};
use crate::data::{Batch, Staged};
use crate::encoder::FrozenEncoder;
use crate::model::LiteMedSam;

/// The network that the training began from, or another, in floats.
#[derive(Debug)]
pub(super) struct Teacher {
    pub(super) variables: nn::VarStore,
    model: LiteMedSam,
    /// Its own, unless the student's embeddings are its embeddings.
    encoder: Option<FrozenEncoder>,
}

/// What the teacher says of a batch.
#[derive(Debug)]
pub(super) struct Taught {
    /// (N,1,256,256).
    pub(super) logits: Tensor,
    /// (N,256,64,64).
    pub(super) embeddings: Tensor,
}

impl Teacher {
    /// `shared` says that it is given its embeddings.
    pub(super) fn new(
        (variables, mut model): (nn::VarStore, LiteMedSam),
        shared: bool,
        config: &Config,
    ) -> Result<Self, TrainError> {
        model.fuse_attention(config.engine.on(variables.device()).fused_attention);
        let encoder = match shared {
            true => None,
            false => {
                let plain = QuantizationConfig::default();
                let Config { model, engine, cache, .. } = config;
                Some(FrozenEncoder::quantized(&variables, model.precision, engine, &plain, cache)?)
            }
        };
        Ok(Self { variables, model, encoder })
    }

    /// Whether a batch needs the network's inputs.
    pub(super) fn takes_images(&self) -> bool {
        self.encoder.as_ref().is_some_and(FrozenEncoder::takes_images)
    }

    /// What it says of a batch; `embeddings` are the student's, where it has them already.
    pub(super) fn ask(
        &mut self,
        (staged, batch): (&Staged, &Batch),
        embeddings: Option<&Tensor>,
        at_once: usize,
    ) -> Result<Taught, TrainError> {
        let embeddings = match &mut self.encoder {
            Some(encoder) => batch.of_samples(encoder.embed_all(&self.model, (staged, batch), at_once, false)?),
            None => embeddings.expect("an encoder that is shared is frozen").shallow_clone(),
        };
        let decode = |(embeddings, boxes): (&Tensor, &Tensor)| self.model.decode(embeddings, boxes).0;
        let parts = |t: &Tensor| t.split(at_once.max(1) as i64, 0);
        let logits = tch::no_grad(|| {
            let logits: Vec<Tensor> = parts(&embeddings).iter().zip(&parts(&batch.boxes)).map(decode).collect();
            Tensor::cat(&logits, 0)
        });
        Ok(Taught { logits, embeddings })
    }
}
