//! The boxes that an object is decoded from.

use super::UncertaintyOptions;
use crate::{Error, Frame, ModelBox};

/// How far a side is moved inwards at most, as a part of how far it is moved outwards. Where a part of the object is cut
/// off, the network's mask ends there, and the mean suffers.
const INWARDS: f32 = 0.5;

/// The boxes that an object is decoded from: the given one, and others whose sides are moved.
///
/// Each side is moved by a whole number of pixels of the grid, drawn uniformly between the greatest that the options allow
/// outwards and half of that inwards. It stays within the image, and keeps to its half of the box. The first `n` boxes are
/// the same whatever the number of samples.
///
/// # Errors
/// [`Error::Uncertainty`] if an option is out of its range.
pub fn jitter(
    exact: &ModelBox,
    frame: Frame,
    options: &UncertaintyOptions,
) -> Result<impl Iterator<Item = ModelBox> + use<>, Error> {
    options.check()?;
    let (exact, seed) = (*exact, options.seed);
    let [x0, y0, x1, y1] = exact.to_array();
    let most = options.pixels.max(options.share * ((x1 - x0).max(y1 - y0) + 1.0));
    let (width, height) = (frame.scaled_width() as f32, frame.scaled_height() as f32);
    let moved = move |sample: u64| {
        let by = |side: u64, length: f32| {
            let outwards = (uniform(seed, 4 * (sample - 1) + side) * (1.0 + INWARDS) - INWARDS) * most;
            libm::rintf(outwards.max(-length / 4.0))
        };
        ModelBox {
            x0: (x0 - by(0, x1 - x0)).max(0.0),
            y0: (y0 - by(1, y1 - y0)).max(0.0),
            x1: (x1 + by(2, x1 - x0)).min(width),
            y1: (y1 + by(3, y1 - y0)).min(height),
        }
    };
    Ok((0..options.samples as u64).map(move |sample| if sample == 0 { exact } else { moved(sample) }))
}

/// The `count`-th number of a seed, 0 to 1: those of SplitMix64, each without the ones before it.
fn uniform(seed: u64, count: u64) -> f32 {
    (split_mix(seed, count) >> 40) as f32 / (1u32 << 24) as f32
}

fn split_mix(seed: u64, count: u64) -> u64 {
    let z = seed.wrapping_add(count.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::prelude::v1::*;

    use super::*;

    #[test]
    fn numbers_are_those_of_split_mix() {
        // Published with its reference implementation.
        let found: Vec<u64> = (0..5).map(|count| split_mix(1_234_567, count)).collect();
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn sides_are_moved_within_their_bounds() {
        let frame = Frame::new(512, 384).unwrap();
        let exact = ModelBox { x0: 2.0, y0: 60.0, x1: 101.0, y1: 110.0 };
        let options = UncertaintyOptions::new().with_samples(64).with_jitter(2.0, 0.1);
        let boxes = |options: &UncertaintyOptions| jitter(&exact, frame, options).unwrap().collect::<Vec<_>>();
        let all = boxes(&options);
        assert_eq!((all.len(), all[0]), (64, exact));
        // A tenth of 100 pixels outwards and half of that inwards, and here no further than the image's first column.
        let within = |outwards: fn(&ModelBox, &ModelBox) -> f32, most: f32| {
            let moved = all.iter().map(|b| outwards(b, &exact));
            let [low, high] = moved.fold([0.0f32; 2], |[low, high], by| [low.min(by), high.max(by)]);
            (-5.0..=-4.0).contains(&low) && (most - 1.0..=most).contains(&high)
        };
        assert!(within(|b, exact| exact.x0 - b.x0, 2.0) && within(|b, exact| exact.y0 - b.y0, 10.0));
        assert!(within(|b, exact| b.x1 - exact.x1, 10.0) && within(|b, exact| b.y1 - exact.y1, 10.0));
        assert!(all.iter().all(|b| b.to_array().iter().all(|v| v.fract() == 0.0)));
        // As many as there are, the first are the same; another seed has others; the grid counts where a side is short.
        assert_eq!(boxes(&options.with_samples(5)), all[..5]);
        assert_ne!(boxes(&options.with_seed(1))[1..], all[1..]);
        let by_grid = boxes(&options.with_jitter(2.0, 0.0));
        assert!(by_grid.iter().all(|b| (b.y0 - exact.y0).abs() <= 2.0) && by_grid[1..].iter().any(|b| *b != exact));
        assert!(boxes(&options.with_jitter(0.0, 0.0)).iter().all(|b| *b == exact));
    }

    #[test]
    fn a_box_stays_within_the_image() {
        let frame = Frame::new(100, 50).unwrap();
        let exact = ModelBox { x0: 0.0, y0: 0.0, x1: 256.0, y1: 128.0 };
        let options = UncertaintyOptions::new().with_samples(64).with_jitter(256.0, 1.0);
        for b in jitter(&exact, frame, &options).unwrap() {
            assert!(
                b.x0 >= 0.0 && b.y0 >= 0.0 && b.x1 <= 256.0 && b.y1 <= 128.0 && b.x0 <= b.x1 && b.y0 <= b.y1,
                "{b:?}"
            );
        }
    }

    #[test]
    fn options_out_of_their_range_are_named() {
        let exact = ModelBox { x0: 0.0, y0: 0.0, x1: 9.0, y1: 9.0 };
        let new = UncertaintyOptions::new;
        for (options, message) in [
            (new().with_samples(0), "uncertainty: samples is 0; 1 to 64 are accepted"),
            (new().with_samples(65), "uncertainty: samples is 65; 1 to 64 are accepted"),
            (new().with_jitter(f32::NAN, 0.0), "uncertainty: pixels is NaN; 0 to 256 are accepted"),
            (new().with_jitter(1.0, -0.5), "uncertainty: share is -0.5; 0 to 1 are accepted"),
            (new().with_temperature(0.0), "uncertainty: temperature is 0; 0.0625 to 16 are accepted"),
        ] {
            let error = jitter(&exact, Frame::MODEL, &options).map(|_| ()).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(super::super::Ensemble::new(Frame::MODEL, &options).is_err());
        }
    }
}
