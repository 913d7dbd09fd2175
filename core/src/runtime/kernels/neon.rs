//! Vectors of AArch64.
//!
//! The instructions that Rust has no stable functions for are written out, one at a time, so that registers are still
//! the compiler's business.

use core::arch::aarch64::*;
use core::arch::asm;

use super::gemm::{Dot, DotBf16, DotF16, DotF32, DotInt8, Gemm, Tile};
use super::simd::{GREATEST_F16, Simd};

/// NEON, with the 8-bit products and those of bf16 where the CPU has them. Those of half floats (FEAT_FP16) are in
/// [`Runs`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Neon<const DOTPROD: bool, const BF16: bool>;

/// One instruction on vectors: a sum and two factors.
macro_rules! accumulate {
    ($instruction:literal, $sum:expr, $a:expr, $b:expr $(, $lane:expr)?) => {{
        let mut sum = $sum;
        asm!($instruction, sum = inout(vreg) sum, a = in(vreg) $a, b = in(vreg) $b, $(lane = const $lane,)?
            options(pure, nomem, nostack, preserves_flags));
        sum
    }};
}

/// One instruction that makes f32 of half a vector.
macro_rules! widen {
    ($instruction:literal, $v:expr) => {{
        let wide: float32x4_t;
        asm!($instruction, wide = out(vreg) wide, v = in(vreg) $v, options(pure, nomem, nostack, preserves_flags));
        wide
    }};
}

impl<const DOTPROD: bool, const BF16: bool> Simd for Neon<DOTPROD, BF16> {
    type F = float32x4_t;
    type I = int32x4_t;
    const LANES: usize = 4;
    // Of 32 registers, 16 are sums, 8 hold four words of each row, and what is left a panel's.
    const ROWS: usize = 8;
    const INT8_PER_WORD: usize = 4;
    // All products are of signed integers.
    const INT8_OFFSET: i32 = 128;

    #[inline(always)]
    unsafe fn splat(v: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vminq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmaxq_f32(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    unsafe fn sum(v: float32x4_t) -> f32 {
        unsafe { vaddvq_f32(v) }
    }
    #[inline(always)]
    unsafe fn least(v: float32x4_t) -> f32 {
        unsafe { vminvq_f32(v) }
    }
    #[inline(always)]
    unsafe fn greatest(v: float32x4_t) -> f32 {
        unsafe { vmaxvq_f32(v) }
    }
    #[inline(always)]
    unsafe fn round(v: float32x4_t) -> int32x4_t {
        unsafe { vcvtnq_s32_f32(v) }
    }
    #[inline(always)]
    unsafe fn to_float(v: int32x4_t) -> float32x4_t {
        unsafe { vcvtq_f32_s32(v) }
    }
    #[inline(always)]
    unsafe fn exp2(v: int32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(v, vdupq_n_s32(127)))) }
    }
    #[inline(always)]
    unsafe fn load_words(p: *const f32) -> int32x4_t {
        unsafe { vld1q_s32(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(p: *const f32) -> int32x4_t {
        unsafe { vld1q_dup_s32(p.cast()) }
    }
    #[inline(always)]
    unsafe fn zero_words() -> int32x4_t {
        unsafe { vdupq_n_s32(0) }
    }
    #[inline(always)]
    unsafe fn dot_f32(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(sum, vreinterpretq_f32_s32(a), vreinterpretq_f32_s32(b)) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe {
            if BF16 {
                return accumulate!("bfdot {sum:v}.4s, {a:v}.8h, {b:v}.8h", sum, a, b);
            }
            let high = vdupq_n_s32(0xffff_0000u32.cast_signed());
            let float = |v| vreinterpretq_f32_s32(v);
            let odd = vfmaq_f32(sum, float(vandq_s32(a, high)), float(vandq_s32(b, high)));
            vfmaq_f32(odd, float(vshlq_n_s32::<16>(a)), float(vshlq_n_s32::<16>(b)))
        }
    }
    #[inline(always)]
    unsafe fn dot_f16(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe {
            let even = |v| widen!("fcvtl {wide:v}.4s, {v:v}.4h", vmovn_s32(v));
            let odd = |v| widen!("fcvtl {wide:v}.4s, {v:v}.4h", vshrn_n_s32::<16>(v));
            vfmaq_f32(vfmaq_f32(sum, odd(a), odd(b)), even(a), even(b))
        }
    }
    #[inline(always)]
    unsafe fn dot_int8(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe {
            if DOTPROD {
                return accumulate!("sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b", sum, a, b);
            }
            let (a, b) = (vreinterpretq_s8_s32(a), vreinterpretq_s8_s32(b));
            let low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
            // Two products fit in 16 bits because no weight is -128.
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(a, b)))
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: float32x4_t) {
        unsafe {
            let narrow: uint16x4_t = if BF16 {
                let narrow;
                asm!("bfcvtn {narrow:v}.4h, {v:v}.4s", narrow = out(vreg) narrow, v = in(vreg) v,
                    options(pure, nomem, nostack, preserves_flags));
                narrow
            } else {
                let bits = vreinterpretq_u32_f32(v);
                let odd = vandq_u32(vshrq_n_u32::<16>(bits), vdupq_n_u32(1));
                vshrn_n_u32::<16>(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))))
            };
            vst1_u16(p, narrow);
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: float32x4_t) {
        unsafe {
            let v = vmaxq_f32(vminq_f32(v, vdupq_n_f32(GREATEST_F16)), vdupq_n_f32(-GREATEST_F16));
            let narrow: uint16x4_t;
            asm!("fcvtn {narrow:v}.4h, {v:v}.4s", narrow = out(vreg) narrow, v = in(vreg) v,
                options(pure, nomem, nostack, preserves_flags));
            vst1_u16(p, narrow);
        }
    }
    #[inline(always)]
    unsafe fn store_int8(p: *mut u8, v: int32x4_t) {
        unsafe {
            let halves = vmovn_s32(v);
            let bytes = vmovn_s16(vcombine_s16(halves, halves));
            p.cast::<i32>().write_unaligned(vget_lane_s32::<0>(vreinterpret_s32_s8(bytes)));
        }
    }
}

