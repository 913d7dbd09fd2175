//! A network that is not trained, whose outputs others are measured by.

use tch::{Tensor, nn};

use super::TrainError;
use crate::config::Config;
use crate::data::Sample;
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
        (variables, model): (nn::VarStore, LiteMedSam),
        shared: bool,
        config: &Config,
    ) -> Result<Self, TrainError> {
        let encoder = match shared {
            true => None,
            false => Some(FrozenEncoder::new(&variables, config.model.arithmetic, &config.cache)?),
        };
        Ok(Self { variables, model, encoder })
    }

    /// What it says of samples with these boxes; `embeddings` are the student's, where it has them already.
    pub(super) fn ask(
        &mut self,
        samples: &[Sample],
        boxes: &Tensor,
        embeddings: Option<&Tensor>,
    ) -> Result<Taught, TrainError> {
        let embeddings = match &mut self.encoder {
            Some(encoder) => encoder.embed_all(&self.model, samples.iter().map(|s| (&s.picture, None)))?,
            None => embeddings.expect("an encoder that is shared is frozen").shallow_clone(),
        };
        let (logits, _) = tch::no_grad(|| self.model.decode(&embeddings, boxes));
        Ok(Taught { logits, embeddings })
    }
}
