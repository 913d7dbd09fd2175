use proptest::prelude::*;
use umedsam::mask::{Calipers, Connectivity, Contours, Diameters, Spacing};

use crate::naive;
use crate::shapes::{drawn, labels, picture};

fn measured(mask: &[u8], width: usize, [sx, sy]: [f64; 2]) -> Vec<Diameters> {
    let mut contours = Contours::new();
    contours.find(mask, width, mask.len() / width, Connectivity::All).unwrap();
    let (mut calipers, spacing) = (Calipers::new(), Spacing::new(sx, sy, 1.0).unwrap());
    contours.polygons().map(|p| calipers.measure(p.outer(), &spacing).unwrap().unwrap()).collect()
}

fn lengths(lines: &[&str], spacing: [f64; 2]) -> (f64, f64) {
    let (mask, size) = picture(lines);
    let found = measured(&mask, size.width, spacing);
    assert_eq!(found.len(), 1);
    // What is said of the ends is what is said of the length.
    for d in [found[0].longest, found[0].perpendicular] {
        let length = ((d.to[0] - d.from[0]) * spacing[0]).hypot((d.to[1] - d.from[1]) * spacing[1]);
        assert!((length - d.length).abs() < 1e-9 * length, "{d:?}");
    }
    let [a, b] = [found[0].longest, found[0].perpendicular]
        .map(|d| [(d.to[0] - d.from[0]) * spacing[0], (d.to[1] - d.from[1]) * spacing[1]]);
    assert!((a[0] * b[0] + a[1] * b[1]).abs() < 1e-9 * a[0].hypot(a[1]).powi(2), "a right angle");
    (found[0].longest.length, found[0].perpendicular.length)
}

fn near(found: (f64, f64), expected: (f64, f64)) {
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-12 * b;
    assert!(close(found.0, expected.0) && close(found.1, expected.1), "{found:?}, expected {expected:?}");
}

#[test]
fn rectangles_have_their_diagonal_and_the_line_across_it() {
    let root = 2.0f64.sqrt();
    near(lengths(&["1"], [1.0, 1.0]), (root, root));
    near(lengths(&["1"], [0.3, 0.4]), (0.5, 0.3 * 0.5 / 0.4));
    // Between the long sides, at a right angle to the diagonal.
    near(lengths(&["1111", "1111", "1111"], [1.0, 1.0]), (5.0, 3.0 * 5.0 / 4.0));
    near(lengths(&["1111", "1111", "1111"], [2.0, 1.0]), (73.0f64.sqrt(), 3.0 * 73.0f64.sqrt() / 8.0));
    near(lengths(&["1111111111"], [1.0, 1.0]), (101.0f64.sqrt(), 101.0f64.sqrt() / 10.0));
}

#[test]
fn an_l_is_measured_between_its_ends() {
    // From the tip of one leg to that of the other, outside the shape; lines across it cut one leg only.
    near(lengths(&["1....", "1....", "1....", "1....", "11111"], [1.0, 1.0]), (50.0f64.sqrt(), 2.0f64.sqrt()));
}

#[test]
fn a_disc_has_its_diameter_both_ways() {
    for radius in [5.0, 12.5, 40.0] {
        let side = 2 * (radius as usize + 2);
        let centre = side as f64 / 2.0;
        let disc = drawn(side, side, |x, y| (x - centre).hypot(y - centre) <= radius);
        for d in measured(&disc, side, [0.7, 0.7]) {
            // Centres are within the radius, corners at most half a pixel's diagonal beyond.
            let (low, high) = (0.7 * (2.0 * radius - 1.0), 0.7 * (2.0 * radius + 2.0f64.sqrt()));
            for length in [d.longest.length, d.perpendicular.length] {
                assert!((low..=high).contains(&length), "radius {radius}: {length}, {low} to {high}");
            }
        }
    }
}

