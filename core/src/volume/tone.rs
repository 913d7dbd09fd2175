//! Intensities in a mask and around it.

use crate::{ImageView, ModelBox};

/// Least deviation, of 255: flat areas differ by rounding alone.
const NOISE: f64 = 5.0;

/// Beyond this many deviations nothing is told by more.
const FAR: f64 = 4.0;

/// Mean and standard deviation of intensities, 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tone {
    mean: f64,
    deviation: f64,
}

impl Tone {
    /// Distance of the means in deviations of `other`.
    pub(super) fn distance(&self, other: &Self) -> f64 {
        ((self.mean - other.mean).abs() / other.deviation.max(NOISE)).min(FAR)
    }
}

/// What an image shows in a mask.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// Pixels of the mask.
    pub(super) area: usize,
    pub(super) within: Tone,
    /// Of the pixels in the box that are not in the mask, if there are any.
    pub(super) beside: Option<Tone>,
}

impl Seen {
    /// Looks at a mask of the image's size, which has a pixel above 0, and at the rest of its box.
    pub(super) fn new(mask: &[u16], image: &ImageView<'_>, model_box: &ModelBox) -> Self {
        let frame = image.frame();
        let pixels = |start: f32, end: f32, size: usize, scaled: usize| {
            let scale = size as f64 / scaled as f64;
            (f64::from(start) * scale) as usize..(libm::ceil(f64::from(end) * scale) as usize).min(size)
        };
        let columns = pixels(model_box.x0, model_box.x1, frame.width(), frame.scaled_width());
        let rows = pixels(model_box.y0, model_box.y1, frame.height(), frame.scaled_height());
        let channels = image.channel_count();
        let (mut within, mut beside) = (Sums::default(), Sums::default());
        for (y, marks) in mask.chunks_exact(image.width()).enumerate() {
            let in_rows = rows.contains(&y);
            for (x, (pixel, &mark)) in image.row(y).chunks_exact(channels).zip(marks).enumerate() {
                // Channels are summed: their mean would be rounded.
                let value = || pixel.iter().map(|&v| u64::from(v)).sum();
                if mark > 0 {
                    within.add(value());
                } else if in_rows && columns.contains(&x) {
                    beside.add(value());
                }
            }
        }
        let scale = channels as f64;
        let beside_tone = (beside.count > 0).then(|| beside.tone(scale));
        Self { area: within.count as usize, within: within.tone(scale), beside: beside_tone }
    }
}

/// Sums of intensities, which do not depend on their order.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    count: u64,
    sum: u64,
    squares: u64,
}

impl Sums {
    fn add(&mut self, value: u64) {
        self.count += 1;
        self.sum += value;
        self.squares += value * value;
    }

    fn tone(self, scale: f64) -> Tone {
        let count = self.count.max(1) as f64;
        let mean = self.sum as f64 / count;
        let deviation = libm::sqrt((self.squares as f64 / count - mean * mean).max(0.0));
        Tone { mean: mean / scale, deviation: deviation / scale }
    }
}
