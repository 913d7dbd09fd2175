//! What blocks hold of memory.

use std::prelude::v1::*;

use super::Linear;
use crate::runtime::kernels::{Buffer, Weights};

/// Memory on the heap.
pub(super) trait Bytes {
    /// Bytes held.
    fn bytes(&self) -> usize;
}

impl Bytes for Vec<f32> {
    fn bytes(&self) -> usize {
        self.capacity() * size_of::<f32>()
    }
}

impl Bytes for Buffer {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Bytes for Weights {
    fn bytes(&self) -> usize {
        self.bytes()
    }
}

impl Bytes for Linear {
    fn bytes(&self) -> usize {
        self.weights.bytes() + self.bias.bytes()
    }
}

impl<T: Bytes, const N: usize> Bytes for [T; N] {
    fn bytes(&self) -> usize {
        self.iter().map(T::bytes).sum()
    }
}
