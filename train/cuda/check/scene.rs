//! Two samples and the network, on the CPU and on the device.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use tch::{Device, Tensor, nn};
use umedsam_train::config::{DataConfig, QuantizationConfig};
use umedsam_train::data::{Batch, Dataset, Drawing, Loader, Task};
use umedsam_train::loss::{Outputs, Term, Uncertainty, Weighting};
use umedsam_train::model::{self, LiteMedSam};

use crate::kit::Kit;

pub(super) struct Scene {
    pub(super) device: Device,
    weights: PathBuf,
    /// On the CPU, and on the device.
    pub(super) batches: [Batch; 2],
    /// Whether what goes to the device is pinned.
    pub(super) pinned: bool,
}

/// A network and its variables.
pub(super) struct Net {
    pub(super) variables: nn::VarStore,
    pub(super) model: LiteMedSam,
}

impl Scene {
    pub(super) fn new(kit: &Kit) -> anyhow::Result<Self> {
        let dataset = Arc::new(Dataset::read(&kit.small()?, &DataConfig::default(), |_, _| {})?);
        // An image and a volume's slice, where there are both; a CPU is slow enough with one.
        let mut entries = vec![0, dataset.entries().len() - 1];
        entries.truncate(if kit.device.is_cuda() { 2 } else { 1 });
        let exact = |entry: usize| {
            let (z, labels) = &dataset.entries()[entry].slices[0];
            Drawing::exact(entry, *z, labels[0])
        };
        let drawings: Vec<Drawing> = entries.into_iter().map(exact).collect();
        let task =
            Task { dataset, cache: None, min_area: 0, shape: true, images: true, share: false, device: kit.device };
        let staged = Loader::new(&task, vec![drawings], 1).next().context("a batch")??;
        let pinned = kit.device.is_cuda() && staged.is_pinned();
        let batches = [Device::Cpu, kit.device].map(|device| staged.to_device(device));
        Ok(Self { device: kit.device, weights: kit.weights()?, batches, pinned })
    }

    pub(super) fn net(&self, device: Device, quantization: &QuantizationConfig) -> Net {
        let variables = nn::VarStore::new(device);
        let model = LiteMedSam::quantized(&variables.root(), quantization);
        model::load(&variables, &self.weights).expect("the weights that were loaded before");
        Net { variables, model }
    }
}

impl Net {
    /// Logits, predicted IoU and embeddings of a batch.
    pub(super) fn forward(&self, batch: &Batch, statistics: bool) -> [Tensor; 3] {
        let images = batch.images.as_ref().expect("images");
        let embeddings = self.model.encode(images, statistics);
        let (logits, iou) = self.model.decode(&embeddings, &batch.boxes);
        [logits, iou, embeddings]
    }

    /// Gradients of the paper's losses by name, summed over the batch's samples.
    pub(super) fn gradients(&self, batch: &Batch, statistics: bool) -> Vec<(String, Tensor)> {
        let [logits, iou, embeddings] = self.forward(batch, statistics);
        let outputs = Outputs {
            logits: &logits,
            iou: &iou,
            mask: &batch.masks,
            shape: batch.shapes.as_ref().expect("shapes"),
            teacher: &logits,
            embeddings: [&embeddings, &embeddings],
        };
        let terms = [Term::Dice, Term::Bce, Term::ShapeDistance, Term::Iou];
        let weights = nn::VarStore::new(self.variables.device());
        let uncertainty = Uncertainty::new(&weights.root(), Weighting::Kendall, &terms).expect("distinct terms");
        uncertainty.total(&terms.map(|term| term.evaluate(&outputs))).backward();
        let mut all: Vec<(String, Tensor)> = self.variables.variables().into_iter().collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all.into_iter().map(|(name, t)| (name, t.grad())).filter(|(_, gradient)| gradient.defined()).collect()
    }
}
