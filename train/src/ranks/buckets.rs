//! Many tensors as few buffers: a message costs time of its own, and so does a copy from or to a device.

use tch::{Kind, TchError, Tensor};

/// Room of a bucket, in bytes. A larger tensor has a bucket to itself.
const ROOM: usize = 32 << 20;

/// Tensors of one kind that travel together.
pub(super) struct Bucket<'t> {
    pub(super) kind: Kind,
    /// Elements of all tensors together.
    pub(super) len: usize,
    tensors: Vec<&'t Tensor>,
}

/// All tensors but the empty ones, in order of their kinds' first appearance and then their own.
///
/// It depends on kinds and shapes alone, so that it is the same on all ranks; on devices it must not depend.
pub(super) fn pack(tensors: &[Tensor]) -> Vec<Bucket<'_>> {
    let mut buckets: Vec<Bucket<'_>> = Vec::new();
    for tensor in tensors {
        let (kind, len) = (tensor.kind(), tensor.numel());
        if len == 0 {
            continue;
        }
        let open = buckets.iter_mut().rev().find(|bucket| bucket.kind == kind);
        match open.filter(|bucket| (bucket.len + len) * kind.elt_size_in_bytes() <= ROOM) {
            Some(bucket) => {
                bucket.len += len;
                bucket.tensors.push(tensor);
            }
            None => buckets.push(Bucket { kind, len, tensors: vec![tensor] }),
        }
    }
    buckets
}

impl Bucket<'_> {
    /// All elements, in one dimension, on the first tensor's device.
    pub(super) fn read(&self) -> Result<Tensor, TchError> {
        let _no_grad = tch::no_grad_guard();
        let device = self.tensors[0].device();
        let parts: Result<Vec<Tensor>, _> =
            self.tensors.iter().map(|t| t.f_reshape([-1]).and_then(|t| t.f_to(device))).collect();
        Tensor::f_cat(&parts?, 0)
    }

    /// Puts back what [`Self::read`] gives.
    pub(super) fn write(&self, elements: &Tensor) -> Result<(), TchError> {
        let _no_grad = tch::no_grad_guard();
        let elements = elements.f_to(self.tensors[0].device())?;
        let lens: Vec<i64> = self.tensors.iter().map(|t| t.size().iter().product()).collect();
        for (tensor, part) in self.tensors.iter().zip(elements.f_split_with_sizes(lens, 0)?) {
            tensor.shallow_clone().f_copy_(&part.f_reshape(tensor.size())?)?;
        }
        Ok(())
    }
}
