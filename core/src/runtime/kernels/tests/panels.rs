//! Panels, convolutions, and matrices turned.

use super::*;

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
fn matrices_become_panels() {
    let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    every(|kernels| {
        for precision in FLOATS {
            for (k, n, columns) in [
                (1, 8, 8),
                (7, 16, 16),
                (8, 7, 7),
                (33, 48, 48),
                (16, 33, 33),
                (256, 20, 20),
                (32, 49, 64),
                (16, 3, 80),
            ] {
                // Miri takes a thousand times as long.
                if cfg!(miri) && k * columns > 600 {
                    continue;
                }
                let what = std::format!("{} {precision:?} {k}x{n} in {columns}", kernels.name());
                let mut values = Random(9).floats(k * columns, -3.0, 3.0);
                values.chunks_mut(columns).for_each(|row| row[n..].fill(0.0));
                let weights = Weights::pack(kernels, precision, [k, columns], |i| values[i]);
                let expected = weights.panels();
                let packing = Packing::new(precision, k, n).padded_to(columns);
                let ld = n + 3;
                let mut src = blank(k * ld);
                for (row, values) in src.chunks_mut(ld).zip(values.chunks(columns)) {
                    row[..n].copy_from_slice(&values[..n]);
                }
                let mut panels = blank(kernels.packed_words(packing));
                let packed = kernels.pack_rows(packing, &src, ld, &mut panels);
                assert_eq!((packed.words, packed.n), (expected.words, columns), "{what}");
                assert_eq!(bits(packed.values), bits(expected.values), "{what}: rows");
                if k.is_multiple_of(kernels.0.lanes) {
                    let ld = k + 5;
                    let mut src = blank(n * ld);
                    kernels.transpose(&values, columns, (k, n), &mut src, ld);
                    let mut panels = blank(kernels.packed_words(packing));
                    let packed = kernels.pack_columns(packing, &src, ld, &mut panels);
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
        for precision in PRECISIONS {
            let values: Vec<f32> = Random(10).integers(k * n, -127, 127);
            // The greatest of each column is 127, so that the steps of int8 are whole numbers.
            let values: Vec<f32> = values.iter().enumerate().map(|(i, &v)| if i < n { 127.0 } else { v }).collect();
            let weights = Weights::pack(kernels, precision, [k, n], |i| values[i]);
            let panels = weights.panels();
            let (width, per_word) = (kernels.panel(), kernels.per_word(precision));
            let words = k.div_ceil(per_word);
            assert_eq!(panels.values.len(), words * n.next_multiple_of(width));
            for (i, &word) in panels.values.iter().enumerate() {
                let (panel, row, lane) = (i / (words * width), i / width % words * per_word, i % width);
                let column = panel * width + lane;
                // Weights are signed, whatever is taken from the values that they are multiplied with.
                let held = match precision {
                    Precision::Int8 if per_word == 4 => {
                        word.to_bits().to_le_bytes().map(|b| f32::from(b.cast_signed())).to_vec()
                    }
                    _ => unpack(kernels, precision, &[word]),
                };
                for (j, value) in held.into_iter().enumerate() {
                    let inside = row + j < k && column < n;
                    let expected = if inside { values[(row + j) * n + column] } else { 0.0 };
                    assert_eq!(value, expected, "{} {precision:?} {} {column}", kernels.name(), row + j);
                }
            }
            for column in 0..if precision == Precision::Int8 { n } else { 0 } {
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
