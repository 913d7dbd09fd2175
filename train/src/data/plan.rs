//! Which cases an epoch draws.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::SliceRandom;

use super::dataset::{Entry, source};
use super::modality::Modality;
use crate::config::{Balance, DataConfig};

/// Positions of the cases that this epoch draws, in order: every modality, or row of the tables by
/// [`DataConfig::balance`], gets the same number, but for its cap, and within a row its sources by the square roots of
/// their cases, a volume counting once for each of its labels, if that is what is balanced.
///
/// Without `samples-per-epoch` a modality gives as many samples as its cap says, however few its cases are, as in the
/// authors' loader: with all of their modalities there are 30,000 in an epoch. With it, the samples are shared evenly
/// among the modalities, and what one has to leave at its cap goes to the others. Within a modality every case is drawn
/// once before one is drawn again, and each epoch draws anew, where the authors draw with replacement, once for the
/// whole run.
pub fn plan(entries: &[Entry], config: &DataConfig, seed: u64, epoch: u64) -> Vec<usize> {
    let mut groups: BTreeMap<(Modality, String), Vec<usize>> = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        let row = if config.balance == Balance::Modality { String::new() } else { entry.group() };
        groups.entry((entry.modality(), row)).or_default().push(index);
    }
    let cap = |(modality, _): &(Modality, String)| {
        let own = config.caps.iter().find(|(name, _)| Modality::new(name) == *modality);
        own.map_or(config.default_cap, |(_, &cap)| cap)
    };
    let caps: Vec<usize> = groups.keys().map(cap).collect();
    let quotas = match config.samples_per_epoch {
        None => caps,
        Some(total) => share(total, &caps),
    };
    let mut drawn = Vec::with_capacity(quotas.iter().sum());
    let parts = groups.into_values().zip(quotas).zip(0u64..).flat_map(|((cases, quota), number)| {
        if config.balance != Balance::Source {
            return vec![(cases, quota)];
        }
        let mut sources: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for case in cases {
            sources.entry(source(&entries[case].name()).into()).or_default().push(case);
        }
        // A volume of many organs counts as many cases.
        let count = |cases: &Vec<usize>| cases.iter().map(|&case| entries[case].extents.len().max(1)).sum::<usize>();
        let weights: Vec<f64> = sources.values().map(|cases| (count(cases) as f64).sqrt()).collect();
        let start = super::random(seed, [epoch, number, u64::MAX]).random_range(0.0..1.0);
        sources.into_values().zip(divide(quota, &weights, start)).collect()
    });
    for ((cases, quota), number) in parts.zip(0..) {
        let mut left = quota;
        for round in 0.. {
            if left == 0 {
                break;
            }
            let mut order = cases.clone();
            order.shuffle(&mut super::random(seed, [epoch, number, round]));
            order.truncate(left);
            left -= order.len();
            drawn.append(&mut order);
        }
    }
    drawn.shuffle(&mut super::random(seed, [epoch, u64::MAX, 0]));
    drawn
}

/// Divides `total` by weights into whole numbers, each the nearest below or above its part: which of the two is by `start`,
/// 0 to 1, drawn anew each time so that in the mean nobody loses.
fn divide(total: usize, weights: &[f64], start: f64) -> Vec<usize> {
    let all: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let mut before = 0;
    let mut parts: Vec<usize> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            let here = ((total as f64 * sum / all + start) as usize).min(total);
            let part = here - before;
            before = here;
            part
        })
        .collect();
    // What rounding left of the last.
    if let Some(last) = parts.last_mut() {
        *last += total - before;
    }
    parts
}

