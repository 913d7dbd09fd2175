//! Depthwise 3x3 convolution of one output row, channels last.

use super::math::{gelu, gelu_fast};
use super::simd::Simd;

/// One output row of a convolution.
///
/// # Safety
/// The functions of this module need the instructions of their `Simd`, and of the job: each of `rows` is readable for
/// `((count - 1) * stride + 3) * channels` values, `weights` for `9 * channels` and `bias` for `channels`, a multiple of a
/// vector's lanes; `out` is writable for `count` pixels, `ldo` apart, and overlaps nothing. `Kernels::depthwise` checks all
/// of it.
#[derive(Debug)]
pub(super) struct Depthwise {
    /// Three input rows, each beginning one pixel to the left of the first output's centre.
    pub(super) rows: [*const f32; 3],
    /// Channels: a multiple of a vector's lanes.
    pub(super) channels: usize,
    /// Nine taps of all channels.
    pub(super) weights: *const f32,
    pub(super) bias: *const f32,
    /// Output pixels.
    pub(super) count: usize,
    pub(super) out: *mut f32,
    /// Words from an output pixel to the next.
    pub(super) ldo: usize,
    pub(super) gelu: Gelu,
}

/// Which GELU follows a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::runtime) enum Gelu {
    /// None.
    No,
    /// Of f32's precision.
    Exact,
    /// Of the precision that 8 bits deserve.
    Fast,
}

#[inline(always)]
pub(super) unsafe fn run<S: Simd, const STRIDE: usize>(d: &Depthwise) {
    // SAFETY: the caller's, as `Depthwise` states it.
    unsafe {
        let mut x = 0;
        while x < d.count {
            match d.count - x {
                1 => pixels::<S, STRIDE, 1>(d, x),
                2 => pixels::<S, STRIDE, 2>(d, x),
                3 => pixels::<S, STRIDE, 3>(d, x),
                _ => pixels::<S, STRIDE, 4>(d, x),
            }
            x += 4;
        }
    }
}

/// `P` neighbouring outputs, which share weights and most of their input.
#[inline(always)]
unsafe fn pixels<S: Simd, const STRIDE: usize, const P: usize>(d: &Depthwise, x: usize) {
    // SAFETY: the caller's, as `Depthwise` states it.
    unsafe {
        for c in (0..d.channels).step_by(S::LANES) {
            let mut sums = [S::load(d.bias.add(c)); P];
            for (ky, row) in d.rows.iter().enumerate() {
                let input = row.add(x * STRIDE * d.channels + c);
                let weights = d.weights.add(ky * 3 * d.channels + c);
                let taps = [S::load(weights), S::load(weights.add(d.channels)), S::load(weights.add(2 * d.channels))];
                let columns = (P - 1) * STRIDE + 3;
                for column in 0..columns {
                    let v = S::load(input.add(column * d.channels));
                    for (p, sum) in sums.iter_mut().enumerate() {
                        // Which tap of output p, if any, this column is.
                        let kx = column.wrapping_sub(p * STRIDE);
                        if kx < 3 {
                            *sum = S::fma(v, taps[kx], *sum);
                        }
                    }
                }
            }
            match d.gelu {
                Gelu::No => {}
                Gelu::Exact => {
                    for sum in &mut sums {
                        *sum = gelu::<S>(*sum);
                    }
                }
                Gelu::Fast => {
                    for sum in &mut sums {
                        *sum = gelu_fast::<S>(*sum);
                    }
                }
            }
            for (p, &sum) in sums.iter().enumerate() {
                S::store(d.out.add((x + p) * d.ldo + c), sum);
            }
        }
    }
}
