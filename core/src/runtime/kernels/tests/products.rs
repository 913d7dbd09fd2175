//! Products of rows with panels.

use super::*;

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
    stored: Precision,
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
    stored: Precision::F32,
};

/// Computes a product of integers both ways.
fn check_product(kernels: Kernels, precision: Precision, case: Case, random: &mut Random) {
    let what = std::format!("{} {precision:?} {case:?}", kernels.name());
    let Case { rows, taps, k, .. } = case;
    let n = case.vectors * kernels.0.lanes;
    let per_word = kernels.per_word(precision);
    let int8 = precision == Precision::Int8;

    // A row is longer than what is multiplied, and begins where a word does.
    let ld = (taps.iter().max().unwrap() + k + 5).next_multiple_of(4);
    let ((low, high), greatest) = match precision {
        Precision::Int8 => ((0, 255), 127),
        // 32 products may be summed in f16, which is exact up to 2048.
        Precision::F16 => ((-8, 8), 8),
        _ => ((-100, 100), 100),
    };
    let a = random.integers(rows * ld, low, high);
    let b = random.integers(taps.len() * k * n, -greatest, greatest);
    let offset = kernels.int8_offset() as f32;
    let words = if int8 {
        pack(kernels, precision, &a.iter().map(|v| v - offset).collect::<Vec<_>>())
    } else {
        pack(kernels, precision, &a)
    };
    let powers = [0.25, 0.5, 1.0, 2.0];
    let zero = random.integers(rows, 0, 255);
    let stored_zero: Vec<f32> = zero.iter().map(|z| z - offset).collect();
    let row_scale: Vec<f32> = (0..rows).map(|i| powers[i % 4]).collect();
    let column_scale: Vec<f32> = (0..n).map(|i| powers[i % 3]).collect();
    let weights = if int8 {
        Weights::int8(kernels, taps.len() * k, |i| b[i] as i8, column_scale.clone())
    } else {
        Weights::pack(kernels, precision, [taps.len() * k, n], |i| b[i])
    };
    assert_eq!(weights.precision(), precision);

    let bias = random.integers(n, -1000, 1000);
    let row_factor: Vec<f32> = (0..rows).map(|i| powers[(i + 1) % 4]).collect();
    let ld_residual = n + 3;
    let residual = random.integers(rows * ld_residual, -1000, 1000);

    let n_words = kernels.words(case.stored, n);
    let ldo = n_words + 2;
    let mut out = blank(rows * ldo);
    let mut output = Output::new(&mut out, ldo).precision(case.stored);
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
        Matrix::words(precision, &words, ld / per_word, rows, k_words)
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
        for precision in PRECISIONS {
            let random = &mut Random(1);
            let per_word = kernels.per_word(precision);
            for rows in (1..=13).chain([49, 66]) {
                check_product(kernels, precision, Case { rows, ..CASE }, random);
            }
            for vectors in 1..=5 {
                check_product(kernels, precision, Case { vectors, ..CASE }, random);
            }
            for k in [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 98] {
                check_product(kernels, precision, Case { k, rows: 3, vectors: 2, ..CASE }, random);
                check_product(kernels, precision, Case { k, rows: 12, vectors: 2, ..CASE }, random);
            }
            // Runs that overlap, follow each other and go backwards; of one word, and longer.
            for k in [per_word, 4, 8, 20, 28] {
                for taps in [&[0, 4, 8][..], &[8], &[24, 0, 12], &[0, 16, 32, 48, 64, 80, 96, 112, 128]] {
                    check_product(kernels, precision, Case { k, taps, rows: 9, ..CASE }, random);
                }
            }
            // Everything that may happen to a sum.
            for (bits, stored) in (0..16).flat_map(|bits| FLOATS.map(|stored| (bits, stored))) {
                let [bias, row_factor, residual, relu] = std::array::from_fn(|i| bits >> i & 1 == 1);
                let case = Case { bias, row_factor, residual, relu, stored, rows: 5, ..CASE };
                check_product(kernels, precision, case, random);
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
                let words = pack(kernels, Precision::Int8, &vec![stored; k]);
                let zero = [-kernels.int8_offset() as f32];
                let weights = Weights::int8(kernels, k, |_| weight, vec![1.0; n]);
                let mut out = blank(n);
                let matrix = Matrix::int8(&words, words.len(), 1, words.len(), &[1.0], &zero);
                kernels.product(&matrix, &weights.panels(), Output::new(&mut out, n));
                let expected = (value * i32::from(weight) * k as i32) as f32;
                assert_eq!(out[..], vec![expected; n], "{} {value} {weight}", kernels.name());
            }
        }
    });
}

