//! Squared error of the predicted IoU (the paper's table 2).

use tch::{Kind, Reduction, Tensor};

use super::sum_pixels;

/// Mean over the batch of `(iou - IoU of p > 0.5 with g)^2`. The target is a constant: nothing flows to the logits.
pub(super) fn iou(logits: &Tensor, iou: &Tensor, mask: &Tensor) -> Tensor {
    iou.mse_loss(&tch::no_grad(|| hard_iou(logits, mask)), Reduction::Mean)
}

/// IoU (N,1) of the thresholded predictions. Two empty masks agree: 1, where the paper's code divides 0 by 0.
pub(super) fn hard_iou(logits: &Tensor, mask: &Tensor) -> Tensor {
    let (predicted, expected) = (logits.sigmoid().gt(0.5), mask.gt(0.5));
    let intersection = sum_pixels(&predicted.logical_and(&expected).to_kind(Kind::Float));
    let union = sum_pixels(&predicted.logical_or(&expected).to_kind(Kind::Float));
    (intersection + union.eq(0.0).to_kind(Kind::Float)) / union.clamp_min(1.0)
}
