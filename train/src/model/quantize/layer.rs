//! Layers that can be computed in 8 bits.

use tch::{Kind, Tensor, nn};

use super::integers::{of_activations, of_weights};
use super::{Form, name, operand, stored};

/// Weights of a product, and how it is computed.
#[derive(Debug)]
pub(in crate::model) struct Layer {
    name: String,
    weight: Tensor,
    form: Form,
    /// Axes of the weights of one output channel.
    axes: &'static [i64],
    /// What export multiplies the output channels with, in f64.
    factor: Option<Tensor>,
}

impl Layer {
    /// Of a layer's weights; those of an output channel lie along `axes`.
    pub(in crate::model) fn new(p: &nn::Path<'_>, weight: &Tensor, axes: &'static [i64], form: Form) -> Self {
        Self { name: name(p), weight: weight.shallow_clone(), form, axes, factor: None }
    }

    pub(in crate::model) const fn form(&self) -> Form {
        self.form
    }

    fn folded(&self, values: &Tensor) -> Tensor {
        match &self.factor {
            None => values.shallow_clone(),
            Some(factor) => {
                let mut shape = vec![1; values.dim()];
                shape[0] = -1;
                (values.to_kind(Kind::Double) * factor.view(&shape[..])).to_kind(Kind::Float)
            }
        }
    }

    /// Integers in f32 and the scale of each output channel.
    pub(in crate::model) fn integers(&self) -> (Tensor, Tensor) {
        of_weights(&self.folded(&self.weight), self.axes)
    }

    /// The weights in floats, as a device has them.
    pub(in crate::model) fn weight(&self) -> Tensor {
        let weight = self.folded(&self.weight);
        match self.form {
            Form::Plain => weight,
            Form::Kept(_) => stored(&weight),
            Form::Int8 | Form::Stored(_) => {
                let (integers, scale) = of_weights(&weight, self.axes);
                integers * scale
            }
        }
    }

    /// `product` of activations and weights. Activations are rounded along `rows`; the scales of rows and channels that
    /// it is to be multiplied with are brought into its shape by `spread`.
    pub(in crate::model) fn product(
        &self,
        x: &Tensor,
        rows: &[i64],
        product: impl FnOnce(&Tensor, &Tensor) -> Tensor,
        spread: impl FnOnce(&Tensor, &Tensor) -> (Tensor, Tensor),
    ) -> Tensor {
        match self.form {
            Form::Plain => product(x, &self.weight()),
            Form::Stored(precision) | Form::Kept(precision) => {
                product(&operand(x, precision), &operand(&self.weight(), precision))
            }
            Form::Int8 => {
                let (steps, size) = of_activations(x, rows);
                let (integers, scale) = self.integers();
                let (size, scale) = spread(&size, &scale);
                product(&steps, &integers) * size * scale
            }
        }
    }

    /// Adds the name, integers and scales to what a device holds in 8 bits.
    pub(in crate::model) fn report(&self, all: &mut Vec<(String, Tensor, Tensor)>) {
        if self.form == Form::Int8 {
            let (integers, scale) = tch::no_grad(|| self.integers());
            all.push((self.name.clone(), integers.detach(), scale));
        }
    }
}

/// A linear layer.
#[derive(Debug)]
pub(in crate::model) struct Linear {
    plain: nn::Linear,
    layer: Layer,
}

impl Linear {
    pub(in crate::model) fn new(p: &nn::Path<'_>, input: i64, output: i64, form: Form) -> Self {
        let plain = nn::linear(p, input, output, Default::default());
        let layer = Layer::new(p, &plain.ws, &[1], form);
        Self { plain, layer }
    }

    /// With output channels that export multiplies with a factor (f64) before it rounds them. A plain layer is left as it
    /// is: its factor is the caller's.
    pub(in crate::model) fn scaled(mut self, factor: impl FnOnce() -> Tensor) -> Self {
        if self.layer.form != Form::Plain {
            self.layer.factor = Some(factor());
        }
        self
    }

    pub(in crate::model) const fn layer(&self) -> &Layer {
        &self.layer
    }

    pub(in crate::model) fn is_plain(&self) -> bool {
        self.layer.form == Form::Plain
    }

    /// The bias as a device has it.
    pub(in crate::model) fn bias(&self) -> Tensor {
        stored(&self.layer.folded(self.plain.bs.as_ref().expect("linear layers have a bias")))
    }

    pub(in crate::model) fn forward(&self, x: &Tensor) -> Tensor {
        if self.is_plain() {
            return x.apply(&self.plain);
        }
        let product = |x: &Tensor, w: &Tensor| x.matmul(&w.tr());
        self.layer.product(x, &[-1], product, |size, scale| (size.shallow_clone(), scale.view(-1))) + self.bias()
    }
}
