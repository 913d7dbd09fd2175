//! LiteMedSAM: TinyViT image encoder, box prompt encoder, two-way-transformer mask decoder.

mod layers;
mod mask_decoder;
mod prompt_encoder;
mod tiny_vit;
mod transformer;
mod weights;

use mask_decoder::MaskDecoder;
use prompt_encoder::PromptEncoder;
use tch::{Tensor, nn};
use tiny_vit::TinyVit;
pub use weights::{WeightsError, load, save};
pub(crate) use weights::{published, write};

/// Side of the input images, in pixels.
pub const IMAGE_SIDE: i64 = 256;

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
        Self {
            encoder: TinyVit::new(&(root / "image_encoder")),
            prompts: PromptEncoder::new(&(root / "prompt_encoder")),
            decoder: MaskDecoder::new(&(root / "mask_decoder")),
        }
    }

    /// Embeddings (B,256,64,64) of images (B,3,256,256) in 0..1.
    ///
    /// With `train`, BatchNorm uses the batch's statistics and moves its running ones; a frozen encoder must be run
    /// without. Gradients are another matter: they flow either way, unless under [`tch::no_grad`].
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
