//! What happens to rows between the products: LayerNorm, conversion to a product's words, softmax.

use super::MAX_ROW;
use super::math::{exp, gelu, gelu_fast};
use super::simd::Simd;
use crate::Precision;

/// Rows of f32 on their way into words.
///
/// # Safety
/// The functions of this module that take one need the instructions of their `Simd`, and of the job:
/// - `src` is readable for `(rows - 1) * ld_src + n` values, `add` for `(rows - 1) * ld_add + n` unless it is null;
/// - `n` is a multiple of a vector's lanes and at most [`MAX_ROW`];
/// - `gamma` and `beta` hold `n` values each, unless `gamma` is null;
/// - `dst` is writable for `(rows - 1) * ld_dst` words and those of one row, and nothing else uses them meanwhile. It may
///   be `src` if it is f32 and both distances are equal, and may not overlap it otherwise;
/// - `scale` and `zero` are writable for `rows` values if the rows become int8 by their own ranges.
///
/// `Kernels::rows`, `rows_with_scale` and `norm_in_place` check all of it.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) src: *const f32,
    pub(super) ld_src: usize,
    pub(super) rows: usize,
    /// Values of a row: a multiple of a vector's lanes, at most [`MAX_ROW`].
    pub(super) n: usize,
    /// Rows that are added first; may be null.
    pub(super) add: *const f32,
    pub(super) ld_add: usize,
    /// LayerNorm before the conversion, unless `gamma` is null.
    pub(super) gamma: *const f32,
    pub(super) beta: *const f32,
    pub(super) epsilon: f32,
    /// GELU after the norm.
    pub(super) gelu: bool,
    pub(super) dst: *mut f32,
    /// Words from a row to the next.
    pub(super) ld_dst: usize,
    /// For int8: the rows' scales, and what stands for zero.
    pub(super) scale: *mut f32,
    pub(super) zero: *mut f32,
}

/// Precision of the words that rows become.
pub(super) const F32: u8 = Precision::F32 as u8;
pub(super) const BF16: u8 = Precision::Bf16 as u8;
pub(super) const F16: u8 = Precision::F16 as u8;
pub(super) const INT8: u8 = Precision::Int8 as u8;

/// Stores lanes as floats of this precision, as close as they are long.
#[inline(always)]
pub(super) unsafe fn store_floats<S: Simd, const FORMAT: u8>(p: *mut f32, at: usize, v: S::F) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        match FORMAT {
            BF16 => S::store_bf16(p.cast::<u16>().add(at), v),
            F16 => S::store_f16(p.cast::<u16>().add(at), v),
            _ => S::store(p.add(at), v),
        }
    }
}

#[inline(always)]
pub(super) unsafe fn rows<S: Simd, const FORMAT: u8>(j: &Rows) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        let mut buffer = [0.0f32; MAX_ROW];
        for row in 0..j.rows {
            let mut src = j.src.add(row * j.ld_src);
            let dst = j.dst.add(row * j.ld_dst);
            let prepared = if FORMAT == F32 { dst } else { buffer.as_mut_ptr() };
            if !j.add.is_null() {
                let add = j.add.add(row * j.ld_add);
                for i in (0..j.n).step_by(S::LANES) {
                    S::store(prepared.add(i), S::add(S::load(src.add(i)), S::load(add.add(i))));
                }
                src = prepared;
            }
            if !j.gamma.is_null() {
                normalize::<S, FORMAT>(j, src, prepared);
                src = prepared;
            }
            match FORMAT {
                BF16 | F16 => {
                    for i in (0..j.n).step_by(S::LANES) {
                        store_floats::<S, FORMAT>(dst, i, S::load(src.add(i)));
                    }
                }
                INT8 => {
                    let (scale, zero) = quantize::<S>(src, j.n, dst.cast());
                    *j.scale.add(row) = scale;
                    *j.zero.add(row) = zero;
                }
                _ => {
                    if !core::ptr::eq(src, dst) {
                        core::ptr::copy(src, dst, j.n);
                    }
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn normalize<S: Simd, const FORMAT: u8>(j: &Rows, src: *const f32, dst: *mut f32) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        let mut sum = S::splat(0.0);
        for i in (0..j.n).step_by(S::LANES) {
            sum = S::add(sum, S::load(src.add(i)));
        }
        let mean = S::splat(S::sum(sum) / j.n as f32);
        let mut squares = S::splat(0.0);
        for i in (0..j.n).step_by(S::LANES) {
            let d = S::sub(S::load(src.add(i)), mean);
            squares = S::fma(d, d, squares);
        }
        let factor = S::splat(1.0 / (S::sum(squares) / j.n as f32 + j.epsilon).sqrt());
        for i in (0..j.n).step_by(S::LANES) {
            let d = S::mul(S::sub(S::load(src.add(i)), mean), factor);
            let mut y = S::fma(d, S::load(j.gamma.add(i)), S::load(j.beta.add(i)));
            if j.gelu {
                y = if FORMAT == F32 { gelu::<S>(y) } else { gelu_fast::<S>(y) };
            }
            S::store(dst.add(i), y);
        }
    }
}

/// Rounds a row to 256 steps between its least and its greatest value, of which 0 is one.
#[inline(always)]
unsafe fn quantize<S: Simd>(src: *const f32, n: usize, dst: *mut u8) -> (f32, f32) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        let (mut least, mut greatest) = (S::splat(0.0), S::splat(0.0));
        // Stays 0 until a value is no number: rounded, such a value would pass for one.
        let mut fault = S::splat(0.0);
        for i in (0..n).step_by(S::LANES) {
            let v = S::load(src.add(i));
            least = S::min(least, v);
            greatest = S::max(greatest, v);
            fault = S::fma(v, S::splat(0.0), fault);
        }
        let (scale, zero) = steps(S::least(least), S::greatest(greatest));
        store_steps::<S>(src, n, scale, zero, dst);
        (scale + S::sum(fault), zero - S::INT8_OFFSET as f32)
    }
}