#[test]
fn an_ellipse_of_oblong_pixels_has_its_axes() {
    // 60 by 20 mm, turned by 30 degrees, in pixels of 0.5 by 1.25 mm.
    let spacing = [0.5, 1.25];
    let (width, height) = (140, 40);
    let turned = drawn(width, height, |x, y| {
        let (x, y) = ((x - 70.0) * spacing[0], (y - 20.0) * spacing[1]);
        let (sin, cos) = 30.0f64.to_radians().sin_cos();
        ((x * cos + y * sin) / 30.0).powi(2) + ((y * cos - x * sin) / 10.0).powi(2) <= 1.0
    });
    let found = measured(&turned, width, spacing);
    let diagonal = spacing[0].hypot(spacing[1]);
    assert_eq!(found.len(), 1);
    assert!((found[0].longest.length - 60.0).abs() <= diagonal, "{found:?}");
    assert!((found[0].perpendicular.length - 20.0).abs() <= diagonal, "{found:?}");
    let [dx, dy] = [0, 1].map(|i| (found[0].longest.to[i] - found[0].longest.from[i]) * spacing[i]);
    assert!(((dy / dx).atan().to_degrees() - 30.0).abs() < 3.0, "{found:?}");
}

#[test]
fn no_outline_has_no_diameter() {
    assert_eq!(Calipers::new().measure(&[], &Spacing::PIXELS).unwrap(), None);
    for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Spacing::new(1.0, wrong, 1.0).is_err());
    }
    let error = Spacing::new(1.0, 1.0, -0.5).unwrap_err().to_string();
    assert_eq!(error, "spacing along z is -0.5; it must be finite and above 0");
}

proptest! {
    #[test]
    fn diameters_are_those_of_all_pixels((labels, size) in labels([1, 8, 8]), sx in 1..5u8, sy in 1..5u8) {
        let spacing = [f64::from(sx) * 0.3, f64::from(sy) * 0.3];
        let numbers = naive::components(&labels, size, Connectivity::All, |l| l != 0);
        for (found, number) in measured(&labels, size.width, spacing).iter().zip(1..) {
            let mask: Vec<u8> = numbers.iter().map(|n| (*n == number).into()).collect();
            let (longest, across) = naive::diameters(&mask, size.width, spacing);
            prop_assert!((found.longest.length - longest).abs() < 1e-9 * longest, "{} {}", found.longest.length, longest);
            prop_assert!((found.perpendicular.length - across).abs() < 1e-7 * longest, "{:?} {}", found, across);
        }
    }

    #[test]
    fn flips_and_turns_change_no_diameter((labels, size) in labels([1, 9, 9]), sx in 1..5u8, sy in 1..5u8) {
        let (w, h, spacing) = (size.width, size.height, [f64::from(sx) * 0.3, f64::from(sy) * 0.3]);
        let lengths = |labels: &[u8], width: usize, spacing: [f64; 2]| {
            let found = measured(labels, width, spacing);
            let sorted = |length: fn(&Diameters) -> f64| {
                let mut lengths: Vec<f64> = found.iter().map(length).collect();
                lengths.sort_by(f64::total_cmp);
                lengths
            };
            [sorted(|d| d.longest.length), sorted(|d| d.perpendicular.length)].concat()
        };
        let place = |f: &dyn Fn(usize, usize) -> usize, width: usize| -> Vec<u8> {
            (0..w * h).map(|i| labels[f(i % width, i / width)]).collect()
        };
        let expected = lengths(&labels, w, spacing);
        let turned = [spacing[1], spacing[0]];
        for found in [
            lengths(&place(&|x, y| y * w + w - 1 - x, w), w, spacing),
            lengths(&place(&|x, y| (h - 1 - y) * w + x, w), w, spacing),
            lengths(&place(&|x, y| x * w + y, h), h, turned),
            lengths(&place(&|x, y| (h - 1 - x) * w + y, h), h, turned),
        ] {
            prop_assert_eq!(found.len(), expected.len());
            for (a, b) in found.iter().zip(&expected) {
                prop_assert!((a - b).abs() < 1e-7, "{} {}", a, b);
            }
        }
    }
}
