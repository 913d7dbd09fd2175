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
#[derive(Clone, Debug)]
pub(in crate::runtime) struct Weights {
    precision: Precision,
    values: Buffer,
    words: usize,
    n: usize,
    scale: Vec<f32>,
    sum: Vec<f32>,
}

impl Weights {
    /// Packs a matrix (k, n) of f32. For int8 each column is rounded to 255 steps between its extremes.
    pub(in crate::runtime) fn pack(kernels: Kernels, precision: Precision, values: &[f32], n: usize) -> Self {
        let k = values.len() / n;
        assert_eq!(values.len(), k * n, "shape of weights");
        if precision == Precision::Int8 {
            let (integers, scale) = quantize_weights(values, n, |i| i % n);
            return Self::int8(kernels, &integers, scale);
        }
        let per_word = kernels.per_word(precision);
        let width = kernels.panel();
        let words = k.div_ceil(per_word);
        let mut packed = Vec::with_capacity(words * n.next_multiple_of(width));
        let value = |row: usize, column: usize| if row < k && column < n { values[row * n + column] } else { 0.0 };
        for first in (0..n).step_by(width) {
            for word in 0..words {
                packed.extend((first..first + width).map(|column| {
                    if precision == Precision::F32 {
                        return value(word, column);
                    }
                    let narrow = if precision == Precision::F16 { to_f16 } else { to_bf16 };
                    let halves = [0, 1].map(|i| u32::from(narrow(value(2 * word + i, column))));
                    f32::from_bits(halves[0] | halves[1] << 16)
                }));
            }
        }
        Self { precision, values: Buffer::from_slice(&packed), words, n, scale: vec![], sum: vec![] }
    }

    /// Packs integers (k, n) from -127 to 127 with a scale for each column.
    pub(in crate::runtime) fn int8(kernels: Kernels, integers: &[i8], scale: Vec<f32>) -> Self {
        // Some kernels add two products of it in 16 bits.
        assert!(!integers.contains(&i8::MIN), "weights of 8 bits");
        let n = scale.len();
        let k = integers.len() / n;
        let per_word = kernels.per_word(Precision::Int8);
        let width = kernels.panel();
        let words = k.div_ceil(per_word);
        let value = |row: usize, column: usize| if row < k && column < n { integers[row * n + column] } else { 0 };
        let mut packed = Vec::with_capacity(words * n.next_multiple_of(width));
        for first in (0..n).step_by(width) {
            for word in 0..words {
                packed.extend((first..first + width).map(|column| {
                    let bits = (0..per_word).fold(0u32, |bits, i| {
                        let integer = i32::from(value(word * per_word + i, column)).cast_unsigned();
                        bits | (integer & (u32::MAX >> (32 - 32 / per_word))) << (i * 32 / per_word)
                    });
                    f32::from_bits(bits)
                }));
            }
        }
        let sum = (0..n).map(|column| (0..k).map(|row| f32::from(value(row, column))).sum()).collect();
        Self { precision: Precision::Int8, values: Buffer::from_slice(&packed), words, n, scale, sum }
    }

    pub(in crate::runtime) const fn precision(&self) -> Precision {
        self.precision
    }

    pub(in crate::runtime) fn panels(&self) -> Panels<'_> {
        let Self { precision, values, words, n, scale, sum } = self;
        Panels { precision: *precision, values, words: *words, n: *n, scale, sum }
    }
}
