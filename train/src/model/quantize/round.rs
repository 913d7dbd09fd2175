//! Rounding that gradients don't see.

use tch::{Kind, Tensor};

use super::integers::of_weights;
use crate::config::Precision;

/// Weights and biases of fewer values are stored in f32, others that are not in 8 bits as halves: as export writes them.
const SMALLEST_F16: usize = 1024;

/// The values of `rounded` with the gradient of `x`: straight through. Not finite where `x` is not.
pub(super) fn straight_through(rounded: Tensor, x: &Tensor) -> Tensor {
    // What is added is 0, or NaN; the sum is `rounded` to the bit.
    if x.requires_grad() { rounded + (x - x.detach()) } else { rounded }
}

/// Operands of a product in this precision.
pub(in crate::model) fn operand(x: &Tensor, precision: Precision) -> Tensor {
    match precision {
        Precision::F32 | Precision::Tf32 => x.shallow_clone(),
        Precision::Bf16 => through(x, Kind::BFloat16),
    }
}

/// Weights or biases as a model of 8 bits stores them where it doesn't take 8.
pub(in crate::model) fn stored(x: &Tensor) -> Tensor {
    if x.numel() < SMALLEST_F16 { x.shallow_clone() } else { through(x, Kind::Half) }
}

/// Weights whose output channels are the first axis, as a model of 8 bits stores them where it takes 8 and floats are
/// multiplied.
pub(in crate::model) fn stored_int8(x: &Tensor) -> Tensor {
    let axes: Vec<i64> = (1..x.dim() as i64).collect();
    let (integers, scale) = of_weights(x, &axes);
    integers * scale
}

fn through(x: &Tensor, kind: Kind) -> Tensor {
    straight_through(tch::no_grad(|| x.to_kind(kind).to_kind(Kind::Float)), x)
}