/// Products of numbers that no precision holds exactly.
#[test]
fn products_of_floats_are_as_exact_as_their_format() {
    let (rows, k, n) = (11, 192, 96);
    let random = &mut Random(2);
    let (src, b) = (random.floats(rows * k, -1.0, 2.0), random.floats(k * n, -0.2, 0.2));
    every(|kernels| {
        for precision in PRECISIONS {
            for activation in [Activation::None, Activation::Gelu] {
                let what = std::format!("{} {precision:?} {activation:?}", kernels.name());
                let (mut values, mut scale, mut zero) = (blank(rows * k), vec![0.0; rows], vec![0.0; rows]);
                let mut words = Words { values: &mut values, scale: &mut scale, zero: &mut zero };
                kernels.rows(precision, &src, k, (rows, k), Prepare::Nothing, &mut words, 0);
                let weights = Weights::pack(kernels, precision, [k, n], |i| b[i]);
                let mut out = blank(rows * n);
                let output = Output::new(&mut out, n).activation(activation);
                kernels.product(&words.matrix(kernels, precision, rows, k), &weights.panels(), output);

                for row in 0..rows {
                    for column in 0..n {
                        let (mut sum, mut size) = (0.0, 0.0);
                        let step = |v: f64, greatest: f64| match precision {
                            Precision::Int8 => greatest / 2.0,
                            _ => v.abs() * epsilon(precision),
                        };
                        let (mut variance, mut run) = (0.0, 0.0);
                        for i in 0..k {
                            let (a, b) = (f64::from(src[row * k + i]), f64::from(b[i * n + column]));
                            sum += a * b;
                            size += (a * b).abs();
                            let (of_a, of_b) = (step(a, 3.0 / 255.0), step(b, 0.2 / 127.0));
                            variance += ((a * of_b).powi(2) + (b * of_a).powi(2)) / 3.0;
                            if precision == Precision::F16 {
                                // Sums of 32 products may be of this precision too.
                                run = if i % 32 == 0 { 0.0 } else { run } + a * b;
                                variance += (run * epsilon(precision)).powi(2) / 3.0;
                            }
                        }
                        let expected = if activation == Activation::Gelu { gelu(sum) } else { sum };
                        let of_gelu = if precision == Precision::F32 { 2e-6 } else { 1e-4 };
                        // What the values lose to their precision, as chance has it; what the sum loses; the activation.
                        let tolerance = 6.0 * variance.sqrt() + 1e-6 * size + of_gelu;
                        let difference = (f64::from(out[row * n + column]) - expected).abs();
                        assert!(difference < tolerance, "{what}: {row}, {column}: {difference:e} of {tolerance:e}");
                    }
                }
            }
        }
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
                kernels.rows(Precision::F16, &a, k, (rows, k), Prepare::Nothing, &mut words, 0);
                let weights = Weights::pack(kernels, Precision::F16, [k, n], |i| b[i]);
                let mut out = blank(rows * n);
                let words = words.matrix(kernels, Precision::F16, rows, k);
                kernels.product(&words, &weights.panels(), Output::new(&mut out, n));
                let expected = round(Precision::F16, number) * b[at * n];
                assert_eq!(out[..], vec![expected; rows * n], "{} {i} at {at}", kernels.name());
            }
        }
    });
}
