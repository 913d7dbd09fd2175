//! Vectors of WebAssembly.

use core::arch::wasm32::*;

use super::portable::to_f16;
use super::simd::Simd;

/// simd128, with relaxed-simd's multiplication and addition in one where the module is compiled for it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Simd128;

impl Simd for Simd128 {
    type F = v128;
    type I = v128;
    const LANES: usize = 4;
    // Engines on x86-64 have 16 registers, some of which they keep: V8 runs tiles of five rows half as fast.
    const ROWS: usize = 4;
    // There is no exact product of four bytes.
    const INT8_PER_WORD: usize = 2;
    const INT8_OFFSET: i32 = 0;

    #[inline(always)]
    unsafe fn splat(v: f32) -> v128 {
        f32x4_splat(v)
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> v128 {
        unsafe { v128_load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: v128) {
        unsafe { v128_store(p.cast(), v) }
    }
    #[inline(always)]
    unsafe fn add(a: v128, b: v128) -> v128 {
        f32x4_add(a, b)
    }
    #[inline(always)]
    unsafe fn sub(a: v128, b: v128) -> v128 {
        f32x4_sub(a, b)
    }
    #[inline(always)]
    unsafe fn mul(a: v128, b: v128) -> v128 {
        f32x4_mul(a, b)
    }
    // One instruction on x86-64, where f32x4_min and f32x4_max are many.
    #[inline(always)]
    unsafe fn min(a: v128, b: v128) -> v128 {
        f32x4_pmin(b, a)
    }
    #[inline(always)]
    unsafe fn max(a: v128, b: v128) -> v128 {
        f32x4_pmax(b, a)
    }
    #[inline(always)]
    unsafe fn fma(a: v128, b: v128, c: v128) -> v128 {
        #[cfg(target_feature = "relaxed-simd")]
        return f32x4_relaxed_madd(a, b, c);
        #[cfg(not(target_feature = "relaxed-simd"))]
        f32x4_add(f32x4_mul(a, b), c)
    }
    #[inline(always)]
    unsafe fn sum(v: v128) -> f32 {
        let v = f32x4_add(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<1>(v)
    }
    #[inline(always)]
    unsafe fn least(v: v128) -> f32 {
        let v = f32x4_pmin(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v).min(f32x4_extract_lane::<1>(v))
    }
    #[inline(always)]
    unsafe fn greatest(v: v128) -> f32 {
        let v = f32x4_pmax(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
        f32x4_extract_lane::<0>(v).max(f32x4_extract_lane::<1>(v))
    }
    #[inline(always)]
    unsafe fn round(v: v128) -> v128 {
        i32x4_trunc_sat_f32x4(f32x4_nearest(v))
    }
    #[inline(always)]
    unsafe fn to_float(v: v128) -> v128 {
        f32x4_convert_i32x4(v)
    }
    #[inline(always)]
    unsafe fn exp2(v: v128) -> v128 {
        i32x4_shl(i32x4_add(v, i32x4_splat(127)), 23)
    }
    #[inline(always)]
    unsafe fn load_words(p: *const f32) -> v128 {
        unsafe { v128_load(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(p: *const f32) -> v128 {
        unsafe { v128_load32_splat(p.cast()) }
    }
    #[inline(always)]
    unsafe fn zero_words() -> v128 {
        i32x4_splat(0)
    }
    #[inline(always)]
    unsafe fn dot_f32(sum: v128, a: v128, b: v128) -> v128 {
        unsafe { Self::fma(a, b, sum) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: v128, a: v128, b: v128) -> v128 {
        unsafe {
            let high = i32x4_splat(0xffff_0000u32.cast_signed());
            let odd = Self::fma(v128_and(a, high), v128_and(b, high), sum);
            Self::fma(i32x4_shl(a, 16), i32x4_shl(b, 16), odd)
        }
    }
    #[inline(always)]
    unsafe fn dot_f16(sum: v128, a: v128, b: v128) -> v128 {
        unsafe {
            let odd = Self::fma(upper_f16(a), upper_f16(b), sum);
            Self::fma(upper_f16(i32x4_shl(a, 16)), upper_f16(i32x4_shl(b, 16)), odd)
        }
    }
    #[inline(always)]
    unsafe fn dot_int8(sum: v128, a: v128, b: v128) -> v128 {
        i32x4_add(sum, i32x4_dot_i16x8(a, b))
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: v128) {
        unsafe {
            let odd = v128_and(u32x4_shr(v, 16), i32x4_splat(1));
            let rounded = u32x4_shr(i32x4_add(v, i32x4_add(odd, i32x4_splat(0x7fff))), 16);
            v128_store64_lane::<0>(u16x8_narrow_i32x4(rounded, rounded), p.cast());
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: v128) {
        let lanes = [
            f32x4_extract_lane::<0>(v),
            f32x4_extract_lane::<1>(v),
            f32x4_extract_lane::<2>(v),
            f32x4_extract_lane::<3>(v),
        ];
        unsafe { p.cast::<[u16; 4]>().write_unaligned(lanes.map(to_f16)) }
    }
    #[inline(always)]
    unsafe fn store_int8(p: *mut u8, v: v128) {
        unsafe { v128_store64_lane::<0>(i16x8_narrow_i32x4(v, v), p.cast()) }
    }
}

/// The f16 in each lane's upper half.
#[inline(always)]
fn upper_f16(v: v128) -> v128 {
    // Sign, exponent and digits where f32 has them, then the exponent's other bias; subnormal numbers follow.
    let placed = v128_and(i32x4_shr(v, 3), i32x4_splat(0x8fff_e000u32.cast_signed()));
    let number = f32x4_mul(placed, f32x4_splat(f32::from_bits((127 + 112) << 23)));
    // What had the greatest exponent is no number.
    let none = i32x4_ge(v128_and(v, i32x4_splat(0x7fff_0000)), i32x4_splat(0x7c00_0000));
    v128_or(number, v128_and(none, i32x4_splat(0x7f80_0000)))
}
