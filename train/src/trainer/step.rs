//! One step: losses, gradients, the sharpest neighbour, the optimizer.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, nn};

use super::network::{Network, Prepared};
use crate::config::{Config, LossConfig, OptimizerConfig, Sharpness};
use crate::loss::{Outputs, Term, Uncertainty, UncertaintyError};
use crate::optim::{AdamW, AdamWOptions, Group, Rate, SharpMin};
use crate::ranks::{Ranks, RanksError};
use crate::torch;

/// What is minimised, and how.
#[derive(Debug)]
pub(super) struct Objective {
    pub(super) uncertainties: nn::VarStore,
    pub(super) uncertainty: Uncertainty,
    pub(super) optimizer: AdamW,
    /// What is trained of the network.
    network: Vec<Tensor>,
    sharp_min: Option<SharpMin>,
    /// Whether the optimizer finds out on the device that there is to be no step.
    fused: bool,
}

/// Losses of a step, means over its samples on all ranks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct StepLosses {
    /// What is minimised: the weighted sum.
    pub(super) total: f64,
    /// Each loss, in the order of the configuration.
    pub(super) terms: Vec<f64>,
    /// Length of the network's gradient.
    pub(super) gradient: f64,
}

/// What a step found: its losses, and the uncertainties that it began with.
#[derive(Debug)]
pub(super) enum Measured {
    /// On the device still: losses, their sum, the length of the gradient, uncertainties.
    Waiting(Tensor),
    /// Read.
    Known(StepLosses, Vec<f64>),
}

/// Why there was no step.
#[derive(Debug)]
pub(super) enum NoStep {
    /// A loss or the gradient is not finite.
    NotFinite(StepLosses),
    /// Parts that are to be trained and have no part in the losses: these of `model.trained`.
    NoGradient(Vec<String>),
    /// The ranks no longer work together.
    Ranks(RanksError),
}

impl From<RanksError> for NoStep {
    fn from(error: RanksError) -> Self {
        Self::Ranks(error)
    }
}

impl StepLosses {
    pub(super) fn is_finite(&self) -> bool {
        self.total.is_finite() && self.gradient.is_finite() && self.terms.iter().all(|v| v.is_finite())
    }
}

impl Objective {
    pub(super) fn new(config: &Config, network: &Network) -> Result<Self, UncertaintyError> {
        let uncertainties = nn::VarStore::new(network.device());
        let uncertainty = Uncertainty::new(&uncertainties.root(), config.loss.weighting, &config.loss.terms)?
            .with_weights(&config.loss.weights)
            .with_least(config.loss.least_sigma);
        let mut weights: Vec<(String, Tensor)> = uncertainties.variables().into_iter().collect();
        weights.sort_by(|a, b| a.0.cmp(&b.0));
        let OptimizerConfig { weight_decay, layer_decay, .. } = config.optimizer;
        let LossConfig { weight_decay: own_decay, learning_rate, .. } = config.loss;
        let mut parts: BTreeMap<i32, Vec<(String, Tensor)>> = BTreeMap::new();
        for (name, parameter) in network.parameters() {
            parts.entry(depth(&name)).or_default().push((name, parameter));
        }
        let rate = |depth| Rate::Times(layer_decay.powi(depth));
        let mut groups: Vec<Group> = parts
            .into_iter()
            .map(|(depth, parameters)| Group { parameters, weight_decay, rate: rate(depth) })
            .collect();
        groups.push(Group { parameters: weights, weight_decay: own_decay, rate: Rate::Own(learning_rate) });
        let options = AdamWOptions {
            learning_rate: config.optimizer.learning_rate,
            betas: (config.optimizer.beta1, config.optimizer.beta2),
            epsilon: config.optimizer.epsilon,
            fused: config.engine.on(network.device()).fused_adamw,
        };
        let sharp = |adaptive| SharpMin { rho: config.sharp_min.rho, adaptive, eta: config.sharp_min.eta };
        Ok(Self {
            uncertainties,
            uncertainty,
            optimizer: AdamW::new(groups, options),
            network: network.parameters().into_iter().map(|(_, parameter)| parameter).collect(),
            fused: options.fused,
            sharp_min: match config.sharp_min.kind {
                Sharpness::Off => None,
                Sharpness::Sam => Some(sharp(false)),
                Sharpness::Asam => Some(sharp(true)),
            },
        })
    }

    /// One step on the mean over `batches`, and over the ranks. At most `at_once` samples go through the network together.
    ///
    /// Without a step, no parameter has moved. A fused optimizer leaves that to the device: where a loss or the gradient
    /// is not finite nothing moves there either, but it is [`read`](Self::read) that tells.
    pub(super) fn step(
        &mut self,
        network: &Network,
        batches: &[Prepared],
        at_once: usize,
        ranks: &Ranks,
    ) -> Result<Measured, NoStep> {
        // Whether there is a sharper neighbour or not, BatchNorm moves once: by what the parameters as they are do.
        let losses = self.gradients(network, batches, at_once, ranks)?;
        let unreached = network.unreached();
        if !unreached.is_empty() {
            return Err(NoStep::NoGradient(unreached));
        }
        let mut norm = gradient_norm(&self.network);
        if let Some(sharp_min) = &self.sharp_min {
            let statistics = network.statistics();
            let before: Vec<Tensor> = statistics.iter().map(Tensor::copy).collect();
            // The network's neighbourhood: the uncertainties, whose gradient is large until they have settled, would take
            // their share of its radius.
            let perturbation = sharp_min.perturb(&self.network);
            let again = self.gradients(network, batches, at_once, ranks);
            perturbation.undo();
            let _ = again?;
            tch::no_grad(|| {
                for (mut statistic, before) in statistics.into_iter().zip(&before) {
                    statistic.copy_(before);
                }
            });
            // Of both gradients, so that neither can be NaN unseen.
            norm += 0.0 * gradient_norm(&self.network);
        }
        // Each rank's batch moved its own; what is validated and saved is to be the same everywhere.
        ranks.mean(&network.statistics())?;
        let mut found = vec![losses.view(-1), norm.view(-1)];
        found.extend(self.uncertainty.sigmas());
        let measured = Tensor::cat(&found, 0).to_kind(Kind::Double);
        if self.fused && ranks.size() == 1 {
            let not_finite = measured.isfinite().all().logical_not().to_kind(Kind::Float);
            self.optimizer.step_unless(Some(&not_finite));
            self.uncertainty.bound();
            return Ok(Measured::Waiting(measured));
        }
        let (losses, sigmas) = self.read(Measured::Waiting(measured), ranks)?;
        if ranks.any(!losses.is_finite())? {
            return Err(NoStep::NotFinite(losses));
        }
        self.optimizer.step();
        self.uncertainty.bound();
        Ok(Measured::Known(losses, sigmas))
    }

