//! Binary cross entropy.

use tch::{Reduction, Tensor};

/// Mean over all pixels, from the logits, so that a sure error costs |z| and not the logarithm of an underflow.
pub(super) fn bce(logits: &Tensor, mask: &Tensor) -> Tensor {
    logits.binary_cross_entropy_with_logits(mask, None::<Tensor>, None::<Tensor>, Reduction::Mean)
}
