//! The matrices that are stored in 8 bits, and what can be folded into their neighbours.

use crate::onnx::{STAGES, Stage};

/// The encoder's beginning of names in the checkpoint; the graphs leave it out.
const ENCODER: &str = "image_encoder.";

/// How the tensor of a checkpoint is read as a matrix (k inputs, n outputs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// (n, k), and (n, k, 1, 1) or (n, inputs, 3, 3) with k running over inputs, then taps.
    Outputs,
    /// (k, outputs, 2, 2), a transposed convolution without overlap: n runs over outputs, then taps.
    Inputs,
}

/// What an input channel's factor is folded into, so that the network stays what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    /// Weight and bias of the norm before.
    Norm(String),
    /// The rows of the values in the projection before: attention only mixes tokens, within a head's channels.
    Values {
        /// Name of the query, key and value projection, without `.weight`.
        qkv: String,
        /// Channels of a head.
        head: usize,
    },
    /// Nothing: a GELU or the residual stream lies between.
    Nothing,
}

/// How activations reach a layer, and what of them is rounded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Tokens of k values, each rounded for itself.
    Tokens,
    /// 3x3 neighbourhoods of a channels-first image, which is rounded as a whole.
    Patches,
    /// Pixels of a channels-first image, which stay in floats: only the weights are in 8 bits.
    Pixels,
}

/// One matrix whose weights are in 8 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// The block's name in the graphs.
    pub(crate) block: String,
    /// The layer's name in the checkpoint, without `.weight` and `.bias`.
    pub(crate) name: String,
    /// Name of the weight in the f32 graph.
    pub(crate) value: String,
    /// Sizes of the matrix.
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Shape of the checkpoint's tensor.
    pub(crate) shape: Vec<usize>,
    pub(crate) layout: Layout,
    /// Outputs that share a value of the bias; 0 if there is none.
    pub(crate) bias: usize,
    pub(crate) fold: Fold,
    pub(crate) input: Input,
    /// In the encoder, not in the decoder.
    pub(crate) encoder: bool,
}

/// All of them, in the order in which the network runs.
pub(crate) fn layers() -> Vec<Layer> {
    let mut all = Vec::new();
    for (stage, k, n) in [(0, 64, 128), (1, 128, 160), (2, 160, 320)] {
        let block = format!("layers.{stage}.downsample");
        all.push(pixels(&block, "conv1", k, n));
        all.push(pixels(&block, "conv3", n, n));
    }
    for &Stage { layer, channels: c, depth, heads, .. } in &STAGES {
        for block in 0..depth {
            let name = format!("layers.{layer}.blocks.{block}");
            let (attn, mlp) = (format!("{name}.attn"), format!("{name}.mlp"));
            let head = c / heads;
            let qkv = format!("{ENCODER}{attn}.qkv");
            all.push(linear(&attn, "qkv", c, 3 * c, Fold::Norm(format!("{ENCODER}{attn}.norm"))));
            all.push(linear(&attn, "proj", c, c, Fold::Values { qkv, head }));
            all.push(linear(&mlp, "fc1", c, 4 * c, Fold::Norm(format!("{ENCODER}{mlp}.norm"))));
            all.push(linear(&mlp, "fc2", 4 * c, c, Fold::Nothing));
        }
    }
    let neck = |index: usize, k: usize, shape: [usize; 4], fold| Layer {
        block: "embedding".into(),
        name: format!("{ENCODER}neck.{index}"),
        value: format!("neck.{index}.weight"),
        k,
        n: 256,
        shape: shape.into(),
        layout: Layout::Outputs,
        bias: 0,
        fold,
        input: if index == 2 { Input::Patches } else { Input::Tokens },
        encoder: true,
    };
    all.push(neck(0, 320, [256, 320, 1, 1], Fold::Nothing));
    all.push(neck(2, 9 * 256, [256, 256, 3, 3], Fold::Norm(format!("{ENCODER}neck.1"))));
    let up = |index: usize, k: usize, outputs: usize| {
        let name = format!("mask_decoder.output_upscaling.{index}");
        Layer {
            block: "logits".into(),
            value: format!("{name}.weight"),
            name,
            k,
            n: 4 * outputs,
            shape: vec![k, outputs, 2, 2],
            layout: Layout::Inputs,
            bias: 4,
            fold: Fold::Nothing,
            input: Input::Tokens,
            encoder: false,
        }
    };
    all.extend([up(0, 256, 64), up(3, 64, 32)]);
    all
}

fn linear(block: &str, part: &str, k: usize, n: usize, fold: Fold) -> Layer {
    Layer {
        block: block.into(),
        name: format!("{ENCODER}{block}.{part}"),
        value: format!("{block}.{part}.weight"),
        k,
        n,
        shape: vec![n, k],
        layout: Layout::Outputs,
        bias: 1,
        fold,
        input: Input::Tokens,
        encoder: true,
    }
}

/// A 1x1 convolution, whose BatchNorm is folded in only when it is exported: that moves the scales, not the steps.
fn pixels(block: &str, part: &str, k: usize, n: usize) -> Layer {
    Layer {
        block: block.into(),
        name: format!("{ENCODER}{block}.{part}.c"),
        value: format!("{block}.{part}.weight"),
        k,
        n,
        shape: vec![n, k, 1, 1],
        layout: Layout::Outputs,
        bias: 0,
        fold: Fold::Nothing,
        input: Input::Pixels,
        encoder: true,
    }
}

impl Layer {
    /// Place of the weight from input `k` to output `n` in the tensor.
    pub(crate) const fn place(&self, k: usize, n: usize) -> usize {
        match self.layout {
            Layout::Outputs => n * self.k + k,
            Layout::Inputs => k * self.n + n,
        }
    }

    /// Name of the weight in the checkpoint.
    pub(crate) fn weight(&self) -> String {
        format!("{}.weight", self.name)
    }

    /// Columns of the matrix for each of the channels that can have a factor: taps of a convolution share one.
    pub(crate) fn taps(&self) -> usize {
        if self.input == Input::Patches { 9 } else { 1 }
    }
}
