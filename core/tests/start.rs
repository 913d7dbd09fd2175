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
    /// Cells by which it fills more than the box on each side.
    more: usize,
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
            let reach = |low: usize, high: usize| low.saturating_sub(self.more)..high + self.more;
            let inside = |i: usize| reach(x0, x1).contains(&(i % 256)) && reach(y0, y1).contains(&(i / 256));
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
    let network = Fake { sure, encoded: Vec::new(), skipped: 0, more: 0 };
    run_with(network, boxes, start, kept)
}

fn run_with(
    mut network: Fake,
    boxes: &[VoxelBox],
    start: Start,
    kept: usize,
) -> (VolumeSegmentation, Vec<usize>, Vec<(usize, usize)>) {
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

/// A box of one slice is asked for there, and in the next slices what was found is not cut to it.
#[test]
fn a_box_in_one_slice_begins_there() {
    let boxes = [VoxelBox::new(12.0, 12.0, 10.0, 15.0, 15.0, 30.0).with_slice(12)];
    let network = || Fake { sure: |_| 0.5, encoded: Vec::new(), skipped: 0, more: 8 };
    let (found, encoded, _) = run_with(network(), &boxes, Start::Surest, 16);
    assert_eq!((found.starts[0], encoded.first(), encoded.len()), (12, Some(&12), 21));
    let areas = |found: &VolumeSegmentation| -> Vec<usize> {
        found.labels.chunks(32 * 32).map(|slice| slice.iter().filter(|&&l| l == 1).count()).collect()
    };
    // The network fills more than its box, which grows from slice to slice until the slice is full.
    let own = areas(&found);
    assert!(own[12] < own[13] && own[13] < own[14] && own[11] > own[12] && own[30] == 32 * 32, "{own:?}");
    assert_eq!((own[9], own[31]), (0, 0));
    // Without the slice the box holds all sections, and carried boxes are cut to it.
    let whole = VoxelBox { slice: None, ..boxes[0] };
    let cut = areas(&run_with(network(), &[whole], Start::Middle, 16).0);
    assert!(cut.iter().all(|&area| area < own[14]), "{cut:?}");
}

#[test]
fn a_tried_box_that_is_not_answered_is_an_error() {
    let boxes = [VoxelBox::new(4.0, 4.0, 10.0, 20.0, 20.0, 30.0)];
    let mut network = Fake { sure: |_| 0.5, encoded: Vec::new(), skipped: 1, more: 0 };
    let way = Propagation::new(&boxes, SIZE).unwrap();
    let error = way.run(&mut network, Start::Surest, 4, |_, _| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, Error::NotSupplied { z: 16, object: 0 }), "{error}");
    let mut network = Fake { skipped: 0, ..network };
    let stop = |done, _| if done == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = Propagation::new(&boxes, SIZE).unwrap().run(&mut network, Start::Surest, 4, stop).unwrap_err();
    assert!(matches!(error, Error::Cancelled { done: 3, total: 26 }), "{error}");
}
