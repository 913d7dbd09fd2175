//! What happens to rows between the products.

use super::*;

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
                for precision in PRECISIONS {
                    let what = std::format!("{} {precision:?} {n} {prepare:?}", kernels.name());
                    let ld_words = kernels.words(precision, n);
                    let mut values = blank((first + rows + 1) * ld_words);
                    let (mut scale, mut zero) = (vec![BLANK; first + rows + 1], vec![BLANK; first + rows + 1]);
                    let mut words = Words { values: &mut values, scale: &mut scale, zero: &mut zero };
                    kernels.rows(precision, &src, ld, (rows, n), prepare, &mut words, first);

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
                        let held = unpack(kernels, precision, row);
                        // What the calculation in f32 may lose, besides what the precision loses.
                        let lost = match (prepare, precision) {
                            (Prepare::Nothing, _) => 0.0,
                            (Prepare::NormGelu(_), Precision::Bf16 | Precision::F16 | Precision::Int8) => 1e-4,
                            _ => 3e-6,
                        };
                        match precision {
                            Precision::F32 => assert_near(&held, &expected, |_| lost, &what),
                            Precision::Bf16 | Precision::F16 => {
                                let loses = 1.01 * epsilon(precision);
                                assert_near(&held, &expected, |e| lost + e.abs() * loses + 3e-8, &what);
                            }
                            Precision::Int8 => {
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
        kernels.rows_with_scale(Precision::Bf16, &src, 16, (1.0, 0.0), &mut words);
        let held: Vec<u32> = unpack(kernels, Precision::Bf16, &words).iter().map(|v| v.to_bits()).collect();
        let expected: Vec<u32> = src.iter().map(|&v| bf16::from_f32(v).to_f32().to_bits()).collect();
        assert_eq!(held, expected, "{}", kernels.name());

        let mut words = blank(16);
        kernels.rows_with_scale(Precision::F16, halves.as_flattened(), 32, (1.0, 0.0), &mut words);
        let held: Vec<u32> = unpack(kernels, Precision::F16, &words).iter().map(|v| v.to_bits()).collect();
        let expected: Vec<u32> = halves.as_flattened().iter().map(|&v| round(Precision::F16, v).to_bits()).collect();
        assert_eq!(held, expected, "{}", kernels.name());

        let mut words = blank(kernels.words(Precision::Int8, 32));
        kernels.rows_with_scale(Precision::Int8, &steps, 32, (1.0, 0.0), &mut words);
        let expected: Vec<f32> = steps.iter().map(|v| v.round_ties_even() - kernels.int8_offset() as f32).collect();
        assert_eq!(unpack(kernels, Precision::Int8, &words), expected, "{}", kernels.name());
    });
}

#[test]
fn what_is_no_number_stays_none() {
    let n = 64;
    every(|kernels| {
        for precision in [Precision::Bf16, Precision::F16] {
            for at in [0, 1, 17, 63] {
                let mut src = vec![1.0; n];
                src[at] = f32::NAN;
                let mut words = blank(n / 2);
                kernels.rows_with_scale(precision, &src, n, (1.0, 0.0), &mut words);
                let held = unpack(kernels, precision, &words);
                assert!(held.iter().enumerate().all(|(i, v)| v.is_nan() == (i == at)), "{} {at}", kernels.name());
                let columns = 2 * kernels.0.lanes;
                let weights = Weights::pack(kernels, precision, [n, columns], |_| 0.5);
                let mut out = blank(columns);
                let matrix = Matrix::words(precision, &words, n / 2, 1, n / 2);
                kernels.product(&matrix, &weights.panels(), Output::new(&mut out, columns));
                assert!(out.iter().all(|v| v.is_nan()), "{} {precision:?} {at}", kernels.name());
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
        let mut words = blank(3 * kernels.words(Precision::Int8, n) + 1);
        kernels.rows_with_scale(Precision::Int8, &src, n, (scale, zero), &mut words);
        let (last, words) = words.split_last().unwrap();
        assert_eq!(last.to_bits(), BLANK.to_bits());
        let held = unpack(kernels, Precision::Int8, words);
        let steps: Vec<f32> = held.iter().map(|v| v + kernels.int8_offset() as f32).collect();
        let expected: Vec<f64> =
            src.iter().map(|&v| (f64::from(v) / f64::from(scale) + f64::from(zero)).clamp(0.0, 255.0)).collect();
        assert_near(&steps, &expected, |_| 0.501, kernels.name());

        for precision in FLOATS {
            let mut words = blank(3 * kernels.words(precision, n));
            kernels.rows_with_scale(precision, &src, n, (scale, zero), &mut words);
            let expected: Vec<f32> = src.iter().map(|&v| round(precision, v)).collect();
            assert_eq!(unpack(kernels, precision, &words), expected);
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
        for precision in FLOATS {
            for keep in [false, true] {
                let what = std::format!("{} {precision:?}", kernels.name());
                let mut values = blank(4 * kernels.words(precision, n));
                let (mut sums, mut greatest, mut scores) = ([0.0; 4], [0.0; 4], scores.clone());
                let kept = keep.then_some(&mut greatest[..]);
                let matrix = kernels.softmax(precision, &mut scores, n, &mut values, &mut sums, kept);
                assert_eq!((matrix.rows, matrix.ld, matrix.words), (4, kernels.words(precision, n), matrix.ld));
                for (i, (row, words)) in rows.iter().zip(values.chunks(kernels.words(precision, n))).enumerate() {
                    // The scores lose 2e-6 of themselves at most when the greatest is taken from them.
                    let tolerance = 4e-6 + epsilon(precision);
                    let least = if precision == Precision::F16 { 3e-8 } else { 2e-38 };
                    let e = unpack(kernels, precision, words);
                    assert_near(&e, &row.2, |e| e * tolerance + least, &what);
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
            for precision in FLOATS {
                let mut values = blank(3 * kernels.words(precision, n));
                kernels.softmax_of_heads(precision, &mut scores.clone(), n, &mut values);
                let tolerance = 4e-6 + epsilon(precision);
                let what = std::format!("{} {precision:?} {tokens}", kernels.name());
                assert_near(&unpack(kernels, precision, &values), &expected, |e| e * tolerance + 3e-8, &what);
            }
        });
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
#[should_panic(expected = "transposition")]
fn rows_whose_distance_wraps_are_refused() {
    // Two distances of half of all memory are none at all where sums wrap.
    Kernels::detect().transpose(&[0.0; 8], usize::MAX / 2 + 1, (3, 1), &mut [0.0; 3], 3);
}
