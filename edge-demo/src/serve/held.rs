//! An image or a volume that the server holds for a client.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use umedsam::intensity::{Number, Values};
use umedsam::{Embedding, ImageView, PixelBox, Session, VolumeSize};

use super::bits::Packed;
use super::limits::{Budget, Room};
use super::planes::Plane;
use super::pool::Kind;
use super::refusal::Refusal;

/// Embeddings of all images that are at hand at once.
const RECENT: usize = 64;

/// The embeddings that were used last, the newest first. They are found without a look at the pixels, and the decoder does
/// the part of its work that only they decide once.
#[derive(Default)]
pub(super) struct Recent(Mutex<Vec<(u64, Plane, Embedding)>>);

impl Recent {
    fn get(&self, shown: u64, plane: Plane) -> Option<Embedding> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().position(|(of, at, _)| (*of, *at) == (shown, plane))?;
        recent[..=found].rotate_right(1);
        Some(recent[0].2.clone())
    }

    fn put(&self, shown: u64, plane: Plane, embedding: Embedding) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(of, at, _)| (*of, *at) != (shown, plane));
        recent.truncate(RECENT - 1);
        recent.insert(0, (shown, plane, embedding));
    }
}

/// What all images share: the memory that they may take, and the embeddings at hand.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) budget: Budget,
    pub(super) recent: Arc<Recent>,
}

/// The next number of a [`Shown`].
static SHOWN: AtomicU64 = AtomicU64::new(0);

/// What the network is given: 8 bits by one window.
pub(super) struct Shown {
    pub(super) pixels: Vec<u8>,
    pub(super) channels: usize,
    pub(super) size: VolumeSize,
    number: u64,
    recent: Arc<Recent>,
}

/// A mask of a slice.
pub(super) struct Found {
    /// One byte a pixel.
    pub(super) mask: Vec<u8>,
    pub(super) width: usize,
    pub(super) predicted_iou: f32,
    /// The entropy on the model's grid, cropped to the image: 255 is 1 bit.
    pub(super) heat: Option<Heat>,
}

/// A map on the model's grid.
pub(super) struct Heat {
    pub(super) values: Vec<u8>,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Found {
    pub(super) fn packed(&self) -> Packed {
        Packed::new(&self.mask, self.width)
    }
}

impl Shown {
    pub(super) fn new(pixels: Vec<u8>, channels: usize, size: VolumeSize, shared: &Shared) -> Self {
        let number = SHOWN.fetch_add(1, Ordering::Relaxed);
        Self { pixels, channels, size, number, recent: shared.recent.clone() }
    }

    /// The same image by another window.
    pub(super) fn anew(&self, pixels: Vec<u8>) -> Self {
        let number = SHOWN.fetch_add(1, Ordering::Relaxed);
        Self { pixels, channels: self.channels, size: self.size, number, recent: self.recent.clone() }
    }

    /// The kind of work that masks of a slice are.
    pub(super) fn kind(&self, plane: Plane) -> Kind {
        if self.recent.get(self.number, plane).is_some() { Kind::Decode } else { Kind::Slice }
    }

    /// The embedding of a slice.
    pub(super) fn embedding(&self, session: &mut Session, plane: Plane) -> Result<Embedding, umedsam::Error> {
        if let Some(embedding) = self.recent.get(self.number, plane) {
            return Ok(embedding);
        }
        let embedding = session.encode(&self.view(plane, &mut Vec::new())?)?;
        self.recent.put(self.number, plane, embedding.clone());
        Ok(embedding)
    }

    /// The masks of boxes in a slice, as `umedsam segment` makes them of the same pixels.
    pub(super) fn masks(
        &self,
        session: &mut Session,
        plane: Plane,
        boxes: &[PixelBox],
        heat: bool,
    ) -> Result<Vec<Found>, umedsam::Error> {
        let embedding = self.embedding(session, plane)?;
        let frame = embedding.frame();
        let prompts: Result<Vec<_>, _> = boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect();
        let mut found = Vec::with_capacity(boxes.len());
        session.decode(&embedding, &prompts?, |_, logits, predicted_iou| {
            let mut mask = vec![0; frame.pixels()];
            logits.paint(1, &mut mask);
            let heat = heat.then(|| {
                let (width, height) = (frame.scaled_width(), frame.scaled_height());
                let rows = logits.values().chunks_exact(umedsam::MODEL_SIDE).take(height);
                Heat { values: rows.flat_map(|row| row[..width].iter().map(|&v| entropy(v))).collect(), width, height }
            });
            found.push(Found { mask, width: frame.width(), predicted_iou, heat });
        })?;
        Ok(found)
    }

