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

#[cfg(test)]
mod tests {
    use umedsam::preprocess::INPUT_LEN;
    use umedsam::{Frame, Model, ModelBox, SessionOptions, Storage};

    use super::super::multiplied;
    use super::*;
    use crate::bundle;
    use crate::checkpoint::Weights;
    use crate::layers::layers;

    /// Embedding, logits and predicted IoU of something.
    fn outputs(weights: &Weights) -> [Vec<f32>; 3] {
        let (bytes, _) = bundle::build(weights, Storage::F32, "test").unwrap();
        let options = SessionOptions::new().with_threads(2);
        let mut session = Model::from_bytes(bytes).unwrap().session(&options).unwrap();
        let input: Vec<f32> = (0..INPUT_LEN).map(|i| (i as f32 * 0.37).sin().abs()).collect();
        let embedding = session.encode_input(&input, Frame::new(256, 256).unwrap()).unwrap();
        let mut found = [embedding.values().to_vec(), Vec::new(), Vec::new()];
        let boxes = [ModelBox { x0: 20.0, y0: 30.0, x1: 140.0, y1: 200.0 }];
        let take = |_, logits: umedsam::MaskLogits<'_>, iou| {
            found[1] = logits.values().to_vec();
            found[2] = vec![iou];
        };
        session.decode(&embedding, &boxes, take).unwrap();
        found
    }

    #[test]
    fn folded_factors_leave_the_network_what_it_is() {
        let weights = Weights::synthetic(11);
        let mut tensors = Tensors::new(weights.clone());
        equalise_pairs(&mut tensors).unwrap();
        let mut folded = 0;
        for layer in layers().iter().filter(|layer| layer.fold != Fold::Nothing) {
            let factors: Vec<f32> = (0..layer.k / layer.taps()).map(|i| 0.5 + (i % 7) as f32 * 0.4).collect();
            let matrix = multiplied(&tensors.matrix(layer).unwrap(), &factors, layer.taps());
            tensors.set_matrix(layer, &matrix).unwrap();
            layer.fold.divide(&mut tensors, &factors).unwrap();
            folded += 1;
        }
        assert_eq!(folded, 31);
        let changed = tensors.finish().unwrap();
        assert_ne!(changed.content_sha256(), weights.content_sha256());
        for (before, after) in outputs(&weights).iter().zip(outputs(&changed)) {
            let scale = before.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let difference = before.iter().zip(&after).fold(0.0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(difference < 1e-4 * scale, "{difference} of {scale}");
        }
    }
}