/// Size of a step, and the number of the step that is 0, for values in a range.
pub(super) fn steps(least: f32, greatest: f32) -> (f32, f32) {
    let scale = (greatest - least) / 255.0;
    let scale = if scale > 0.0 && scale.is_finite() { scale } else { 1.0 };
    (scale, (-least / scale).round_ties_even().clamp(0.0, 255.0))
}

#[inline(always)]
pub(super) unsafe fn store_steps<S: Simd>(src: *const f32, n: usize, scale: f32, zero: f32, dst: *mut u8) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        let offset = S::INT8_OFFSET as f32;
        let (inverse, shift) = (S::splat(1.0 / scale), S::splat(zero - offset));
        let (low, high) = (S::splat(-offset), S::splat(255.0 - offset));
        let width = 4 / S::INT8_PER_WORD;
        for i in (0..n).step_by(S::LANES) {
            let v = S::fma(S::load(src.add(i)), inverse, shift);
            S::store_int8(dst.add(i * width), S::round(S::min(S::max(v, low), high)));
        }
    }
}

/// Rows to whole words of int8 with one scale for all of them.
#[inline(always)]
pub(super) unsafe fn rows_with_scale<S: Simd>(j: &Rows, scale: f32, zero: f32) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        for row in 0..j.rows {
            store_steps::<S>(j.src.add(row * j.ld_src), j.n, scale, zero, j.dst.add(row * j.ld_dst).cast());
        }
    }
}

/// Rows of scores on their way into weights of a sum.
///
/// # Safety
/// The functions of this module that take one need the instructions of their `Simd`, and of the job:
/// - `scores` is readable for `(rows - 1) * ld + n` values; `n` is a multiple of a vector's lanes, for heads also of 16
///   and at most 512;
/// - `dst` is writable for `(rows - 1) * ld_dst` words and those of `n` floats, and overlaps nothing;
/// - `sum` is writable for `rows` values, except for heads, and so is `greatest` unless it is null.
///
/// `Kernels::softmax` and `softmax_of_heads` check all of it.
#[derive(Debug)]
pub(super) struct Softmax {
    pub(super) scores: *mut f32,
    pub(super) ld: usize,
    pub(super) rows: usize,
    /// Scores of a row, a multiple of a vector's lanes; those that don't count hold a large negative number.
    pub(super) n: usize,
    /// Words of the exponentials of the scores less the row's greatest.
    pub(super) dst: *mut f32,
    pub(super) ld_dst: usize,
    /// The row's greatest score; may be null.
    pub(super) greatest: *mut f32,
    /// The row's sum, or its inverse if `invert`.
    pub(super) sum: *mut f32,
    pub(super) invert: bool,
}

#[inline(always)]
pub(super) unsafe fn softmax<S: Simd, const FORMAT: u8>(j: &Softmax) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        for row in 0..j.rows {
            let src = j.scores.add(row * j.ld);
            let dst = j.dst.add(row * j.ld_dst);
            let mut greatest = S::load(src);
            for i in (0..j.n).step_by(S::LANES) {
                greatest = S::max(greatest, S::load(src.add(i)));
            }
            let greatest = S::greatest(greatest);
            let shift = S::splat(greatest);
            let mut sum = S::splat(0.0);
            for i in (0..j.n).step_by(S::LANES) {
                let e = exp::<S>(S::sub(S::load(src.add(i)), shift));
                sum = S::add(sum, e);
                store_floats::<S, FORMAT>(dst, i, e);
            }
            let sum = S::sum(sum);
            *j.sum.add(row) = if j.invert { 1.0 / sum } else { sum };
            if !j.greatest.is_null() {
                *j.greatest.add(row) = greatest;
            }
        }
    }
}

