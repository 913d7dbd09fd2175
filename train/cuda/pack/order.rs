//! What goes first into a pack that does not hold everything.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use umedsam_train::data::source;

/// A case as far as the order is concerned.
#[derive(Debug)]
pub(super) struct Case {
    /// Name of its file.
    pub(super) name: String,
    /// Modality and dimensions.
    pub(super) row: String,
    /// Its slices that are to be packed, the most telling first.
    pub(super) slices: Vec<usize>,
}

/// Positions of cases, and slices of these.
pub(super) type Items = Vec<(usize, usize)>;

/// All slices of all cases: the next is always of the row that has the fewest so far, of those that have any left.
///
/// Within a row the sources take turns, and no case gives a second slice before all of the row gave one. Which cases of a
/// source come first is by a digest of their names, so that neighbours in a recording don't come together.
pub(super) fn order(cases: &[Case]) -> Items {
    let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        rows.entry(&case.row).or_default().push(index);
    }
    let mut rows: Vec<_> = rows.values().map(|row| within(cases, row).into_iter().peekable()).collect();
    let mut counts = vec![0_usize; rows.len()];
    let mut items = Items::new();
    loop {
        let open = rows.iter_mut().enumerate().filter_map(|(row, items)| items.peek().map(|_| row));
        let Some(row) = open.min_by_key(|&row| counts[row]) else { return items };
        counts[row] += 1;
        items.extend(rows[row].next());
    }
}

/// The slices of one row's cases.
fn within(cases: &[Case], row: &[usize]) -> Items {
    let mut sources: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &index in row {
        sources.entry(source(&cases[index].name)).or_default().push(index);
    }
    for members in sources.values_mut() {
        members.sort_by_cached_key(|&index| Sha256::digest(&cases[index].name));
    }
    let longest = sources.values().map(Vec::len).max().unwrap_or_default();
    let turns: Vec<usize> =
        (0..longest).flat_map(|turn| sources.values().filter_map(move |members| members.get(turn))).copied().collect();
    let deepest = turns.iter().map(|&index| cases[index].slices.len()).max().unwrap_or_default();
    let nth = |n: usize| turns.iter().filter_map(move |&index| Some((index, *cases[index].slices.get(n)?)));
    (0..deepest).flat_map(nth).collect()
}

/// At most `most` of the slices with their labels, evenly spaced, but more if it takes more to show every label.
///
/// First comes the slice with the most labels, and those that show what is still missing; then the others, each as far as
/// may be from those before.
pub(super) fn choose(slices: &[(usize, Vec<u16>)], most: usize) -> Vec<usize> {
    let mut chosen: Vec<usize> = Vec::new();
    let mut missing: BTreeSet<u16> = slices.iter().flat_map(|(_, labels)| labels.iter().copied()).collect();
    let middle = |index: usize| (2 * index + 1).abs_diff(slices.len());
    while !missing.is_empty() {
        let shows = |index: usize| slices[index].1.iter().filter(|label| missing.contains(label)).count();
        let best = (0..slices.len()).max_by_key(|&index| (shows(index), Reverse(middle(index))));
        // Some slice has each label, so that every round finds one.
        let Some(best) = best else { break };
        missing.retain(|label| !slices[best].1.contains(label));
        chosen.push(best);
    }
    // The middles of equal parts.
    let count = most.min(slices.len());
    let mut even: Vec<usize> = (0..count).map(|i| (2 * i + 1) * slices.len() / (2 * count)).collect();
    while chosen.len() < count {
        even.retain(|index| !chosen.contains(index));
        let distance = |index: usize| chosen.iter().map(|&other| index.abs_diff(other)).min();
        let Some(&next) = even.iter().max_by_key(|&&index| (distance(index), Reverse(index))) else { break };
        chosen.push(next);
    }
    chosen.into_iter().map(|index| slices[index].0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(name: &str, slices: usize) -> Case {
        let (row, _) = name.split_at(8);
        Case { name: name.into(), row: row.into(), slices: (0..slices).collect() }
    }

    #[test]
    fn rows_and_sources_take_turns() {
        let mut cases: Vec<Case> = (0..20).map(|i| case(&format!("2DBox_CT_A_{i}.npz"), 1)).collect();
        cases.extend((0..2).map(|i| case(&format!("2DBox_CT_B_{i}.npz"), 1)));
        cases.extend((0..2).map(|i| case(&format!("3DBox_MR_C_{i}.npz"), 3)));
        cases.extend((0..3).map(|i| case(&format!("2DBox_US_D_{i}.npz"), 1)));
        let items = order(&cases);
        assert_eq!(items.len(), 22 + 6 + 3);
        assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), items.len());
        let of = |n: usize, row: &str| items[..n].iter().filter(|i| cases[i.0].row == row).count();
        for n in 0..=9 {
            let counts = ["2DBox_CT", "3DBox_MR", "2DBox_US"].map(|row| of(n, row));
            assert!(counts.iter().all(|&c| c == n / 3 || c == n.div_ceil(3)), "{counts:?} of {n}");
        }
        // US has run dry; what it leaves is shared.
        assert_eq!((of(15, "2DBox_CT"), of(15, "3DBox_MR")), (6, 6));
        let sources: Vec<&str> =
            items.iter().map(|i| source(&cases[i.0].name)).filter(|s| matches!(*s, "A" | "B")).collect();
        assert_eq!(sources[..6], ["A", "B", "A", "B", "A", "A"]);
        let slices: Vec<usize> = items.iter().filter(|i| cases[i.0].row == "3DBox_MR").map(|i| i.1).collect();
        assert_eq!(slices, [0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn chosen_slices_are_spread_and_show_every_label() {
        let plain: Vec<(usize, Vec<u16>)> = (10..110).map(|z| (z, vec![1])).collect();
        let chosen = choose(&plain, 4);
        // The middle, then the farthest of 22, 47, 72 and 97.
        assert_eq!(chosen, [60, 22, 97, 47]);
        assert_eq!(choose(&plain[..3], 16).len(), 3);
        let mut rare = plain;
        rare[95].1 = vec![1, 2];
        rare[2].1 = vec![3];
        assert_eq!(choose(&rare, 2), [105, 12]);
        assert_eq!(choose(&rare, 1), [105, 12]);
        let four = choose(&rare, 4);
        assert_eq!((four.len(), &four[..2]), (4, &[105, 12][..]));
    }
}
