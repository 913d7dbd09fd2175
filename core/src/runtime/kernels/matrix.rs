//! Operands of products.

use std::prelude::v1::*;

use super::portable::{to_bf16, to_f16};
use super::{Buffer, Kernels, Scratch};
use crate::Precision;
use crate::runtime::quantize_weights;

/// Rows of a product. The slices hold words of the precision, whatever their type says.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Matrix<'a> {
    pub(super) precision: Precision,
    pub(super) values: &'a [f32],
    /// Words from a row to the next.
    pub(super) ld: usize,
    pub(super) rows: usize,
    /// Words of a row.
    pub(super) words: usize,
    /// For int8: scale of each row, and what stands for its zero.
    pub(super) scale: &'a [f32],
    pub(super) zero: &'a [f32],
}

impl<'a> Matrix<'a> {
    /// Rows of f32 as they are.
    pub(in crate::runtime) fn f32(values: &'a [f32], ld: usize, rows: usize, k: usize) -> Self {
        Self { precision: Precision::F32, values, ld, rows, words: k, scale: &[], zero: &[] }
    }

    /// Rows of words of int8 that share scales.
    pub(in crate::runtime) fn int8(
        values: &'a [f32],
        ld: usize,
        rows: usize,
        words: usize,
        scale: &'a [f32],
        zero: &'a [f32],
    ) -> Self {
        Self { precision: Precision::Int8, values, ld, rows, words, scale, zero }
    }

    /// Rows of words of floats.
    pub(in crate::runtime) fn words(
        precision: Precision,
        values: &'a [f32],
        ld: usize,
        rows: usize,
        words: usize,
    ) -> Self {
        Self { precision, values, ld, rows, words, scale: &[], zero: &[] }
    }
}

/// Room for rows of a product, and for what int8 needs beside them.
#[derive(Debug)]
pub(in crate::runtime) struct Words<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) scale: &'a mut [f32],
    pub(super) zero: &'a mut [f32],
}

impl<'a> Words<'a> {
    /// f32 of scratch that `rows` rows of `n` values take in any precision.
    pub(in crate::runtime) const fn len(rows: usize, n: usize) -> usize {
        rows * n + 2 * rows.next_multiple_of(16)
    }

    pub(in crate::runtime) fn take(scratch: &mut Scratch<'a>, rows: usize, n: usize) -> Self {
        Self { values: scratch.take(rows * n), scale: scratch.take(rows), zero: scratch.take(rows) }
    }

    /// The first `rows` rows of `n` values.
    pub(in crate::runtime) fn matrix(
        &self,
        kernels: Kernels,
        precision: Precision,
        rows: usize,
        n: usize,
    ) -> Matrix<'_> {
        let words = kernels.words(precision, n);
        Matrix { precision, values: self.values, ld: words, rows, words, scale: self.scale, zero: self.zero }
    }

    /// As f32, for what writes words by itself.
    pub(in crate::runtime) const fn values(&mut self) -> &mut [f32] {
        self.values
    }
}

/// How a matrix (k, n) of floats is packed for a product: the memory that it takes and the columns that may be read from
/// it follow from this alone.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Packing {
    pub(super) precision: Precision,
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) columns: usize,
}

impl Packing {
    /// `n` columns of `k` values.
    pub(in crate::runtime) const fn new(precision: Precision, k: usize, n: usize) -> Self {
        Self { precision, k, n, columns: n }
    }

    /// With columns of zeros up to `columns`, which is at least `n`.
    pub(in crate::runtime) const fn padded_to(self, columns: usize) -> Self {
        assert!(columns >= self.n, "columns of a packed matrix");
        Self { columns, ..self }
    }
}

/// Columns of a product, packed.
#[derive(Clone, Copy, Debug)]
pub(in crate::runtime) struct Panels<'a> {
    pub(super) precision: Precision,
    pub(super) values: &'a [f32],
    /// Words along the summed axis.
    pub(super) words: usize,
    pub(super) n: usize,
    /// For int8: scale and sum of each column.
    pub(super) scale: &'a [f32],
    pub(super) sum: &'a [f32],
}

