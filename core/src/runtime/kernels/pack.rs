//! Bringing matrices into panels: the words of two vectors of columns, one step of the summed axis after another.

use super::matrix::Packing;
use super::rows::{F32, store_floats};
use super::simd::Simd;

/// A matrix of f32 on its way into panels.
///
/// # Safety
/// The functions of this module need the instructions of their `Simd`, and of the job:
/// - `src` is readable for `k` rows of `n` values, `ld` apart, in [`rows`], and for `n` rows of `k` in [`columns`], where
///   `k` is a multiple of a vector's lanes and at most 256;
/// - `dst` is writable for `columns` rounded up to whole panels times the words of `k` values, and does not overlap `src`.
///
/// `Kernels` checks all of it before it packs.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) src: *const f32,
    pub(super) ld: usize,
    /// Length of the summed axis; what it lacks to whole words is filled with zeros.
    pub(super) k: usize,
    /// Columns of the matrix.
    pub(super) n: usize,
    /// Columns that are packed, at least `n`. Those after the matrix's, and what they lack to whole panels, are zeros.
    pub(super) columns: usize,
    pub(super) dst: *mut f32,
}

impl Pack {
    pub(super) const fn new(p: Packing, src: &[f32], ld: usize, dst: &mut [f32]) -> Self {
        Self { src: src.as_ptr(), ld, k: p.k, n: p.n, columns: p.columns, dst: dst.as_mut_ptr() }
    }
}

/// Panels of a matrix whose rows run along the columns: (k, n).
#[inline(always)]
pub(super) unsafe fn rows<S: Simd, const FORMAT: u8>(p: &Pack) {
    // SAFETY: the caller's, as `Pack` states it.
    unsafe {
        let width = 2 * S::LANES;
        let words = if FORMAT == F32 { p.k } else { p.k.div_ceil(2) };
        let mut dst = p.dst;
        for first in (0..p.columns).step_by(width) {
            let columns = width.min(p.n.saturating_sub(first));
            for word in 0..words {
                if FORMAT != F32 {
                    let dst = dst.cast::<u16>();
                    // Past the matrix's columns nothing is read.
                    let even = p.src.wrapping_add(2 * word * p.ld + first);
                    let odd = if 2 * word + 1 < p.k { even.wrapping_add(p.ld) } else { core::ptr::null() };
                    // Both rows narrowed first, then interleaved: two passes that vectorise.
                    let mut halves = [[0u16; 32]; 2];
                    let mut buffer = [0.0f32; 32];
                    core::ptr::copy_nonoverlapping(even, buffer.as_mut_ptr(), columns);
                    for i in (0..width).step_by(S::LANES) {
                        store_floats::<S, FORMAT>(halves[0].as_mut_ptr().cast(), i, S::load(buffer.as_ptr().add(i)));
                    }
                    if !odd.is_null() {
                        core::ptr::copy_nonoverlapping(odd, buffer.as_mut_ptr(), columns);
                        for i in (0..width).step_by(S::LANES) {
                            store_floats::<S, FORMAT>(
                                halves[1].as_mut_ptr().cast(),
                                i,
                                S::load(buffer.as_ptr().add(i)),
                            );
                        }
                    }
                    for i in 0..width {
                        *dst.add(2 * i) = halves[0][i];
                        *dst.add(2 * i + 1) = halves[1][i];
                    }
                } else {
                    core::ptr::copy_nonoverlapping(p.src.wrapping_add(word * p.ld + first), dst, columns);
                    core::ptr::write_bytes(dst.add(columns), 0, width - columns);
                }
                dst = dst.add(width);
            }
        }
    }
}

/// Panels of a matrix whose rows run along the summed axis: (n, k).
#[inline(always)]
pub(super) unsafe fn columns<S: Simd, const FORMAT: u8>(p: &Pack) {
    // SAFETY: the caller's, as `Pack` states it.
    unsafe {
        let width = 2 * S::LANES;
        let words = if FORMAT == F32 { p.k } else { p.k / 2 };
        let mut buffer = [0u32; 256];
        for first in (0..p.columns).step_by(width) {
            let dst = p.dst.add(first * words).cast::<u32>();
            for column in 0..width {
                let src = p.src.wrapping_add((first + column) * p.ld);
                let from = if first + column >= p.n {
                    buffer[..words].fill(0);
                    buffer.as_ptr()
                } else if FORMAT != F32 {
                    for i in (0..p.k).step_by(S::LANES) {
                        store_floats::<S, FORMAT>(buffer.as_mut_ptr().cast(), i, S::load(src.add(i)));
                    }
                    buffer.as_ptr()
                } else {
                    src.cast()
                };
                for word in 0..words {
                    *dst.add(word * width + column) = *from.add(word);
                }
            }
        }
    }
}
