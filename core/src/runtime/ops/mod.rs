//! One fused block for each of the [`functions`](super::functions).

mod attributes;
mod bottleneck;
mod box_tokens;
mod bytes;
mod call;
mod cross_attention;
mod heads;
mod image_to_token;
mod image_tokens;
mod linear;
mod local_conv;
mod mlp;
mod neck;
mod params;
mod patch_embed;
mod self_attention;
mod shape;
mod token_mlp;
mod token_to_image;
mod window_attention;

use std::prelude::v1::*;

use anyhow::{Result, bail};

pub(super) use call::Call;
use linear::Linear;
use params::Params;

use super::calls::Fact;
use super::kernels::Kernels;
use super::workers::Workers;
use crate::Precision;

/// One function with its weights, ready to run.
///
/// Images are channels-last (B,H,W,C), tokens (N,T,C); a block takes as many as its inputs hold.
pub(super) trait Block: std::fmt::Debug + Send + Sync {
    /// f32 of scratch memory that each of `threads` threads needs.
    fn scratch(&self) -> usize;

    /// f32 of memory that the threads share, for a batch of `batch`.
    fn shared(&self, batch: usize) -> usize {
        let _ = batch;
        0
    }

    /// Bytes of the weights that it holds.
    fn bytes(&self) -> usize;

    /// Weights that other blocks hold as well.
    fn shared_weights(&self) -> &[f32] {
        &[]
    }

    /// Fills `out` from the inputs that aren't weights.
    fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>);
}

/// What blocks are built for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) kernels: Kernels,
    /// Precision of the products that tolerate 8 bits.
    linear: Precision,
    /// Precision of all other products: in attention, around depthwise convolutions, of a box's few tokens.
    float: Precision,
    /// Whether each block finds its memory filled with NaN.
    pub(super) poisoned: bool,
}

impl Settings {
    pub(super) fn new(kernels: Kernels, precision: Precision, poisoned: bool) -> Self {
        let (linear, float) = match precision {
            Precision::F32 => (Precision::F32, Precision::F32),
            Precision::Bf16 => (Precision::Bf16, Precision::Bf16),
            Precision::F16 => (Precision::F16, Precision::F16),
            Precision::Int8 => (Precision::Int8, kernels.fast_float()),
        };
        Self { kernels, linear, float, poisoned }
    }

    /// As these, with every product in f32.
    const fn exact(self) -> Self {
        Self { linear: Precision::F32, float: Precision::F32, ..self }
    }
}

/// Builds the block of a call whose weights are known.
pub(super) fn build(call: &Call, inputs: &[Fact<'_>], settings: Settings) -> Result<Box<dyn Block>> {
    let p = Params::new(call, inputs, if call.exact()? { settings.exact() } else { settings });
    Ok(match call.function.name {
        "PatchEmbed" => Box::new(patch_embed::PatchEmbed::new(&p)?),
        "MbConv" => Box::new(bottleneck::Bottleneck::new(&p, true)?),
        "PatchMerging" => Box::new(bottleneck::Bottleneck::new(&p, false)?),
        "WindowAttention" => Box::new(window_attention::WindowAttention::new(&p)?),
        "LocalConv" => Box::new(local_conv::LocalConv::new(&p)?),
        "Mlp" => Box::new(mlp::Mlp::new(&p)?),
        "Neck" => Box::new(neck::Neck::new(&p)?),
        "ImageTokens" => Box::new(image_tokens::ImageTokens::new(&p)?),
        "BoxTokens" => Box::new(box_tokens::BoxTokens::new(&p)?),
        "FirstSelfAttention" => Box::new(self_attention::SelfAttention::new(&p, true)?),
        "SelfAttention" => Box::new(self_attention::SelfAttention::new(&p, false)?),
        "TokenToImage" => Box::new(token_to_image::TokenToImage::new(&p)?),
        "ImageToToken" => Box::new(image_to_token::ImageToToken::new(&p)?),
        "TokenMlp" => Box::new(token_mlp::TokenMlp::new(&p)?),
        "MaskHead" => Box::new(heads::MaskHead::new(&p)?),
        "IouHead" => Box::new(heads::IouHead::new(&p)?),
        other => bail!("function {other} is not known"),
    })
}
