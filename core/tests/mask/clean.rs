use proptest::prelude::*;
use umedsam::mask::{CleanOptions, Cleaned, Cleaner, Components, Connectivity, Label};
use umedsam::{Error, VolumeSize};

use crate::naive;
use crate::shapes::{image, labels, picture, slices};

fn cleaned(before: &(Vec<u8>, VolumeSize), options: &CleanOptions) -> Vec<u8> {
    let mut after = before.0.clone();
    let counts = Cleaner::new().clean(&mut after, before.1, options).unwrap();
    let removed = before.0.iter().zip(&after).filter(|(b, a)| **b != 0 && **a == 0).count();
    let filled = before.0.iter().zip(&after).filter(|(b, a)| **b == 0 && **a != 0).count();
    assert!(counts.filled >= filled && counts.removed - removed == counts.filled - filled);
    after
}

#[test]
fn nothing_is_changed_unless_asked_for() {
    let before = picture(&["1.2", "...", "1.1"]);
    assert_eq!(cleaned(&before, &CleanOptions::new()), before.0);
    assert_eq!(cleaned(&before, &CleanOptions::new().with_min_size(1)), before.0);
}

#[test]
fn of_each_label_the_largest_component_is_kept() {
    let before = picture(&["11.22.", "...222", "1.1.2.", "1.11..", "1...22"]);
    // Of the two components of three pixels the first is kept.
    let after = picture(&["...22.", "...222", "1...2.", "1.....", "1....."]);
    assert_eq!(cleaned(&before, &CleanOptions::new().with_largest()), after.0);
    let faces = CleanOptions::new().with_largest().with_connectivity(Connectivity::Faces);
    assert_eq!(cleaned(&picture(&["1.", ".1"]), &faces), [1, 0, 0, 0]);
    assert_eq!(cleaned(&picture(&["1.", ".1"]), &CleanOptions::new().with_largest()), [1, 0, 0, 1]);
}

#[test]
fn small_components_are_removed_by_their_size_before_holes_are_filled() {
    let before = picture(&["11111.2", "1...1.2", "1.1.1..", "1...1.3", "11111.."]);
    let options = CleanOptions::new().with_min_size(2).with_holes_filled();
    assert_eq!(cleaned(&before, &options), picture(&["11111.2", "11111.2", "11111..", "11111..", "11111.."]).0);
    assert_eq!(cleaned(&before, &CleanOptions::new().with_min_size(17)), [0; 35]);
}

#[test]
fn a_hole_is_closed_and_of_one_object() {
    let fill = CleanOptions::new().with_holes_filled();
    // One reaches the border, one lies between two objects, one holds another object, two are closed by corners only.
    let open = ["1.1", "1.1", "111"];
    let between = ["1122", "1..2", "1122"];
    let nested = ["11111", "1...1", "1.2.1", "1...1", "11111"];
    let corner = ["111.", "1.1.", "11.1", "..11"];
    for (shape, connectivity, filled) in [
        (&open[..], Connectivity::All, 0),
        (&between[..], Connectivity::All, 0),
        (&nested[..], Connectivity::All, 0),
        (&corner[..], Connectivity::All, 2),
        (&corner[..], Connectivity::Faces, 0),
    ] {
        let (mut labels, size) = picture(shape);
        let found = Cleaner::new().clean(&mut labels, size, &fill.clone().with_connectivity(connectivity)).unwrap();
        assert_eq!((found.filled, found.removed), (filled, 0), "{shape:?} {connectivity:?}");
    }
}

#[test]
fn a_volume_is_closed_on_all_sides_and_an_image_within_itself() {
    let (wall, ring) = (["111", "111", "111"], ["111", "1.1", "111"]);
    let fill = CleanOptions::new().with_holes_filled();
    let count = |shape: &[&[&str]]| {
        let (mut labels, size) = slices(shape);
        Cleaner::new().clean(&mut labels, size, &fill).unwrap().filled
    };
    assert_eq!(count(&[&wall, &ring, &ring, &wall]), 2);
    assert_eq!(count(&[&ring, &ring, &wall]), 0);
    assert_eq!(count(&[&["...", "...", "..."], &ring, &["...", "...", "..."]]), 0);
    assert_eq!(count(&[&ring]), 1);
}

