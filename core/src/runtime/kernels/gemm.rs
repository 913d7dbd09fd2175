//! Matrix products of a block of rows with packed weights.

use super::math::{gelu, gelu_fast};
use super::rows::{BF16, F16, F32, store_floats};
use super::simd::Simd;
use crate::Precision;

/// What is done with a sum before it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Activation {
    /// Nothing.
    None,
    /// The exact GELU, as exact as the product's precision deserves.
    Gelu,
    /// What is below zero becomes zero.
    Relu,
}

/// One product: `rows` rows of `taps * k` words with columns packed in panels of two vectors.
///
/// # Safety
/// The functions of this module that take one need the instructions of their `Simd`, and of the job:
/// - `a` is readable for `(rows - 1) * lda + tap + k` words for each of the `tap_count` `taps`;
/// - `b` holds `n` columns rounded up to whole panels, each of `tap_count * k` words, all of them written;
/// - `n` is a multiple of a vector's lanes; `column_scale` and `column_sum` hold `n` values, `row_scale` and `row_zero`
///   hold `rows`, all four in int8 only;
/// - `row_factor` holds `rows` values, `bias` holds `n`, `residual` is readable for `(rows - 1) * ld_residual + n`
///   values, unless they are null;
/// - `out` is writable for `(rows - 1) * ldo` words and a row of `n` values in `out_format`, which is not int8, and
///   nothing else reads or writes those rows meanwhile. It may not overlap what is read.
///
/// `Kernels::product_of_taps` checks all of it.
#[derive(Debug)]
pub(super) struct Gemm {
    pub(super) a: *const f32,
    /// Words from a row to the next.
    pub(super) lda: usize,
    pub(super) rows: usize,
    /// Where, in words from a row's start, each run of `k` words begins.
    pub(super) taps: *const usize,
    pub(super) tap_count: usize,
    pub(super) k: usize,
    /// Panels, each of `taps * k` times two vectors of words.
    pub(super) b: *const f32,
    /// Columns: a multiple of a vector's lanes.
    pub(super) n: usize,
    /// For int8: a row's scale, and what it holds for zero.
    pub(super) row_scale: *const f32,
    pub(super) row_zero: *const f32,
    /// For int8: a column's scale, and the sum of its weights.
    pub(super) column_scale: *const f32,
    pub(super) column_sum: *const f32,
    /// What each row is multiplied by; may be null.
    pub(super) row_factor: *const f32,
    /// Added to each row; may be null.
    pub(super) bias: *const f32,
    /// Added to each sum before the activation; may be null.
    pub(super) residual: *const f32,
    pub(super) ld_residual: usize,
    pub(super) activation: Activation,
    pub(super) out: *mut f32,
    /// Words from an output row to the next.
    pub(super) ldo: usize,
    /// What is stored: floats, of 16 bits two to a word.
    pub(super) out_format: Precision,
}

/// How words are multiplied.
pub(super) trait Dot<S: Simd> {
    type Sum: Copy;
    unsafe fn zero() -> Self::Sum;
    unsafe fn step(sum: Self::Sum, a: S::I, b: S::I) -> Self::Sum;
    /// The value that a sum in this row and column stands for.
    unsafe fn value(sum: Self::Sum, g: &Gemm, row: usize, column: usize) -> S::F;
    unsafe fn gelu(v: S::F) -> S::F;
}

/// How the sums of a tile, `R` rows from `row` on times the panel at `b`, come about.
pub(super) trait Tile<S: Simd, D: Dot<S>> {
    unsafe fn sums<const R: usize>(g: &Gemm, b: *const f32, row: usize) -> [[D::Sum; 2]; R];
}

/// Each word of a row is loaded into all lanes.
pub(super) struct Broadcast;

/// Products of floats of a precision, summed in f32.
pub(super) struct DotFloats<const FORMAT: u8>;
pub(super) type DotF32 = DotFloats<F32>;
pub(super) type DotBf16 = DotFloats<BF16>;
pub(super) type DotF16 = DotFloats<F16>;
pub(super) struct DotInt8;

impl<S: Simd, const FORMAT: u8> Dot<S> for DotFloats<FORMAT> {
    type Sum = S::F;
    #[inline(always)]
    unsafe fn zero() -> S::F {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe { S::splat(0.0) }
    }
    #[inline(always)]
    unsafe fn step(sum: S::F, a: S::I, b: S::I) -> S::F {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe {
            match FORMAT {
                BF16 => S::dot_bf16(sum, a, b),
                F16 => S::dot_f16(sum, a, b),
                _ => S::dot_f32(sum, a, b),
            }
        }
    }
    #[inline(always)]
    unsafe fn value(sum: S::F, _: &Gemm, _: usize, _: usize) -> S::F {
        sum
    }
    #[inline(always)]
    unsafe fn gelu(v: S::F) -> S::F {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe { if FORMAT == F32 { gelu::<S>(v) } else { gelu_fast::<S>(v) } }
    }
}

impl<S: Simd> Dot<S> for DotInt8 {
    type Sum = S::I;
    #[inline(always)]
    unsafe fn zero() -> S::I {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe { S::zero_words() }
    }
    #[inline(always)]
    unsafe fn step(sum: S::I, a: S::I, b: S::I) -> S::I {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe { S::dot_int8(sum, a, b) }
    }
    #[inline(always)]
    unsafe fn value(sum: S::I, g: &Gemm, row: usize, column: usize) -> S::F {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe {
            let zero = S::splat(-*g.row_zero.add(row));
            let sum = S::fma(zero, S::load(g.column_sum.add(column)), S::to_float(sum));
            S::mul(S::mul(sum, S::splat(*g.row_scale.add(row))), S::load(g.column_scale.add(column)))
        }
    }
    #[inline(always)]
    unsafe fn gelu(v: S::F) -> S::F {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe { gelu_fast::<S>(v) }
    }
}

