//! Every set of kernels that this CPU runs, the portable one among them, against plain loops.
//!
//! Where numbers can be chosen so that no sum is rounded, results must be equal to the bit, in whatever order a set of
//! kernels adds them up. Set `UMEDSAM_EXPECT_KERNELS` to the name of the fastest set that a machine is supposed to run,
//! and the tests fail where it isn't that.

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
fn unpack(kernels: Kernels, format: Format, words: &[f32]) -> Vec<f32> {
    let bits = words.iter().map(|w| w.to_bits());
    match (format, kernels.per_word(format)) {
        (Format::F32, _) => words.to_vec(),
        (Format::Bf16, _) => bits.flat_map(|w| [w << 16, w & 0xffff_0000].map(f32::from_bits)).collect(),
        (Format::F16, _) => bits.flat_map(|w| [w, w >> 16].map(|w| f16::from_bits(w as u16).to_f32())).collect(),
        (Format::Int8, 4) if kernels.int8_offset() == 0 => bits.flat_map(|w| w.to_le_bytes().map(f32::from)).collect(),
        (Format::Int8, 4) => bits.flat_map(|w| w.to_le_bytes().map(|b| f32::from(b.cast_signed()))).collect(),
        (Format::Int8, _) => bits.flat_map(|w| [w << 16, w].map(|w| (w.cast_signed() >> 16) as f32)).collect(),
    }
}