#[test]
fn masks_of_every_type_are_cleaned_alike() {
    fn check<T: Label + Default + std::fmt::Debug>(one: T) {
        let mut mask = [[one; 5]; 5].concat();
        mask[12] = T::default();
        mask[4] = T::default();
        let options = CleanOptions::new().with_largest().with_holes_filled();
        let Cleaned { filled, .. } = Cleaner::new().clean(&mut mask, image(5, 5), &options).unwrap();
        assert_eq!((filled, mask[12], mask[4]), (1, one, T::default()));
    }
    check(true);
    check(7u8);
    check(65_535u16);
}

#[test]
fn empty_masks_stay_empty_and_wrong_sizes_are_refused() {
    let options = CleanOptions::new().with_largest().with_min_size(9).with_holes_filled();
    let mut empty = vec![0u16; 12];
    assert_eq!(Cleaner::new().clean(&mut empty, image(4, 3), &options).unwrap(), Cleaned::default());
    let mut refuse = |size| Cleaner::new().clean(&mut empty, size, &options).unwrap_err();
    assert!(matches!(refuse(image(4, 4)), Error::BufferSize { expected: 16, actual: 12 }));
    assert!(matches!(refuse(image(0, 3)), Error::ImageSize { .. }));
    assert!(matches!(refuse(VolumeSize { depth: 0, ..image(4, 3) }), Error::VolumeDepth { depth: 0, .. }));
    let components = Components::new();
    assert!(matches!(components.number_into(&mut [0; 3]), Err(Error::BufferSize { expected: 0, actual: 3 })));
}

proptest! {
    #[test]
    fn components_are_those_of_a_flood((labels, size) in labels([4, 9, 40]), all: bool) {
        let connectivity = if all { Connectivity::All } else { Connectivity::Faces };
        let expected = naive::components(&labels, size, connectivity, |l| l != 0);
        let mut components = Components::new();
        components.find(&labels, size, connectivity).unwrap();
        let mut numbers = vec![9; labels.len()];
        components.number_into(&mut numbers).unwrap();
        prop_assert_eq!(&numbers, &expected);
        for (component, number) in components.found().iter().zip(1..) {
            prop_assert_eq!(component.voxels, expected.iter().filter(|n| **n == number).count());
        }
        prop_assert_eq!(components.found().len(), expected.iter().copied().max().unwrap_or(0) as usize);
    }

    #[test]
    fn filled_objects_are_those_of_a_flood_and_have_no_holes((labels, size) in labels([4, 9, 12]), all: bool) {
        let connectivity = if all { Connectivity::All } else { Connectivity::Faces };
        let options = CleanOptions::new().with_holes_filled().with_connectivity(connectivity);
        let mut filled = labels.clone();
        let mut cleaner = Cleaner::new();
        cleaner.clean(&mut filled, size, &options).unwrap();
        prop_assert_eq!(&filled, &naive::fill(&labels, size, connectivity));
        prop_assert_eq!(cleaner.clean(&mut filled, size, &options).unwrap(), Cleaned::default());
    }

    #[test]
    fn what_is_left_is_large_enough((labels, size) in labels([3, 8, 8]), min_size in 1..12usize, largest: bool) {
        let mut options = CleanOptions::new().with_min_size(min_size);
        options.largest = largest;
        let mut left = labels.clone();
        let removed = Cleaner::new().clean(&mut left, size, &options).unwrap().removed;
        prop_assert_eq!(removed, labels.iter().zip(&left).filter(|(a, b)| a != b).count());
        let mut expected = labels.clone();
        let numbers = naive::components(&labels, size, Connectivity::All, |l| l != 0);
        let sizes = |n: u32| numbers.iter().filter(|m| **m == n).count();
        for i in 0..labels.len() {
            let (label, number) = (labels[i], numbers[i]);
            let rivals = (0..labels.len()).filter(|&j| labels[j] == label && label != 0).map(|j| numbers[j]);
            let best = rivals.max_by_key(|&n| (sizes(n), std::cmp::Reverse(n)));
            if number > 0 && (sizes(number) < min_size || largest && best != Some(number)) {
                expected[i] = 0;
            }
        }
        prop_assert_eq!(left, expected);
    }
}
