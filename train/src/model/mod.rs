//! LiteMedSAM: TinyViT image encoder, box prompt encoder, two-way-transformer mask decoder.

mod attention;
mod layers;
mod mask_decoder;
mod neck;
mod prompt_encoder;
mod quantize;
mod tiny_vit;
mod transformer;
mod upscaling;
mod weights;

use mask_decoder::MaskDecoder;
use prompt_encoder::PromptEncoder;
use quantize::Scheme;
use tch::{Tensor, nn};
use tiny_vit::TinyVit;
pub use weights::{WeightsError, encoder_size, load, load_around_stages, save};
pub(crate) use weights::{published, read, size_of, write};

use crate::config::{EncoderSize, QuantizationConfig};

/// Side of the input images, in pixels.
pub const IMAGE_SIDE: i64 = 256;

/// The same values (N,C,H,W), with the channels of a pixel beside each other in memory.
pub(crate) fn channels_last(x: &Tensor) -> Tensor {
    x.permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2])
}

/// The network, with every parameter and buffer named as in the checkpoint.
#[derive(Debug)]
pub struct LiteMedSam {
    encoder: TinyVit,
    prompts: PromptEncoder,
    decoder: MaskDecoder,
}

impl LiteMedSam {
    /// A network of random weights under `root`; [`load`] fills it.
    pub fn new(root: &nn::Path<'_>) -> Self {
        Self::quantized(root, &QuantizationConfig::default())
    }

    /// A network of random weights that is computed, if the configuration wants it, as devices compute a model in 8
    /// bits. Its variables are the same.
    pub fn quantized(root: &nn::Path<'_>, config: &QuantizationConfig) -> Self {
        Self::sized(root, EncoderSize::Lite, config)
    }

    /// As [`quantized`](Self::quantized), with an encoder of another size.
    pub fn sized(root: &nn::Path<'_>, size: EncoderSize, config: &QuantizationConfig) -> Self {
        let scheme = Scheme::new(config);
        Self {
            encoder: TinyVit::new(&(root / "image_encoder"), size, &scheme),
            prompts: PromptEncoder::new(&(root / "prompt_encoder")),
            decoder: MaskDecoder::new(&(root / "mask_decoder"), &scheme),
        }
    }

    /// Computes the encoder's attention in one operation from now on, or as it is written, which is how a network is
    /// made. In 8 bits it stays as devices compute it.
    pub fn fuse_attention(&mut self, fused: bool) {
        self.encoder.fuse_attention(fused);
    }

    /// The layers that are computed in 8 bits: name, weights in integers (f32, shaped as in the checkpoint), and the scale
    /// of each output channel. None, unless the network is [`quantized`](Self::quantized).
    pub fn integers(&self) -> Vec<(String, Tensor, Tensor)> {
        let mut all = Vec::new();
        self.encoder.report(&mut all);
        self.decoder.report(&mut all);
        all
    }

    /// Embeddings (B,256,64,64) of images (B,3,256,256) in 0..1.
    ///
    /// With `train`, BatchNorm uses the batch's statistics and moves its running ones; a frozen encoder must be run
    /// without, and a quantized network, whose BatchNorm is in its weights, doesn't heed it. Gradients are another matter: they flow either way, unless under [`tch::no_grad`].
    ///
    /// # Panics
    /// If the images have another shape, or are not f32 on the network's device.
    pub fn encode(&self, images: &Tensor, train: bool) -> Tensor {
        self.encoder.forward(images, train)
    }

    /// Logits (N,1,256,256) and predicted IoU (N,1) of boxes (N,4), x0 y0 x1 y1 in pixels of the 256x256 input.
    ///
    /// Embeddings are (N,256,64,64), or (1,256,64,64) for boxes that are all in one image.
    ///
    /// # Panics
    /// If shapes are others than these, or values are not f32 on the network's device.
    pub fn decode(&self, embeddings: &Tensor, boxes: &Tensor) -> (Tensor, Tensor) {
        let (sparse, no_mask) = (self.prompts.boxes(boxes), self.prompts.no_mask());
        self.decoder.forward(&(embeddings + no_mask), &self.prompts.grid(), &sparse)
    }
}
