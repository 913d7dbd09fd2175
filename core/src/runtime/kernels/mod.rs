//! The kernels: everything that is written in vector instructions, behind functions that check lengths.
//!
//! Every kernel is written once, over the few operations of the trait `Simd`, and compiled for each set of
//! instructions; the set written in plain Rust is the oracle of the others.
#![allow(unsafe_code, reason = "vector instructions; memory shared by threads tile by tile")]
#![warn(clippy::undocumented_unsafe_blocks)]
#![allow(clippy::missing_safety_doc, reason = "stated once: at `Simd` and at the structs that kernels take")]
#![allow(clippy::needless_range_loop, reason = "loops over lanes and tiles, several arrays at once")]
#![cfg_attr(not(feature = "runtime"), allow(dead_code, unused_imports, reason = "the callers are left out"))]

mod buffer;
mod depthwise;
mod gemm;
mod math;
mod matrix;
#[cfg(target_arch = "aarch64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "intrinsics under the contract of `Simd`")]
mod neon;
mod pack;
#[allow(clippy::undocumented_unsafe_blocks, reason = "plain Rust under the contract of `Simd`")]
mod portable;
mod rows;
mod simd;
mod table;
#[cfg(test)]
mod tests;
mod tiles;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[allow(clippy::undocumented_unsafe_blocks, reason = "intrinsics under the contract of `Simd`")]
mod wasm;
#[cfg(target_arch = "x86_64")]
#[allow(clippy::undocumented_unsafe_blocks, reason = "intrinsics under the contract of `Simd`")]
mod x86;

use std::prelude::v1::*;

pub(super) use buffer::{Buffer, LINE, Scratch, poison};
pub(super) use depthwise::Gelu;
pub(super) use gemm::Activation;
pub(super) use matrix::{Matrix, Packing, Panels, Weights, Words};
pub(super) use tiles::Tiles;

use crate::Precision;
use depthwise::Depthwise;
use gemm::Gemm;
use pack::Pack;
use rows::{Rows, Softmax};
use table::{TABLES, Table};

/// Longest row that is normalised or converted.
pub(super) const MAX_ROW: usize = 2048;

/// The kernels for one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Kernels(&'static Table);

/// Where a product's rows go, and what is added on the way.
#[derive(Debug)]
pub(super) struct Output<'a> {
    pub(super) values: &'a mut [f32],
    /// Words from a row to the next.
    pub(super) ld: usize,
    /// What is stored: floats, of 16 bits two to a word.
    pub(super) precision: Precision,
    pub(super) bias: Option<&'a [f32]>,
    pub(super) row_factor: Option<&'a [f32]>,
    pub(super) residual: Residual<'a>,
    pub(super) activation: Activation,
}

/// What is added to a product before its activation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Residual<'a> {
    None,
    /// Rows, and the distance from one to the next.
    Rows(&'a [f32], usize),
}

impl<'a> Output<'a> {
    /// Rows of f32 without anything added.
    pub(super) fn new(values: &'a mut [f32], ld: usize) -> Self {
        let (bias, row_factor, residual) = (None, None, Residual::None);
        Self { values, ld, precision: Precision::F32, bias, row_factor, residual, activation: Activation::None }
    }

    pub(super) fn bias(self, bias: &'a [f32]) -> Self {
        Self { bias: Some(bias), ..self }
    }

    pub(super) fn residual(self, residual: Residual<'a>) -> Self {
        Self { residual, ..self }
    }

    pub(super) fn row_factor(self, factor: &'a [f32]) -> Self {
        Self { row_factor: Some(factor), ..self }
    }

    pub(super) fn activation(self, activation: Activation) -> Self {
        Self { activation, ..self }
    }

    pub(super) fn precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

/// What is done to rows before they become rows of a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Prepare<'a> {
    /// Nothing.
    Nothing,
    /// Other rows, as close together as they are long, are added.
    Add(&'a [f32]),
    /// LayerNorm.
    Norm(Norm<'a>),
    /// LayerNorm, then GELU.
    NormGelu(Norm<'a>),
}

/// LayerNorm's parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Norm<'a> {
    pub(super) gamma: &'a [f32],
    pub(super) beta: &'a [f32],
    pub(super) epsilon: f32,
}

/// Least length of a slice that holds `rows` rows of `n` values, `ld` apart. What is beyond `usize` is more than any
/// slice holds, in release builds too.
const fn extent(rows: usize, n: usize, ld: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1).saturating_mul(ld).saturating_add(n) }
}