/// Runs a product: panel by panel, so that a panel stays in the nearest cache while the block's rows pass.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, D: Dot<S>, T: Tile<S, D>>(g: &Gemm) {
    // SAFETY: the caller's, as `Gemm` states it.
    unsafe {
        let width = 2 * S::LANES;
        let words = g.tap_count * g.k;
        // Rows are spread evenly over the tiles: 49 rows are five tiles of ten or nine, not four of twelve and a rest.
        let tiles = g.rows.div_ceil(S::ROWS);
        let mut column = 0;
        let mut b = g.b;
        while column < g.n {
            let mut row = 0;
            for tile in 1..=tiles {
                let end = g.rows * tile / tiles;
                match end - row {
                    12 if S::ROWS >= 12 => tile_of::<S, D, T, 12>(g, b, row, column),
                    11 if S::ROWS >= 11 => tile_of::<S, D, T, 11>(g, b, row, column),
                    10 if S::ROWS >= 10 => tile_of::<S, D, T, 10>(g, b, row, column),
                    9 if S::ROWS >= 9 => tile_of::<S, D, T, 9>(g, b, row, column),
                    8 if S::ROWS >= 8 => tile_of::<S, D, T, 8>(g, b, row, column),
                    7 if S::ROWS >= 7 => tile_of::<S, D, T, 7>(g, b, row, column),
                    6 if S::ROWS >= 6 => tile_of::<S, D, T, 6>(g, b, row, column),
                    5 if S::ROWS >= 5 => tile_of::<S, D, T, 5>(g, b, row, column),
                    4 => tile_of::<S, D, T, 4>(g, b, row, column),
                    3 => tile_of::<S, D, T, 3>(g, b, row, column),
                    2 => tile_of::<S, D, T, 2>(g, b, row, column),
                    _ => tile_of::<S, D, T, 1>(g, b, row, column),
                }
                row = end;
            }
            column += width;
            b = b.add(words * width);
        }
    }
}

impl<S: Simd, D: Dot<S>> Tile<S, D> for Broadcast {
    #[inline(always)]
    unsafe fn sums<const R: usize>(g: &Gemm, mut b: *const f32, row: usize) -> [[D::Sum; 2]; R] {
        // SAFETY: the caller's, as `Gemm` states it.
        unsafe {
            let mut sums = [[D::zero(); 2]; R];
            for tap in 0..g.tap_count {
                let mut a = g.a.add(row * g.lda + *g.taps.add(tap));
                for _ in 0..g.k {
                    let columns = [S::load_words(b), S::load_words(b.add(S::LANES))];
                    for (r, sums) in sums.iter_mut().enumerate() {
                        let word = S::splat_word(a.add(r * g.lda));
                        sums[0] = D::step(sums[0], word, columns[0]);
                        sums[1] = D::step(sums[1], word, columns[1]);
                    }
                    a = a.add(1);
                    b = b.add(2 * S::LANES);
                }
            }
            sums
        }
    }
}

#[inline(always)]
unsafe fn tile_of<S: Simd, D: Dot<S>, T: Tile<S, D>, const R: usize>(
    g: &Gemm,
    b: *const f32,
    row: usize,
    column: usize,
) {
    // SAFETY: the caller's, as `Gemm` states it.
    unsafe {
        let sums = T::sums::<R>(g, b, row);
        let (mut left, mut right) = ([D::zero(); R], [D::zero(); R]);
        for r in 0..R {
            left[r] = sums[r][0];
            right[r] = sums[r][1];
        }
        finish::<S, D, R>(g, &left, row, column);
        // The second vector of the last panel may be padding.
        if column + 2 * S::LANES <= g.n {
            finish::<S, D, R>(g, &right, row, column + S::LANES);
        }
    }
}

/// Stores one vector of columns of a tile.
#[inline(always)]
unsafe fn finish<S: Simd, D: Dot<S>, const R: usize>(g: &Gemm, sums: &[D::Sum; R], row: usize, column: usize) {
    // SAFETY: the caller's, as `Gemm` states it.
    unsafe {
        let mut values = [S::splat(0.0); R];
        for r in 0..R {
            values[r] = D::value(sums[r], g, row + r, column);
        }
        if !g.row_factor.is_null() {
            for r in 0..R {
                values[r] = S::mul(values[r], S::splat(*g.row_factor.add(row + r)));
            }
        }
        if !g.bias.is_null() {
            let bias = S::load(g.bias.add(column));
            for value in &mut values {
                *value = S::add(*value, bias);
            }
        }
        if !g.residual.is_null() {
            for r in 0..R {
                let residual = S::load(g.residual.add((row + r) * g.ld_residual + column));
                values[r] = S::add(values[r], residual);
            }
        }
        match g.activation {
            Activation::None => {}
            Activation::Gelu => {
                for value in &mut values {
                    *value = D::gelu(*value);
                }
            }
            Activation::Relu => {
                for value in &mut values {
                    *value = S::max(S::splat(0.0), *value);
                }
            }
        }
        for (r, &value) in values.iter().enumerate() {
            let out = g.out.add((row + r) * g.ldo);
            match g.out_format {
                Precision::Bf16 => store_floats::<S, BF16>(out, column, value),
                Precision::F16 => store_floats::<S, F16>(out, column, value),
                Precision::F32 | Precision::Int8 => store_floats::<S, F32>(out, column, value),
            }
        }
    }
}
