//! Every set of kernels that this CPU runs, the portable one among them, against plain loops.
//!
//! Where numbers can be chosen so that no sum is rounded, results must be equal to the bit, in whatever order a set of
//! kernels adds them up. Set `UMEDSAM_EXPECT_KERNELS` to the name of the fastest set that a machine is supposed to run,
//! and the tests fail where it isn't that.

mod panels;
mod products;
mod rows;

use std::prelude::v1::*;
use std::println;

use half::{bf16, f16};

use super::*;

/// Numbers without a pattern, the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An integer between these, inclusive.
    fn integer(&mut self, low: i32, high: i32) -> i32 {
        low + (self.next() % u64::from((high - low + 1).cast_unsigned())) as i32
    }

    fn integers(&mut self, count: usize, low: i32, high: i32) -> Vec<f32> {
        (0..count).map(|_| self.integer(low, high) as f32).collect()
    }

    fn floats(&mut self, count: usize, low: f32, high: f32) -> Vec<f32> {
        (0..count).map(|_| low + (high - low) * (self.next() >> 40) as f32 / (1 << 24) as f32).collect()
    }
}

fn every(test: impl Fn(Kernels)) {
    Kernels::available().for_each(test);
}

/// Fails unless each value is as near to its reference as `tolerance` says of that.
#[track_caller]
fn assert_near(actual: &[f32], expected: &[f64], tolerance: impl Fn(f64) -> f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (&a, &e)) in actual.iter().zip(expected).enumerate() {
        let difference = (f64::from(a) - e).abs();
        assert!(difference <= tolerance(e), "{what}: value {i} is {a}, not {e}: off by {difference:e}");
    }
}

/// Values that a run of words holds, in the order of the summed axis.
fn unpack(kernels: Kernels, precision: Precision, words: &[f32]) -> Vec<f32> {
    let bits = words.iter().map(|w| w.to_bits());
    match (precision, kernels.per_word(precision)) {
        (Precision::F32, _) => words.to_vec(),
        (Precision::Bf16, _) => bits.flat_map(|w| [w << 16, w & 0xffff_0000].map(f32::from_bits)).collect(),
        (Precision::F16, _) => bits.flat_map(|w| [w, w >> 16].map(|w| f16::from_bits(w as u16).to_f32())).collect(),
        (Precision::Int8, 4) if kernels.int8_offset() == 0 => {
            bits.flat_map(|w| w.to_le_bytes().map(f32::from)).collect()
        }
        (Precision::Int8, 4) => bits.flat_map(|w| w.to_le_bytes().map(|b| f32::from(b.cast_signed()))).collect(),
        (Precision::Int8, _) => bits.flat_map(|w| [w << 16, w].map(|w| (w.cast_signed() >> 16) as f32)).collect(),
    }
}

/// The words of these values, which the precision must be able to hold: the inverse of [`unpack`].
fn pack(kernels: Kernels, precision: Precision, values: &[f32]) -> Vec<f32> {
    let per_word = kernels.per_word(precision);
    let word = |values: &[f32]| match precision {
        Precision::F32 => values[0],
        Precision::Bf16 | Precision::F16 => {
            let bits = |v: f32| {
                if precision == Precision::F16 { f16::from_f32(v).to_bits() } else { bf16::from_f32(v).to_bits() }
            };
            f32::from_bits(u32::from(bits(values[0])) | u32::from(bits(values[1])) << 16)
        }
        Precision::Int8 => {
            let width = 32 / per_word;
            let bits = |i: usize| ((values[i] as i32).cast_unsigned() & (u32::MAX >> (32 - width))) << (i * width);
            f32::from_bits((0..per_word).map(bits).sum())
        }
    };
    let words: Vec<f32> = values.chunks(per_word).map(word).collect();
    assert_eq!(unpack(kernels, precision, &words), values);
    words
}

/// A buffer of words, filled with what no kernel writes.
fn blank(len: usize) -> Buffer {
    let mut buffer = Buffer::zeroed(len);
    buffer.fill(BLANK);
    buffer
}

/// As bf16 two odd numbers.
const BLANK: f32 = f32::from_bits(0xc7a1_c6b3);

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + libm::erf(x / 2.0f64.sqrt()))
}

const PRECISIONS: [Precision; 4] = [Precision::F32, Precision::Bf16, Precision::F16, Precision::Int8];
const FLOATS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

/// What a precision of floats makes of a value.
fn round(precision: Precision, v: f32) -> f32 {
    match precision {
        Precision::Bf16 => bf16::from_f32(v).to_f32(),
        Precision::F16 => f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32(),
        _ => v,
    }
}

/// The most that a precision loses of a value, in parts of it.
fn epsilon(precision: Precision) -> f64 {
    match precision {
        Precision::Bf16 => 1.0 / 256.0,
        Precision::F16 => 1.0 / 2048.0,
        _ => 0.0,
    }
}

#[test]
fn the_kernels_are_those_of_this_cpu() {
    let names: Vec<&str> = Kernels::available().map(Kernels::name).collect();
    println!("kernels: {}", names.join(" "));
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(names[0], Kernels::detect().name());
    let expected = std::env::var("UMEDSAM_EXPECT_KERNELS").unwrap_or_default();
    assert!(expected.is_empty() || expected == names[0], "the fastest kernels of this CPU are not {expected}");
}

#[test]
fn a_set_of_kernels_is_chosen_for_what_it_says() {
    every(|kernels| {
        let table = kernels.0;
        // What the code around the kernels takes for granted.
        assert!(table.lanes.is_power_of_two() && table.lanes <= 16, "{}", kernels.name());
        assert!(matches!((table.int8_per_word, table.int8_offset), (2, 0) | (4, 0 | 128)), "{}", kernels.name());
    });
}
