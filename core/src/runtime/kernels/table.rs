//! One set of kernels for each set of instructions.

use super::depthwise::{self, Depthwise};
use super::gemm::{self, Broadcast, DotBf16, DotF16, DotF32, DotInt8, Gemm};
use super::pack::{self, Pack};
use super::portable::Portable;
use super::rows::{self, BF16, F16, F32, INT8, Rows, Softmax};
use super::simd::Simd;
use crate::Precision;

/// The kernels of one set of instructions, and what callers must know of its vectors.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Whether this CPU has the instructions.
    pub(super) runs: fn() -> bool,
    pub(super) lanes: usize,
    pub(super) int8_per_word: usize,
    pub(super) int8_offset: i32,
    /// The precision of floats whose products are fastest on this CPU.
    pub(super) fast_float: fn() -> Precision,
    /// Each array: f32, bf16, f16, int8.
    pub(super) gemm: [unsafe fn(&Gemm); 4],
    pub(super) rows: [unsafe fn(&Rows); 4],
    pub(super) rows_with_scale: unsafe fn(&Rows, f32, f32),
    /// f32, bf16, f16; so are the arrays below.
    pub(super) softmax: [unsafe fn(&Softmax); 3],
    pub(super) softmax_of_heads: [unsafe fn(&Softmax); 3],
    /// Stride 1, stride 2.
    pub(super) depthwise: [unsafe fn(&Depthwise); 2],
    pub(super) pack_rows: [unsafe fn(&Pack); 3],
    pub(super) pack_columns: [unsafe fn(&Pack); 3],
    pub(super) dot_rows: unsafe fn(*const f32, usize, usize, *const f32, *mut f32),
    pub(super) transpose: unsafe fn(*const f32, usize, (usize, usize), *mut f32, usize),
}

