//! The functions of our ONNX domain: what the exporter writes and the fused blocks compute.
//!
//! This is the one table of their names, inputs, shapes and attributes. The exporter (`umedsam-export`) gives each
//! function a body of standard operators, which any runtime can execute; [`Graph`](super::Graph) replaces each call by
//! one block.
//!
//! A shape lists its axes from the outermost to the innermost. A letter is a size that is the same throughout one call:
//! `B` images, `N` boxes, `M` images that are one for all boxes or one for each, `H` and `W` rows and columns, `C`
//! channels, `T` tokens of a box, `P` cells of the image embedding, `A` heads, `L` tokens of a window. `3C` is three
//! times `C`.

use std::prelude::v1::*;

/// Domain of the functions.
pub const DOMAIN: &str = "umedsam";

/// Version of the functions, as the `opset_import` of a file states it. A file of another version does not run fused.
pub const DOMAIN_VERSION: i64 = 1;

/// Attribute of every function: 1 has the call computed in f32 in every [`Precision`](crate::Precision).
pub const EXACT: &str = "exact";

/// Attribute of [`PATCH_MERGING`]: the stride along rows and along columns, both 1 or both 2.
pub const STRIDES: &str = "strides";

/// Epsilon of LayerNorm over tokens (PyTorch's default).
pub const LAYER_NORM_EPS: f32 = 1e-5;

/// Epsilon of LayerNorm over the channels of an image, in [`NECK`] and [`MASK_HEAD`].
pub const LAYER_NORM_2D_EPS: f32 = 1e-6;

/// What the name of a function's 8-bit form ends with.
const INT8: &str = "Int8";

/// A function.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Function {
    /// Name in the ONNX file (`op_type`).
    pub name: &'static str,
    /// What it computes.
    pub doc: &'static str,
    /// Its inputs in order: the activations first, then the weights.
    pub inputs: &'static [Input],
    /// Shape of its one output. Beyond what inputs have there are sums (`T+2`), products (`H*W`), quotients rounded up
    /// by the [`STRIDES`] (`H/s`) and the side of a square of cells (`√P`).
    pub output: &'static str,
    /// Names of its attributes besides [`EXACT`].
    pub attributes: &'static [&'static str],
}

/// An input of a function.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// Name in the function's body.
    pub name: &'static str,
    /// Its shape.
    pub shape: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// What an input of a function is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An activation, which the caller or another function computes.
    Activation,
    /// A weight in f32.
    Weight,
    /// A weight that the function's 8-bit form takes as two inputs: 8-bit integers of -127 to 127, and after them f32
    /// scales of one axis, the output channels (`NAME_scale`). Functions with such inputs have an 8-bit form.
    Quantized,
}

const fn activation(name: &'static str, shape: &'static str) -> Input {
    Input { name, shape, kind: Kind::Activation }
}

const fn weight(name: &'static str, shape: &'static str) -> Input {
    Input { name, shape, kind: Kind::Weight }
}

const fn quantized(name: &'static str, shape: &'static str) -> Input {
    Input { name, shape, kind: Kind::Quantized }
}

impl Function {
    /// The function of this name, and whether the name is that of its 8-bit form.
    pub fn find(name: &str) -> Option<(&'static Self, bool)> {
        let of = |name: &str| ALL.iter().copied().find(|f| f.name == name);
        match of(name) {
            Some(function) => Some((function, false)),
            None => of(name.strip_suffix(INT8)?).filter(|f| f.has_int8()).map(|f| (f, true)),
        }
    }

    /// Whether it has an 8-bit form, in which activations are quantized to 8 bits while it runs.
    pub fn has_int8(&self) -> bool {
        self.inputs.iter().any(|input| input.kind == Kind::Quantized)
    }

    /// Whether a block computes it. The others depend on weights alone and are computed once, when a graph is loaded.
    pub fn is_fused(&self) -> bool {
        self.activations() > 0
    }

    /// Number of its activations, which are the first of its inputs.
    pub fn activations(&self) -> usize {
        self.inputs.iter().filter(|input| input.kind == Kind::Activation).count()
    }

    /// Its name in the floating-point or the 8-bit form.
    pub fn name_in(&self, int8: bool) -> String {
        if int8 { format!("{}{INT8}", self.name) } else { self.name.into() }
    }

    /// Names and shapes of its inputs in the floating-point or the 8-bit form, in order.
    pub fn inputs_in(&self, int8: bool) -> impl Iterator<Item = (String, &'static str)> {
        self.inputs.iter().flat_map(move |input| {
            let scale =
                (int8 && input.kind == Kind::Quantized).then(|| (format!("{}_scale", input.name), input.scale()));
            [(input.name.to_owned(), input.shape)].into_iter().chain(scale)
        })
    }
}

impl Input {
    /// Shape of the scales: the output channels are the last axis of a matrix and the first of a convolution's weight.
    fn scale(&self) -> &'static str {
        let mut axes = self.shape.split(' ');
        let first = axes.next().unwrap_or_default();
        match (axes.next(), axes.next()) {
            (Some(last), None) => last,
            _ => first,
        }
    }
}