    /// A slice, for which `buffer` is used where its pixels do not lie together.
    pub(super) fn view<'a>(&'a self, plane: Plane, buffer: &'a mut Vec<u8>) -> Result<ImageView<'a>, umedsam::Error> {
        let [height, width] = plane.size(self.size);
        let length = height * width * self.channels;
        let pixels = match plane.axis {
            0 => self.pixels.get(plane.index * length..(plane.index + 1) * length).unwrap_or_default(),
            _ => {
                *buffer = plane.values(&self.pixels, self.size, self.channels);
                buffer
            }
        };
        match self.channels {
            1 => ImageView::gray8(pixels, width, height),
            _ => ImageView::rgb8(pixels, width, height),
        }
    }
}

/// The entropy of a pixel in bits, as a byte.
fn entropy(logit: f32) -> u8 {
    let p = 1.0 / (1.0 + (-logit).exp());
    let part = |p: f32| if p > 0.0 { -p * p.log2() } else { 0.0 };
    ((part(p) + part(1.0 - p)) * 255.0).round() as u8
}

/// What a client sees of the values: whole numbers of 16 bits, which a factor and a shift make values of.
pub(super) enum Display {
    /// 8 bits, gray or interleaved RGB: the network's own.
    Bytes,
    /// `value = stored * slope + intercept`.
    Scaled { slope: f64, intercept: f64 },
}

impl Display {
    /// Exact for integers up to 16 bits; of other values the range is divided into 65535 steps.
    pub(super) fn of(values: &Values) -> Self {
        macro_rules! range {
            ($v:expr) => {{
                let finite = $v.iter().map(|&v| Number::to_f64(v)).filter(|v| v.is_finite());
                finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)))
            }};
        }
        let (low, high) = match values {
            Values::U8(_) | Values::I8(_) | Values::I16(_) => return Self::Scaled { slope: 1.0, intercept: 0.0 },
            Values::U16(_) => return Self::Scaled { slope: 1.0, intercept: 32_768.0 },
            Values::U32(v) => range!(v),
            Values::I32(v) => range!(v),
            Values::U64(v) => range!(v),
            Values::I64(v) => range!(v),
            Values::F32(v) => range!(v),
            Values::F64(v) => range!(v),
        };
        if low.fract() == 0.0 && high.fract() == 0.0 && low >= -32_768.0 && high <= 32_767.0 && !is_float(values) {
            return Self::Scaled { slope: 1.0, intercept: 0.0 };
        }
        match low < high {
            true => {
                let slope = high / 65_535.0 - low / 65_535.0;
                Self::Scaled { slope, intercept: low + 32_768.0 * slope }
            }
            false => Self::Scaled { slope: 1.0, intercept: if low.is_finite() { low } else { 0.0 } },
        }
    }
}

const fn is_float(values: &Values) -> bool {
    matches!(values, Values::F32(_) | Values::F64(_))
}

/// The stored numbers of a slice, little endian.
pub(super) fn stored(values: &Values, plane: Plane, size: VolumeSize, slope: f64, intercept: f64) -> Vec<u8> {
    macro_rules! bytes {
        ($v:expr) => {{
            let values = plane.values($v, size, 1).into_iter();
            // NaN becomes 0, the others saturate.
            values.flat_map(|v| (((Number::to_f64(v) - intercept) / slope).round() as i16).to_le_bytes()).collect()
        }};
    }
    match values {
        Values::U8(v) => bytes!(v),
        Values::I8(v) => bytes!(v),
        Values::U16(v) => bytes!(v),
        Values::I16(v) => bytes!(v),
        Values::U32(v) => bytes!(v),
        Values::I32(v) => bytes!(v),
        Values::U64(v) => bytes!(v),
        Values::I64(v) => bytes!(v),
        Values::F32(v) => bytes!(v),
        Values::F64(v) => bytes!(v),
    }
}

/// The image by the current window.
pub(super) struct Current(RwLock<Arc<Shown>>);

impl Current {
    pub(super) fn new(shown: Shown) -> Self {
        Self(RwLock::new(Arc::new(shown)))
    }

    pub(super) fn get(&self) -> Arc<Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, shown: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(shown);
    }
}

/// Room of the budget, or a refusal.
pub(super) fn room(budget: &Budget, bytes: u64) -> Result<Room, Refusal> {
    budget.take(bytes).ok_or_else(no_room)
}

pub(super) fn no_room() -> Refusal {
    Refusal::busy("no memory left for another image; close one", 30)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_in_16_bits() {
        let size = VolumeSize { depth: 1, height: 1, width: 3 };
        let plane = Plane::new(0, 0, size).unwrap();
        let shown = |values: Values| {
            let Display::Scaled { slope, intercept } = Display::of(&values) else { unreachable!() };
            let bytes = stored(&values, plane, size, slope, intercept);
            let value = |b: &[u8]| f64::from(i16::from_le_bytes([b[0], b[1]])) * slope + intercept;
            bytes.chunks_exact(2).map(value).collect::<Vec<f64>>()
        };
        assert_eq!(shown(Values::I16(vec![-1024, 0, 32_767])), [-1024.0, 0.0, 32_767.0]);
        assert_eq!(shown(Values::U16(vec![0, 40_000, 65_535])), [0.0, 40_000.0, 65_535.0]);
        assert_eq!(shown(Values::I32(vec![-5, 0, 9])), [-5.0, 0.0, 9.0]);
        let floats = shown(Values::F32(vec![-0.5, 0.25, 1.5]));
        assert!(floats.iter().zip([-0.5, 0.25, 1.5]).all(|(a, b)| (a - b).abs() < 2.0 / 65_535.0), "{floats:?}");
        assert_eq!(shown(Values::F64(vec![7.0; 3])), [7.0; 3]);
        assert!(
            shown(Values::F32(vec![f32::NAN, 1.0, 2.0]))[1..].iter().zip([1.0, 2.0]).all(|(a, b)| (a - b).abs() < 1e-4)
        );
    }

    #[test]
    fn entropy_is_one_bit_where_nothing_is_known() {
        assert_eq!((entropy(0.0), entropy(80.0), entropy(-80.0)), (255, 0, 0));
    }
}