/// Four words of a row at a time, each an operand by its lane: loading a word into all lanes takes an instruction, and
/// on most CPUs a turn of the unit that multiplies.
pub(super) struct Lanes;

/// A product with one lane of a row's words.
pub(super) trait DotLane<S: Simd>: Dot<S> {
    unsafe fn step_lane<const LANE: i32>(sum: Self::Sum, a: S::I, b: S::I) -> Self::Sum;
}

impl<const DOTPROD: bool, const BF16: bool> DotLane<Neon<DOTPROD, BF16>> for DotF32 {
    #[inline(always)]
    unsafe fn step_lane<const LANE: i32>(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe { vfmaq_laneq_f32::<LANE>(sum, vreinterpretq_f32_s32(b), vreinterpretq_f32_s32(a)) }
    }
}

impl DotLane<Neon<true, true>> for DotBf16 {
    #[inline(always)]
    unsafe fn step_lane<const LANE: i32>(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe { accumulate!("bfdot {sum:v}.4s, {b:v}.8h, {a:v}.2h[{lane}]", sum, a, b, LANE) }
    }
}

impl<const BF16: bool> DotLane<Neon<true, BF16>> for DotInt8 {
    #[inline(always)]
    unsafe fn step_lane<const LANE: i32>(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { accumulate!("sdot {sum:v}.4s, {b:v}.16b, {a:v}.4b[{lane}]", sum, a, b, LANE) }
    }
}

impl<S: Simd, D: DotLane<S>> Tile<S, D> for Lanes {
    #[inline(always)]
    unsafe fn sums<const R: usize>(g: &Gemm, mut b: *const f32, row: usize) -> [[D::Sum; 2]; R] {
        unsafe {
            let mut sums = [[D::zero(); 2]; R];
            for tap in 0..g.tap_count {
                let mut a = g.a.add(row * g.lda + *g.taps.add(tap));
                for _ in 0..g.k / 4 {
                    let mut rows = [S::zero_words(); R];
                    for r in 0..R {
                        rows[r] = S::load_words(a.add(r * g.lda));
                    }
                    lane::<S, D, R, 0>(&mut sums, &rows, b);
                    lane::<S, D, R, 1>(&mut sums, &rows, b.add(2 * S::LANES));
                    lane::<S, D, R, 2>(&mut sums, &rows, b.add(4 * S::LANES));
                    lane::<S, D, R, 3>(&mut sums, &rows, b.add(6 * S::LANES));
                    a = a.add(4);
                    b = b.add(8 * S::LANES);
                }
                for _ in 0..g.k % 4 {
                    let mut rows = [S::zero_words(); R];
                    for r in 0..R {
                        rows[r] = S::splat_word(a.add(r * g.lda));
                    }
                    lane::<S, D, R, 0>(&mut sums, &rows, b);
                    a = a.add(1);
                    b = b.add(2 * S::LANES);
                }
            }
            sums
        }
    }
}