impl Kernels {
    /// The fastest kernels that this CPU can run.
    pub fn detect() -> Self {
        Self::available().next().unwrap_or(Self(TABLES[TABLES.len() - 1]))
    }

    /// All kernels that this CPU can run, the fastest first; the last are in portable Rust.
    pub fn available() -> impl Iterator<Item = Self> {
        TABLES.into_iter().filter(|t| (t.runs)()).map(Self)
    }

    /// Name of the instruction set: `avx512-bf16`, `avx2`, `portable`, ...
    pub const fn name(self) -> &'static str {
        self.0.name
    }

    /// The floating-point precision whose products are the fastest on this CPU; always the same on one machine.
    pub(crate) fn fast_float(self) -> Precision {
        (self.0.fast_float)()
    }

    /// Columns of a panel.
    pub(super) const fn panel(self) -> usize {
        2 * self.0.lanes
    }

    /// Values of a 32-bit word.
    pub(super) const fn per_word(self, precision: Precision) -> usize {
        match precision {
            Precision::F32 => 1,
            Precision::Bf16 | Precision::F16 => 2,
            Precision::Int8 => self.0.int8_per_word,
        }
    }

    /// Words of a row of `k` values.
    pub(super) const fn words(self, precision: Precision, k: usize) -> usize {
        k.div_ceil(self.per_word(precision))
    }

    /// What stands for a value of `zero` steps in the words of int8.
    pub(super) const fn int8_offset(self) -> i32 {
        self.0.int8_offset
    }

    /// `a` times `b`, in the precision of both.
    pub(super) fn product(self, a: &Matrix<'_>, b: &Panels<'_>, out: Output<'_>) {
        self.product_of_taps(a, &[0], b, out);
    }

    /// As [`product`](Self::product) where a row's words are not one run but one for each of `taps`, which begins that
    /// many words after the row's start.
    pub(super) fn product_of_taps(self, a: &Matrix<'_>, taps: &[usize], b: &Panels<'_>, out: Output<'_>) {
        if a.rows == 0 || b.n == 0 {
            return;
        }
        let k = a.words;
        let farthest = taps.iter().copied().max().unwrap_or(0);
        assert_eq!(a.precision, b.precision, "precisions of a product");
        assert_eq!(k.saturating_mul(taps.len()), b.words, "summed axis of a product");
        assert!(b.n.is_multiple_of(self.0.lanes), "columns of a product");
        assert!(a.values.len() >= extent(a.rows, farthest.saturating_add(k), a.ld), "rows of a product");
        assert!(b.values.len() >= b.n.div_ceil(self.panel()) * self.panel() * b.words, "panels of a product");
        assert!(out.precision != Precision::Int8, "products are stored as floats");
        let n_words = b.n / self.per_word(out.precision);
        assert!(n_words <= out.ld || a.rows == 1, "output rows of a product");
        assert!(out.values.len() >= extent(a.rows, n_words, out.ld), "output of a product");
        assert!(out.bias.is_none_or(|v| v.len() >= b.n), "bias of a product");
        assert!(out.row_factor.is_none_or(|v| v.len() >= a.rows), "row factors of a product");
        let null = core::ptr::null();
        if a.precision == Precision::Int8 {
            assert!(a.scale.len() >= a.rows && a.zero.len() >= a.rows, "row scales of a product");
            assert!(b.scale.len() >= b.n && b.sum.len() >= b.n, "column scales of a product");
        }
        let (residual, ld_residual) = match out.residual {
            Residual::None => (null, 0),
            Residual::Rows(rows, ld) => {
                assert!(rows.len() >= extent(a.rows, b.n, ld), "residual of a product");
                (rows.as_ptr(), ld)
            }
        };
        let gemm = Gemm {
            a: a.values.as_ptr(),
            lda: a.ld,
            rows: a.rows,
            taps: taps.as_ptr(),
            tap_count: taps.len(),
            k,
            b: b.values.as_ptr(),
            n: b.n,
            row_scale: a.scale.as_ptr(),
            row_zero: a.zero.as_ptr(),
            column_scale: b.scale.as_ptr(),
            column_sum: b.sum.as_ptr(),
            row_factor: out.row_factor.map_or(null, <[f32]>::as_ptr),
            bias: out.bias.map_or(null, <[f32]>::as_ptr),
            residual,
            ld_residual,
            activation: out.activation,
            out: out.values.as_mut_ptr(),
            ldo: out.ld,
            out_format: out.precision,
        };
        // SAFETY: all extents were checked above; the table's instructions are there, or it would not have been chosen.
        unsafe { self.0.gemm[a.precision as usize](&gemm) }
    }

    /// Rows of f32, `ld` apart, prepared and brought into `precision`, as rows of a product from row `first` of `words`
    /// on.
    #[expect(clippy::too_many_arguments, reason = "one thing in several precisions")]
    pub(super) fn rows(
        self,
        precision: Precision,
        src: &[f32],
        ld: usize,
        (rows, n): (usize, usize),
        prepare: Prepare<'_>,
        words: &mut Words<'_>,
        first: usize,
    ) {
        let ld_dst = self.words(precision, n);
        let dst = &mut words.values[first * ld_dst..];
        assert!(dst.len() >= rows.saturating_mul(ld_dst), "words of the rows");
        let mut job = self.rows_job(src, ld, (rows, n), dst.as_mut_ptr(), ld_dst);
        let (Prepare::Norm(norm) | Prepare::NormGelu(norm)) = prepare else {
            if let Prepare::Add(add) = prepare {
                assert!(add.len() >= rows.saturating_mul(n), "rows to add");
                job.add = add.as_ptr();
                job.ld_add = n;
            }
            return self.run_rows(precision, job, words, first);
        };
        job.norm(norm);
        job.gelu = matches!(prepare, Prepare::NormGelu(_));
        self.run_rows(precision, job, words, first);
    }

    fn run_rows(self, precision: Precision, mut job: Rows, words: &mut Words<'_>, first: usize) {
        if precision == Precision::Int8 {
            let (scale, zero) = (&mut words.scale[first..], &mut words.zero[first..]);
            assert!(scale.len() >= job.rows && zero.len() >= job.rows, "scales of the rows");
            job.scale = scale.as_mut_ptr();
            job.zero = zero.as_mut_ptr();
        }
        // SAFETY: all extents were checked when the job was made.
        unsafe { self.0.rows[precision as usize](&job) }
    }

    /// Rows to convert, nothing else done to them.
    fn rows_job(self, src: &[f32], ld: usize, (rows, n): (usize, usize), dst: *mut f32, ld_dst: usize) -> Rows {
        assert!(n <= MAX_ROW && n.is_multiple_of(self.0.lanes.max(4)), "length of a row");
        assert!(src.len() >= extent(rows, n, ld), "rows to convert");
        let (null, none) = (core::ptr::null(), core::ptr::null_mut());
        Rows {
            src: src.as_ptr(),
            ld_src: ld,
            rows,
            n,
            add: null,
            ld_add: 0,
            gamma: null,
            beta: null,
            epsilon: 0.0,
            gelu: false,
            dst,
            ld_dst,
            scale: none,
            zero: none,
        }
    }

    /// LayerNorm in place.
    pub(super) fn norm_in_place(self, values: &mut [f32], n: usize, norm: Norm<'_>) {
        let rows = values.len() / n;
        let dst = values.as_mut_ptr();
        let mut job = self.rows_job(values, n, (rows, n), dst, n);
        job.src = dst;
        job.norm(norm);
        // SAFETY: all extents were checked above; a value is read before its place is written.
        unsafe { self.0.rows[0](&job) }
    }

    /// Size of a step and number of the step that is 0, of the 256 between two values.
    pub(super) fn steps(self, least: f32, greatest: f32) -> (f32, f32) {
        rows::steps(least, greatest)
    }

    /// Rows of `n` values in `precision`; int8 with one scale and zero step for all.
    pub(super) fn rows_with_scale(
        self,
        precision: Precision,
        src: &[f32],
        n: usize,
        (scale, zero): (f32, f32),
        words: &mut [f32],
    ) {
        let rows = src.len() / n;
        if precision != Precision::Int8 {
            let mut words = Words { values: words, scale: &mut [], zero: &mut [] };
            return self.rows(precision, src, n, (rows, n), Prepare::Nothing, &mut words, 0);
        }
        let ld_dst = self.words(Precision::Int8, n);
        assert!(words.len() >= rows * ld_dst, "words of the rows");
        let job = self.rows_job(src, n, (rows, n), words.as_mut_ptr(), ld_dst);
        // SAFETY: all extents were checked above.
        unsafe { (self.0.rows_with_scale)(&job, scale, zero) }
    }

    /// Exponentials of rows of scores less each row's greatest, as rows of a product in `precision`; `sums` takes the
    /// inverse of each row's sum.
    pub(super) fn softmax<'a>(
        self,
        precision: Precision,
        scores: &mut [f32],
        n: usize,
        words: &'a mut [f32],
        sums: &mut [f32],
        greatest: Option<&mut [f32]>,
    ) -> Matrix<'a> {
        let rows = scores.len() / n;
        let ld_dst = self.words(precision, n);
        assert!(precision != Precision::Int8, "weights of a sum are floats");
        assert!(n.is_multiple_of(self.0.lanes) && words.len() >= rows * ld_dst && sums.len() >= rows, "softmax");
        assert!(greatest.as_ref().is_none_or(|g| g.len() >= rows), "softmax");
        let invert = greatest.is_none();
        let job = Softmax {
            scores: scores.as_mut_ptr(),
            ld: n,
            rows,
            n,
            dst: words.as_mut_ptr(),
            ld_dst,
            greatest: greatest.map_or(core::ptr::null_mut(), <[f32]>::as_mut_ptr),
            sum: sums.as_mut_ptr(),
            invert,
        };
        // SAFETY: all extents were checked above.
        unsafe { self.0.softmax[precision as usize](&job) }
        Matrix { precision, values: words, ld: ld_dst, rows, words: ld_dst, scale: &[], zero: &[] }
    }

    /// Softmax over the tokens for each of 8 heads, in rows that hold 8 heads for each token.
    pub(super) fn softmax_of_heads<'a>(
        self,
        precision: Precision,
        scores: &mut [f32],
        n: usize,
        words: &'a mut [f32],
    ) -> Matrix<'a> {
        let rows = scores.len() / n;
        let ld_dst = self.words(precision, n);
        assert!(precision != Precision::Int8, "weights of a sum are floats");
        assert!(n.is_multiple_of(16) && n <= 512 && words.len() >= rows * ld_dst, "softmax");
        let none = core::ptr::null_mut();
        let scores = scores.as_mut_ptr();
        let dst = words.as_mut_ptr();
        let job = Softmax { scores, ld: n, rows, n, dst, ld_dst, greatest: none, sum: none, invert: false };
        // SAFETY: all extents were checked above.
        unsafe { self.0.softmax_of_heads[precision as usize](&job) }
        Matrix { precision, values: words, ld: ld_dst, rows, words: ld_dst, scale: &[], zero: &[] }
    }

    /// Depthwise 3x3 convolution of one output row of `count` pixels, `ldo` apart. Each of `rows` begins one pixel to
    /// the left of the first output's centre; `weights` are nine taps of all channels.
    #[expect(clippy::too_many_arguments, reason = "a convolution has these")]
    pub(super) fn depthwise(
        self,
        rows: [&[f32]; 3],
        channels: usize,
        stride: usize,
        weights: &[f32],
        bias: &[f32],
        count: usize,
        out: &mut [f32],
        gelu: Gelu,
    ) {
        let needed = extent(count, 3, stride).saturating_mul(channels);
        assert!(rows.iter().all(|r| r.len() >= needed), "rows of a convolution");
        assert!(channels.is_multiple_of(self.0.lanes), "channels of a convolution");
        assert!(weights.len() >= 9 * channels && bias.len() >= channels, "weights of a convolution");
        assert!(out.len() >= count.saturating_mul(channels), "output of a convolution");
        assert!(stride == 1 || stride == 2, "stride of a convolution");
        let job = Depthwise {
            rows: rows.map(<[f32]>::as_ptr),
            channels,
            weights: weights.as_ptr(),
            bias: bias.as_ptr(),
            count,
            out: out.as_mut_ptr(),
            ldo: channels,
            gelu,
        };
        // SAFETY: all extents were checked above.
        unsafe { self.0.depthwise[stride - 1](&job) }
    }

    /// Words that a packed matrix takes.
    pub(super) const fn packed_words(self, p: Packing) -> usize {
        self.words(p.precision, p.k) * p.columns.next_multiple_of(self.panel())
    }

    /// What was packed into memory before, in the same way.
    pub(super) fn packed(self, p: Packing, values: &[f32]) -> Panels<'_> {
        assert!(values.len() >= self.packed_words(p), "panels");
        Panels {
            precision: p.precision,
            values,
            words: self.words(p.precision, p.k),
            n: p.columns,
            scale: &[],
            sum: &[],
        }
    }

    /// Packs a matrix of f32 whose rows run along the columns: (k, n), `ld` apart.
    pub(super) fn pack_rows<'a>(self, p: Packing, src: &[f32], ld: usize, to: &'a mut [f32]) -> Panels<'a> {
        assert!(src.len() >= extent(p.k, p.n, ld) && to.len() >= self.packed_words(p), "panels");
        assert!(p.precision != Precision::Int8, "panels of floats");
        // SAFETY: all extents were checked above.
        unsafe { self.0.pack_rows[p.precision as usize](&Pack::new(p, src, ld, to)) }
        self.packed(p, to)
    }

    /// Packs a matrix of f32 whose rows run along the summed axis: (n, k), `ld` apart.
    pub(super) fn pack_columns<'a>(self, p: Packing, src: &[f32], ld: usize, to: &'a mut [f32]) -> Panels<'a> {
        assert!(src.len() >= extent(p.n, p.k, ld) && to.len() >= self.packed_words(p), "panels");
        assert!(p.precision != Precision::Int8 && p.k <= 256 && p.k.is_multiple_of(self.0.lanes), "panels of floats");
        // SAFETY: all extents were checked above.
        unsafe { self.0.pack_columns[p.precision as usize](&Pack::new(p, src, ld, to)) }
        self.packed(p, to)
    }

    /// The product of each row of `n` values with one vector.
    pub(super) fn dot_rows(self, rows: &[f32], vector: &[f32], out: &mut [f32]) {
        let n = vector.len();
        assert!(n.is_multiple_of(self.0.lanes), "length of a product with a vector");
        assert!(rows.len() >= out.len().saturating_mul(n), "rows of a product with a vector");
        // SAFETY: all extents were checked above.
        unsafe { (self.0.dot_rows)(rows.as_ptr(), out.len(), n, vector.as_ptr(), out.as_mut_ptr()) }
    }

    /// A matrix of `rows` rows, `ld` apart, of `columns` values, turned: `columns` rows, `ld_dst` apart.
    pub(super) fn transpose(
        self,
        src: &[f32],
        ld: usize,
        (rows, columns): (usize, usize),
        dst: &mut [f32],
        ld_dst: usize,
    ) {
        assert!(src.len() >= extent(rows, columns, ld) && dst.len() >= extent(columns, rows, ld_dst), "transposition");
        // SAFETY: all extents were checked above.
        unsafe { (self.0.transpose)(src.as_ptr(), ld, (rows, columns), dst.as_mut_ptr(), ld_dst) }
    }
}

impl Rows {
    fn norm(&mut self, norm: Norm<'_>) {
        assert!(norm.gamma.len() >= self.n && norm.beta.len() >= self.n, "parameters of the norm");
        (self.gamma, self.beta, self.epsilon) = (norm.gamma.as_ptr(), norm.beta.as_ptr(), norm.epsilon);
    }
}
