//! What the network is given of an image or a volume, and its masks of slices.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use serde_json::{Value, json};
use umedsam::{Embedding, ImageView, PixelBox, Session, VolumeSize};

use super::{Packed, Plane};

/// The embeddings that were used last, the newest first. They are found without a look at the pixels, and the decoder does
/// the part of its work that only they decide once.
pub struct Recent {
    kept: Mutex<Vec<(u64, Plane, Embedding)>>,
    most: usize,
}

impl Recent {
    /// At most so many, at least one, of all images that have it.
    pub fn new(most: usize) -> Self {
        Self { kept: Mutex::default(), most }
    }

    fn get(&self, number: u64, plane: Plane) -> Option<Embedding> {
        let mut recent = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = recent.iter().position(|(of, at, _)| (*of, *at) == (number, plane))?;
        recent[..=found].rotate_right(1);
        Some(recent[0].2.clone())
    }

    fn put(&self, number: u64, plane: Plane, embedding: Embedding) {
        let mut recent = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(of, at, _)| (*of, *at) != (number, plane));
        recent.truncate(self.most.saturating_sub(1));
        recent.insert(0, (number, plane, embedding));
    }
}

/// The next number of a [`Shown`].
static SHOWN: AtomicU64 = AtomicU64::new(0);

/// What the network is given: 8 bits by one window.
pub struct Shown {
    /// Slice by slice, row by row, channels interleaved.
    pub pixels: Vec<u8>,
    /// 1, or 3.
    pub channels: usize,
    /// Their number along each axis.
    pub size: VolumeSize,
    number: u64,
    recent: Arc<Recent>,
}

/// A mask of a slice.
pub struct Found {
    /// One byte a pixel.
    pub mask: Vec<u8>,
    /// Pixels of a row.
    pub width: usize,
    /// What the network predicts of it, 0 to 1.
    pub predicted_iou: f32,
    /// The entropy on the model's grid, cropped to the image: 255 is 1 bit.
    pub heat: Option<Heat>,
}

/// A map on the model's grid.
pub struct Heat {
    /// Row by row.
    pub values: Vec<u8>,
    /// Values of a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Found {
    /// What a page is told of it, and the packed mask, after which the heat map is if there is one.
    pub fn bits(&self) -> (Value, Vec<u8>) {
        let Packed { x, y, width, height, area, mut bits } = self.packed();
        let mut head =
            json!({ "x": x, "y": y, "width": width, "height": height, "area": area, "iou": self.predicted_iou });
        if let Some(heat) = &self.heat {
            head["heat"] = json!([heat.width, heat.height]);
            bits.extend_from_slice(&heat.values);
        }
        (head, bits)
    }

    /// The mask as it is sent.
    pub fn packed(&self) -> Packed {
        Packed::new(&self.mask, self.width)
    }
}

impl Shown {
    /// An image whose embeddings are kept in `recent`.
    pub fn new(pixels: Vec<u8>, channels: usize, size: VolumeSize, recent: &Arc<Recent>) -> Self {
        let number = SHOWN.fetch_add(1, Ordering::Relaxed);
        Self { pixels, channels, size, number, recent: recent.clone() }
    }

    /// The same image by another window.
    pub fn anew(&self, pixels: Vec<u8>) -> Self {
        let number = SHOWN.fetch_add(1, Ordering::Relaxed);
        Self { pixels, channels: self.channels, size: self.size, number, recent: self.recent.clone() }
    }

    /// Whether the embedding of a slice is at hand.
    pub fn is_encoded(&self, plane: Plane) -> bool {
        self.recent.get(self.number, plane).is_some()
    }

    /// The embedding of a slice.
    ///
    /// # Errors
    /// The network's.
    pub fn embedding(&self, session: &mut Session, plane: Plane) -> Result<Embedding, umedsam::Error> {
        if let Some(embedding) = self.recent.get(self.number, plane) {
            return Ok(embedding);
        }
        let embedding = session.encode(&self.view(plane, &mut Vec::new())?)?;
        self.recent.put(self.number, plane, embedding.clone());
        Ok(embedding)
    }

    /// The masks of boxes in a slice, as `umedsam segment` makes them of the same pixels.
    ///
    /// # Errors
    /// If a box is none of this slice, and the network's.
    pub fn masks(
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
    ///
    /// # Errors
    /// If it is empty, or too large.
    pub fn view<'a>(&'a self, plane: Plane, buffer: &'a mut Vec<u8>) -> Result<ImageView<'a>, umedsam::Error> {
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

/// The image by the current window.
pub struct Current(RwLock<Arc<Shown>>);

impl Current {
    /// Begins with an image.
    pub fn new(pixels: Shown) -> Self {
        Self(RwLock::new(Arc::new(pixels)))
    }

    /// What it is now.
    pub fn get(&self) -> Arc<Shown> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it.
    pub fn set(&self, pixels: Shown) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(pixels);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_one_bit_where_nothing_is_known() {
        assert_eq!((entropy(0.0), entropy(80.0), entropy(-80.0)), (255, 0, 0));
    }
}