/// All functions, in the order in which the network calls them first.
pub static ALL: [&Function; 17] = [
    &PATCH_EMBED,
    &MB_CONV,
    &PATCH_MERGING,
    &WINDOW_ATTENTION,
    &LOCAL_CONV,
    &MLP,
    &NECK,
    &POSITION_ENCODING,
    &IMAGE_TOKENS,
    &BOX_TOKENS,
    &FIRST_SELF_ATTENTION,
    &SELF_ATTENTION,
    &TOKEN_TO_IMAGE,
    &TOKEN_MLP,
    &IMAGE_TO_TOKEN,
    &MASK_HEAD,
    &IOU_HEAD,
];

/// Two 1x1 convolutions with a GELU between. The image is channels-first, the output channels-last.
pub static PATCH_EMBED: Function = Function {
    name: "PatchEmbed",
    doc: "conv1x1, GELU, conv1x1",
    inputs: &[
        activation("image", "B I H W"),
        weight("w1", "E I 1 1"),
        weight("b1", "E"),
        weight("w2", "C E 1 1"),
        weight("b2", "C"),
    ],
    output: "B H W C",
    attributes: &[],
};

/// Inverted bottleneck with a residual.
pub static MB_CONV: Function = Function {
    name: "MbConv",
    doc: "conv1x1, GELU, depthwise 3x3, GELU, conv1x1, residual, GELU",
    inputs: &[
        activation("x", "B H W C"),
        weight("w1", "E C 1 1"),
        weight("b1", "E"),
        weight("w2", "E 1 3 3"),
        weight("b2", "E"),
        weight("w3", "C E 1 1"),
        weight("b3", "C"),
    ],
    output: "B H W C",
    attributes: &["group"],
};

/// Inverted bottleneck between two stages, which may halve the sides.
pub static PATCH_MERGING: Function = Function {
    name: "PatchMerging",
    doc: "conv1x1, GELU, depthwise 3x3 with a stride, GELU, conv1x1",
    inputs: &[
        activation("x", "B H W C"),
        weight("w1", "E C 1 1"),
        weight("b1", "E"),
        weight("w2", "E 1 3 3"),
        weight("b2", "E"),
        weight("w3", "D E 1 1"),
        weight("b3", "D"),
    ],
    output: "B H/s W/s D",
    attributes: &["group", STRIDES],
};

/// Multi-head attention within windows, with LayerNorm before and the residual after.
///
/// The image is padded with zeros to whole windows **before** the LayerNorm, so that padded tokens become the norm's
/// bias and take part as keys: the network was trained so. `qkv_w` holds queries, keys and values in this order, and
/// the queries' part carries the scale of the scores.
pub static WINDOW_ATTENTION: Function = Function {
    name: "WindowAttention",
    doc: "pad to whole windows, LayerNorm, multi-head attention with a bias table per head, projection, residual",
    inputs: &[
        activation("x", "B H W C"),
        weight("norm_w", "C"),
        weight("norm_b", "C"),
        quantized("qkv_w", "C 3C"),
        weight("qkv_b", "3C"),
        weight("bias", "A L L"),
        quantized("proj_w", "C C"),
        weight("proj_b", "C"),
    ],
    output: "B H W C",
    attributes: &["window", "num_heads", "pads", "partition", "windows", "heads", "reverse", "padded", "size"],
};

/// Depthwise 3x3 convolution.
pub static LOCAL_CONV: Function = Function {
    name: "LocalConv",
    doc: "depthwise 3x3",
    inputs: &[activation("x", "B H W C"), weight("w", "C 1 3 3"), weight("b", "C")],
    output: "B H W C",
    attributes: &["group"],
};

/// The encoder's multi-layer perceptron.
pub static MLP: Function = Function {
    name: "Mlp",
    doc: "LayerNorm, linear, GELU, linear, residual",
    inputs: &[
        activation("x", "B H W C"),
        weight("norm_w", "C"),
        weight("norm_b", "C"),
        quantized("w1", "C E"),
        weight("b1", "E"),
        quantized("w2", "E C"),
        weight("b2", "C"),
    ],
    output: "B H W C",
    attributes: &[],
};

/// The encoder's neck. Its output, the embedding, is channels-first.
pub static NECK: Function = Function {
    name: "Neck",
    doc: "linear, LayerNorm, conv3x3, LayerNorm, to channels-first",
    inputs: &[
        activation("x", "B H W C"),
        quantized("w1", "C D"),
        weight("norm1_w", "D"),
        weight("norm1_b", "D"),
        quantized("w2", "D D 3 3"),
        weight("norm2_w", "D"),
        weight("norm2_b", "D"),
    ],
    output: "B D H W",
    attributes: &[],
};

/// Positional encoding of points in -1..1, as random Fourier features.
pub static POSITION_ENCODING: Function = Function {
    name: "PositionEncoding",
    doc: "Fourier features",
    inputs: &[weight("points", "1 P 2"), weight("gaussian", "2 F")],
    output: "1 P 2F",
    attributes: &[],
};

