//! Functions of vectors.

use super::simd::Simd;

/// GELU with an absolute error below 2e-6 on -8..8: x times a polynomial of x^2 for the normal distribution's integral,
/// which beyond 5.2 is constant. Minimax in the error of the product.
#[inline(always)]
pub(super) unsafe fn gelu<S: Simd>(x: S::F) -> S::F {
    const P: [f32; 13] = [
        0.135_949_94,
        -0.067_743_406,
        0.050_030_17,
        -0.039_941_3,
        0.031_907_264,
        -0.024_593_404,
        0.018_387_152,
        -0.013_103_352,
        0.007_557_859_6,
        -0.003_505_702_6,
        0.002_853_579_6,
        -0.002_503_723_1,
        0.000_858_779_25,
    ];
    // SAFETY: the caller's: the instructions of `S`, as `Simd` states it.
    unsafe { gelu_by::<S, 13>(x, 5.2, &P) }
}

/// GELU with an absolute error below 7e-5 on -4..4, enough where the product that it follows has 8 bits.
#[inline(always)]
pub(super) unsafe fn gelu_fast<S: Simd>(x: S::F) -> S::F {
    const P: [f32; 8] = [
        0.167_853_67,
        -0.081_560_105,
        0.055_975_273,
        -0.038_053_63,
        0.023_672_165,
        -0.016_128_54,
        0.011_273_597,
        -0.003_991_774,
    ];
    // SAFETY: the caller's: the instructions of `S`, as `Simd` states it.
    unsafe { gelu_by::<S, 8>(x, 4.2, &P) }
}

/// x (1/2 + c P(2 (c/limit)^2 - 1)), c being x held within the limit.
#[inline(always)]
unsafe fn gelu_by<S: Simd, const N: usize>(x: S::F, limit: f32, p: &[f32; N]) -> S::F {
    // SAFETY: the caller's: the instructions of `S`, as `Simd` states it.
    unsafe {
        let c = S::max(S::min(x, S::splat(limit)), S::splat(-limit));
        let u = S::fma(S::mul(c, c), S::splat(2.0 / (limit * limit)), S::splat(-1.0));
        let mut y = S::splat(p[N - 1]);
        for i in (0..N - 1).rev() {
            y = S::fma(y, u, S::splat(p[i]));
        }
        S::mul(x, S::fma(c, y, S::splat(0.5)))
    }
}

/// The exponential function of values up to 88, with a relative error below 1e-6; 0 is 1e-38.
#[inline(always)]
pub(super) unsafe fn exp<S: Simd>(x: S::F) -> S::F {
    // 2^f on -1/2..1/2, minimax in the relative error.
    const P: [f32; 6] = [1.000_000_1, 0.693_146_94, 0.240_221_2, 0.055_507_135, 0.009_675_541, 0.001_327_646_7];
    // SAFETY: the caller's: the instructions of `S`, as `Simd` states it.
    unsafe {
        let x = S::max(S::splat(-126.0), S::mul(x, S::splat(std::f32::consts::LOG2_E)));
        let n = S::round(x);
        let f = S::sub(x, S::to_float(n));
        let mut y = S::splat(P[5]);
        for i in (0..5).rev() {
            y = S::fma(y, f, S::splat(P[i]));
        }
        S::mul(y, S::exp2(n))
    }
}
