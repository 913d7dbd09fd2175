//! The losses of U-MedSAM (arXiv 2408.08881), and their sum weighted by uncertainty.
//!
//! With z the logits, p = sigmoid(z) and g the mask, sums over the pixels of a sample, means over the batch:
//!
//! | term | loss |
//! |---|---|
//! | [`Term::Dice`] | `1 - (2 sum pg + 1e-5) / (sum p^2 + sum g^2 + 1e-5)` |
//! | [`Term::Bce`] | binary cross entropy of the pixels |
//! | [`Term::Mse`] | `(p - g)^2` of the pixels |
//! | [`Term::Iou`] | `(predicted IoU - IoU of p > 0.5 with g)^2` |
//! | [`Term::ShapeDistance`] | `sum abs(D - p) / sum p`, D by [`shape_target`] |
//! | [`Term::Focal`] | `0.8 (1 - exp(-BCE))^2 BCE` |
//! | [`Term::Distillation`] | `IoU of the teacher with g * KL(sigmoid(teacher), p)` of the pixels |
//! | [`Term::Imitation`] | `KL(sigmoid(teacher), p)` of the pixels |
//! | [`Term::Embedding`] | `(e - e of the teacher)^2` of an embedding's values, over the variance of the teacher's |
//!
//! The formulas are the paper's and its code's, but for the last three, which are ours; what they leave undefined (an object of no pixel, of all pixels, a
//! prediction of nothing) is settled here, and said where. Everything is computed in f32, whatever kind the logits have,
//! and values and gradients are finite for every mask and for logits up to 1e4 and beyond. Nothing waits for the device.

mod bce;
mod dice;
mod distillation;
mod embedding;
mod focal;
mod iou;
mod mse;
mod shape_distance;
mod uncertainty;

pub use shape_distance::shape_target;
use tch::{Kind, Tensor};
pub use uncertainty::{Uncertainty, UncertaintyError, Weighting};

/// What a batch of N samples gave, and what it should have given.
///
/// Height and width are those of the training, 256 each; any will do.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    /// Logits of the masks, (N,1,H,W).
    pub logits: &'a Tensor,
    /// Predicted IoU, (N,1).
    pub iou: &'a Tensor,
    /// True masks, (N,1,H,W), 0 or 1, f32.
    pub mask: &'a Tensor,
    /// [`shape_target`] of the true masks, (N,1,H,W), f32. Only [`Term::ShapeDistance`] reads it.
    pub shape: &'a Tensor,
    /// Logits (N,1,H,W) of the teacher: the network that the training began from, unless another was named. Only
    /// [`Term::Distillation`] and [`Term::Imitation`] read them.
    pub teacher: &'a Tensor,
    /// Embeddings (N,C,H',W') of the images, and the teacher's. Only [`Term::Embedding`] reads them.
    pub embeddings: [&'a Tensor; 2],
}

impl Outputs<'_> {
    /// A mean over the batch in which only the samples at `rows` (K) have a part: 0 without any.
    pub fn of_rows(&self, rows: &Tensor, loss: impl FnOnce(&Outputs<'_>) -> Tensor) -> Tensor {
        let samples = self.logits.size()[0];
        let count = rows.size()[0];
        if count == 0 {
            return Tensor::zeros([], (Kind::Float, self.logits.device()));
        }
        let part = |t: &Tensor| if t.size()[0] == samples { t.index_select(0, rows) } else { t.shallow_clone() };
        let embeddings = self.embeddings.map(part);
        let chosen = Outputs {
            logits: &part(self.logits),
            iou: &part(self.iou),
            mask: &part(self.mask),
            shape: &part(self.shape),
            teacher: &part(self.teacher),
            embeddings: embeddings.each_ref(),
        };
        loss(&chosen) * (count as f64 / samples as f64)
    }
}

/// One loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Term {
    /// Overlap of the masks, with squared denominators.
    Dice,
    /// Binary cross entropy of the pixels.
    Bce,
    /// Squared error of the pixels' probabilities.
    Mse,
    /// Squared error of the predicted IoU.
    Iou,
    /// Shape distance: how far the probabilities are from a map that is highest at the object's rim.
    ShapeDistance,
    /// Binary cross entropy that counts less the smaller it is.
    Focal,
    /// Divergence from the teacher, where that was right.
    Distillation,
    /// Divergence from the teacher.
    Imitation,
    /// Squared error of the embeddings, the teacher's being the truth. None where the encoder is the teacher's.
    Embedding,
}

impl Term {
    /// Every term.
    pub const ALL: [Self; 9] = [
        Self::Dice,
        Self::Bce,
        Self::Mse,
        Self::Iou,
        Self::ShapeDistance,
        Self::Focal,
        Self::Distillation,
        Self::Imitation,
        Self::Embedding,
    ];

    /// The name in configurations, checkpoints and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dice => "dice",
            Self::Bce => "bce",
            Self::Mse => "mse",
            Self::Iou => "iou",
            Self::ShapeDistance => "shape-distance",
            Self::Focal => "focal",
            Self::Distillation => "distillation",
            Self::Imitation => "imitation",
            Self::Embedding => "embedding",
        }
    }

    /// Whether it compares with a teacher.
    pub const fn asks_teacher(self) -> bool {
        matches!(self, Self::Distillation | Self::Imitation | Self::Embedding)
    }

    /// Whether it needs what only labels say: a teacher's mask is no truth to measure an IoU by, and has no
    /// [`shape_target`].
    pub const fn asks_label(self) -> bool {
        matches!(self, Self::Iou | Self::ShapeDistance)
    }

    /// The loss of a batch: an f32 scalar that carries the gradient.
    ///
    /// # Panics
    /// If shapes or devices are not those of [`Outputs`].
    pub fn evaluate(self, outputs: &Outputs<'_>) -> Tensor {
        let logits = outputs.logits.to_kind(Kind::Float);
        let mask = outputs.mask.to_kind(Kind::Float);
        assert_eq!(logits.size(), mask.size(), "shape of the masks");
        match self {
            Self::Dice => dice::dice(&logits, &mask),
            Self::Bce => bce::bce(&logits, &mask),
            Self::Mse => mse::mse(&logits, &mask),
            Self::Iou => iou::iou(&logits, &outputs.iou.to_kind(Kind::Float), &mask),
            Self::ShapeDistance => shape_distance::shape_distance(&logits, &outputs.shape.to_kind(Kind::Float)),
            Self::Focal => focal::focal(&logits, &mask),
            Self::Distillation => distillation::distillation(&logits, &outputs.teacher.to_kind(Kind::Float), &mask),
            Self::Imitation => distillation::imitation(&logits, &outputs.teacher.to_kind(Kind::Float)),
            Self::Embedding => {
                let [own, teacher] = outputs.embeddings.map(|t| t.to_kind(Kind::Float));
                embedding::embedding(&own, &teacher)
            }
        }
    }
}

/// Sums over the pixels of each sample: (N,1,H,W) to (N,1).
fn sum_pixels(t: &Tensor) -> Tensor {
    t.sum_dim_intlist([2i64, 3].as_slice(), false, None::<Kind>)
}
