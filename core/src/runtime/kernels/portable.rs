//! Vectors of plain Rust: the oracle of the other kernels, and what runs where there is none.

use super::simd::{GREATEST_F16, Simd};

/// Four lanes of no particular CPU: as many as NEON and WebAssembly have, so that every machine tests their panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Portable;

const LANES: usize = 4;

fn map2<A: Copy, B: Copy, R: Default + Copy>(a: [A; LANES], b: [B; LANES], f: impl Fn(A, B) -> R) -> [R; LANES] {
    std::array::from_fn(|i| f(a[i], b[i]))
}

fn floats(word: i32) -> [f32; 2] {
    let word = word.cast_unsigned();
    [f32::from_bits(word << 16), f32::from_bits(word & 0xffff_0000)]
}

fn halves(word: i32) -> [f32; 2] {
    let word = word.cast_unsigned();
    [word as u16, (word >> 16) as u16].map(|bits| half::f16::from_bits(bits).to_f32())
}

/// An f32 as the nearest bf16, ties to even.
pub(super) fn to_bf16(v: f32) -> u16 {
    half::bf16::from_f32(v).to_bits()
}

/// An f32 as the nearest of the finite f16, ties to even.
pub(super) fn to_f16(v: f32) -> u16 {
    half::f16::from_f32(v.clamp(-GREATEST_F16, GREATEST_F16)).to_bits()
}

impl Simd for Portable {
    type F = [f32; LANES];
    type I = [i32; LANES];
    const LANES: usize = LANES;
    const ROWS: usize = 4;
    const INT8_PER_WORD: usize = 4;
    const INT8_OFFSET: i32 = 0;

    unsafe fn splat(v: f32) -> Self::F {
        [v; LANES]
    }
    unsafe fn load(p: *const f32) -> Self::F {
        // SAFETY: the caller's.
        unsafe { p.cast::<Self::F>().read_unaligned() }
    }
    unsafe fn store(p: *mut f32, v: Self::F) {
        // SAFETY: the caller's.
        unsafe { p.cast::<Self::F>().write_unaligned(v) }
    }
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a + b)
    }
    unsafe fn sub(a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a - b)
    }
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| a * b)
    }
    unsafe fn min(a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a < b { a } else { b })
    }
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F {
        map2(a, b, |a, b| if a > b { a } else { b })
    }
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    unsafe fn sum(v: Self::F) -> f32 {
        v.iter().sum()
    }
    unsafe fn least(v: Self::F) -> f32 {
        v.iter().copied().fold(f32::INFINITY, f32::min)
    }
    unsafe fn greatest(v: Self::F) -> f32 {
        v.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
    unsafe fn round(v: Self::F) -> Self::I {
        v.map(|v| v.round_ties_even() as i32)
    }
    unsafe fn to_float(v: Self::I) -> Self::F {
        v.map(|v| v as f32)
    }
    unsafe fn exp2(v: Self::I) -> Self::F {
        v.map(|v| f32::from_bits(((v + 127) << 23).cast_unsigned()))
    }
    unsafe fn load_words(p: *const f32) -> Self::I {
        // SAFETY: the caller's.
        unsafe { p.cast::<Self::I>().read_unaligned() }
    }
    unsafe fn splat_word(p: *const f32) -> Self::I {
        // SAFETY: the caller's.
        [unsafe { p.cast::<i32>().read() }; LANES]
    }
    unsafe fn zero_words() -> Self::I {
        [0; LANES]
    }
    unsafe fn dot_f32(sum: Self::F, a: Self::I, b: Self::I) -> Self::F {
        let float = |w: i32| f32::from_bits(w.cast_unsigned());
        std::array::from_fn(|i| float(a[i]) * float(b[i]) + sum[i])
    }
    unsafe fn dot_bf16(sum: Self::F, a: Self::I, b: Self::I) -> Self::F {
        std::array::from_fn(|i| {
            let (a, b) = (floats(a[i]), floats(b[i]));
            a[0] * b[0] + a[1] * b[1] + sum[i]
        })
    }
    unsafe fn dot_f16(sum: Self::F, a: Self::I, b: Self::I) -> Self::F {
        std::array::from_fn(|i| {
            let (a, b) = (halves(a[i]), halves(b[i]));
            a[0] * b[0] + a[1] * b[1] + sum[i]
        })
    }
    unsafe fn dot_int8(sum: Self::I, a: Self::I, b: Self::I) -> Self::I {
        std::array::from_fn(|i| {
            let products = a[i].to_le_bytes().into_iter().zip(b[i].to_le_bytes());
            sum[i] + products.map(|(a, b)| i32::from(a) * i32::from(b.cast_signed())).sum::<i32>()
        })
    }
    unsafe fn store_bf16(p: *mut u16, v: Self::F) {
        // SAFETY: the caller's.
        unsafe { p.cast::<[u16; LANES]>().write_unaligned(v.map(to_bf16)) }
    }
    unsafe fn store_f16(p: *mut u16, v: Self::F) {
        // SAFETY: the caller's.
        unsafe { p.cast::<[u16; LANES]>().write_unaligned(v.map(to_f16)) }
    }
    unsafe fn store_int8(p: *mut u8, v: Self::I) {
        // SAFETY: the caller's.
        unsafe { p.cast::<[u8; LANES]>().write_unaligned(v.map(|v| v as u8)) }
    }
}
