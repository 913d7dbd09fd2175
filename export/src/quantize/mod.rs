//! Weights that lose as little as possible in 8 bits: calibration and post-training quantization.
//!
//! What comes out is an ordinary checkpoint whose matrices lie on the steps that [`Storage::Int8`](umedsam::Storage)
//! stores, with what was moved between layers folded in and a [`Plan`](crate::Plan) of the blocks that stay in floats:
//! exporting it needs no data. Activations are rounded while the network runs, token by token, so nothing about them
//! is kept.

mod activations;
mod equalise;
pub mod probes;
mod round;
mod samples;
pub mod search;
mod tensors;

use std::path::PathBuf;

use activations::Ranges;
use ndarray::{Array1, Array2, Axis};
use probes::Probe;
pub use round::Observer;
use samples::Samples;
use serde::Serialize;
use tensors::Tensors;

use crate::bundle::MakeError;
use crate::checkpoint::{Error as CheckpointError, Weights};
use crate::layers::{self, Fold, Layer};
use crate::onnx::OnnxError;

/// Why weights could not be quantized.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// A case cannot be read.
    #[error(transparent)]
    Npz(#[from] umedsam::npz::NpzError),
    /// A case cannot be segmented.
    #[error("{name}: {source}")]
    Case {
        /// The file, and the slice.
        name: String,
        /// What is wrong with it.
        source: umedsam::Error,
    },
    /// No object to look at.
    #[error("{}: no case with an object of at least 16 pixels", folder.display())]
    NoObjects {
        /// The folder.
        folder: PathBuf,
    },
    /// A graph lacks a layer.
    #[error("layer {layer} is not in the graph")]
    NoLayer {
        /// The layer.
        layer: String,
    },
    /// The weights are not those of the network.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// The graphs could not be built.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A bundle could not be made.
    #[error(transparent)]
    Make(#[from] MakeError),
    /// A graph could not be read.
    #[error(transparent)]
    Inline(#[from] umedsam::runtime::InlineError),
    /// A graph could not be read.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The network could not run.
    #[error(transparent)]
    Run(#[from] umedsam::Error),
}

/// How weights are calibrated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// How the range of each output channel's weights is found.
    pub observer: Observer,
    /// Whether channels are made alike by factors folded into the layers around (SmoothQuant; cross-layer equalisation
    /// where only a ReLU lies between).
    pub equalise: bool,
    /// Whether a weight's rounding is made good by those that go together with it (GPTQ); each to its nearest step
    /// otherwise.
    pub in_turn: bool,
    /// Whether a bias makes good what rounding changes in the mean.
    pub correct_bias: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { observer: Observer::Mse, equalise: true, in_turn: true, correct_bias: true }
    }
}

/// What quantization does to one layer's output: roots of the squared error relative to the output's own square.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LayerReport {
    /// The layer, by its name in the checkpoint.
    pub layer: String,
    /// The block that it belongs to, by its name in the graphs.
    pub block: String,
    /// SmoothQuant's exponent; nothing if the channels are as they were.
    pub alpha: Option<f64>,
    /// Weights rounded to the nearest of the steps that the largest allows, activations token by token.
    pub before: f64,
    /// As calibrated, but for the bias, whose correction takes the mean of it away.
    pub after: f64,
    /// As calibrated, the weights rounded alone.
    pub weights: f64,
    /// As calibrated, the activations rounded alone.
    pub activations: f64,
    /// As `activations`, with one range for all images: that of all values, of all but 0.01 %, of the least error.
    pub static_min_max: f64,
    /// See [`static_min_max`](Self::static_min_max).
    pub static_percentile: f64,
    /// See [`static_min_max`](Self::static_min_max).
    pub static_mse: f64,
}

/// Exponents that are tried for a layer.
const ALPHAS: [f64; 4] = [0.25, 0.5, 0.75, 1.0];

