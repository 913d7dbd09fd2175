//! Vectors of x86-64.

use core::arch::x86_64::*;

use super::simd::{GREATEST_F16, Simd};

/// AVX-512 (F, BW, DQ, VL), with the 8-bit and the 16-bit products where the CPU has them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512<const VNNI: bool, const BF16: bool>;

impl<const VNNI: bool, const BF16: bool> Simd for Avx512<VNNI, BF16> {
    type F = __m512;
    type I = __m512i;
    const LANES: usize = 16;
    const ROWS: usize = 12;
    const INT8_PER_WORD: usize = if VNNI { 4 } else { 2 };
    const INT8_OFFSET: i32 = 0;

    #[inline(always)]
    unsafe fn splat(v: f32) -> __m512 {
        unsafe { _mm512_set1_ps(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }
    #[inline(always)]
    unsafe fn least(v: __m512) -> f32 {
        unsafe { _mm512_reduce_min_ps(v) }
    }
    #[inline(always)]
    unsafe fn greatest(v: __m512) -> f32 {
        unsafe { _mm512_reduce_max_ps(v) }
    }
    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512i {
        unsafe { _mm512_cvtps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn to_float(v: __m512i) -> __m512 {
        unsafe { _mm512_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn exp2(v: __m512i) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_add_epi32(v, _mm512_set1_epi32(127)))) }
    }
    #[inline(always)]
    unsafe fn load_words(p: *const f32) -> __m512i {
        unsafe { _mm512_loadu_si512(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(p: *const f32) -> __m512i {
        unsafe { _mm512_set1_epi32(p.cast::<i32>().read()) }
    }
    #[inline(always)]
    unsafe fn zero_words() -> __m512i {
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn dot_f32(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        unsafe { _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        unsafe {
            if BF16 {
                let halves = |v| core::mem::transmute::<__m512i, __m512bh>(v);
                return _mm512_dpbf16_ps(sum, halves(a), halves(b));
            }
            let high = _mm512_set1_epi32(0xffff_0000u32.cast_signed());
            let float = |v| _mm512_castsi512_ps(v);
            let odd = _mm512_fmadd_ps(float(_mm512_and_si512(a, high)), float(_mm512_and_si512(b, high)), sum);
            _mm512_fmadd_ps(float(_mm512_slli_epi32::<16>(a)), float(_mm512_slli_epi32::<16>(b)), odd)
        }
    }
    #[inline(always)]
    unsafe fn dot_f16(sum: __m512, a: __m512i, b: __m512i) -> __m512 {
        unsafe {
            let even = |v| _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
            let odd = |v| even(_mm512_srli_epi32::<16>(v));
            _mm512_fmadd_ps(even(a), even(b), _mm512_fmadd_ps(odd(a), odd(b), sum))
        }
    }
    #[inline(always)]
    unsafe fn dot_int8(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        unsafe { if VNNI { _mm512_dpbusd_epi32(sum, a, b) } else { _mm512_add_epi32(sum, _mm512_madd_epi16(a, b)) } }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: __m512) {
        unsafe {
            let narrow = if BF16 {
                core::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v))
            } else {
                let bits = _mm512_castps_si512(v);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
            };
            _mm256_storeu_si256(p.cast(), narrow);
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: __m512) {
        unsafe {
            let limit = _mm512_set1_ps(GREATEST_F16);
            let v = Self::max(_mm512_set1_ps(-GREATEST_F16), Self::min(limit, v));
            _mm256_storeu_si256(p.cast(), _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        }
    }
    #[inline(always)]
    unsafe fn store_int8(p: *mut u8, v: __m512i) {
        unsafe {
            if VNNI {
                _mm_storeu_si128(p.cast(), _mm512_cvtepi32_epi8(v));
            } else {
                _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(v));
            }
        }
    }
}

/// Half floats multiplied and summed in half floats, in runs of 32 products, as `neon::Runs` does: what f16 costs on ARM,
/// measured where whole sets of cases can be run (`--cfg umedsam_f16_as_arm`). Each step is rounded to f32 and then to f16, not at
/// once.
#[cfg(umedsam_f16_as_arm)]
pub(super) struct RunsAsArm;

#[cfg(umedsam_f16_as_arm)]
impl<const VNNI: bool, const BF16: bool> super::gemm::Tile<Avx512<VNNI, BF16>, super::gemm::DotF16> for RunsAsArm {
    #[inline(always)]
    unsafe fn sums<const R: usize>(g: &super::gemm::Gemm, mut b: *const f32, row: usize) -> [[__m512; 2]; R] {
        unsafe {
            let even = |v| _mm512_cvtph_ps(_mm512_cvtepi32_epi16(v));
            let odd = |v| even(_mm512_srli_epi32::<16>(v));
            let step =
                |sum, a, b| _mm512_cvtph_ps(_mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm512_fmadd_ps(a, b, sum)));
            let mut sums = [[_mm512_setzero_ps(); 2]; R];
            for tap in 0..g.tap_count {
                let mut a = g.a.add(row * g.lda + *g.taps.add(tap));
                for first in (0..g.k).step_by(16) {
                    let mut run = [[_mm512_setzero_ps(); 2]; R];
                    for _ in 0..16.min(g.k - first) {
                        let columns = [_mm512_loadu_si512(b.cast()), _mm512_loadu_si512(b.add(16).cast())];
                        for (r, run) in run.iter_mut().enumerate() {
                            let word = _mm512_set1_epi32(a.add(r * g.lda).cast::<i32>().read());
                            for (sum, &column) in run.iter_mut().zip(&columns) {
                                *sum = step(*sum, even(word), even(column));
                                *sum = step(*sum, odd(word), odd(column));
                            }
                        }
                        a = a.add(1);
                        b = b.add(32);
                    }
                    for r in 0..R {
                        sums[r] = [_mm512_add_ps(sums[r][0], run[r][0]), _mm512_add_ps(sums[r][1], run[r][1])];
                    }
                }
            }
            sums
        }
    }
}

/// AVX2 and FMA, with the 8-bit product (AVX-VNNI) where the CPU has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx2<const VNNI: bool>;

impl<const VNNI: bool> Simd for Avx2<VNNI> {
    type F = __m256;
    type I = __m256i;
    const LANES: usize = 8;
    const ROWS: usize = 6;
    const INT8_PER_WORD: usize = if VNNI { 4 } else { 2 };
    const INT8_OFFSET: i32 = 0;

    #[inline(always)]
    unsafe fn splat(v: f32) -> __m256 {
        unsafe { _mm256_set1_ps(v) }
    }
    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(p: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn min(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        unsafe {
            let v = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_add_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn least(v: __m256) -> f32 {
        unsafe {
            let v = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_min_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_min_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn greatest(v: __m256) -> f32 {
        unsafe {
            let v = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let v = _mm_max_ps(v, _mm_movehl_ps(v, v));
            _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)))
        }
    }
    #[inline(always)]
    unsafe fn round(v: __m256) -> __m256i {
        unsafe { _mm256_cvtps_epi32(v) }
    }
    #[inline(always)]
    unsafe fn to_float(v: __m256i) -> __m256 {
        unsafe { _mm256_cvtepi32_ps(v) }
    }
    #[inline(always)]
    unsafe fn exp2(v: __m256i) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(v, _mm256_set1_epi32(127)))) }
    }
    #[inline(always)]
    unsafe fn load_words(p: *const f32) -> __m256i {
        unsafe { _mm256_loadu_si256(p.cast()) }
    }
    #[inline(always)]
    unsafe fn splat_word(p: *const f32) -> __m256i {
        unsafe { _mm256_set1_epi32(p.cast::<i32>().read()) }
    }
    #[inline(always)]
    unsafe fn zero_words() -> __m256i {
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn dot_f32(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        unsafe { _mm256_fmadd_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), sum) }
    }
    #[inline(always)]
    unsafe fn dot_bf16(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        unsafe {
            let high = _mm256_set1_epi32(0xffff_0000u32.cast_signed());
            let float = |v| _mm256_castsi256_ps(v);
            let odd = _mm256_fmadd_ps(float(_mm256_and_si256(a, high)), float(_mm256_and_si256(b, high)), sum);
            _mm256_fmadd_ps(float(_mm256_slli_epi32::<16>(a)), float(_mm256_slli_epi32::<16>(b)), odd)
        }
    }
    #[inline(always)]
    unsafe fn dot_f16(sum: __m256, a: __m256i, b: __m256i) -> __m256 {
        unsafe {
            let low = _mm256_set1_epi32(0xffff);
            let even = |v| _mm256_cvtph_ps(narrow(_mm256_and_si256(v, low)));
            let odd = |v| _mm256_cvtph_ps(narrow(_mm256_srli_epi32::<16>(v)));
            _mm256_fmadd_ps(even(a), even(b), _mm256_fmadd_ps(odd(a), odd(b), sum))
        }
    }
    #[inline(always)]
    unsafe fn dot_int8(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        unsafe {
            if VNNI { _mm256_dpbusd_avx_epi32(sum, a, b) } else { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(p: *mut u16, v: __m256) {
        unsafe {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            _mm_storeu_si128(p.cast(), narrow(_mm256_srli_epi32::<16>(rounded)));
        }
    }
    #[inline(always)]
    unsafe fn store_f16(p: *mut u16, v: __m256) {
        unsafe {
            let limit = _mm256_set1_ps(GREATEST_F16);
            let v = Self::max(_mm256_set1_ps(-GREATEST_F16), Self::min(limit, v));
            _mm_storeu_si128(p.cast(), _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(v));
        }
    }
    #[inline(always)]
    unsafe fn store_int8(p: *mut u8, v: __m256i) {
        unsafe {
            let halves = narrow(v);
            if VNNI {
                _mm_storel_epi64(p.cast(), _mm_packus_epi16(halves, halves));
            } else {
                _mm_storeu_si128(p.cast(), halves);
            }
        }
    }
}

/// Lanes of 0 to 65535 to 16 bits.
#[inline(always)]
unsafe fn narrow(v: __m256i) -> __m128i {
    unsafe { _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v)) }
}
