//! Encoded images.

use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Frame};

/// Size of an image's embedding in bytes: 256 channels of 64x64 values in f32.
pub const EMBEDDING_BYTES: usize = EMBEDDING_LEN * size_of::<f32>();

/// Number of values of an embedding: 256 channels of 64x64.
pub const EMBEDDING_LEN: usize = 256 * 64 * 64;

pub(crate) const EMBEDDING_SHAPE: [usize; 4] = [1, 256, 64, 64];

/// An encoded image, from which any number of boxes can be decoded.
///
/// It owns its values, which clones share, and records the image's frame and the model that made it.
#[derive(Clone, Debug)]
pub struct Embedding {
    values: Arc<Vec<f32>>,
    frame: Frame,
    model: Arc<str>,
    number: u64,
}

/// Tells embeddings apart.
static ENCODED: AtomicU64 = AtomicU64::new(0);

impl Embedding {
    /// An embedding of stored values: those that [`values`](Self::values) gave, (256,64,64) and row-major, with the
    /// image's [`frame`](Self::frame) and the [`model`](Self::model) that made them. A session of another model refuses it.
    ///
    /// # Errors
    /// [`Error::EmbeddingLength`] if there are not [`EMBEDDING_LEN`] values, [`Error::EmbeddingNotFinite`] if one is NaN or
    /// infinite.
    pub fn from_values(values: Vec<f32>, frame: Frame, model: &str) -> Result<Self, Error> {
        if values.len() != EMBEDDING_LEN {
            return Err(Error::EmbeddingLength { expected: EMBEDDING_LEN, actual: values.len() });
        }
        if let Some((index, &value)) = values.iter().enumerate().find(|(_, v)| !v.is_finite()) {
            return Err(Error::EmbeddingNotFinite { index, value });
        }
        Ok(Self { values: Arc::new(values), frame, model: model.into(), number: next_number() })
    }

    /// An embedding of nothing, to be filled.
    pub(crate) fn blank(model: &Arc<str>) -> Self {
        Self { values: Arc::default(), frame: Frame::MODEL, model: model.clone(), number: u64::MAX }
    }

    /// Takes other values. The memory is used again, unless a clone shares it.
    pub(crate) fn fill(&mut self, found: &[f32], frame: Frame, model: &Arc<str>) {
        if Arc::get_mut(&mut self.values).is_none() {
            self.values = Arc::default();
        }
        if let Some(values) = Arc::get_mut(&mut self.values) {
            values.clear();
            values.extend_from_slice(found);
        }
        self.frame = frame;
        self.model = model.clone();
        self.number = next_number();
    }

    /// An embedding of values that were checked, shared with whoever else has them.
    pub(crate) fn of_shared(values: Arc<Vec<f32>>, frame: Frame, model: &Arc<str>) -> Self {
        Self { values, frame, model: model.clone(), number: next_number() }
    }

    /// Takes other values of the same image.
    pub(crate) fn replace(&mut self, values: Arc<Vec<f32>>) {
        (self.values, self.number) = (values, next_number());
    }

    /// The values, shared.
    pub(crate) fn shared(&self) -> Arc<Vec<f32>> {
        self.values.clone()
    }

    /// The frame of the image that was encoded.
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// The model that made it: the SHA-256 of its encoder graph, in hexadecimal
    /// ([`Manifest::encoder_sha256`](crate::Manifest::encoder_sha256)).
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The values: (256,64,64), row-major.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Tells embeddings apart: those of one number have the same values.
    pub(crate) const fn number(&self) -> u64 {
        self.number
    }
}

fn next_number() -> u64 {
    ENCODED.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_values_are_checked() {
        let frame = Frame::new(300, 200).unwrap();
        let mut values = vec![0.5; EMBEDDING_LEN];
        let one = Embedding::from_values(values.clone(), frame, "a").unwrap();
        assert!(one.values() == values && one.frame() == frame && one.model() == "a");
        let other = Embedding::from_values(values.clone(), frame, "a").unwrap();
        assert_ne!(one.number(), other.number());
        for bad in [f32::NAN, f32::NEG_INFINITY] {
            values[9] = bad;
            let error = Embedding::from_values(values.clone(), frame, "a").unwrap_err();
            assert!(matches!(error, Error::EmbeddingNotFinite { index: 9, .. }), "{error}");
        }
        let error = Embedding::from_values(vec![0.0; 9], frame, "a").unwrap_err();
        assert!(matches!(error, Error::EmbeddingLength { expected: EMBEDDING_LEN, actual: 9 }), "{error}");
    }
}