/// The embedding as tokens, with the embedding of "no mask given" added.
pub static IMAGE_TOKENS: Function = Function {
    name: "ImageTokens",
    doc: "flatten, channels last, add",
    inputs: &[activation("embedding", "B C H W"), weight("no_mask", "1 C")],
    output: "B H*W C",
    attributes: &[],
};

/// The tokens of boxes in pixels of the 256x256 input: learned output tokens, then the encodings of the two corners.
pub static BOX_TOKENS: Function = Function {
    name: "BoxTokens",
    doc: "output tokens and encoded box corners",
    inputs: &[
        activation("boxes", "N 4"),
        weight("gaussian", "2 F"),
        weight("corners", "1 2 2F"),
        weight("outputs", "1 T 2F"),
    ],
    output: "N T+2 2F",
    attributes: &[],
};

/// Self-attention of the tokens in the decoder's first layer. In this and the next three functions the weights of the
/// query carry the scale of the scores.
pub static FIRST_SELF_ATTENTION: Function = Function {
    name: "FirstSelfAttention",
    doc: "attention, LayerNorm",
    inputs: &[
        activation("tokens", "N T C"),
        weight("q_w", "C C"),
        weight("q_b", "C"),
        weight("k_w", "C C"),
        weight("k_b", "C"),
        weight("v_w", "C C"),
        weight("v_b", "C"),
        weight("out_w", "C C"),
        weight("out_b", "C"),
        weight("norm_w", "C"),
        weight("norm_b", "C"),
    ],
    output: "N T C",
    attributes: &["split", "merge"],
};

/// Self-attention of the tokens with their positions.
pub static SELF_ATTENTION: Function = Function {
    name: "SelfAttention",
    doc: "attention, residual, LayerNorm",
    inputs: &[
        activation("tokens", "N T C"),
        activation("positions", "N T C"),
        weight("q_w", "C C"),
        weight("q_b", "C"),
        weight("k_w", "C C"),
        weight("k_b", "C"),
        weight("v_w", "C C"),
        weight("v_b", "C"),
        weight("out_w", "C C"),
        weight("out_b", "C"),
        weight("norm_w", "C"),
        weight("norm_b", "C"),
    ],
    output: "N T C",
    attributes: &["split", "merge"],
};

const CROSS_ATTENTION: [Input; 14] = [
    activation("tokens", "N T C"),
    activation("positions", "N T C"),
    activation("image", "M P C"),
    weight("image_positions", "1 P C"),
    weight("q_w", "C I"),
    weight("q_b", "I"),
    weight("k_w", "C I"),
    weight("k_b", "I"),
    weight("v_w", "C I"),
    weight("v_b", "I"),
    weight("out_w", "I C"),
    weight("out_b", "C"),
    weight("norm_w", "C"),
    weight("norm_b", "C"),
];

/// The tokens attend to the image.
pub static TOKEN_TO_IMAGE: Function = Function {
    name: "TokenToImage",
    doc: "attention, residual, LayerNorm",
    inputs: &CROSS_ATTENTION,
    output: "N T C",
    attributes: &["split", "merge"],
};

/// The image attends to the tokens.
pub static IMAGE_TO_TOKEN: Function = Function {
    name: "ImageToToken",
    doc: "attention, residual, LayerNorm",
    inputs: &CROSS_ATTENTION,
    output: "N P C",
    attributes: &["split", "merge"],
};

/// The decoder's multi-layer perceptron.
pub static TOKEN_MLP: Function = Function {
    name: "TokenMlp",
    doc: "linear, ReLU, linear, residual, LayerNorm",
    inputs: &[
        activation("tokens", "N T C"),
        weight("w1", "C E"),
        weight("b1", "E"),
        weight("w2", "E C"),
        weight("b2", "C"),
        weight("norm_w", "C"),
        weight("norm_b", "C"),
    ],
    output: "N T C",
    attributes: &[],
};

/// Logits of the single-mask token (the second token), in image order.
pub static MASK_HEAD: Function = Function {
    name: "MaskHead",
    doc: "upscaling, hypernetwork, product",
    inputs: &[
        activation("tokens", "N T C"),
        activation("image", "N P C"),
        quantized("up1_w", "C 4D"),
        weight("up1_b", "4D"),
        weight("norm_w", "D"),
        weight("norm_b", "D"),
        quantized("up2_w", "D 4E"),
        weight("up2_b", "4E"),
        weight("w1", "C F"),
        weight("b1", "F"),
        weight("w2", "F G"),
        weight("b2", "G"),
        weight("w3", "G E"),
        weight("b3", "E"),
    ],
    output: "N 4√P 4√P",
    attributes: &[],
};

/// Predicted IoU of the single-mask output, from the first token.
pub static IOU_HEAD: Function = Function {
    name: "IouHead",
    doc: "three linear layers with ReLU between",
    inputs: &[
        activation("tokens", "N T C"),
        weight("w1", "C F"),
        weight("b1", "F"),
        weight("w2", "F G"),
        weight("b2", "G"),
        weight("w3", "G 1"),
        weight("b3", "1"),
    ],
    output: "N",
    attributes: &[],
};
