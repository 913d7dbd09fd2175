//! Bringing checkpoint tensors into the graphs' form.

use crate::checkpoint::{Error as CheckpointError, Weights};

/// Epsilon of BatchNorm (PyTorch's default).
const BATCH_NORM_EPS: f64 = 1e-5;

/// A convolution's weights and bias.
#[derive(Debug)]
pub(super) struct Conv {
    pub(super) shape: [usize; 4],
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
}

/// The convolution `prefix.c` with the BatchNorm `prefix.bn` that follows folded into it, in f64.
pub(super) fn folded_conv(weights: &Weights, prefix: &str, shape: [usize; 4]) -> Result<Conv, CheckpointError> {
    let out = shape[0];
    let weight = weights.f32(&format!("{prefix}.c.weight"), &shape)?;
    let norm = |part: &str| weights.f32(&format!("{prefix}.bn.{part}"), &[out]);
    let (gamma, beta, mean, variance) = (norm("weight")?, norm("bias")?, norm("running_mean")?, norm("running_var")?);
    let scale: Vec<f64> =
        gamma.iter().zip(variance).map(|(&g, &v)| f64::from(g) / (f64::from(v) + BATCH_NORM_EPS).sqrt()).collect();
    let per_channel = weight.len() / out;
    let weight = weight.iter().enumerate().map(|(i, &w)| (f64::from(w) * scale[i / per_channel]) as f32).collect();
    let bias =
        beta.iter().zip(mean).zip(&scale).map(|((&b, &m), s)| (f64::from(b) - f64::from(m) * s) as f32).collect();
    Ok(Conv { shape, weight, bias })
}

/// A matrix (rows, columns) transposed to (columns, rows).
pub(super) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|i| values[(i % rows) * columns + i / rows]).collect()
}

/// Rows of `values` (each `width` long) in the order of `order`.
pub(super) fn rows(values: &[f32], width: usize, order: impl Iterator<Item = usize>) -> Vec<f32> {
    order.flat_map(|r| values[r * width..][..width].iter().copied()).collect()
}

/// All values times a factor.
pub(super) fn scaled(values: &[f32], factor: f64) -> Vec<f32> {
    values.iter().map(|&v| (f64::from(v) * factor) as f32).collect()
}
