//! Layers with the checkpoint's names.

use tch::{Tensor, nn};

/// Convolution without bias, then BatchNorm: `c` and `bn`.
#[derive(Debug)]
pub(super) struct ConvBn {
    conv: nn::Conv2D,
    norm: nn::BatchNorm,
}

impl ConvBn {
    pub(super) fn new(p: &nn::Path<'_>, input: i64, output: i64, kernel: i64, stride: i64, groups: i64) -> Self {
        let config = nn::ConvConfig { stride, padding: kernel / 2, groups, bias: false, ..Default::default() };
        // tch starts BatchNorm's weights at random.
        let norm = nn::BatchNormConfig { ws_init: nn::Init::Const(1.0), ..Default::default() };
        Self {
            conv: nn::conv2d(p / "c", input, output, kernel, config),
            norm: nn::batch_norm2d(p / "bn", output, norm),
        }
    }

    pub(super) fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        x.apply(&self.conv).apply_t(&self.norm, train)
    }
}

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
        let channels = [self.weight.size()[0]];
        let x = x.permute([0, 2, 3, 1]);
        x.layer_norm(channels, Some(&self.weight), Some(&self.bias), Self::EPS, false).permute([0, 3, 1, 2])
    }
}

/// LayerNorm over the last axis, epsilon 1e-5.
pub(super) fn layer_norm(p: nn::Path<'_>, channels: i64) -> nn::LayerNorm {
    nn::layer_norm(p, vec![channels], Default::default())
}

pub(super) fn linear(p: nn::Path<'_>, input: i64, output: i64) -> nn::Linear {
    nn::linear(p, input, output, Default::default())
}

/// The exact GELU.
pub(super) fn gelu(x: &Tensor) -> Tensor {
    x.gelu("none")
}

/// Three linear layers with ReLU between: `layers.0` to `layers.2`.
#[derive(Debug)]
pub(super) struct Mlp3([nn::Linear; 3]);

impl Mlp3 {
    pub(super) fn new(p: &nn::Path<'_>, width: i64, output: i64) -> Self {
        let layers = p / "layers";
        Self([linear(&layers / 0, width, width), linear(&layers / 1, width, width), linear(&layers / 2, width, output)])
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let [first, second, third] = &self.0;
        x.apply(first).relu().apply(second).relu().apply(third)
    }
}
