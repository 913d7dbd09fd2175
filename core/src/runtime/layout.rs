//! Where the values of a program lie in the memory that it runs in.

use core::cmp::Reverse;
use core::ops::Range;
use std::prelude::v1::*;

use super::kernels::LINE;
use super::program::Step;

/// Between places that are in use together: images a power of two apart would compete for the same lines of a cache.
const GAP: usize = 65 * LINE;

/// Places for the results of all steps, and for the memory that the threads share in a step. Places overlap where nobody
/// needs both at a time.
#[derive(Debug)]
pub(crate) struct Layout {
    /// The greatest batch that it is for.
    pub(super) batch: usize,
    /// Where the result of each step begins.
    pub(super) results: Vec<usize>,
    /// What the threads of each step share.
    pub(super) shared: Vec<Range<usize>>,
    /// f32 of all.
    pub(crate) len: usize,
}

impl Layout {
    pub(super) fn new(steps: &[Step], batch: usize) -> Self {
        let results = steps.iter().enumerate().map(|(position, step)| {
            // What is stable stays from run to run.
            let (first, last) = if step.stable { (0, usize::MAX) } else { (position, step.last_use) };
            Item { len: step.len.at(batch), first, last }
        });
        let shared = steps.iter().enumerate();
        let shared = shared.map(|(i, step)| Item { len: step.block.shared(batch), first: i, last: i });
        let items: Vec<Item> = results.chain(shared).collect();
        let (mut starts, len) = place(&items);
        let shared = starts.split_off(steps.len());
        let shared = shared.iter().zip(&items[steps.len()..]).map(|(&start, item)| start..start + item.len);
        Self { batch, results: starts, shared: shared.collect(), len }
    }
}

/// Something that needs a place from its first step to its last.
#[derive(Clone, Copy, Debug)]
struct Item {
    len: usize,
    first: usize,
    last: usize,
}

/// Places the greatest first, each as low as it fits. Returns where each begins, on the border of a line, and the length
/// of all.
fn place(items: &[Item]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..items.len()).filter(|&i| items[i].len > 0).collect();
    order.sort_by_key(|&i| Reverse(items[i].len));
    let mut starts = vec![0; items.len()];
    // By their starts.
    let mut placed: Vec<usize> = Vec::with_capacity(items.len());
    let mut whole = 0;
    for i in order {
        let item = items[i];
        let mut start = 0;
        for &other in &placed {
            let Item { len, first, last } = items[other];
            if first > item.last || last < item.first {
                continue;
            }
            if starts[other] >= start + item.len + GAP {
                break;
            }
            start = start.max((starts[other] + len).next_multiple_of(LINE) + GAP);
        }
        starts[i] = start;
        placed.insert(placed.partition_point(|&other| starts[other] <= start), i);
        whole = whole.max(start + item.len);
    }
    (starts, whole)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_at_the_same_time_lies_apart(
            items in prop::collection::vec((0usize..200, 0usize..20, 0usize..6), 0..30)
        ) {
            let items: Vec<Item> =
                items.into_iter().map(|(len, first, more)| Item { len, first, last: first + more }).collect();
            let (starts, whole) = place(&items);
            for (i, a) in items.iter().enumerate() {
                prop_assert!(starts[i].is_multiple_of(LINE) && starts[i] + a.len <= whole);
                for (j, b) in items.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let apart = starts[i] + a.len + GAP <= starts[j] || starts[j] + b.len + GAP <= starts[i];
                    prop_assert!(!together || apart || a.len == 0 || b.len == 0);
                }
            }
            // No worse than each in a place of its own.
            prop_assert!(whole <= items.iter().map(|item| item.len.next_multiple_of(LINE) + GAP).sum());
        }
    }

    #[test]
    fn places_are_used_again() {
        let item = |len, first, last| Item { len, first, last };
        // A chain in which each result is read by the next step alone, and one that stays.
        let items = [item(64, 0, 1), item(64, 1, 2), item(32, 2, 3), item(16, 3, 4), item(16, 0, 9)];
        assert_eq!(place(&items).1, 64 + GAP + 64 + GAP + 16);
    }
}
