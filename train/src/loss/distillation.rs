//! Faithfulness to the network that the training began from.

use tch::{Reduction, Tensor};

use super::iou::hard_iou;

/// Mean over the batch of the teacher's IoU with the truth, times the mean over the pixels of the Kullback-Leibler
/// divergence of the probabilities from the teacher's. 0 where both agree; a teacher that missed the object has no say.
pub(super) fn distillation(logits: &Tensor, teacher: &Tensor, mask: &Tensor) -> Tensor {
    let weight = tch::no_grad(|| hard_iou(teacher, mask));
    (weight * divergence(logits, teacher)).mean(None)
}

/// The same whether the teacher was right or not: what is wanted is the teacher.
pub(super) fn imitation(logits: &Tensor, teacher: &Tensor) -> Tensor {
    divergence(logits, teacher).mean(None)
}

/// Of each sample, (N,1).
fn divergence(logits: &Tensor, teacher: &Tensor) -> Tensor {
    let wanted = tch::no_grad(|| teacher.sigmoid());
    let cross = |z: &Tensor| {
        z.binary_cross_entropy_with_logits(&wanted, None::<Tensor>, None::<Tensor>, Reduction::None).mean_dim(
            [2i64, 3].as_slice(),
            false,
            None,
        )
    };
    // Where both agree, rounding makes it less than nothing.
    (cross(logits) - tch::no_grad(|| cross(teacher))).clamp_min(0.0)
}
