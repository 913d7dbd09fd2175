//! Making channels alike before they are rounded together, by factors folded into the layers around.

use ndarray::Array2;

use super::tensors::Tensors;
use crate::checkpoint::Error;
use crate::layers::Fold;

/// SmoothQuant's factor of each input channel (Xiao et al. 2022): `activations^alpha / weights^(1-alpha)` of the greatest
/// magnitudes, their geometric mean 1. Activations are divided by it and weights multiplied.
pub(super) fn smoothing(activations: &[f32], weights: &Array2<f32>, taps: usize, alpha: f64) -> Vec<f32> {
    let mut greatest = vec![0.0f32; activations.len()];
    for row in weights.rows() {
        row.iter().enumerate().for_each(|(i, w)| greatest[i / taps] = greatest[i / taps].max(w.abs()));
    }
    let least = f64::from(f32::MIN_POSITIVE);
    let logs: Vec<f64> = activations
        .iter()
        .zip(&greatest)
        .map(|(&a, &w)| {
            // A channel that never is anything needs no factor.
            if a == 0.0 || w == 0.0 {
                0.0
            } else {
                alpha * f64::from(a).ln() - (1.0 - alpha) * f64::from(w).max(least).ln()
            }
        })
        .collect();
    let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
    // No factor so great that it leaves f16, in which the norms may be stored.
    logs.iter().map(|log| (log - mean).clamp(-6.0, 6.0).exp() as f32).collect()
}

impl Fold {
    /// Divides what this layer's input is made of by a factor for each channel.
    pub(super) fn divide(&self, tensors: &mut Tensors, factors: &[f32]) -> Result<(), Error> {
        let channels = factors.len();
        match self {
            Self::Norm(norm) => {
                for part in ["weight", "bias"] {
                    let values = tensors.values_mut(&format!("{norm}.{part}"), &[channels])?;
                    values.iter_mut().zip(factors).for_each(|(v, f)| *v /= f);
                }
            }
            Self::Values { qkv, head } => {
                // Head by head: its queries, its keys, its values.
                let rows = (0..channels).map(|c| c / head * 3 * head + 2 * head + c % head);
                let rows: Vec<(usize, f32)> = rows.zip(factors.iter().copied()).collect();
                let weight = tensors.values_mut(&format!("{qkv}.weight"), &[3 * channels, channels])?;
                for &(row, factor) in &rows {
                    weight[row * channels..][..channels].iter_mut().for_each(|v| *v /= factor);
                }
                let bias = tensors.values_mut(&format!("{qkv}.bias"), &[3 * channels])?;
                rows.iter().for_each(|&(row, factor)| bias[row] /= factor);
            }
            Self::Nothing => {}
        }
        Ok(())
    }
}

/// Two layers with nothing but a ReLU between, by name without `.weight`, and their sizes: inputs, between, outputs.
///
/// They are the network's only such pairs. Between its convolutions lie GELUs, which a factor does not pass.
const PAIRS: [(&str, &str, [usize; 3]); 6] = [
    ("mask_decoder.transformer.layers.0.mlp.lin1", "mask_decoder.transformer.layers.0.mlp.lin2", [256, 2048, 256]),
    ("mask_decoder.transformer.layers.1.mlp.lin1", "mask_decoder.transformer.layers.1.mlp.lin2", [256, 2048, 256]),
    (
        "mask_decoder.output_hypernetworks_mlps.0.layers.0",
        "mask_decoder.output_hypernetworks_mlps.0.layers.1",
        [256, 256, 256],
    ),
    (
        "mask_decoder.output_hypernetworks_mlps.0.layers.1",
        "mask_decoder.output_hypernetworks_mlps.0.layers.2",
        [256, 256, 32],
    ),
    ("mask_decoder.iou_prediction_head.layers.0", "mask_decoder.iou_prediction_head.layers.1", [256, 256, 256]),
    ("mask_decoder.iou_prediction_head.layers.1", "mask_decoder.iou_prediction_head.layers.2", [256, 256, 4]),
];

/// Cross-layer equalisation (Nagel et al. 2019) of the pairs of layers with a ReLU between: what a channel is multiplied
/// with by the first it is divided by before the second, so that the weights of each of the second's outputs are of one
/// magnitude, for which there is one scale. The first has a scale for each of its outputs, which a factor only moves.
pub(super) fn equalise_pairs(tensors: &mut Tensors) -> Result<(), Error> {
    for (first, second, [inputs, between, outputs]) in PAIRS {
        let weight = tensors.values_mut(&format!("{second}.weight"), &[outputs, between])?;
        let mut greatest = vec![0.0f32; between];
        for row in weight.chunks_exact(between) {
            row.iter().zip(&mut greatest).for_each(|(w, g)| *g = g.max(w.abs()));
        }
        let logs: Vec<f64> = greatest.iter().map(|&g| if g > 0.0 { f64::from(g).ln() } else { f64::NAN }).collect();
        let known: Vec<f64> = logs.iter().copied().filter(|l| !l.is_nan()).collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        let factors: Vec<f32> =
            logs.iter().map(|l| if l.is_nan() { 1.0 } else { (l - mean).clamp(-6.0, 6.0).exp() as f32 }).collect();
        for row in weight.chunks_exact_mut(between) {
            row.iter_mut().zip(&factors).for_each(|(w, f)| *w /= f);
        }
        let weight = tensors.values_mut(&format!("{first}.weight"), &[between, inputs])?;
        weight.chunks_exact_mut(inputs).zip(&factors).for_each(|(row, f)| row.iter_mut().for_each(|w| *w *= f));
        let bias = tensors.values_mut(&format!("{first}.bias"), &[between])?;
        bias.iter_mut().zip(&factors).for_each(|(b, f)| *b *= f);
    }
    Ok(())
}
