//! Where an object's way through a volume begins.

use core::ops::ControlFlow;

use umedsam::volume::{Propagation, SliceNetwork, Start};
use umedsam::{Error, Frame, MaskLogits, ModelBox, VolumeSegmentation, VolumeSize, VoxelBox};

const SIZE: VolumeSize = VolumeSize { depth: 40, height: 32, width: 32 };

/// A network that fills the box it is asked for, and is as sure of it as is said of the slice.
struct Fake {
    sure: fn(usize) -> f32,
    encoded: Vec<usize>,
    /// Boxes that it passes over.
    skipped: usize,
}

impl SliceNetwork for Fake {
    type Embedding = usize;
    type Error = Error;

    fn encode(&mut self, z: usize, _: Option<usize>) -> Result<usize, Error> {
        self.encoded.push(z);
        Ok(z)
    }

    fn decode(
        &mut self,
        &z: &usize,
        boxes: &[ModelBox],
        mut take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Error> {
        for (i, b) in boxes.iter().enumerate().skip(self.skipped) {
            let [x0, y0, x1, y1] = b.to_array().map(|v| v as usize);
            let inside = |i: usize| (x0..x1).contains(&(i % 256)) && (y0..y1).contains(&(i / 256));
            let logits: Vec<f32> = (0..256 * 256).map(|i| if inside(i) { 1.0 } else { -1.0 }).collect();
            take(i, MaskLogits::new(&logits, Frame::new(32, 32).unwrap()), (self.sure)(z));
        }
        Ok(())
    }
}

/// What is found, the slices encoded, and the progress that was told.
fn run(
    boxes: &[VoxelBox],
    start: Start,
    kept: usize,
    sure: fn(usize) -> f32,
) -> (VolumeSegmentation, Vec<usize>, Vec<(usize, usize)>) {
    let mut network = Fake { sure, encoded: Vec::new(), skipped: 0 };
    let mut told = Vec::new();
    let found = Propagation::new(boxes, SIZE).unwrap().run(&mut network, start, kept, |done, total| {
        told.push((done, total));
        ControlFlow::Continue(())
    });
    (found.unwrap(), network.encoded, told)
}

#[test]
fn the_surest_of_five_slices_is_the_start_and_no_slice_is_encoded_twice() {
    let boxes = [
        VoxelBox::new(4.0, 4.0, 10.0, 20.0, 20.0, 30.0),
        VoxelBox::new(9.0, 9.0, 3.0, 25.0, 25.0, 4.0),
        VoxelBox::new(1.0, 1.0, 7.0, 9.0, 9.0, 7.0),
    ];
    // Of the first box slices 16, 18, 20, 22 and 24 are tried: 29 is not, for all its certainty. The second has two, the
    // third one.
    let sure = |z: usize| if z == 29 { 0.99 } else { [0.2, 0.9][usize::from(matches!(z, 4 | 22))] };
    let (found, encoded, told) = run(&boxes, Start::Surest, 16, sure);
    assert_eq!(found.starts, [22, 4, 7]);
    let mut once = encoded.clone();
    once.sort_unstable();
    assert_eq!(once, [3, 4, 7].into_iter().chain(10..=30).collect::<Vec<_>>());
    assert_eq!(told.last(), Some(&(7 + 24, 7 + 24)), "seven are tried, and each counts once more");
    assert!(told.iter().zip(1..).all(|((done, total), n)| *done == n && total >= done), "{told:?}");
    // Without room they are encoded again, and nothing else changes.
    let (again, twice, _) = run(&boxes, Start::Surest, 0, sure);
    assert!(again.labels == found.labels && twice.len() == encoded.len() + 7);
    // Of equals the middle is taken.
    let (even, ..) = run(&boxes, Start::Surest, 16, |_| 0.5);
    let (middle, encoded, told) = run(&boxes, Start::Middle, 16, sure);
    assert_eq!((&middle.starts, &even.starts), (&vec![20, 3, 7], &vec![20, 3, 7]));
    assert!(even.labels == middle.labels && encoded.len() == 24 && told.last() == Some(&(24, 24)));
}

#[test]
fn a_tried_box_that_is_not_answered_is_an_error() {
    let boxes = [VoxelBox::new(4.0, 4.0, 10.0, 20.0, 20.0, 30.0)];
    let mut network = Fake { sure: |_| 0.5, encoded: Vec::new(), skipped: 1 };
    let way = Propagation::new(&boxes, SIZE).unwrap();
    let error = way.run(&mut network, Start::Surest, 4, |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::NotSupplied { z: 16, object: 0 }), "{error}");
    let mut network = Fake { skipped: 0, ..network };
    let stop = |done, _| if done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = Propagation::new(&boxes, SIZE).unwrap().run(&mut network, Start::Surest, 4, stop).unwrap_err();
    assert!(matches!(error, Error::Cancelled { done: 3, total: 26 }), "{error}");
}
