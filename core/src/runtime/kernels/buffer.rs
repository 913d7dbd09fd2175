//! Memory that begins where a vector of the widest kind does.

use std::ops::{Deref, DerefMut};
use std::prelude::v1::*;

/// Values of a cache line.
const LINE: usize = 16;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// f32 values aligned to cache lines.
#[derive(Clone, Debug, Default)]
pub(in crate::runtime) struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    pub(in crate::runtime) fn zeroed(len: usize) -> Self {
        Self { lines: vec![Line([0.0; LINE]); len.div_ceil(LINE)], len }
    }

    pub(in crate::runtime) fn from_slice(values: &[f32]) -> Self {
        let mut buffer = Self::zeroed(values.len());
        buffer.copy_from_slice(values);
        buffer
    }

    /// Fills all of it with what is NaN in f32, bf16 and f16.
    pub(in crate::runtime) fn poison(&mut self) {
        self.fill(f32::from_bits(u32::MAX));
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
        // SAFETY: lines are whole arrays of f32, and `len` is within them.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
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
