//! Focal loss as in the paper's code: of the batch's mean cross entropy, where T.-Y. Lin et al. ("Focal loss for dense
//! object detection", 2017) weight each pixel.

use tch::Tensor;

use super::bce::bce;

/// Scale of the whole loss.
const ALPHA: f64 = 0.8;

/// `alpha (1 - exp(-BCE))^2 BCE`: gamma is 2.
pub(super) fn focal(logits: &Tensor, mask: &Tensor) -> Tensor {
    let bce = bce(logits, mask);
    // 1 - exp(-x) without cancellation where the loss is nearly 0.
    (-&bce).expm1().square() * bce * ALPHA
}
