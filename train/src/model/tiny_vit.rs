//! The image encoder: TinyViT at 256x256 without strides in its patch embedding.

use tch::{Kind, Tensor, nn};

use super::layers::{ConvBn, gelu, layer_norm};
use super::neck::Neck;
use super::quantize::{Form, Linear, Scheme, attended, operand};
use crate::config::{EncoderSize, Precision};

/// The sizes of an encoder.
#[derive(Debug)]
struct Plan {
    /// Channels of the patch embedding and of the first stage.
    stem: i64,
    /// Blocks of the first stage.
    bottlenecks: i64,
    /// Channels, side, blocks, heads and window of the attention stages.
    stages: [(i64, i64, i64, i64, i64); 3],
}

const LITE: Plan =
    Plan { stem: 64, bottlenecks: 2, stages: [(128, 128, 2, 4, 7), (160, 64, 6, 5, 14), (320, 64, 2, 10, 7)] };

/// Heads keep their 32 channels. Where the image is large, most is taken away: there an encoder spends its time.
const SMALL: Plan =
    Plan { stem: 32, bottlenecks: 1, stages: [(64, 128, 1, 2, 7), (128, 64, 4, 4, 14), (256, 64, 2, 8, 7)] };

#[derive(Debug)]
pub(super) struct TinyVit {
    patch: [ConvBn; 2],
    bottlenecks: Vec<Bottleneck>,
    /// Patch merging before each attention stage, and the stage's blocks.
    stages: Vec<(Bottleneck, Vec<Block>)>,
    neck: Neck,
}

impl TinyVit {
    pub(super) fn new(p: &nn::Path<'_>, size: EncoderSize, scheme: &Scheme) -> Self {
        let Plan { stem, bottlenecks, stages } = match size {
            EncoderSize::Lite => LITE,
            EncoderSize::Small => SMALL,
        };
        let patch = p / "patch_embed" / "seq";
        let layers = p / "layers";
        let first = &layers / 0;
        let bottleneck = |i| {
            let forms = [scheme.kept(), scheme.kept_f32()];
            Bottleneck::new(&(&first / "blocks" / i), [stem, 4 * stem, stem], 1, forms)
        };
        let bottlenecks = (0..bottlenecks).map(bottleneck).collect();
        let mut input = stem;
        let stages: Vec<_> = stages
            .iter()
            .zip(0..)
            .map(|(&(channels, side, depth, heads, window), i)| {
                let stride = if i == 0 || i == 1 { 2 } else { 1 };
                let path = &layers / i / "downsample";
                let forms = [scheme.stored(&path), scheme.kept_f32()];
                let merge = Bottleneck::new(&path, [input, channels, channels], stride, forms);
                input = channels;
                let blocks = &layers / (i + 1) / "blocks";
                let block = |b| Block::new(&(&blocks / b), [channels, side, heads, window], scheme);
                (merge, (0..depth).map(block).collect())
            })
            .collect();
        Self {
            patch: [
                ConvBn::new(&(&patch / 0), [3, stem / 2], 1, 1, 1, scheme.kept_f32()),
                ConvBn::new(&(&patch / 2), [stem / 2, stem], 1, 1, 1, scheme.kept()),
            ],
            bottlenecks,
            stages,
            neck: Neck::new(&(p / "neck"), input, scheme),
        }
    }

    pub(super) fn forward(&self, images: &Tensor, train: bool) -> Tensor {
        let x = self.patch[1].forward(&gelu(&self.patch[0].forward(images, train)), train);
        let mut x = self.bottlenecks.iter().fold(x, |x, b| gelu(&(b.forward(&x, train) + &x)));
        for (merge, blocks) in &self.stages {
            x = blocks.iter().fold(merge.forward(&x, train), |x, b| b.forward(&x, train));
        }
        self.neck.forward(&x)
    }

    /// Computes attention in one operation from now on, or not; in 8 bits never.
    pub(super) fn fuse_attention(&mut self, fused: bool) {
        self.stages.iter_mut().flat_map(|(_, blocks)| blocks).for_each(|block| block.attention.fused = fused);
    }

    /// Adds the layers in 8 bits.
    pub(super) fn report(&self, all: &mut Vec<(String, Tensor, Tensor)>) {
        for block in self.stages.iter().flat_map(|(_, blocks)| blocks) {
            for linear in [&block.attention.qkv, &block.attention.proj, &block.fc1, &block.fc2] {
                linear.layer().report(all);
            }
        }
        self.neck.report(all);
    }
}

/// conv1x1, GELU, depthwise 3x3, GELU, conv1x1: `conv1` to `conv3`; MBConv's inside and patch merging alike.
#[derive(Debug)]
struct Bottleneck([ConvBn; 3]);

impl Bottleneck {
    /// `forms` are those of the 1x1 convolutions and of the depthwise one.
    fn new(
        p: &nn::Path<'_>,
        [input, hidden, output]: [i64; 3],
        stride: i64,
        [pointwise, depthwise]: [Form; 2],
    ) -> Self {
        Self([
            ConvBn::new(&(p / "conv1"), [input, hidden], 1, 1, 1, pointwise),
            ConvBn::new(&(p / "conv2"), [hidden, hidden], 3, stride, hidden, depthwise),
            ConvBn::new(&(p / "conv3"), [hidden, output], 1, 1, 1, pointwise),
        ])
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        let [first, second, third] = &self.0;
        let x = gelu(&first.forward(x, train));
        let x = gelu(&second.forward(&x, train));
        third.forward(&x, train)
    }
}

/// Window attention, depthwise convolution, MLP. Values between blocks are (B,C,H,W).
#[derive(Debug)]
struct Block {
    attention: Attention,
    local: ConvBn,
    norm: nn::LayerNorm,
    fc1: Linear,
    fc2: Linear,
    side: i64,
}