/// Shares `total` evenly, none above its cap; what doesn't divide goes to the first.
fn share(total: usize, caps: &[usize]) -> Vec<usize> {
    let mut quotas = vec![0; caps.len()];
    let mut left = total;
    loop {
        let open: Vec<usize> = (0..caps.len()).filter(|&i| quotas[i] < caps[i]).collect();
        if open.is_empty() || left == 0 {
            return quotas;
        }
        let each = (left / open.len()).max(1);
        for i in open {
            let more = each.min(caps[i] - quotas[i]).min(left);
            quotas[i] += more;
            left -= more;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use umedsam::PixelBox;

    use super::super::dataset::Extent;
    use super::*;

    #[test]
    fn what_a_cap_leaves_goes_to_the_others() {
        assert_eq!(share(30, &[100, 4, 100]), [13, 4, 13]);
        assert_eq!(share(10, &[100, 100, 100]), [4, 3, 3]);
        assert_eq!(share(50, &[10, 0, 3]), [10, 0, 3]);
    }

    fn entries(counts: &[usize]) -> Vec<Entry> {
        let of = |(modality, &count): (usize, &usize)| {
            (0..count).map(move |_| Entry {
                path: format!("2DBox_{}_1.npz", ["CT", "MR", "PET"][modality]).into(),
                slices: Vec::new(),
                extents: BTreeMap::new(),
                content: [0; 32],
            })
        };
        counts.iter().enumerate().flat_map(of).collect()
    }

    proptest! {
        #[test]
        fn modalities_count_alike_and_cases_come_round(
            counts in proptest::collection::vec(1..9_usize, 3),
            total in 1..60_usize,
            seed in any::<u64>(),
        ) {
            let entries = entries(&counts);
            let config = DataConfig { samples_per_epoch: Some(total), ..DataConfig::default() };
            let drawn = plan(&entries, &config, seed, 3);
            prop_assert_eq!(drawn.len(), total);
            prop_assert_eq!(&drawn, &plan(&entries, &config, seed, 3));
            let mut start = 0;
            for count in counts {
                let times: Vec<usize> =
                    (start..start + count).map(|case| drawn.iter().filter(|&&d| d == case).count()).collect();
                let sum: usize = times.iter().sum();
                prop_assert!(sum == total / 3 || sum == total / 3 + 1);
                prop_assert!(times.iter().max().unwrap() - times.iter().min().unwrap() <= 1);
                start += count;
            }
        }
    }

    #[test]
    fn rows_count_alike_where_they_are_what_is_balanced() {
        let mut entries = entries(&[8, 4]);
        entries.push(Entry { path: "3DBox_CT_1.npz".into(), ..entries[0].clone() });
        let of = |balance| {
            let config = DataConfig { samples_per_epoch: Some(30), balance, ..DataConfig::default() };
            let drawn = plan(&entries, &config, 1, 0);
            [0..8_usize, 8..12, 12..13].map(|range| drawn.iter().filter(|&d| range.contains(d)).count())
        };
        assert_eq!(of(Balance::Row), [10, 10, 10]);
        // One of CT's nine cases is the volume.
        let [ct, mr, volume] = of(Balance::Modality);
        assert_eq!((ct + volume, mr), (15, 15));
        assert!((1..=2).contains(&volume));
    }

    #[test]
    fn sources_count_by_the_roots_of_their_cases() {
        let of = |(source, count): (&str, usize)| -> Vec<Entry> {
            let path = |i: usize| format!("2DBox_CT_{source}_{i}.npz").into();
            (0..count).map(|i| Entry { path: path(i), ..entries(&[1])[0].clone() }).collect()
        };
        let mut entries: Vec<Entry> = [("a", 2), ("b", 64), ("c", 1)].into_iter().flat_map(of).collect();
        let extent = Extent { bounds: PixelBox::new(0.0, 0.0, 9.0, 9.0), first: 0, last: 3 };
        entries[0].extents = [(1, extent), (2, extent), (7, extent)].into();
        let config = DataConfig { samples_per_epoch: Some(10), balance: Balance::Source, ..DataConfig::default() };
        let mut counts = [0; 3];
        for epoch in 0..200 {
            let drawn = plan(&entries, &config, 1, epoch);
            assert_eq!(drawn.len(), 10);
            drawn.iter().for_each(|&case| counts[usize::from(case >= 2) + usize::from(case == 66)] += 1);
        }
        // 2000 by 2, 8 and 1.
        for (count, share) in counts.into_iter().zip([2.0, 8.0, 1.0]) {
            assert!((f64::from(count) - 2000.0 * share / 11.0).abs() < 25.0, "{counts:?}");
        }
        assert_eq!(divide(7, &[1.0, 1.0], 0.0), [3, 4]);
        assert_eq!(divide(7, &[1.0, 1.0], 0.6), [4, 3]);
        assert_eq!(divide(0, &[1.0, 2.0], 0.9), [0, 0]);
    }

    #[test]
    fn without_a_total_a_modality_gives_its_cap_exactly() {
        let entries = entries(&[5, 9, 2]);
        let caps = [("ct".to_string(), 3)].into();
        let config = DataConfig { caps, default_cap: 8, ..DataConfig::default() };
        let drawn = plan(&entries, &config, 1, 0);
        let of = |range: std::ops::Range<usize>| drawn.iter().filter(|d| range.contains(d)).count();
        assert_eq!((of(0..5), of(5..14), of(14..16)), (3, 8, 8));
        assert_eq!(DataConfig::default().caps.values().sum::<usize>(), 30_000);
        assert_ne!(drawn, plan(&entries, &config, 1, 1));
        assert_ne!(drawn, plan(&entries, &config, 2, 0));
    }
}
