//! Squared error of the embeddings.

use tch::{Kind, Tensor};

/// Mean over the batch of the squared error of an embedding's values, as a share of the variance of the teacher's.
pub(super) fn embedding(embedding: &Tensor, teacher: &Tensor) -> Tensor {
    let of_sample = |t: &Tensor| t.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float);
    let variance = tch::no_grad(|| of_sample(&(teacher - of_sample(teacher)).square()));
    (of_sample(&(embedding - teacher).square()) / variance.clamp_min(1e-12)).mean(None)
}