/// One word of each row times one of each column.
#[inline(always)]
unsafe fn lane<S: Simd, D: DotLane<S>, const R: usize, const LANE: i32>(
    sums: &mut [[D::Sum; 2]; R],
    rows: &[S::I; R],
    b: *const f32,
) {
    unsafe {
        let columns = [S::load_words(b), S::load_words(b.add(S::LANES))];
        for r in 0..R {
            sums[r][0] = D::step_lane::<LANE>(sums[r][0], rows[r], columns[0]);
            sums[r][1] = D::step_lane::<LANE>(sums[r][1], rows[r], columns[1]);
        }
    }
}

/// Products of half floats in half floats (FEAT_FP16), eight to an instruction: both vectors of a panel at once, their
/// even halves and then their odd ones, with one half of a row. Only a short run of words is summed so, in numbers of 11
/// bits; the sums of the runs are added up in f32.
pub(super) struct Runs;

/// Words of a run: of a sum of 32 products what is lost is no more than what bf16 loses of the factors.
const RUN: usize = 16;

impl<const DOTPROD: bool, const BF16: bool> Tile<Neon<DOTPROD, BF16>, DotF16> for Runs {
    #[inline(always)]
    unsafe fn sums<const R: usize>(g: &Gemm, mut b: *const f32, row: usize) -> [[float32x4_t; 2]; R] {
        unsafe {
            let mut sums = [[vdupq_n_f32(0.0); 2]; R];
            for tap in 0..g.tap_count {
                let mut a = g.a.add(row * g.lda + *g.taps.add(tap));
                for first in (0..g.k).step_by(RUN) {
                    let words = RUN.min(g.k - first);
                    let mut run = [vdupq_n_s32(0); R];
                    let mut rows = [vdupq_n_s32(0); R];
                    for _ in 0..words / 4 {
                        for r in 0..R {
                            rows[r] = vld1q_s32(a.add(r * g.lda).cast());
                        }
                        halves::<R, 0>(&mut run, &rows, b);
                        halves::<R, 1>(&mut run, &rows, b.add(8));
                        halves::<R, 2>(&mut run, &rows, b.add(16));
                        halves::<R, 3>(&mut run, &rows, b.add(24));
                        a = a.add(4);
                        b = b.add(32);
                    }
                    for _ in 0..words % 4 {
                        for r in 0..R {
                            rows[r] = vld1q_dup_s32(a.add(r * g.lda).cast());
                        }
                        halves::<R, 0>(&mut run, &rows, b);
                        a = a.add(1);
                        b = b.add(8);
                    }
                    for r in 0..R {
                        sums[r][0] = vaddq_f32(sums[r][0], widen!("fcvtl {wide:v}.4s, {v:v}.4h", run[r]));
                        sums[r][1] = vaddq_f32(sums[r][1], widen!("fcvtl2 {wide:v}.4s, {v:v}.8h", run[r]));
                    }
                }
            }
            sums
        }
    }
}

/// One word of each row times one of each column, in half floats.
#[inline(always)]
unsafe fn halves<const R: usize, const LANE: usize>(run: &mut [int32x4_t; R], rows: &[int32x4_t; R], b: *const f32) {
    // As an operand by its lane a half must be in one of the first 16 registers.
    macro_rules! multiply {
        ($sum:expr, $a:expr, $b:expr, $half:expr) => {
            asm!("fmla {sum:v}.8h, {b:v}.8h, {a:v}.h[{half}]", sum = inout(vreg) $sum, a = in(vreg_low16) $a,
                b = in(vreg) $b, half = const $half, options(pure, nomem, nostack, preserves_flags))
        };
    }
    unsafe {
        let (left, right) = (vld1q_s16(b.cast()), vld1q_s16(b.add(4).cast()));
        let (even, odd) = (vuzp1q_s16(left, right), vuzp2q_s16(left, right));
        for r in 0..R {
            multiply!(run[r], rows[r], even, 2 * LANE);
        }
        for r in 0..R {
            multiply!(run[r], rows[r], odd, 2 * LANE + 1);
        }
    }
}

/// Two words of two rows times two words of two columns at a time: the products of matrices of FEAT_I8MM and FEAT_BF16,
/// which do twice the work of those above.
pub(super) struct Squares;

/// A product of two rows of two words with two columns of two words.
pub(super) trait DotSquare<S: Simd>: Dot<S> {
    unsafe fn step_square(sum: Self::Sum, a: S::I, b: S::I) -> Self::Sum;
    /// The first row of the squares of four columns, and the second.
    unsafe fn rows(left: Self::Sum, right: Self::Sum) -> [Self::Sum; 2];
}

