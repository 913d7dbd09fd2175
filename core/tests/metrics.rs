//! Metrics against surface-distance (golden values: tests/golden/metrics.py) and against themselves.

use proptest::prelude::*;
use umedsam::metrics::{Convention, contour_dice, score_case, surface_dice};

const GOLDEN: &str = include_str!("data/metrics.txt");

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(field: &str) -> Vec<T> {
    field.split(',').map(|v| v.parse().unwrap()).collect()
}

fn blobs(field: &str) -> Vec<Vec<i64>> {
    if field == "-" { Vec::new() } else { field.split(';').map(numbers).collect() }
}

fn inside(position: &[i64], blob: &[i64]) -> bool {
    let (centre, radii) = blob.split_at(position.len());
    let total: i64 = radii.iter().product();
    let sum: i64 = (0..position.len()).map(|a| ((position[a] - centre[a]) * (total / radii[a])).pow(2)).sum();
    sum <= total * total
}

fn positions(shape: &[usize]) -> Vec<Vec<i64>> {
    let position = |mut i: usize| {
        let mut p = vec![0; shape.len()];
        for axis in (0..shape.len()).rev() {
            p[axis] = (i % shape[axis]) as i64;
            i /= shape[axis];
        }
        p
    };
    (0..shape.iter().product()).map(position).collect()
}

fn mask(shape: &[usize], blobs: &[Vec<i64>], percent: u64) -> Vec<bool> {
    let noisy = |i: u64| !blobs.is_empty() && ((i * 2_654_435_761 % (1 << 32)) >> 7) % 100 < percent;
    let hit = |(i, p): (u64, Vec<i64>)| blobs.iter().any(|b| inside(&p, b)) != noisy(i);
    (0..).zip(positions(shape)).map(hit).collect()
}

fn labels(shape: &[usize], blobs: &[Vec<i64>]) -> Vec<u16> {
    let label = |p: Vec<i64>| blobs.iter().rposition(|b| inside(&p, b)).map_or(0, |i| i as u16 + 1);
    positions(shape).into_iter().map(label).collect()
}

fn assert_close(found: Option<f64>, expected: f64, line: &str) {
    match found {
        Some(v) => assert!((v - expected).abs() <= 1e-12, "{v} instead of {expected}: {line}"),
        None => assert!(expected.is_nan(), "nothing instead of {expected}: {line}"),
    }
}

#[test]
fn scores_equal_surface_distance() {
    for line in GOLDEN.lines() {
        let fields: Vec<&str> = line.split(' ').collect();
        let shape: Vec<usize> = numbers(fields[1]);
        let spacing: Vec<f64> = numbers(fields[2]);
        let percent = fields[3].parse().unwrap();
        let (gt, pred) = (blobs(fields[4]), blobs(fields[5]));
        let values: Vec<f64> = fields[6..].iter().map(|v| v.parse().unwrap()).collect();
        match fields[0] {
            "surface" => {
                let (gt, pred) = (mask(&shape, &gt, percent), mask(&shape, &pred, percent));
                let shape = shape.try_into().unwrap();
                let found = surface_dice(&gt, &pred, shape, spacing.try_into().unwrap(), values[0]);
                assert_close(found, values[1], line);
            }
            "contour" => {
                let (gt, pred) = (mask(&shape, &gt, percent), mask(&shape, &pred, percent));
                let shape = shape.try_into().unwrap();
                let found = contour_dice(&gt, &pred, shape, spacing.try_into().unwrap(), values[0]);
                assert_close(found, values[1], line);
            }
            _ => {
                let (gt, pred) = (labels(&shape, &gt), labels(&shape, &pred));
                let spacing = Some(spacing.try_into().unwrap());
                let score = |c| score_case(&gt, &pred, &shape, spacing, c);
                let found = [score(Convention::Upstream), score(Convention::Boundary)].concat();
                assert_eq!(2 * found.len(), values.len(), "labels: {line}");
                for (score, pair) in found.iter().zip(values.chunks(2)) {
                    assert_close(score.dsc, pair[0], line);
                    assert_close(score.nsd, pair[1], line);
                }
            }
        }
    }
}

#[test]
fn an_object_that_neither_map_holds_has_no_score() {
    let gt = [0, 2, 2, 0];
    let scores = score_case(&gt, &gt, &[2, 2], None, Convention::Boundary);
    assert_eq!((scores[0].dsc, scores[0].nsd), (None, None));
    assert_eq!((scores[1].dsc, scores[1].nsd), (Some(1.0), Some(1.0)));
}