    /// What a step found, means over the ranks. Waits for the device.
    pub(super) fn read(&self, measured: Measured, ranks: &Ranks) -> Result<(StepLosses, Vec<f64>), RanksError> {
        let measured = match measured {
            Measured::Known(losses, sigmas) => return Ok((losses, sigmas)),
            Measured::Waiting(measured) => measured,
        };
        let mut values = Vec::<f64>::try_from(measured).expect("a list of f64");
        let sigmas = values.split_off(self.uncertainty.terms().len() + 2);
        let gradient = values.pop().unwrap_or(f64::NAN);
        ranks.sum(&mut values)?;
        values.iter_mut().for_each(|v| *v /= ranks.size() as f64);
        let total = values.pop().unwrap_or(f64::NAN);
        Ok((StepLosses { total, terms: values, gradient }, sigmas))
    }

    /// Sets the gradients of the mean over batches and ranks; the losses and their sum, means over the batches.
    fn gradients(
        &mut self,
        network: &Network,
        batches: &[Prepared],
        at_once: usize,
        ranks: &Ranks,
    ) -> Result<Tensor, NoStep> {
        self.optimizer.zero_grad();
        let mut measured = Vec::with_capacity(batches.len());
        for prepared in batches {
            for piece in prepared.pieces(at_once) {
                let share = piece.len() as f64 / (prepared.len() * batches.len()) as f64;
                measured.push(self.backward(network, &piece, share)? * share);
            }
        }
        let gradients: Vec<Tensor> = self.optimizer.parameters().map(Tensor::grad).filter(Tensor::defined).collect();
        ranks.mean(&gradients)?;
        Ok(Tensor::stack(&measured, 0).sum_dim_intlist([0i64].as_slice(), false, Kind::Float))
    }

    /// Adds a share of the gradients of the mean over a batch; its losses and their sum.
    fn backward(&self, network: &Network, prepared: &Prepared, share: f64) -> Result<Tensor, NoStep> {
        let (logits, iou, embeddings) = network.forward(prepared);
        let batch = &prepared.batch;
        let outputs = Outputs {
            logits: &logits,
            iou: &iou,
            mask: &batch.masks,
            shape: batch.shapes.as_ref().unwrap_or(&batch.masks),
            teacher: prepared.teacher.as_ref().map_or(&logits, |taught| &taught.logits),
            embeddings: [&embeddings, prepared.teacher.as_ref().map_or(&embeddings, |taught| &taught.embeddings)],
        };
        let known = batch.known();
        let evaluate = |term: &Term| match &known {
            Some(rows) if term.asks_label() => outputs.of_rows(rows, |outputs| term.evaluate(outputs)),
            _ => term.evaluate(&outputs),
        };
        let mut losses: Vec<Tensor> = self.uncertainty.terms().iter().map(evaluate).collect();
        let total = self.uncertainty.total(&losses);
        if !total.requires_grad() {
            return Err(NoStep::NoGradient(network.unreached()));
        }
        (&total * share).backward();
        losses.push(total);
        Ok(Tensor::stack(&losses.iter().map(Tensor::detach).collect::<Vec<_>>(), 0))
    }
}

/// How far before the decoders a parameter's part of the network is: the encoder's neck, its stages from last to first, and
/// what comes before these.
fn depth(name: &str) -> i32 {
    let Some(name) = name.strip_prefix("image_encoder.") else { return 0 };
    let stage = name.strip_prefix("layers.").and_then(|rest| rest.split('.').next()?.parse::<i32>().ok());
    match stage {
        Some(stage) => 5 - stage,
        None if name.starts_with("neck.") => 1,
        None => 6,
    }
}

/// The length of all gradients together.
fn gradient_norm(parameters: &[Tensor]) -> Tensor {
    let gradients: Vec<Tensor> = parameters.iter().map(Tensor::grad).filter(Tensor::defined).collect();
    torch::norm(&gradients).expect("gradients on one device")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_deep_as_they_are_early() {
        let names = [
            "mask_decoder.mask_tokens.weight",
            "image_encoder.neck.0.weight",
            "image_encoder.layers.3.blocks.0.attn.qkv.weight",
            "image_encoder.layers.2.downsample.conv1.c.weight",
            "image_encoder.layers.1.blocks.1.mlp.fc1.bias",
            "image_encoder.layers.0.blocks.0.conv1.c.weight",
            "image_encoder.patch_embed.seq.0.c.weight",
        ];
        assert_eq!(names.map(depth), [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(depth("prompt_encoder.not_a_point_embed.weight"), 0);
    }
}
