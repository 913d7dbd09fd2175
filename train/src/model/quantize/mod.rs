//! The network as a model in 8 bits computes it, with gradients as if it were in floats.
//!
//! Layers that core runs in integers are computed in integers here: weights rounded by output channel, activations by
//! token. Everything else has its weights as the file stores them, in 8 bits or 16, and, if asked for, its operands
//! rounded to bf16. Sums are in f32. Scales that export folds into weights before it rounds them are folded here, too.

mod integers;
mod layer;
mod round;

pub(super) use layer::{Layer, Linear};
pub(super) use round::{operand, stored, stored_int8};
use tch::{Kind, Tensor, nn};

use crate::config::{Precision, QuantizationConfig};

/// How a network is computed.
#[derive(Clone, Debug, Default)]
pub(super) struct Scheme(Option<QuantizationConfig>);

/// How a layer is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is.
    Plain,
    /// Integers with integers.
    Int8,
    /// In floating point, of weights that are stored in 8 bits.
    Stored(Precision),
    /// In floating point, of weights that are stored in 16 bits, or in f32 where they are few.
    Kept(Precision),
}

impl Scheme {
    pub(super) fn new(config: &QuantizationConfig) -> Self {
        Self(config.enabled.then(|| config.clone()))
    }

    /// The form of a layer that is in 8 bits unless it is kept out.
    pub(super) fn int8(&self, p: &nn::Path<'_>) -> Form {
        self.form(p, |_| Form::Int8)
    }

    /// The form of a layer in floats, of weights in 8 bits unless it is kept out.
    pub(super) fn stored(&self, p: &nn::Path<'_>) -> Form {
        self.form(p, Form::Stored)
    }

    /// As [`stored`](Self::stored) where operands are never rounded.
    pub(super) fn stored_f32(&self, p: &nn::Path<'_>) -> Form {
        self.form(p, |_| Form::Stored(Precision::F32))
    }

    fn form(&self, p: &nn::Path<'_>, wanted: impl Fn(Precision) -> Form) -> Form {
        match &self.0 {
            None => Form::Plain,
            Some(config) if config.keeps(&name(p)) => Form::Kept(config.precision),
            Some(config) => wanted(config.precision),
        }
    }

    /// The precision of what is never in 8 bits; none where the network is not quantized.
    pub(super) fn precision(&self) -> Option<Precision> {
        self.0.as_ref().map(|config| config.precision)
    }

    /// The form of a layer that is never in 8 bits.
    pub(super) fn kept(&self) -> Form {
        self.precision().map_or(Form::Plain, Form::Kept)
    }

    /// As [`kept`](Self::kept) where operands are never rounded.
    pub(super) fn kept_f32(&self) -> Form {
        self.precision().map_or(Form::Plain, |_| Form::Kept(Precision::F32))
    }
}

/// The name of a layer, as in the checkpoint.
fn name(p: &nn::Path<'_>) -> String {
    p.components().collect::<Vec<_>>().join(".")
}

/// Sums of values weighed by the softmax of scores, as a device computes them.
pub(super) fn attended(scores: &Tensor, values: &Tensor, precision: Precision) -> Tensor {
    if precision == Precision::F32 {
        return scores.softmax(-1, None::<Kind>).matmul(values);
    }
    let greatest = tch::no_grad(|| scores.amax([-1i64].as_slice(), true));
    let weights = (scores - greatest).exp();
    let total = weights.sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
    operand(&weights, precision).matmul(&operand(values, precision)) / total
}