impl Block {
    fn new(p: &nn::Path<'_>, [channels, side, heads, window]: [i64; 4], scheme: &Scheme) -> Self {
        let mlp = p / "mlp";
        let linear = |p: nn::Path<'_>, input, output| Linear::new(&p, input, output, scheme.int8(&p));
        Self {
            attention: Attention::new(&(p / "attn"), channels, heads, window, scheme),
            local: ConvBn::new(&(p / "local_conv"), [channels, channels], 3, 1, channels, scheme.kept_f32()),
            norm: layer_norm(&mlp / "norm", channels),
            fc1: linear(&mlp / "fc1", channels, 4 * channels),
            fc2: linear(&mlp / "fc2", 4 * channels, channels),
            side,
        }
    }

    fn forward(&self, x: &Tensor, train: bool) -> Tensor {
        self.transformed(&self.local.forward(&self.attended(x), train))
    }

    /// Attention and residual.
    fn attended(&self, x: &Tensor) -> Tensor {
        let tokens = x.permute([0, 2, 3, 1]);
        (&tokens + self.attention.forward(&tokens, self.side)).permute([0, 3, 1, 2])
    }

    /// MLP and residual.
    fn transformed(&self, x: &Tensor) -> Tensor {
        let x = x.permute([0, 2, 3, 1]);
        let y = self.fc2.forward(&gelu(&self.fc1.forward(&x.apply(&self.norm))));
        (x + y).permute([0, 3, 1, 2])
    }
}

/// Multi-head attention within windows, with a learned bias for each head and distance.
#[derive(Debug)]
struct Attention {
    norm: nn::LayerNorm,
    /// Quantized, it carries the scale of the queries.
    qkv: Linear,
    proj: Linear,
    biases: Tensor,
    /// For each pair of positions in a window, the entry of `biases`.
    index: Tensor,
    heads: i64,
    window: i64,
    /// The floats of the products in between; nothing where the network is computed as it is.
    precision: Option<Precision>,
    /// In one operation, where the network is computed as it is.
    fused: bool,
}

impl Attention {
    fn new(p: &nn::Path<'_>, channels: i64, heads: i64, window: i64, scheme: &Scheme) -> Self {
        let tokens = window * window;
        let offset = |a: i64, b: i64| (a / window - b / window).abs() * window + (a % window - b % window).abs();
        let index: Vec<i64> = (0..tokens * tokens).map(|i| offset(i / tokens, i % tokens)).collect();
        let linear = |p: nn::Path<'_>, output| Linear::new(&p, channels, output, scheme.int8(&p));
        let head = channels / heads;
        let factor = || {
            // q, k and v lie head by head.
            let factors = [scale(head), 1.0, 1.0].map(|f| Tensor::full([head], f, (Kind::Double, p.device())));
            Tensor::cat(&factors, 0).repeat([heads])
        };
        Self {
            norm: layer_norm(p / "norm", channels),
            qkv: linear(p / "qkv", 3 * channels).scaled(factor),
            proj: linear(p / "proj", channels),
            biases: p.zeros("attention_biases", &[heads, tokens]),
            index: Tensor::from_slice(&index).to_device(p.device()),
            heads,
            window,
            precision: scheme.precision(),
            fused: false,
        }
    }

    /// `x` is (B,side,side,C). Windows are filled up with zeros before the norm, which makes them keys like any other.
    fn forward(&self, x: &Tensor, side: i64) -> Tensor {
        let (batch, channels, w) = (x.size()[0], x.size()[3], self.window);
        let windows = (side + w - 1) / w;
        let padding = windows * w - side;
        let x = x.pad([0, 0, 0, padding, 0, padding], "constant", 0.0);
        let x = x.view([batch, windows, w, windows, w, channels]).transpose(2, 3);
        let x = x.reshape([batch * windows * windows, w * w, channels]).apply(&self.norm);
        let x = self.proj.forward(&self.attend(&x));
        let x = x.view([batch, windows, windows, w, w, channels]).transpose(2, 3);
        let x = x.reshape([batch, windows * w, windows * w, channels]);
        x.narrow(1, 0, side).narrow(2, 0, side)
    }

    fn attend(&self, x: &Tensor) -> Tensor {
        let (count, tokens, channels) = x.size3().expect("windows are (count, tokens, channels)");
        let head = channels / self.heads;
        // q, k and v lie head by head. The gradient of chunks is one tensor; of narrow, three that must be added.
        let qkv = self.qkv.forward(x).view([count, tokens, self.heads, 3 * head]).chunk(3, 3);
        let [q, k, v] = [0, 1, 2].map(|i| qkv[i].transpose(1, 2));
        let bias = self.biases.index_select(1, &self.index).view([self.heads, tokens, tokens]);
        let attended = match self.precision {
            None if self.fused => {
                let bias = bias.unsqueeze(0);
                Tensor::scaled_dot_product_attention(&q, &k, &v, Some(&bias), 0.0, false, scale(head), false)
            }
            None => {
                let scores = q.matmul(&k.transpose(-2, -1)) * scale(head) + bias;
                scores.softmax(-1, None::<Kind>).matmul(&v)
            }
            Some(precision) => {
                let scores = operand(&q, precision).matmul(&operand(&k, precision).transpose(-2, -1)) + bias;
                attended(&scores, &v, precision)
            }
        };
        attended.transpose(1, 2).reshape([count, tokens, channels])
    }
}

/// What the scores of heads of so many channels are multiplied with.
fn scale(head: i64) -> f64 {
    (head as f64).powf(-0.5)
}

#[cfg(all(test, feature = "weights-tests"))]
mod tests;
