//! Percentiles without a sorted copy of the values.

use super::{Number, Rule};

/// The window from the 0.5th to the 99.5th percentile of the non-zero values, and whether zeros stay 0 in it.
///
/// `counts` is room for a power of two of counts. With more of them fewer passes over the values are needed.
pub(super) fn window<T: Number>(values: impl Iterator<Item = T> + Clone, counts: &mut [usize]) -> (Rule, f64, f64) {
    let count = values.clone().filter(|v| v.to_f64() != 0.0).count();
    if count == 0 {
        return (Rule::Percentile, 0.0, 0.0);
    }
    let low = percentile(values.clone(), count, 0.005, counts);
    let high = percentile(values.clone(), count, 0.995, counts);
    let extremes = values.map(|v| v.to_f64());
    let (least, largest) = extremes.fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
    if low == high {
        (Rule::Range, least, largest)
    } else if least < 0.0 {
        (Rule::SignedPercentile, low, high)
    } else {
        (Rule::Percentile, low, high)
    }
}

/// Linear interpolation between order statistics of the `count` non-zero values, as numpy's default.
fn percentile<T: Number>(values: impl Iterator<Item = T> + Clone, count: usize, q: f64, counts: &mut [usize]) -> f64 {
    let position = q * (count - 1) as f64;
    let below = position as usize;
    let fraction = position - below as f64;
    let mut at = |rank| ranked(values.clone(), rank, counts).to_f64();
    // Of the last value there is no next, and no need of one.
    if fraction == 0.0 { at(below) } else { at(below) * (1.0 - fraction) + at(below + 1) * fraction }
}

/// The non-zero value that sorting would put at `rank`, found digit by digit from the counts of each.
fn ranked<T: Number>(values: impl Iterator<Item = T> + Clone, mut rank: usize, counts: &mut [usize]) -> T {
    let digit = counts.len().ilog2();
    let mut found = 0u64;
    for place in (0..(8 * size_of::<T>() as u32).div_ceil(digit)).rev() {
        let shift = digit * place;
        counts.fill(0);
        let keys = values.clone().filter(|v| v.to_f64() != 0.0).map(|v| v.key());
        for key in keys.filter(|key| key.checked_shr(shift + digit).unwrap_or(0) == found) {
            counts[(key >> shift) as usize & (counts.len() - 1)] += 1;
        }
        let mut next = 0;
        while rank >= counts[next] {
            rank -= counts[next];
            next += 1;
        }
        found = found << digit | next as u64;
    }
    T::of_key(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::prelude::v1::*;

    #[test]
    fn ranks_are_those_of_the_sorted_values() {
        fn check<T: Number + PartialOrd + core::fmt::Debug>(values: &[T]) {
            let mut sorted: Vec<T> = values.iter().copied().filter(|v| v.to_f64() != 0.0).collect();
            sorted.sort_by(|a, b| a.partial_cmp(b).unwrap());
            for (rank, &expected) in sorted.iter().enumerate() {
                for counts in [1 << 16, 256] {
                    let found = ranked(values.iter().copied(), rank, &mut vec![0; counts]);
                    assert_eq!(found.partial_cmp(&expected), Some(core::cmp::Ordering::Equal), "{rank}");
                }
            }
        }
        let mut state = 1u64;
        let raw: Vec<u64> = (0..if cfg!(miri) { 8 } else { 300 })
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                state
            })
            .collect();
        check(&raw);
        check(&raw.iter().map(|&v| v as i64).collect::<Vec<_>>());
        check(&raw.iter().map(|&v| (v >> 32) as i32).collect::<Vec<_>>());
        check(&raw.iter().map(|&v| (v >> 48) as i16 / 100).collect::<Vec<_>>());
        check(&raw.iter().map(|&v| (v >> 56) as u8 / 50).collect::<Vec<_>>());
        check(&raw.iter().map(|&v| (v >> 40) as f32 - 8e6).collect::<Vec<_>>());
        check(&raw.iter().map(|&v| (v >> 20) as f64 / -3e7).collect::<Vec<_>>());
    }
}
