//! Layers with the checkpoint's names.

use tch::{Kind, Tensor, nn};

use super::quantize::{Form, Linear, Scheme, operand, stored, stored_int8};
use crate::config::Precision;

/// Convolution without bias, then BatchNorm: `c` and `bn`.
#[derive(Debug)]
pub(super) struct ConvBn {
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
    /// Stride, padding and groups.
    geometry: [i64; 3],
    /// Folded into one convolution in a device's floats, unless it is plain.
    form: Form,
}

impl ConvBn {
    pub(super) fn new(
        p: &nn::Path<'_>,
        [input, output]: [i64; 2],
        kernel: i64,
        stride: i64,
        groups: i64,
        form: Form,
    ) -> Self {
        let config = nn::ConvConfig { stride, padding: kernel / 2, groups, bias: false, ..Default::default() };
        // tch starts BatchNorm's weights at random.
        let norm = nn::BatchNormConfig { ws_init: nn::Init::Const(1.0), ..Default::default() };
        Self {
            conv: nn::conv2d(p / "c", input, output, kernel, config),
            norm: nn::batch_norm2d(p / "bn", output, norm),
            geometry: [stride, kernel / 2, groups],
            form,
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        match self.form {
            Form::Plain if train => x.apply(&self.conv).apply_t(&self.norm, true),
            // BatchNorm by its running statistics: a pass less over the values, and two less backward.
            Form::Plain => {
                let (weight, bias) = self.folded(Kind::Float);
                self.convolved(x, &weight, bias)
            }
            Form::Stored(precision) => self.forward_folded(x, precision, stored_int8),
            Form::Kept(precision) => self.forward_folded(x, precision, stored),
            Form::Int8 => unreachable!("no convolution with a BatchNorm is in integers"),
        }
    }

    /// In the floats of a device, as export folds it: in f64.
    fn forward_folded(&self, x: &Tensor, precision: Precision, stored: fn(&Tensor) -> Tensor) -> Tensor {
        let (weight, bias) = self.folded(Kind::Double);
        let weight = operand(&stored(&weight.to_kind(Kind::Float)), precision);
        self.convolved(&operand(x, precision), &weight, bias.to_kind(Kind::Float))
    }

    /// Weight and bias of the convolution with BatchNorm in them, by the running statistics.
    fn folded(&self, kind: Kind) -> (Tensor, Tensor) {
        let of = |t: &Tensor| t.to_kind(kind);
        let norm = &self.norm;
        let (gamma, beta) = (norm.ws.as_ref().expect("a weight"), norm.bs.as_ref().expect("a bias"));
        let scale = of(gamma) / (of(&norm.running_var) + BATCH_NORM_EPS).sqrt();
        let weight = of(&self.conv.ws) * scale.view([-1, 1, 1, 1]);
        let bias = of(beta) - of(&norm.running_mean) * scale;
        (weight, bias)
    }

    fn convolved(&self, x: &Tensor, weight: &Tensor, bias: Tensor) -> Tensor {
        let [stride, padding, groups] = self.geometry;
        x.conv2d(weight, Some(bias), [stride; 2], [padding; 2], [1, 1], groups)
    }
}

/// Epsilon of BatchNorm.
const BATCH_NORM_EPS: f64 = 1e-5;

/// Normalisation over the channels of (B,C,H,W).
#[derive(Debug)]
pub(super) struct LayerNorm2d {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm2d {
    const EPS: f64 = 1e-6;

    pub(super) fn new(p: &nn::Path<'_>, channels: i64) -> Self {
        Self { weight: p.ones("weight", &[channels]), bias: p.zeros("bias", &[channels]) }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_last(&x.permute([0, 2, 3, 1])).permute([0, 3, 1, 2])
    }

    /// Of (...,C).
    pub(super) fn forward_last(&self, x: &Tensor) -> Tensor {
        let channels = [self.weight.size()[0]];
        x.layer_norm(channels, Some(&self.weight), Some(&self.bias), Self::EPS, false)
    }
}

/// LayerNorm over the last axis, epsilon 1e-5.
pub(super) fn layer_norm(p: nn::Path<'_>, channels: i64) -> nn::LayerNorm {
    nn::layer_norm(p, vec![channels], Default::default())
}

/// The exact GELU.
pub(super) fn gelu(x: &Tensor) -> Tensor {
    x.gelu("none")
}

/// Three linear layers with ReLU between: `layers.0` to `layers.2`.
#[derive(Debug)]
pub(super) struct Mlp3([Linear; 3]);

impl Mlp3 {
    /// Of `output` values, all of which are asked for unless `first` of them is; core multiplies them in f32.
    pub(super) fn new(p: &nn::Path<'_>, scheme: &Scheme, width: i64, output: i64, first: bool) -> Self {
        let layers = p / "layers";
        let layer = |i: i64, output| {
            let p = &layers / i;
            // A single row is too few weights for 8 bits.
            let form = if i == 2 && first { Form::Plain } else { scheme.stored_f32(&p) };
            Linear::new(&p, width, output, form)
        };
        Self([layer(0, width), layer(1, width), layer(2, output)])
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let [first, second, third] = &self.0;
        third.forward(&second.forward(&first.forward(x).relu()).relu())
    }
}