/// A kernel of generic code, compiled for the instructions named.
macro_rules! kernel {
    ([$($feature:literal)*] ($($argument:ident: $kind:ty),*) $body:expr) => {{
        $(#[target_feature(enable = $feature)])*
        unsafe fn kernel($($argument: $kind),*) {
            // SAFETY: the caller's; the instructions are those of this function.
            unsafe { $body }
        }
        kernel
    }};
}

macro_rules! table {
    ($table:ident: $name:literal, $simd:ty, $features:tt, if $runs:expr, fast_float: $fast_float:expr) => {
        table!($table: $name, $simd, $features, if $runs, fast_float: $fast_float,
            tiles: [Broadcast, Broadcast, Broadcast, Broadcast]);
    };
    ($table:ident: $name:literal, $simd:ty, $features:tt, if $runs:expr, fast_float: $fast_float:expr,
        tiles: [$tile_f32:ty, $tile_bf16:ty, $tile_f16:ty, $tile_int8:ty]) => {
        pub(super) static $table: Table = Table {
            name: $name,
            runs: || $runs,
            lanes: <$simd>::LANES,
            int8_per_word: <$simd>::INT8_PER_WORD,
            int8_offset: <$simd>::INT8_OFFSET,
            fast_float: || $fast_float,
            gemm: [
                kernel!($features (g: &Gemm) gemm::run::<$simd, DotF32, $tile_f32>(g)),
                kernel!($features (g: &Gemm) gemm::run::<$simd, DotBf16, $tile_bf16>(g)),
                kernel!($features (g: &Gemm) gemm::run::<$simd, DotF16, $tile_f16>(g)),
                kernel!($features (g: &Gemm) gemm::run::<$simd, DotInt8, $tile_int8>(g)),
            ],
            rows: [
                kernel!($features (r: &Rows) rows::rows::<$simd, F32>(r)),
                kernel!($features (r: &Rows) rows::rows::<$simd, BF16>(r)),
                kernel!($features (r: &Rows) rows::rows::<$simd, F16>(r)),
                kernel!($features (r: &Rows) rows::rows::<$simd, INT8>(r)),
            ],
            rows_with_scale: kernel!($features (r: &Rows, scale: f32, zero: f32) rows::rows_with_scale::<$simd>(r, scale, zero)),
            softmax: [
                kernel!($features (s: &Softmax) rows::softmax::<$simd, F32>(s)),
                kernel!($features (s: &Softmax) rows::softmax::<$simd, BF16>(s)),
                kernel!($features (s: &Softmax) rows::softmax::<$simd, F16>(s)),
            ],
            softmax_of_heads: [
                kernel!($features (s: &Softmax) rows::softmax_of_heads::<$simd, F32>(s)),
                kernel!($features (s: &Softmax) rows::softmax_of_heads::<$simd, BF16>(s)),
                kernel!($features (s: &Softmax) rows::softmax_of_heads::<$simd, F16>(s)),
            ],
            depthwise: [
                kernel!($features (d: &Depthwise) depthwise::run::<$simd, 1>(d)),
                kernel!($features (d: &Depthwise) depthwise::run::<$simd, 2>(d)),
            ],
            pack_rows: [
                kernel!($features (p: &Pack) pack::rows::<$simd, F32>(p)),
                kernel!($features (p: &Pack) pack::rows::<$simd, BF16>(p)),
                kernel!($features (p: &Pack) pack::rows::<$simd, F16>(p)),
            ],
            pack_columns: [
                kernel!($features (p: &Pack) pack::columns::<$simd, F32>(p)),
                kernel!($features (p: &Pack) pack::columns::<$simd, BF16>(p)),
                kernel!($features (p: &Pack) pack::columns::<$simd, F16>(p)),
            ],
            dot_rows: kernel!($features (rows: *const f32, count: usize, n: usize, vector: *const f32, out: *mut f32)
                rows::dot_rows::<$simd>(rows, count, n, vector, out)),
            transpose: kernel!($features (src: *const f32, ld_src: usize, size: (usize, usize), dst: *mut f32, ld_dst: usize)
                rows::transpose(src, ld_src, size, dst, ld_dst)),
        };
    };
}

table!(PORTABLE: "portable", Portable, [], if true, fast_float: Precision::F32);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::is_x86_feature_detected;

    use super::*;
    use crate::runtime::kernels::x86::{Avx2, Avx512};

    #[cfg(not(umedsam_f16_as_arm))]
    type TileF16 = Broadcast;
    #[cfg(umedsam_f16_as_arm)]
    type TileF16 = crate::runtime::kernels::x86::RunsAsArm;

    fn avx2() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
    }

    fn avx512() -> bool {
        avx2()
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
    }

    fn avx512vnni() -> bool {
        avx512() && is_x86_feature_detected!("avx512vnni")
    }

    /// Who made this CPU, as it names itself.
    pub(super) fn vendor() -> [u8; 12] {
        #[allow(unused_unsafe, reason = "safe from Rust 1.92 on")]
        // SAFETY: every x86-64 CPU has CPUID, and leaf 0.
        let leaf = unsafe { std::arch::x86_64::__cpuid(0) };
        let mut name = [0; 12];
        for (to, word) in name.chunks_exact_mut(4).zip([leaf.ebx, leaf.edx, leaf.ecx]) {
            to.copy_from_slice(&word.to_le_bytes());
        }
        name
    }

    /// bf16 where its products take less time than those of f32: AMD's Zen 4 does twice as many in a cycle. On an Intel
    /// Xeon with these instructions the network took 1.2 times as long in bf16 as in f32.
    pub(super) fn bf16_or_f32(vendor: [u8; 12]) -> Precision {
        if vendor == *b"AuthenticAMD" { Precision::Bf16 } else { Precision::F32 }
    }

    table!(AVX2: "avx2", Avx2<false>, ["avx2" "fma" "f16c"], if avx2(), fast_float: Precision::F32);
    table!(AVX_VNNI: "avx-vnni", Avx2<true>, ["avx2" "fma" "f16c" "avxvnni"],
        if avx2() && is_x86_feature_detected!("avxvnni"), fast_float: Precision::F32);
    table!(AVX512: "avx512", Avx512<false, false>, ["avx512f" "avx512bw" "avx512dq" "avx512vl" "fma"],
        if avx512(), fast_float: Precision::F32);
    table!(AVX512_VNNI: "avx512-vnni", Avx512<true, false>,
        ["avx512f" "avx512bw" "avx512dq" "avx512vl" "fma" "avx512vnni"], if avx512vnni(), fast_float: Precision::F32);
    table!(AVX512_BF16: "avx512-bf16", Avx512<true, true>,
        ["avx512f" "avx512bw" "avx512dq" "avx512vl" "fma" "avx512vnni" "avx512bf16"],
        if avx512vnni() && is_x86_feature_detected!("avx512bf16"), fast_float: bf16_or_f32(vendor()),
        tiles: [Broadcast, Broadcast, TileF16, Broadcast]);
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use std::arch::is_aarch64_feature_detected;

    use super::*;
    use crate::runtime::kernels::neon::{Lanes, Neon, Runs, Squares};

    fn dotprod() -> bool {
        is_aarch64_feature_detected!("neon") && is_aarch64_feature_detected!("dotprod")
    }

    fn fp16() -> bool {
        dotprod() && is_aarch64_feature_detected!("fp16")
    }

    // No CPU has these without the half floats.
    fn i8mm() -> bool {
        fp16() && is_aarch64_feature_detected!("i8mm")
    }

    // The widening products of the plain set want whole vectors of the same word.
    table!(NEON: "neon", Neon<false, false>, ["neon"], if is_aarch64_feature_detected!("neon"), fast_float: Precision::F32,
        tiles: [Lanes, Broadcast, Broadcast, Broadcast]);
    table!(NEON_DOTPROD: "neon-dotprod", Neon<true, false>, ["neon" "dotprod"], if dotprod(), fast_float: Precision::F32,
        tiles: [Lanes, Broadcast, Broadcast, Lanes]);
    table!(NEON_FP16: "neon-fp16", Neon<true, false>, ["neon" "dotprod" "fp16"], if fp16(), fast_float: Precision::F16,
        tiles: [Lanes, Broadcast, Runs, Lanes]);
    table!(NEON_I8MM: "neon-i8mm", Neon<true, false>, ["neon" "dotprod" "fp16" "i8mm"], if i8mm(), fast_float: Precision::F16,
        tiles: [Lanes, Broadcast, Runs, Squares]);
    table!(NEON_BF16: "neon-bf16", Neon<true, true>, ["neon" "dotprod" "fp16" "i8mm" "bf16"],
        if i8mm() && is_aarch64_feature_detected!("bf16"), fast_float: Precision::Bf16, tiles: [Lanes, Squares, Runs, Squares]);
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm {
    use super::*;
    use crate::runtime::kernels::wasm::Simd128;

    // A module with vectors runs nowhere else.
    table!(SIMD128: "simd128", Simd128, [], if true, fast_float: Precision::F32);
}