/// Weights, packed once.
#[derive(Debug)]
pub(in crate::runtime) struct Weights {
    precision: Precision,
    values: Buffer,
    words: usize,
    n: usize,
    scale: Vec<f32>,
    sum: Vec<f32>,
}

impl Weights {
    /// Packs a matrix (k, n) of f32, whose value at place `i`, row by row, is `value(i)`. For int8 each column is rounded
    /// to 255 steps between its extremes.
    pub(in crate::runtime) fn pack(
        kernels: Kernels,
        precision: Precision,
        [k, n]: [usize; 2],
        value: impl Fn(usize) -> f32,
    ) -> Self {
        if precision == Precision::Int8 {
            let values: Vec<f32> = (0..k * n).map(value).collect();
            let (integers, scale) = quantize_weights(&values, n, |i| i % n);
            return Self::int8(kernels, k, |i| integers[i], scale);
        }
        let words = k.div_ceil(kernels.per_word(precision));
        let value = |row: usize, column: usize| if row < k { value(row * n + column) } else { 0.0 };
        let values = panels(kernels, words, n, |word, column| {
            if precision == Precision::F32 {
                return value(word, column);
            }
            let narrow = if precision == Precision::F16 { to_f16 } else { to_bf16 };
            let halves = [0, 1].map(|i| u32::from(narrow(value(2 * word + i, column))));
            f32::from_bits(halves[0] | halves[1] << 16)
        });
        Self { precision, values, words, n, scale: vec![], sum: vec![] }
    }

    /// Packs integers (k, n) from -127 to 127, `value(i)` at place `i`, with a scale for each column.
    pub(in crate::runtime) fn int8(kernels: Kernels, k: usize, value: impl Fn(usize) -> i8, scale: Vec<f32>) -> Self {
        let n = scale.len();
        let per_word = kernels.per_word(Precision::Int8);
        let words = k.div_ceil(per_word);
        let value = |row: usize, column: usize| if row < k { value(row * n + column) } else { 0 };
        let mut sum = vec![0.0; n];
        let values = panels(kernels, words, n, |word, column| {
            let bits = (0..per_word).fold(0u32, |bits, i| {
                let integer = value(word * per_word + i, column);
                // Some kernels add two products of it in 16 bits.
                assert!(integer > i8::MIN, "weights of 8 bits");
                sum[column] += f32::from(integer);
                bits | (i32::from(integer).cast_unsigned() & (u32::MAX >> (32 - 32 / per_word))) << (i * 32 / per_word)
            });
            f32::from_bits(bits)
        });
        Self { precision: Precision::Int8, values, words, n, scale, sum }
    }

    /// Bytes held.
    pub(in crate::runtime) fn bytes(&self) -> usize {
        self.values.bytes() + (self.scale.capacity() + self.sum.capacity()) * size_of::<f32>()
    }

    pub(in crate::runtime) const fn precision(&self) -> Precision {
        self.precision
    }

    pub(in crate::runtime) fn panels(&self) -> Panels<'_> {
        let Self { precision, values, words, n, scale, sum } = self;
        Panels { precision: *precision, values, words: *words, n: *n, scale, sum }
    }
}

/// Panels of `n` columns of `words` words, `word(row, column)` each; zeros up to whole panels.
fn panels(kernels: Kernels, words: usize, n: usize, mut word: impl FnMut(usize, usize) -> f32) -> Buffer {
    let width = kernels.panel();
    let mut values = Buffer::zeroed(words * n.next_multiple_of(width));
    for (panel, first) in values.chunks_exact_mut(words * width).zip((0..n).step_by(width)) {
        for (row, to) in panel.chunks_exact_mut(width).enumerate() {
            to.iter_mut().zip(first..n).for_each(|(to, column)| *to = word(row, column));
        }
    }
    values
}
