//! What is in the packs, by row of the tables.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use umedsam_train::data::pack::Shard;

use super::order::Case;

/// One row.
#[derive(Debug, Default)]
struct Row<'a> {
    cases: usize,
    /// Names of the cases in each shard.
    packed: Vec<BTreeSet<&'a str>>,
    slices: usize,
    picture_bytes: usize,
    label_bytes: usize,
}

/// A table.
#[derive(Debug)]
pub(super) struct Report<'a> {
    rows: BTreeMap<&'a str, Row<'a>>,
    shards: usize,
}

impl<'a> Report<'a> {
    pub(super) fn new(cases: &'a [Case], shards: &'a [Shard]) -> Self {
        let of: BTreeMap<&str, &str> = cases.iter().map(|case| (&*case.name, &*case.row)).collect();
        let mut rows: BTreeMap<&str, Row<'_>> = BTreeMap::new();
        for case in cases {
            let row = rows.entry(&case.row).or_default();
            row.cases += 1;
            row.packed.resize_with(shards.len(), BTreeSet::new);
        }
        for (number, shard) in shards.iter().enumerate() {
            for slice in shard.slices() {
                let Some(row) = of.get(slice.case()).and_then(|row| rows.get_mut(row)) else { continue };
                row.packed[number].insert(slice.case());
                row.slices += 1;
                row.picture_bytes += slice.picture_bytes();
                row.label_bytes += slice.label_bytes();
            }
        }
        Self { rows, shards: shards.len() }
    }

    /// Rows that the first shard lacks.
    pub(super) fn missing(&self) -> Vec<&'a str> {
        let lacks = |row: &Row<'_>| row.packed.first().is_none_or(BTreeSet::is_empty);
        self.rows.iter().filter(|(_, row)| lacks(row)).map(|(name, _)| *name).collect()
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16}{:>7}", "row", "cases")?;
        (1..=self.shards).try_for_each(|number| write!(f, "{:>9}", format!("in {number}")))?;
        writeln!(f, "{:>10}{:>8}{:>12}{:>10}", "left out", "slices", "pictures", "labels")?;
        let mut sums = [0; 5];
        for (name, row) in &self.rows {
            write!(f, "{name:<16}{:>7}", row.cases)?;
            row.packed.iter().try_for_each(|cases| write!(f, "{:>9}", cases.len()))?;
            let packed: BTreeSet<&str> = row.packed.iter().flatten().copied().collect();
            let numbers = [row.cases, row.cases - packed.len(), row.slices, row.picture_bytes, row.label_bytes];
            writeln!(f, "{:>10}{:>8}{:>12}{:>10}", numbers[1], numbers[2], numbers[3], numbers[4])?;
            sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number);
        }
        write!(f, "{:<16}{:>7}", "all", sums[0])?;
        for number in 0..self.shards {
            write!(f, "{:>9}", self.rows.values().map(|row| row.packed[number].len()).sum::<usize>())?;
        }
        writeln!(f, "{:>10}{:>8}{:>12}{:>10}", sums[1], sums[2], sums[3], sums[4])
    }
}
