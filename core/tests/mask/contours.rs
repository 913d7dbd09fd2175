use proptest::prelude::*;
use umedsam::mask::{Connectivity, Contours, Corner};
use umedsam::{Frame, MaskLogits};

use crate::naive;
use crate::shapes::{labels, picture};

/// Label, outer line and holes of each polygon.
type Found = Vec<(u16, Vec<(u32, u32)>, Vec<Vec<(u32, u32)>>)>;

fn points(line: &[Corner]) -> Vec<(u32, u32)> {
    line.iter().map(|c| (c.x, c.y)).collect()
}

fn outlined(lines: &[&str], connectivity: Connectivity) -> Found {
    let (labels, size) = picture(lines);
    let mut contours = Contours::new();
    contours.find(&labels, size.width, size.height, connectivity).unwrap();
    contours.polygons().map(|p| (p.label(), points(p.outer()), p.holes().map(points).collect())).collect()
}

#[test]
fn shapes_have_their_corners() {
    let all = Connectivity::All;
    assert_eq!(outlined(&["...", "..."], all), []);
    assert_eq!(outlined(&["1"], all), [(1, vec![(0, 0), (1, 0), (1, 1), (0, 1)], vec![])]);
    assert_eq!(outlined(&["....", ".333", ".333"], all), [(3, vec![(1, 1), (4, 1), (4, 3), (1, 3)], vec![])]);
    let l = vec![(0, 0), (1, 0), (1, 2), (3, 2), (3, 3), (0, 3)];
    assert_eq!(outlined(&["1..", "1..", "111"], all), [(1, l, vec![])]);
    let ring = vec![(0, 0), (3, 0), (3, 3), (0, 3)];
    let hole = vec![(1, 2), (2, 2), (2, 1), (1, 1)];
    assert_eq!(outlined(&["111", "1.1", "111"], all), [(1, ring.clone(), vec![hole.clone()])]);
    // Another object in the hole is a polygon of its own with the same line, the other way round.
    let island = vec![(1, 1), (2, 1), (2, 2), (1, 2)];
    assert_eq!(outlined(&["111", "121", "111"], all), [(1, ring, vec![hole]), (2, island, vec![])]);
}

#[test]
fn corners_join_pixels_or_divide_them() {
    let twice = vec![(0, 0), (1, 0), (1, 1), (2, 1), (2, 2), (1, 2), (1, 1), (0, 1)];
    assert_eq!(outlined(&["1.", ".1"], Connectivity::All), [(1, twice, vec![])]);
    let first = vec![(0, 0), (1, 0), (1, 1), (0, 1)];
    let second = vec![(1, 1), (2, 1), (2, 2), (1, 2)];
    assert_eq!(outlined(&["1.", ".1"], Connectivity::Faces), [(1, first, vec![]), (1, second, vec![])]);
    // Of background the other way round: one hole with a corner passed twice, or two.
    let two = ["1111", "1.11", "11.1", "1111"];
    let holes = |connectivity| outlined(&two, connectivity)[0].2.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(holes(Connectivity::Faces), [8]);
    assert_eq!(holes(Connectivity::All), [4, 4]);
}

#[test]
fn logits_have_the_contour_of_their_mask() {
    let values: Vec<f32> =
        (0..256 * 256).map(|i| 40.0 - (i as f32 / 256.0 - 90.0).hypot(i as f32 % 256.0 - 70.0)).collect();
    let logits = MaskLogits::new(&values, Frame::new(300, 410).unwrap());
    let mut mask = vec![0u8; 300 * 410];
    let area = logits.mask_into(&mut mask);
    let mut contours = Contours::new();
    contours.find(&mask, 300, 410, Connectivity::All).unwrap();
    assert_eq!(contours.polygons().map(|p| p.area()).collect::<Vec<_>>(), [area as i64]);
}

/// The pixels within closed lines, by the edges to their left.
fn painted<'a>(lines: impl Iterator<Item = &'a [Corner]>, width: usize, height: usize) -> Vec<bool> {
    let mut crossed = vec![false; width * height];
    for line in lines {
        for (a, b) in line.iter().zip(line.iter().cycle().skip(1)) {
            for y in a.y.min(b.y)..a.y.max(b.y) {
                (a.x as usize..width).for_each(|x| crossed[y as usize * width + x] ^= true);
            }
        }
    }
    crossed
}

proptest! {
    #[test]
    fn polygons_are_the_components((labels, size) in labels([1, 12, 12]), all: bool) {
        let connectivity = if all { Connectivity::All } else { Connectivity::Faces };
        let numbers = naive::components(&labels, size, connectivity, |l| l != 0);
        let mut contours = Contours::new();
        contours.find(&labels, size.width, size.height, connectivity).unwrap();
        prop_assert_eq!(contours.polygons().count(), numbers.iter().copied().max().unwrap_or(0) as usize);
        for (polygon, number) in contours.polygons().zip(1..) {
            let pixels: Vec<bool> = numbers.iter().map(|n| *n == number).collect();
            let lines = || [polygon.outer()].into_iter().chain(polygon.holes());
            prop_assert_eq!(painted(lines(), size.width, size.height), pixels.clone());
            prop_assert_eq!(polygon.area(), pixels.iter().filter(|p| **p).count() as i64);
            for line in lines() {
                let turns = line.iter().zip(line.iter().cycle().skip(1)).zip(line.iter().cycle().skip(2));
                for ((a, b), c) in turns {
                    prop_assert!((a.x == b.x) != (a.y == b.y) && (a.x == b.x) == (b.y == c.y), "{:?}", line);
                }
            }
        }
    }
}
