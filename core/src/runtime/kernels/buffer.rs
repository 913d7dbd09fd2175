//! Memory that begins where a vector of the widest kind does.

use std::ops::{Deref, DerefMut};
use std::prelude::v1::*;

/// Values of a cache line.
pub(in crate::runtime) const LINE: usize = 16;

/// f32 values aligned to cache lines.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Buffer {
    values: Vec<f32>,
    /// The first value on the border of a line.
    start: usize,
    len: usize,
}

impl Buffer {
    /// Zeros. The system provides a large buffer page by page, when it is first written.
    pub(in crate::runtime) fn zeroed(len: usize) -> Self {
        // An allocation that is aligned itself would have its zeros written at once.
        let values = vec![0.0; if len > 0 { len + LINE - 1 } else { 0 }];
        let start = if len > 0 { values.as_ptr().align_offset(LINE * size_of::<f32>()) } else { 0 };
        Self { values, start, len }
    }

    /// Bytes held.
    pub(in crate::runtime) fn bytes(&self) -> usize {
        self.values.capacity() * size_of::<f32>()
    }

    /// Bytes that a buffer of `len` values holds.
    pub(in crate::runtime) const fn bytes_of(len: usize) -> usize {
        if len > 0 { (len + LINE - 1) * size_of::<f32>() } else { 0 }
    }

    /// Makes room for `len` values, whatever they are.
    pub(in crate::runtime) fn reserve(&mut self, len: usize) {
        if len > self.len {
            // What was there is not kept, so that both are never held at once.
            *self = Self::default();
            *self = Self::zeroed(len);
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[self.start..self.start + self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..self.start + self.len]
    }
}

/// Fills memory with what is NaN in f32, bf16 and f16.
pub(in crate::runtime) fn poison(values: &mut [f32]) {
    values.fill(f32::from_bits(u32::MAX));
}

/// A worker's scratch memory, given away piece by piece.
#[derive(Debug)]
pub(in crate::runtime) struct Scratch<'a>(&'a mut [f32]);

impl<'a> Scratch<'a> {
    pub(in crate::runtime) const fn new(values: &'a mut [f32]) -> Self {
        Self(values)
    }

    /// The next `len` values, aligned as the memory was. Their content is anything.
    pub(in crate::runtime) fn take(&mut self, len: usize) -> &'a mut [f32] {
        let rest = std::mem::take(&mut self.0);
        let (taken, rest) = rest.split_at_mut(len.next_multiple_of(LINE));
        self.0 = rest;
        &mut taken[..len]
    }

    /// The pieces of these lengths that were taken from `values` when it was scratch memory.
    pub(in crate::runtime) fn pieces<const N: usize>(values: &[f32], lengths: [usize; N]) -> [&[f32]; N] {
        let mut rest = values;
        lengths.map(|len| {
            let (taken, after) = rest.split_at(len.next_multiple_of(LINE));
            rest = after;
            &taken[..len]
        })
    }

    /// f32 that pieces of these lengths take together.
    pub(in crate::runtime) fn needed(pieces: &[usize]) -> usize {
        pieces.iter().map(|p| p.next_multiple_of(LINE)).sum()
    }
}
