//! Dice loss with squared denominators (F. Milletari et al., "V-Net", 2016).

use tch::{Kind, Tensor};

use super::sum_pixels;

/// In numerator and denominator: a mask and a prediction of nothing agree.
const SMOOTH: f64 = 1e-5;

/// Mean over the batch of `1 - (2 sum pg + s) / (sum p^2 + sum g^2 + s)`, which is MONAI's `DiceLoss(sigmoid=True,
/// squared_pred=True)`.
pub(super) fn dice(logits: &Tensor, mask: &Tensor) -> Tensor {
    let p = logits.sigmoid();
    let numerator = sum_pixels(&(&p * mask)) * 2.0 + SMOOTH;
    let denominator = sum_pixels(&p.square()) + sum_pixels(&mask.square()) + SMOOTH;
    (1f64 - numerator / denominator).mean(None::<Kind>)
}