/// The words of these values, which the format must be able to hold: the inverse of [`unpack`].
fn pack(kernels: Kernels, format: Format, values: &[f32]) -> Vec<f32> {
    let per_word = kernels.per_word(format);
    let word = |values: &[f32]| match format {
        Format::F32 => values[0],
        Format::Bf16 | Format::F16 => {
            let bits = |v: f32| {
                if format == Format::F16 { f16::from_f32(v).to_bits() } else { bf16::from_f32(v).to_bits() }
            };
            f32::from_bits(u32::from(bits(values[0])) | u32::from(bits(values[1])) << 16)
        }
        Format::Int8 => {
            let width = 32 / per_word;
            let bits = |i: usize| ((values[i] as i32).cast_unsigned() & (u32::MAX >> (32 - width))) << (i * width);
            f32::from_bits((0..per_word).map(bits).sum())
        }
    };
    let words: Vec<f32> = values.chunks(per_word).map(word).collect();
    assert_eq!(unpack(kernels, format, &words), values);
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

const FORMATS: [Format; 4] = [Format::F32, Format::Bf16, Format::F16, Format::Int8];
const FLOATS: [Format; 3] = [Format::F32, Format::Bf16, Format::F16];

/// What a format of floats makes of a value.
fn round(format: Format, v: f32) -> f32 {
    match format {
        Format::Bf16 => bf16::from_f32(v).to_f32(),
        Format::F16 => f16::from_f32(v.clamp(-65504.0, 65504.0)).to_f32(),
        _ => v,
    }
}

/// The most that a format loses of a value, in parts of it.
fn precision(format: Format) -> f64 {
    match format {
        Format::Bf16 => 1.0 / 256.0,
        Format::F16 => 1.0 / 2048.0,
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

/// A product's shape, and what happens to its sums.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    /// Where, in values from a row's start, each run of `k` values begins.
    taps: &'static [usize],
    k: usize,
    /// Columns, in vectors.
    vectors: usize,
    bias: bool,
    row_factor: bool,
    residual: bool,
    relu: bool,
    stored: Format,
}

const CASE: Case = Case {
    rows: 7,
    taps: &[0],
    k: 12,
    vectors: 3,
    bias: false,
    row_factor: false,
    residual: false,
    relu: false,
    stored: Format::F32,
};

/// Computes a product of integers both ways.
fn check_product(kernels: Kernels, format: Format, case: Case, random: &mut Random) {
    let what = std::format!("{} {format:?} {case:?}", kernels.name());
    let Case { rows, taps, k, .. } = case;
    let n = case.vectors * kernels.0.lanes;
    let per_word = kernels.per_word(format);
    let int8 = format == Format::Int8;

    // A row is longer than what is multiplied, and begins where a word does.
    let ld = (taps.iter().max().unwrap() + k + 5).next_multiple_of(4);
    let ((low, high), greatest) = match format {
        Format::Int8 => ((0, 255), 127),
        // 32 products may be summed in f16, which is exact up to 2048.
        Format::F16 => ((-8, 8), 8),
        _ => ((-100, 100), 100),
    };
    let a = random.integers(rows * ld, low, high);
    let b = random.integers(taps.len() * k * n, -greatest, greatest);
    let offset = kernels.int8_offset() as f32;
    let words = if int8 {
        pack(kernels, format, &a.iter().map(|v| v - offset).collect::<Vec<_>>())
    } else {
        pack(kernels, format, &a)
    };
    let powers = [0.25, 0.5, 1.0, 2.0];
    let zero = random.integers(rows, 0, 255);
    let stored_zero: Vec<f32> = zero.iter().map(|z| z - offset).collect();
    let row_scale: Vec<f32> = (0..rows).map(|i| powers[i % 4]).collect();
    let column_scale: Vec<f32> = (0..n).map(|i| powers[i % 3]).collect();
    let weights = if int8 {
        let integers: Vec<i8> = b.iter().map(|&v| v as i8).collect();
        Weights::int8(kernels, &integers, column_scale.clone())
    } else {
        Weights::pack(kernels, format, &b, n)
    };
    assert_eq!(weights.format(), format);

    let bias = random.integers(n, -1000, 1000);
    let row_factor: Vec<f32> = (0..rows).map(|i| powers[(i + 1) % 4]).collect();
    let ld_residual = n + 3;
    let residual = random.integers(rows * ld_residual, -1000, 1000);

    let n_words = kernels.words(case.stored, n);
    let ldo = n_words + 2;
    let mut out = blank(rows * ldo);
    let mut output = Output::new(&mut out, ldo).format(case.stored);
    if case.bias {
        output = output.bias(&bias);
    }
    if case.row_factor {
        output = output.row_factor(&row_factor);
    }
    if case.residual {
        output = output.residual(Residual::Rows(&residual, ld_residual));
    }
    if case.relu {
        output = output.activation(Activation::Relu);
    }
    let k_words = k.div_ceil(per_word);
    let matrix = if int8 {
        Matrix::int8(&words, ld / per_word, rows, k_words, &row_scale, &stored_zero)
    } else {
        Matrix::words(format, &words, ld / per_word, rows, k_words)
    };
    let tap_words: Vec<usize> = taps.iter().map(|t| t / per_word).collect();
    kernels.product_of_taps(&matrix, &tap_words, &weights.panels(), output);

    for row in 0..rows {
        let mut expected = vec![BLANK; ldo];
        let mut values = vec![0.0; n];
        for (column, value) in values.iter_mut().enumerate() {
            let mut sum = 0.0;
            for (t, tap) in taps.iter().enumerate() {
                for i in 0..k {
                    let a = a[row * ld + tap + i] - if int8 { zero[row] } else { 0.0 };
                    sum += a * b[(t * k + i) * n + column];
                }
            }
            assert!(sum.abs() < (1 << 22) as f32, "{what}: a sum that is not exact");
            if int8 {
                sum *= row_scale[row] * column_scale[column];
            }
            if case.row_factor {
                sum *= row_factor[row];
            }
            if case.bias {
                sum += bias[column];
            }
            if case.residual {
                sum += residual[row * ld_residual + column];
            }
            *value = if case.relu { sum.max(0.0) } else { sum };
        }
        let rounded: Vec<f32> = values.iter().map(|&v| round(case.stored, v)).collect();
        expected[..n_words].copy_from_slice(&pack(kernels, case.stored, &rounded));
        // By their bits, which may be two halves; no kernel makes a zero negative of sums like these.
        let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let actual = &out[row * ldo..(row + 1) * ldo];
        assert!(bits(actual) == bits(&expected), "{what}: row {row} is\n{actual:?}, not\n{expected:?}");
    }
}

#[test]
fn products_of_integers_are_exact() {
    every(|kernels| {
        for format in FORMATS {
            let random = &mut Random(1);
            let per_word = kernels.per_word(format);
            for rows in (1..=13).chain([49, 66]) {
                check_product(kernels, format, Case { rows, ..CASE }, random);
            }
            for vectors in 1..=5 {
                check_product(kernels, format, Case { vectors, ..CASE }, random);
            }
            for k in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 98] {
                check_product(kernels, format, Case { k, rows: 3, vectors: 2, ..CASE }, random);
                check_product(kernels, format, Case { k, rows: 12, vectors: 2, ..CASE }, random);
            }
            // Runs that overlap, follow each other and go backwards; of one word, and longer.
            for k in [per_word, 4, 8, 20, 28] {
                for taps in [&[0, 4, 8][..], &[8], &[24, 0, 12], &[0, 16, 32, 48, 64, 80, 96, 112, 128]] {
                    check_product(kernels, format, Case { k, taps, rows: 9, ..CASE }, random);
                }
            }
            // Everything that may happen to a sum.
            for (bits, stored) in (0..16).flat_map(|bits| FLOATS.map(|stored| (bits, stored))) {
                let [bias, row_factor, residual, relu] = std::array::from_fn(|i| bits >> i & 1 == 1);
                let case = Case { bias, row_factor, residual, relu, stored, rows: 5, ..CASE };
                check_product(kernels, format, case, random);
            }
        }
    });
}

#[test]
fn sums_of_the_greatest_integers_do_not_overflow() {
    // As far as f32 is exact: 255 * 127 * 512 < 2^24.
    let k = 512;
    every(|kernels| {
        let n = 2 * kernels.0.lanes;
        for value in [0, 1, 254, 255] {
            for weight in [-127, -1, 127i8] {
                let stored = value as f32 - kernels.int8_offset() as f32;
                let words = pack(kernels, Format::Int8, &vec![stored; k]);
                let zero = [-kernels.int8_offset() as f32];
                let weights = Weights::int8(kernels, &vec![weight; k * n], vec![1.0; n]);
                let mut out = blank(n);
                let matrix = Matrix::int8(&words, words.len(), 1, words.len(), &[1.0], &zero);
                kernels.product(&matrix, &weights.panels(), Output::new(&mut out, n));
                let expected = (value * i32::from(weight) * k as i32) as f32;
                assert_eq!(out[..], vec![expected; n], "{} {value} {weight}", kernels.name());
            }
        }
    });
}

/// Products of numbers that no format holds exactly.
#[test]
fn products_of_floats_are_as_exact_as_their_format() {
    let (rows, k, n) = (11, 192, 96);
    let random = &mut Random(2);
    let (src, b) = (random.floats(rows * k, -1.0, 2.0), random.floats(k * n, -0.2, 0.2));
    every(|kernels| {
        for format in FORMATS {
            for activation in [Activation::None, Activation::Gelu] {
                let what = std::format!("{} {format:?} {activation:?}", kernels.name());
                let (mut values, mut scale, mut zero) = (blank(rows * k), vec![0.0; rows], vec![0.0; rows]);
                let mut words = Words { values: &mut values, scale: &mut scale, zero: &mut zero };
                kernels.rows(format, &src, k, (rows, k), Prepare::Nothing, &mut words, 0);
                let weights = Weights::pack(kernels, format, &b, n);
                let mut out = blank(rows * n);
                let output = Output::new(&mut out, n).activation(activation);
                kernels.product(&words.matrix(kernels, format, rows, k), &weights.panels(), output);

                for row in 0..rows {
                    for column in 0..n {
                        let (mut sum, mut size) = (0.0, 0.0);
                        let step = |v: f64, greatest: f64| match format {
                            Format::Int8 => greatest / 2.0,
                            _ => v.abs() * precision(format),
                        };
                        let (mut variance, mut run) = (0.0, 0.0);
                        for i in 0..k {
                            let (a, b) = (f64::from(src[row * k + i]), f64::from(b[i * n + column]));
                            sum += a * b;
                            size += (a * b).abs();
                            let (of_a, of_b) = (step(a, 3.0 / 255.0), step(b, 0.2 / 127.0));
                            variance += ((a * of_b).powi(2) + (b * of_a).powi(2)) / 3.0;
                            if format == Format::F16 {
                                // Sums of 32 products may be of this format too.
                                run = if i % 32 == 0 { 0.0 } else { run } + a * b;
                                variance += (run * precision(format)).powi(2) / 3.0;
                            }
                        }
                        let expected = if activation == Activation::Gelu { gelu(sum) } else { sum };
                        let of_gelu = if format == Format::F32 { 2e-6 } else { 1e-4 };
                        // What the values lose to their format, as chance has it; what the sum loses; the activation.
                        let tolerance = 6.0 * variance.sqrt() + 1e-6 * size + of_gelu;
                        let difference = (f64::from(out[row * n + column]) - expected).abs();
                        assert!(difference < tolerance, "{what}: {row}, {column}: {difference:e} of {tolerance:e}");
                    }
                }
            }
        }
    });
}

/// LayerNorm, GELU and sums in f64.
fn prepared(row: &[f32], prepare: Prepare<'_>, add: &[f32]) -> Vec<f64> {
    let row: Vec<f64> = row.iter().map(|&v| f64::from(v)).collect();
    match prepare {
        Prepare::Nothing => row,
        Prepare::Add(_) => row.iter().zip(add).map(|(a, &b)| a + f64::from(b)).collect(),
        Prepare::Norm(norm) | Prepare::NormGelu(norm) => {
            let n = row.len() as f64;
            let mean = row.iter().sum::<f64>() / n;
            let variance = row.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
            let factor = 1.0 / (variance + f64::from(norm.epsilon)).sqrt();
            let parameters = norm.gamma.iter().zip(norm.beta);
            let normal = row.iter().zip(parameters);
            let normal = normal.map(|(v, (&g, &b))| (v - mean) * factor * f64::from(g) + f64::from(b));
            if matches!(prepare, Prepare::NormGelu(_)) { normal.map(gelu).collect() } else { normal.collect() }
        }
    }
}

#[test]
fn rows_become_words() {
    let random = &mut Random(3);
    // Rows are taken from a wider image, and become rows from the second one on.
    let (rows, first) = (5, 2);
    for n in [16, 48, 320] {
        let ld = n + 4;
        let mut src = random.floats(rows * ld, -3.0, 5.0);
        // A row of one value, one below zero, one above: the steps of int8 always reach zero.
        src[..n].fill(0.0);
        src[ld..ld + n].iter_mut().for_each(|v| *v = -1.0 - v.abs());
        src[2 * ld..2 * ld + n].iter_mut().for_each(|v| *v = 1.0 + v.abs());
        let add = random.floats(rows * n, -1.0, 1.0);
        let (gamma, beta) = (random.floats(n, 0.5, 1.5), random.floats(n, -0.5, 0.5));
        let norm = Norm { gamma: &gamma, beta: &beta, epsilon: 1e-5 };
        for prepare in [Prepare::Nothing, Prepare::Add(&add), Prepare::Norm(norm), Prepare::NormGelu(norm)] {
            every(|kernels| {
                for format in FORMATS {
                    let what = std::format!("{} {format:?} {n} {prepare:?}", kernels.name());
                    let ld_words = kernels.words(format, n);
                    let mut values = blank((first + rows + 1) * ld_words);
                    let (mut scale, mut zero) = (vec![BLANK; first + rows + 1], vec![BLANK; first + rows + 1]);
                    let mut words = Words { values: &mut values, scale: &mut scale, zero: &mut zero };
                    kernels.rows(format, &src, ld, (rows, n), prepare, &mut words, first);

                    let around = |i: usize| !(first..first + rows).contains(&i);
                    for (i, row) in values.chunks(ld_words).enumerate() {
                        if around(i) {
                            assert!(row.iter().all(|v| v.to_bits() == BLANK.to_bits()), "{what}: row {i}");
                            assert!(scale[i] == BLANK && zero[i] == BLANK, "{what}: row {i}");
                            continue;
                        }
                        let from = (i - first) * ld;
                        let add = &add[(i - first) * n..][..n];
                        let expected = prepared(&src[from..from + n], prepare, add);
                        let held = unpack(kernels, format, row);
                        // What the calculation in f32 may lose, besides what the format loses.
                        let lost = match (prepare, format) {
                            (Prepare::Nothing, _) => 0.0,
                            (Prepare::NormGelu(_), Format::Bf16 | Format::F16 | Format::Int8) => 1e-4,
                            _ => 3e-6,
                        };
                        match format {
                            Format::F32 => assert_near(&held, &expected, |_| lost, &what),
                            Format::Bf16 | Format::F16 => {
                                let loses = 1.01 * precision(format);
                                assert_near(&held, &expected, |e| lost + e.abs() * loses + 3e-8, &what);
                            }
                            Format::Int8 => {
                                let (least, greatest) =
                                    expected.iter().fold((0.0f64, 0.0f64), |(l, g), &v| (l.min(v), g.max(v)));
                                let size = (greatest - least) / 255.0;
                                if size == 0.0 {
                                    assert_eq!(scale[i], 1.0, "{what}");
                                } else {
                                    assert!((f64::from(scale[i]) - size).abs() < 2e-7 + lost / 100.0, "{what}");
                                }
                                let offset = kernels.int8_offset() as f32;
                                assert!(held.iter().all(|v| (0.0..=255.0).contains(&(v + offset))), "{what}");
                                let values: Vec<f32> = held.iter().map(|v| (v - zero[i]) * scale[i]).collect();
                                // Half a step, but at the ends, where the zero was rounded too.
                                let tolerance = |e: f64| {
                                    let end = e <= least + size || e >= greatest - size;
                                    lost + size * if end { 1.01 } else { 0.505 }
                                };
                                assert_near(&values, &expected, tolerance, &what);
                            }
                        }
                    }
                }
            });
        }
        every(|kernels| {
            let mut values = random_image(n);
            let before = values.clone();
            kernels.norm_in_place(&mut values, n, norm);
            for (row, before) in values.chunks(n).zip(before.chunks(n)) {
                assert_near(row, &prepared(before, Prepare::Norm(norm), &[]), |_| 3e-6, kernels.name());
            }
        });
    }
}

fn random_image(n: usize) -> Vec<f32> {
    Random(4).floats(6 * n, -2.0, 1.0)
}

#[test]
fn floats_of_16_bits_are_rounded_to_even() {
    // Ties and their neighbours, both ways; one that becomes the next power of two; zeros; the ends of the range.
    let bits = [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_7fff, 0xbf80_8000, 0xbf81_8000, 0x3fff_8000, 0x3f7f_ffff];
    let bits = [bits, [0, 0x8000_0000, 0x0080_8000, 0x0081_8000, 0x7f7f_7fff, 0x7f7f_8000, 0x7f80_0000, 0xff80_0000]];
    let src: Vec<f32> = bits.as_flattened().iter().map(|&b| f32::from_bits(b)).collect();
    // The same of f16, and its subnormal numbers; what is beyond its range.
    let bits = [0x3f80_1000, 0x3f80_3000, 0x3f80_1001, 0x3f80_0fff, 0xbf80_1000, 0xbf80_3000, 0x3fff_f000, 0x3f7f_ffff];
    let beyond = [65504.0, 65519.9, 65520.0, -65536.0, 1e9, f32::MIN, f32::INFINITY, f32::NEG_INFINITY];
    let small = [1.5, 2.5, 0.5, 0.51, -1023.5, 1024.5, 1e-9, -0.0].map(|v: f32| v / (1 << 24) as f32);
    let halves = [bits.map(f32::from_bits), beyond, small, [0.0, 1.0, -2.0, 0.1, 1e-7, 2049.0, 2051.0, -3e4]];
    let steps: Vec<f32> = (0..32).map(|i| i as f32 * 8.0 + 0.5).collect();
    every(|kernels| {
        let mut words = blank(8);
        kernels.rows_with_scale(Format::Bf16, &src, 16, (1.0, 0.0), &mut words);
        let held: Vec<u32> = unpack(kernels, Format::Bf16, &words).iter().map(|v| v.to_bits()).collect();
        let expected: Vec<u32> = src.iter().map(|&v| bf16::from_f32(v).to_f32().to_bits()).collect();
        assert_eq!(held, expected, "{}", kernels.name());

        let mut words = blank(16);
        kernels.rows_with_scale(Format::F16, halves.as_flattened(), 32, (1.0, 0.0), &mut words);
        let held: Vec<u32> = unpack(kernels, Format::F16, &words).iter().map(|v| v.to_bits()).collect();
        let expected: Vec<u32> = halves.as_flattened().iter().map(|&v| round(Format::F16, v).to_bits()).collect();
        assert_eq!(held, expected, "{}", kernels.name());

        let mut words = blank(kernels.words(Format::Int8, 32));
        kernels.rows_with_scale(Format::Int8, &steps, 32, (1.0, 0.0), &mut words);
        let expected: Vec<f32> = steps.iter().map(|v| v.round_ties_even() - kernels.int8_offset() as f32).collect();
        assert_eq!(unpack(kernels, Format::Int8, &words), expected, "{}", kernels.name());
    });
}

/// What a run of one product holds of two numbers, each the only one of its row and column that is not zero.
#[test]
fn halves_are_multiplied_as_they_are() {
    let numbers = [1.0, -3.5, 65504.0, 1.0 / (1 << 24) as f32, 1023.0 / (1 << 24) as f32, 2.0f32.powi(-14), -0.1];
    let (k, rows) = (80, 9);
    every(|kernels| {
        let n = 2 * kernels.0.lanes;
        for (i, &number) in numbers.iter().enumerate() {
            for at in [0, 1, 2, 7, 30, 33, 78, 79] {
                let mut a = vec![0.0; rows * k];
                a.chunks_mut(k).for_each(|row| row[at] = number);
                // A subnormal number made a normal one, and the other way round.
                let mut b = vec![0.0; k * n];
                b[at * n..(at + 1) * n].fill(if number.abs() < 1e-3 { 4096.0 } else { 0.25 });
                let mut values = blank(rows * k);
                let mut words = Words { values: &mut values, scale: &mut [], zero: &mut [] };
                kernels.rows(Format::F16, &a, k, (rows, k), Prepare::Nothing, &mut words, 0);
                let weights = Weights::pack(kernels, Format::F16, &b, n);
                let mut out = blank(rows * n);
                let words = words.matrix(kernels, Format::F16, rows, k);
                kernels.product(&words, &weights.panels(), Output::new(&mut out, n));
                let expected = round(Format::F16, number) * b[at * n];
                assert_eq!(out[..], vec![expected; rows * n], "{} {i} at {at}", kernels.name());
            }
        }
    });
}

#[test]
fn what_is_no_number_stays_none() {
    let n = 64;
    every(|kernels| {
        for format in [Format::Bf16, Format::F16] {
            for at in [0, 1, 17, 63] {
                let mut src = vec![1.0; n];
                src[at] = f32::NAN;
                let mut words = blank(n / 2);
                kernels.rows_with_scale(format, &src, n, (1.0, 0.0), &mut words);
                let held = unpack(kernels, format, &words);
                assert!(held.iter().enumerate().all(|(i, v)| v.is_nan() == (i == at)), "{} {at}", kernels.name());
                let columns = 2 * kernels.0.lanes;
                let weights = Weights::pack(kernels, format, &vec![0.5; n * columns], columns);
                let mut out = blank(columns);
                let matrix = Matrix::words(format, &words, n / 2, 1, n / 2);
                kernels.product(&matrix, &weights.panels(), Output::new(&mut out, columns));
                assert!(out.iter().all(|v| v.is_nan()), "{} {format:?} {at}", kernels.name());
            }
        }
    });
}

#[test]
fn rows_of_one_scale_are_clamped() {
    let n = 64;
    let mut src = Random(5).floats(3 * n, -4.0, 4.0);
    (src[0], src[1], src[2], src[3]) = (1e9, -1e9, f32::MAX, f32::MIN);
    every(|kernels| {
        let (scale, zero) = kernels.steps(-1.0, 2.0);
        assert!((scale - 3.0 / 255.0).abs() < 1e-9 && zero == 85.0);
        let mut words = blank(3 * kernels.words(Format::Int8, n) + 1);
        kernels.rows_with_scale(Format::Int8, &src, n, (scale, zero), &mut words);
        let (last, words) = words.split_last().unwrap();
        assert_eq!(last.to_bits(), BLANK.to_bits());
        let held = unpack(kernels, Format::Int8, words);
        let steps: Vec<f32> = held.iter().map(|v| v + kernels.int8_offset() as f32).collect();
        let expected: Vec<f64> =
            src.iter().map(|&v| (f64::from(v) / f64::from(scale) + f64::from(zero)).clamp(0.0, 255.0)).collect();
        assert_near(&steps, &expected, |_| 0.501, kernels.name());

        for format in FLOATS {
            let mut words = blank(3 * kernels.words(format, n));
            kernels.rows_with_scale(format, &src, n, (scale, zero), &mut words);
            let expected: Vec<f32> = src.iter().map(|&v| round(format, v)).collect();
            assert_eq!(unpack(kernels, format, &words), expected);
        }
    });
}

#[test]
fn exponentials_are_exact() {
    let n = 48;
    let mut scores = Random(6).floats(4 * n, -20.0, 3.0);
    // Tokens that don't count, and scores that all but underflow.
    scores[n - 5..n].fill(-1e9);
    scores[n..2 * n].iter_mut().enumerate().for_each(|(i, v)| *v = 50.0 - 2.0 * i as f32);
    let rows = scores.chunks(n).map(|row| {
        let greatest = row.iter().copied().fold(f32::MIN, f32::max);
        let e: Vec<f64> = row.iter().map(|&v| (f64::from(v) - f64::from(greatest)).exp()).collect();
        (greatest, e.iter().sum::<f64>(), e)
    });
    let rows: Vec<(f32, f64, Vec<f64>)> = rows.collect();
    every(|kernels| {
        for format in FLOATS {
            for keep in [false, true] {
                let what = std::format!("{} {format:?}", kernels.name());
                let mut values = blank(4 * kernels.words(format, n));
                let (mut sums, mut greatest, mut scores) = ([0.0; 4], [0.0; 4], scores.clone());
                let kept = keep.then_some(&mut greatest[..]);
                let matrix = kernels.softmax(format, &mut scores, n, &mut values, &mut sums, kept);
                assert_eq!((matrix.rows, matrix.ld, matrix.words), (4, kernels.words(format, n), matrix.ld));
                for (i, (row, words)) in rows.iter().zip(values.chunks(kernels.words(format, n))).enumerate() {
                    // The scores lose 2e-6 of themselves at most when the greatest is taken from them.
                    let precision = 4e-6 + precision(format);
                    let least = if format == Format::F16 { 3e-8 } else { 2e-38 };
                    let e = unpack(kernels, format, words);
                    assert_near(&e, &row.2, |e| e * precision + least, &what);
                    let sum = if keep { f64::from(sums[i]) } else { 1.0 / f64::from(sums[i]) };
                    assert!((sum / row.1 - 1.0).abs() < 4e-6, "{what}: {sum} is not {}", row.1);
                    assert_eq!(greatest[i], if keep { row.0 } else { 0.0 }, "{what}");
                }
            }
        }
    });
}

#[test]
fn softmax_of_heads_sums_to_one() {
    let random = &mut Random(7);
    for tokens in [2, 6, 64] {
        let n = 8 * tokens;
        let scores = random.floats(3 * n, -9.0, 9.0);
        let mut expected = vec![0.0; 3 * n];
        for (row, scores) in scores.chunks(n).enumerate() {
            for head in 0..8 {
                let e = |t: usize| f64::from(scores[8 * t + head]).exp();
                let sum: f64 = (0..tokens).map(e).sum();
                (0..tokens).for_each(|t| expected[row * n + 8 * t + head] = e(t) / sum);
            }
        }
        every(|kernels| {
            for format in FLOATS {
                let mut values = blank(3 * kernels.words(format, n));
                kernels.softmax_of_heads(format, &mut scores.clone(), n, &mut values);
                let precision = 4e-6 + precision(format);
                let what = std::format!("{} {format:?} {tokens}", kernels.name());
                assert_near(&unpack(kernels, format, &values), &expected, |e| e * precision + 3e-8, &what);
            }
        });
    }
}

#[test]
fn depthwise_convolutions_are_exact() {
    let random = &mut Random(8);
    for stride in [1, 2] {
        for count in (1..=9).chain([32]) {
            every(|kernels| {
                for channels in [kernels.0.lanes, 3 * kernels.0.lanes] {
                    let random = &mut Random(random.0 + (stride * count) as u64);
                    let width = ((count - 1) * stride + 3) * channels;
                    let rows = [0; 3].map(|_| random.integers(width, -50, 50));
                    let (weights, bias) = (random.integers(9 * channels, -50, 50), random.integers(channels, -50, 50));
                    let mut out = blank(count * channels + 1);
                    let views = std::array::from_fn(|i| &rows[i][..]);
                    kernels.depthwise(views, channels, stride, &weights, &bias, count, &mut out, Gelu::No);
                    let mut expected = vec![BLANK; count * channels + 1];
                    for (i, value) in expected[..count * channels].iter_mut().enumerate() {
                        let (x, c) = (i / channels, i % channels);
                        let tap = |t: usize| {
                            let input = rows[t / 3][(x * stride + t % 3) * channels + c];
                            input * weights[t * channels + c]
                        };
                        *value = bias[c] + (0..9).map(tap).sum::<f32>();
                    }
                    assert_eq!(out[..], expected, "{} stride {stride}, {count} pixels", kernels.name());
                }
            });
        }
    }
}

#[test]
fn gelu_is_as_exact_as_it_says() {
    // Through a convolution without weights, whose biases are the arguments.
    let check = |kernels: Kernels, kind: Gelu, limit: f32, tolerance: f64| {
        let n = 2048;
        let x: Vec<f32> = (0..n).map(|i| limit * (2.0 * i as f32 / (n - 1) as f32 - 1.0)).collect();
        let (row, weights, mut out) = (vec![1.0; 3 * n], vec![0.0; 9 * n], blank(n));
        kernels.depthwise([&row; 3], n, 1, &weights, &x, 1, &mut out, kind);
        let expected: Vec<f64> = x.iter().map(|&x| gelu(f64::from(x))).collect();
        assert_near(&out, &expected, |_| tolerance, &std::format!("{} {kind:?} GELU", kernels.name()));
    };
    every(|kernels| {
        check(kernels, Gelu::Exact, 8.0, 2e-6);
        check(kernels, Gelu::Fast, 4.0, 7e-5);
        // Far out, where it is the identity or zero.
        check(kernels, Gelu::Exact, 200.0, 200.0 * 2e-7);
        check(kernels, Gelu::Fast, 200.0, 200.0 * 3.5e-5);
    });
}

#[test]
fn matrices_become_panels() {
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    every(|kernels| {
        for format in FLOATS {
            for (k, n) in [(1, 8), (7, 16), (8, 7), (33, 48), (16, 33), (256, 20)] {
                let what = std::format!("{} {format:?} {k}x{n}", kernels.name());
                let values = Random(9).floats(k * n, -3.0, 3.0);
                let weights = Weights::pack(kernels, format, &values, n);
                let expected = weights.panels();
                let ld = n + 3;
                let mut src = blank(k * ld);
                for (row, values) in src.chunks_mut(ld).zip(values.chunks(n)) {
                    row[..n].copy_from_slice(values);
                }
                let mut panels = blank(kernels.panel_words(format, k, n));
                let packed = kernels.pack_rows(format, &src, ld, (k, n), &mut panels);
                assert_eq!((packed.words, packed.n), (expected.words, n), "{what}");
                assert_eq!(bits(packed.values), bits(expected.values), "{what}: rows");
                if k.is_multiple_of(kernels.0.lanes) {
                    let ld = k + 5;
                    let mut src = blank(n * ld);
                    kernels.transpose(&values, n, (k, n), &mut src, ld);
                    let mut panels = blank(kernels.panel_words(format, k, n));
                    let packed = kernels.pack_columns(format, &src, ld, (k, n), &mut panels);
                    assert_eq!(bits(packed.values), bits(expected.values), "{what}: columns");
                }
            }
        }
    });
}

#[test]
fn weights_lie_in_panels_of_words() {
    let (k, n) = (9, 40);
    every(|kernels| {
        for format in FORMATS {
            let values: Vec<f32> = Random(10).integers(k * n, -127, 127);
            // The greatest of each column is 127, so that the steps of int8 are whole numbers.
            let values: Vec<f32> = values.iter().enumerate().map(|(i, &v)| if i < n { 127.0 } else { v }).collect();
            let weights = Weights::pack(kernels, format, &values, n);
            let panels = weights.panels();
            let (width, per_word) = (kernels.panel(), kernels.per_word(format));
            let words = k.div_ceil(per_word);
            assert_eq!(panels.values.len(), words * n.next_multiple_of(width));
            for (i, &word) in panels.values.iter().enumerate() {
                let (panel, row, lane) = (i / (words * width), i / width % words * per_word, i % width);
                let column = panel * width + lane;
                // Weights are signed, whatever is taken from the values that they are multiplied with.
                let held = match format {
                    Format::Int8 if per_word == 4 => {
                        word.to_bits().to_le_bytes().map(|b| f32::from(b.cast_signed())).to_vec()
                    }
                    _ => unpack(kernels, format, &[word]),
                };
                for (j, value) in held.into_iter().enumerate() {
                    let inside = row + j < k && column < n;
                    let expected = if inside { values[(row + j) * n + column] } else { 0.0 };
                    assert_eq!(value, expected, "{} {format:?} {} {column}", kernels.name(), row + j);
                }
            }
            for column in 0..if format == Format::Int8 { n } else { 0 } {
                let sum: f32 = (0..k).map(|row| values[row * n + column]).sum();
                assert_eq!((panels.sum[column], panels.scale[column]), (sum, 1.0));
            }
        }
    });
}

#[test]
fn products_with_a_vector_are_exact() {
    for n in [16, 32, 256] {
        let random = &mut Random(11);
        let (rows, vector) = (random.integers(7 * n, -90, 90), random.integers(n, -90, 90));
        let expected: Vec<f32> = rows.chunks(n).map(|row| row.iter().zip(&vector).map(|(a, b)| a * b).sum()).collect();
        every(|kernels| {
            let mut out = blank(7);
            kernels.dot_rows(&rows, &vector, &mut out);
            assert_eq!(out[..], expected, "{} {n}", kernels.name());
        });
    }
}

#[test]
fn matrices_are_turned() {
    every(|kernels| {
        for (rows, columns) in [(1, 1), (7, 3), (16, 16), (17, 33), (64, 5), (48, 32)] {
            let (ld, ld_dst) = (columns + 3, rows + 1);
            let src: Vec<f32> = (0..rows * ld).map(|i| i as f32).collect();
            let mut dst = blank(columns * ld_dst);
            kernels.transpose(&src, ld, (rows, columns), &mut dst, ld_dst);
            for (i, &value) in dst.iter().enumerate() {
                let (column, row) = (i / ld_dst, i % ld_dst);
                let expected = if row < rows { src[row * ld + column] } else { BLANK };
                assert_eq!(value.to_bits(), expected.to_bits(), "{} {rows}x{columns}", kernels.name());
            }
        }
    });
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