impl<const BF16: bool> DotSquare<Neon<true, BF16>> for DotInt8 {
    #[inline(always)]
    unsafe fn step_square(sum: int32x4_t, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        unsafe { accumulate!("smmla {sum:v}.4s, {a:v}.16b, {b:v}.16b", sum, a, b) }
    }
    #[inline(always)]
    unsafe fn rows(left: int32x4_t, right: int32x4_t) -> [int32x4_t; 2] {
        unsafe {
            let (left, right) = (vreinterpretq_s64_s32(left), vreinterpretq_s64_s32(right));
            [vtrn1q_s64(left, right), vtrn2q_s64(left, right)].map(|v| vreinterpretq_s32_s64(v))
        }
    }
}

impl DotSquare<Neon<true, true>> for DotBf16 {
    #[inline(always)]
    unsafe fn step_square(sum: float32x4_t, a: int32x4_t, b: int32x4_t) -> float32x4_t {
        unsafe { accumulate!("bfmmla {sum:v}.4s, {a:v}.8h, {b:v}.8h", sum, a, b) }
    }
    #[inline(always)]
    unsafe fn rows(left: float32x4_t, right: float32x4_t) -> [float32x4_t; 2] {
        unsafe {
            let (left, right) = (vreinterpretq_s64_f32(left), vreinterpretq_s64_f32(right));
            [vtrn1q_s64(left, right), vtrn2q_s64(left, right)].map(|v| vreinterpretq_f32_s64(v))
        }
    }
}

impl<const BF16: bool, D: DotSquare<Neon<true, BF16>>> Tile<Neon<true, BF16>, D> for Squares {
    #[inline(always)]
    unsafe fn sums<const R: usize>(g: &Gemm, mut b: *const f32, row: usize) -> [[D::Sum; 2]; R] {
        unsafe {
            // Four squares of columns for each pair of the rows, of which there are eight at most.
            let mut squares = [[D::zero(); 4]; 4];
            for tap in 0..g.tap_count {
                let mut a = g.a.add(row * g.lda + *g.taps.add(tap));
                for _ in 0..g.k / 2 {
                    let words = [vld1q_s32(b.cast()), vld1q_s32(b.add(4).cast())];
                    let next = [vld1q_s32(b.add(8).cast()), vld1q_s32(b.add(12).cast())];
                    step_squares::<BF16, D, R>(&mut squares, words, next, |r| {
                        a.add(r * g.lda).cast::<u64>().read_unaligned()
                    });
                    a = a.add(2);
                    b = b.add(16);
                }
                if !g.k.is_multiple_of(2) {
                    let words = [vld1q_s32(b.cast()), vld1q_s32(b.add(4).cast())];
                    step_squares::<BF16, D, R>(&mut squares, words, [vdupq_n_s32(0); 2], |r| {
                        u64::from(a.add(r * g.lda).cast::<u32>().read())
                    });
                    b = b.add(8);
                }
            }
            let mut sums = [[D::zero(); 2]; R];
            for r in 0..R {
                let pair = squares[r / 2];
                sums[r] = [D::rows(pair[0], pair[1])[r % 2], D::rows(pair[2], pair[3])[r % 2]];
            }
            sums
        }
    }
}

/// One word of a panel's columns, and the one that follows it, times two words of each row.
#[inline(always)]
unsafe fn step_squares<const BF16: bool, D: DotSquare<Neon<true, BF16>>, const R: usize>(
    squares: &mut [[D::Sum; 4]; 4],
    words: [int32x4_t; 2],
    next: [int32x4_t; 2],
    row: impl Fn(usize) -> u64,
) {
    unsafe {
        let columns = [
            vzip1q_s32(words[0], next[0]),
            vzip2q_s32(words[0], next[0]),
            vzip1q_s32(words[1], next[1]),
            vzip2q_s32(words[1], next[1]),
        ];
        for pair in 0..R.div_ceil(2) {
            // The last of an odd number of rows is there twice.
            let (upper, lower) = (row(2 * pair), row((2 * pair + 1).min(R - 1)));
            let rows = vreinterpretq_s32_s64(vcombine_s64(vcreate_s64(upper), vcreate_s64(lower)));
            for (square, &columns) in squares[pair].iter_mut().zip(&columns) {
                *square = D::step_square(*square, rows, columns);
            }
        }
    }
}