/// All tables of this architecture, the fastest first.
#[cfg(target_arch = "x86_64")]
pub(super) static TABLES: [&Table; 6] =
    [&x86::AVX512_BF16, &x86::AVX512_VNNI, &x86::AVX512, &x86::AVX_VNNI, &x86::AVX2, &PORTABLE];

/// All tables of this architecture, the fastest first.
#[cfg(target_arch = "aarch64")]
pub(super) static TABLES: [&Table; 6] =
    [&arm::NEON_BF16, &arm::NEON_I8MM, &arm::NEON_FP16, &arm::NEON_DOTPROD, &arm::NEON, &PORTABLE];

/// All tables of this architecture, the fastest first.
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) static TABLES: [&Table; 2] = [&wasm::SIMD128, &PORTABLE];

/// All tables of this architecture, the fastest first.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
)))]
pub(super) static TABLES: [&Table; 1] = [&PORTABLE];

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "asks the CPU, which Miri cannot")]
    fn the_maker_of_the_cpu_decides_on_bf16() {
        assert_eq!(x86::bf16_or_f32(*b"AuthenticAMD"), Precision::Bf16);
        assert_eq!(x86::bf16_or_f32(*b"GenuineIntel"), Precision::F32);
        assert!(x86::vendor().is_ascii() && !x86::vendor().contains(&0), "{:?}", x86::vendor());
    }
}
