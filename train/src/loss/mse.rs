//! Squared error of the pixels (the paper's method section).

use tch::{Reduction, Tensor};

/// Mean over all pixels of `(p - g)^2`.
pub(super) fn mse(logits: &Tensor, mask: &Tensor) -> Tensor {
    logits.sigmoid().mse_loss(mask, Reduction::Mean)
}