/// Softmax over `tokens` for each of 8 heads, in rows that hold 8 heads for each token; written normalised.
#[inline(always)]
pub(super) unsafe fn softmax_of_heads<S: Simd, const FORMAT: u8>(j: &Softmax) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        let mut e = [[0.0f32; 8]; 64];
        let tokens = j.n / 8;
        for row in 0..j.rows {
            let src = j.scores.add(row * j.ld).cast::<[f32; 8]>();
            let mut greatest = *src;
            for t in 1..tokens {
                let s = *src.add(t);
                for h in 0..8 {
                    greatest[h] = if s[h] > greatest[h] { s[h] } else { greatest[h] };
                }
            }
            for (t, e) in e[..tokens].iter_mut().enumerate() {
                let s = *src.add(t);
                for h in 0..8 {
                    e[h] = s[h] - greatest[h];
                }
            }
            let flat = e.as_mut_ptr().cast::<f32>();
            for i in (0..j.n).step_by(S::LANES) {
                S::store(flat.add(i), exp::<S>(S::load(flat.add(i))));
            }
            let mut sum = [0.0f32; 8];
            for e in &e[..tokens] {
                for h in 0..8 {
                    sum[h] += e[h];
                }
            }
            for sum in &mut sum {
                *sum = 1.0 / *sum;
            }
            for e in &mut e[..tokens] {
                for h in 0..8 {
                    e[h] *= sum[h];
                }
            }
            let dst = j.dst.add(row * j.ld_dst);
            for i in (0..j.n).step_by(S::LANES) {
                store_floats::<S, FORMAT>(dst, i, S::load(flat.add(i)));
            }
        }
    }
}

/// Sums of `n` products of each row with one vector.
///
/// # Safety
/// `rows` is readable for `count * n` values and `vector` for `n`, a multiple of a vector's lanes; `out` is writable for
/// `count` values. The instructions are those of `S`.
#[inline(always)]
pub(super) unsafe fn dot_rows<S: Simd>(rows: *const f32, count: usize, n: usize, vector: *const f32, out: *mut f32) {
    // SAFETY: the caller's, as the job states it.
    unsafe {
        for row in 0..count {
            let mut sum = S::splat(0.0);
            for i in (0..n).step_by(S::LANES) {
                sum = S::fma(S::load(rows.add(row * n + i)), S::load(vector.add(i)), sum);
            }
            *out.add(row) = S::sum(sum);
        }
    }
}

/// A matrix of `rows` rows of `columns` words turned.
///
/// # Safety
/// `src` is readable for `(rows - 1) * ld_src + columns` words and `dst` writable for `(columns - 1) * ld_dst + rows`;
/// they do not overlap.
#[inline(always)]
pub(super) unsafe fn transpose(
    src: *const f32,
    ld_src: usize,
    (rows, columns): (usize, usize),
    dst: *mut f32,
    ld_dst: usize,
) {
    const SIDE: usize = 16;
    // SAFETY: the caller's, as the job states it.
    unsafe {
        // Squares, so that the lines of neither side are fetched more than once.
        for row in (0..rows).step_by(SIDE) {
            let height = SIDE.min(rows - row);
            for column in (0..columns).step_by(SIDE) {
                let width = SIDE.min(columns - column);
                let (src, dst) = (src.add(row * ld_src + column), dst.add(column * ld_dst + row));
                if height == SIDE && width == SIDE {
                    let mut square = [[0.0f32; SIDE]; SIDE];
                    for (r, line) in square.iter_mut().enumerate() {
                        *line = src.add(r * ld_src).cast::<[f32; SIDE]>().read_unaligned();
                    }
                    for c in 0..SIDE {
                        let mut line = [0.0f32; SIDE];
                        for r in 0..SIDE {
                            line[r] = square[r][c];
                        }
                        dst.add(c * ld_dst).cast::<[f32; SIDE]>().write_unaligned(line);
                    }
                } else {
                    for c in 0..width {
                        for r in 0..height {
                            *dst.add(c * ld_dst + r) = *src.add(r * ld_src + c);
                        }
                    }
                }
            }
        }
    }
}