/// Noise of 4000 labels: the box around each of them is the image.
#[test]
fn scattered_labels_take_no_longer_than_whole_ones() {
    let (side, labels) = (1024, 4000);
    let noise = |seed: u64| -> Vec<u16> {
        let value = |i: u64| ((i + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) % (labels + 1);
        (0..side * side).map(|i| value(i) as u16).collect()
    };
    let (gt, pred) = (noise(1), noise(2));
    let start = std::time::Instant::now();
    let shape = [side as usize, side as usize];
    let scores = [Convention::Boundary, Convention::Upstream].map(|c| score_case(&gt, &pred, &shape, None, c));
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    for scores in scores {
        assert_eq!(scores.len(), labels as usize);
    }
}

proptest! {
    /// Part by part as in one piece, which `surface_dice` and `contour_dice` measure.
    #[test]
    fn parts_of_a_label_add_up(
        dots in proptest::collection::vec((0usize..40, 0usize..50, 0usize..60, any::<bool>()), 1..40),
        steps in [1u32..30, 1..30, 1..30],
    ) {
        let shape = [40, 50, 60];
        let mut maps = [vec![0u16; 40 * 50 * 60], vec![0; 40 * 50 * 60]];
        for (z, y, x, truth) in dots {
            maps[usize::from(truth)][(z * 50 + y) * 60 + x] = 1;
        }
        // A label of its own in the far corner: every map has a largest label.
        maps[1][0] = 2;
        let is = |map: &[u16]| -> Vec<bool> { map.iter().map(|&l| l == 1).collect() };
        let (gt, pred) = (is(&maps[1]), is(&maps[0]));
        let spacing = steps.map(|s| f64::from(s) * 0.1);
        let [z, y, x] = spacing;
        let found = score_case(&maps[1], &maps[0], &shape, Some([x, y, z]), Convention::Boundary)[0].nsd;
        let whole = surface_dice(&gt, &pred, shape, spacing, 2.0);
        prop_assert!((found.unwrap_or(-1.0) - whole.unwrap_or(-1.0)).abs() < 1e-12, "{found:?} {whole:?}");

        let plane = |map: &[u16]| map[..50 * 60].to_vec();
        let found = score_case(&plane(&maps[1]), &plane(&maps[0]), &shape[1..], None, Convention::Boundary)[0].nsd;
        let whole = contour_dice(&gt[..50 * 60], &pred[..50 * 60], [50, 60], [1.0; 2], 2.0);
        prop_assert!((found.unwrap_or(-1.0) - whole.unwrap_or(-1.0)).abs() < 1e-12, "{found:?} {whole:?}");
    }

    #[test]
    fn both_masks_are_treated_alike(a in proptest::collection::vec(any::<bool>(), 210), b in proptest::collection::vec(any::<bool>(), 210)) {
        let score = |a: &[bool], b: &[bool]| surface_dice(a, b, [5, 6, 7], [2.0, 0.5, 0.8], 1.0);
        let (ab, ba) = (score(&a, &b).unwrap(), score(&b, &a).unwrap());
        prop_assert!((ab - ba).abs() < 1e-12);
        prop_assert!((0.0..=1.0).contains(&ab));
        prop_assert_eq!(score(&a, &a), Some(1.0));
    }

    #[test]
    fn a_larger_tolerance_never_scores_less(a in proptest::collection::vec(any::<bool>(), 120), b in proptest::collection::vec(any::<bool>(), 120), t in 0.0..4.0f64) {
        let score = |t| contour_dice(&a, &b, [10, 12], [0.7, 1.1], t).unwrap();
        prop_assert!(score(t) <= score(t + 0.5));
    }

    #[test]
    fn distances_equal_brute_force(features in proptest::collection::vec(prop::bool::weighted(0.1), 180), probe in 0usize..180) {
        // Two single surfaces: the share within a tolerance just above and below the true distance decides.
        prop_assume!(features.iter().any(|&f| f));
        let shape = [4usize, 5, 9];
        let spacing = [1.7, 0.6, 1.1];
        let mut one = vec![false; 180];
        one[probe] = true;
        let corner = |i: usize| [i / 45, i / 9 % 5, i % 9];
        // Corners that a mask's surface touches.
        let touched = |mask: &[bool]| -> Vec<[usize; 3]> {
            let mut codes = std::collections::BTreeMap::new();
            for i in (0..180).filter(|&i| mask[i]) {
                for bit in 0..8usize {
                    let [z, y, x] = corner(i);
                    *codes.entry([z + (bit >> 2 & 1), y + (bit >> 1 & 1), x + (bit & 1)]).or_insert(0u32) |= 1 << bit;
                }
            }
            codes.into_iter().filter(|&(_, c)| c != 255).map(|(p, _)| p).collect()
        };
        let (a, b) = (touched(&one), touched(&features));
        let distance = |p: &[usize; 3], q: &[usize; 3]| {
            (0..3).map(|i| (p[i].abs_diff(q[i]) as f64 * spacing[i]).powi(2)).sum::<f64>().sqrt()
        };
        let nearest = |p: &[usize; 3], others: &[[usize; 3]]| others.iter().map(|q| distance(p, q)).fold(f64::INFINITY, f64::min);
        let farthest = a.iter().map(|p| nearest(p, &b)).chain(b.iter().map(|p| nearest(p, &a))).fold(0.0, f64::max);
        let score = |t| surface_dice(&one, &features, shape, spacing, t).unwrap();
        prop_assert_eq!(score(farthest + 1e-9), 1.0);
        if farthest > 1e-6 {
            prop_assert!(score(farthest - 1e-9) < 1.0);
        }
    }
}