/// Calibrates `weights` on probes of the network's own data.
///
/// `progress` is told what is being done, and the steps done and in all.
///
/// # Errors
/// [`QuantizeError`] if the weights cannot be built into graphs or these cannot run.
pub fn calibrate(
    weights: &Weights,
    probes: &[Probe],
    options: Options,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<(Weights, Vec<LayerReport>), QuantizeError> {
    let layers = layers::layers();
    let gathered = samples::gather(weights, &layers, probes, |done, all| progress("calibration images", done, all))?;
    let mut tensors = Tensors::new(weights.clone());
    if options.equalise {
        equalise::equalise_pairs(&mut tensors)?;
    }
    let mut equalised = Vec::with_capacity(layers.len());
    for (layer, samples) in layers.iter().zip(gathered) {
        let before = Rounding::new(&tensors.matrix(layer)?, &samples).nearest(Observer::MinMax).error();
        let alpha = if options.equalise { equalise(&mut tensors, layer, &samples, options.observer)? } else { None };
        let samples = match &alpha {
            Some((_, factors)) => samples.divided(factors, layer.taps()),
            None => samples,
        };
        equalised.push((samples, alpha.map(|(alpha, _)| alpha), before));
    }
    let mut plan = weights.plan().clone();
    let mut reports = Vec::with_capacity(layers.len());
    for (done, (layer, (samples, alpha, before))) in layers.iter().zip(equalised).enumerate() {
        progress("layers", done, layers.len());
        let exact = tensors.matrix(layer)?;
        let mut rounding = Rounding::new(&exact, &samples);
        rounding =
            if options.in_turn { rounding.in_turn(options.observer) } else { rounding.nearest(options.observer) };
        tensors.set_matrix(layer, &rounding.rounded)?;
        if options.correct_bias && layer.bias > 0 {
            let excess = rounding.excess();
            let bias = tensors.values_mut(&format!("{}.bias", layer.name), &[layer.n / layer.bias])?;
            for (b, excess) in bias.iter_mut().zip(excess.exact_chunks(layer.bias)) {
                *b -= excess.mean().unwrap_or(0.0);
            }
        }
        if let Some(range) = samples.range(Ranges::StaticMse) {
            plan = plan.with_range(&layer.name, range);
        }
        let fixed = |ranges| rounding.activation_error(ranges);
        reports.push(LayerReport {
            layer: layer.name.clone(),
            block: layer.block.clone(),
            alpha,
            before,
            after: rounding.error(),
            weights: rounding.weight_error(),
            activations: fixed(Ranges::Dynamic),
            static_min_max: fixed(Ranges::StaticMinMax),
            static_percentile: fixed(Ranges::StaticPercentile(1e-4)),
            static_mse: fixed(Ranges::StaticMse),
        });
    }
    progress("layers", layers.len(), layers.len());
    Ok((tensors.finish()?.with_plan(plan), reports))
}

/// Folds the factors of the exponent that does best into the layer and what is before it; nothing if none does better
/// than leaving the channels as they are.
fn equalise(
    tensors: &mut Tensors,
    layer: &Layer,
    samples: &Samples,
    observer: Observer,
) -> Result<Option<(f64, Vec<f32>)>, QuantizeError> {
    if layer.fold == Fold::Nothing {
        return Ok(None);
    }
    let (matrix, taps) = (tensors.matrix(layer)?, layer.taps());
    let magnitudes = samples.magnitudes(taps);
    let mut best = (Rounding::new(&matrix, samples).nearest(observer).error(), None);
    for alpha in ALPHAS {
        let factors = equalise::smoothing(&magnitudes, &matrix, taps, alpha);
        let (matrix, samples) = (multiplied(&matrix, &factors, taps), samples.divided(&factors, taps));
        let error = Rounding::new(&matrix, &samples).nearest(observer).error();
        if error < best.0 {
            best = (error, Some((alpha, factors)));
        }
    }
    if let Some((_, factors)) = &best.1 {
        tensors.set_matrix(layer, &multiplied(&matrix, factors, taps))?;
        layer.fold.divide(tensors, factors)?;
    }
    Ok(best.1)
}

/// A matrix (n, k) with each input channel multiplied by its factor.
fn multiplied(matrix: &Array2<f32>, factors: &[f32], taps: usize) -> Array2<f32> {
    let mut multiplied = matrix.clone();
    multiplied.axis_iter_mut(Axis(1)).enumerate().for_each(|(i, mut column)| column *= factors[i / taps]);
    multiplied
}

/// One layer's product with and without rounding.
#[derive(Debug)]
struct Rounding<'a> {
    samples: &'a Samples,
    weights: &'a Array2<f32>,
    rounded: Array2<f32>,
}

impl<'a> Rounding<'a> {
    fn new(weights: &'a Array2<f32>, samples: &'a Samples) -> Self {
        Self { samples, weights, rounded: weights.clone() }
    }

    fn nearest(mut self, observer: Observer) -> Self {
        let importance = self.samples.rows.mapv(|v| f64::from(v).powi(2)).mean_axis(Axis(0));
        let importance = importance.unwrap_or_else(|| Array1::ones(self.weights.ncols()));
        self.rounded = round::round_nearest(self.weights, &importance, observer);
        self
    }

    fn in_turn(mut self, observer: Observer) -> Self {
        self.rounded = round::round_in_turn(self.weights, &round::correlations(&self.samples.rows), observer);
        self
    }

    fn exact(&self) -> Array2<f32> {
        self.samples.rows.dot(&self.weights.t())
    }

    /// How far the outputs are off in the mean, by output channel.
    fn excess(&self) -> Array1<f32> {
        let difference = self.samples.rounded().dot(&self.rounded.t()) - self.exact();
        difference.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(self.weights.nrows()))
    }

    fn relative(&self, found: &Array2<f32>) -> f64 {
        let exact = self.exact();
        let square = |values: &Array2<f32>| values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
        (square(&(found - &exact)) / square(&exact).max(f64::MIN_POSITIVE)).sqrt()
    }

    fn error(&self) -> f64 {
        self.relative(&self.samples.rounded().dot(&self.rounded.t()))
    }

    fn weight_error(&self) -> f64 {
        self.relative(&self.samples.rows.dot(&self.rounded.t()))
    }

    fn activation_error(&self, ranges: Ranges) -> f64 {
        self.relative(&self.samples.rounded_by(ranges).dot(&self.weights.t()))
    }
}
