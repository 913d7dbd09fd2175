//! The mask decoder, single-mask output.

use tch::{Tensor, nn};

use super::layers::{LayerNorm2d, Mlp3, gelu};
use super::quantize::Scheme;
use super::transformer::Transformer;
use super::upscaling::Upscaling;

const DIM: i64 = 256;
const MASKS: i64 = 4;
const GRID: i64 = 64;

#[derive(Debug)]
pub(super) struct MaskDecoder {
    transformer: Transformer,
    /// One IoU token and four mask tokens, of which the first is the single mask's.
    iou_token: Tensor,
    mask_tokens: Tensor,
    up1: Upscaling,
    norm: LayerNorm2d,
    up2: Upscaling,
    hypernetwork: Mlp3,
    iou_head: Mlp3,
}

impl MaskDecoder {
    pub(super) fn new(p: &nn::Path<'_>, scheme: &Scheme) -> Self {
        let upscaling = p / "output_upscaling";
        let networks = p / "output_hypernetworks_mlps";
        let [hypernetwork, ..] = [0, 1, 2, 3].map(|i| Mlp3::new(&(&networks / i), scheme, DIM, DIM / 8, false));
        Self {
            transformer: Transformer::new(&(p / "transformer"), scheme),
            iou_token: (p / "iou_token").randn_standard("weight", &[1, DIM]),
            mask_tokens: (p / "mask_tokens").randn_standard("weight", &[MASKS, DIM]),
            up1: Upscaling::new(&(&upscaling / 0), DIM, DIM / 4, scheme),
            norm: LayerNorm2d::new(&(&upscaling / 1), DIM / 4),
            up2: Upscaling::new(&(&upscaling / 3), DIM / 4, DIM / 8, scheme),
            hypernetwork,
            iou_head: Mlp3::new(&(p / "iou_prediction_head"), scheme, DIM, MASKS, true),
        }
    }

    /// Logits (N,1,256,256) and IoU (N,1) of embeddings (1 or N,256,64,64) and corner tokens (N,2,256).
    pub(super) fn forward(&self, embeddings: &Tensor, grid: &Tensor, sparse: &Tensor) -> (Tensor, Tensor) {
        let count = sparse.size()[0];
        let outputs = Tensor::cat(&[&self.iou_token, &self.mask_tokens], 0).unsqueeze(0);
        let prompts = Tensor::cat(&[&outputs.expand([count, -1, -1], false), sparse], 1);
        let image = embeddings.flatten(2, 3).transpose(1, 2);
        let (tokens, image) = self.transformer.forward(&prompts, &image, grid);

        let image = image.transpose(1, 2).reshape([count, DIM, GRID, GRID]);
        let up = gelu(&self.norm.forward(&self.up1.forward(&image)));
        let up = gelu(&self.up2.forward(&up));
        let weights = self.hypernetwork.forward(&tokens.select(1, 1)).unsqueeze(1);
        let side = super::IMAGE_SIDE;
        let logits = weights.matmul(&up.flatten(2, 3)).view([count, 1, side, side]);
        let iou = self.iou_head.forward(&tokens.select(1, 0)).narrow(1, 0, 1);
        (logits, iou)
    }
    /// Adds the layers in 8 bits.
    pub(super) fn report(&self, all: &mut Vec<(String, Tensor, Tensor)>) {
        self.up1.report(all);
        self.up2.report(all);
    }
}
