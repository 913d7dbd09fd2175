//! The prompt encoder, for boxes. Its parts for points and masks exist so that a saved model is complete.

use std::f64::consts::TAU;

use tch::{Tensor, nn};

use super::layers::LayerNorm2d;
use crate::autocast;

const DIM: i64 = 256;
const GRID: i64 = 64;

#[derive(Debug)]
pub(super) struct PromptEncoder {
    /// Frequencies (2,128) of the positional encoding.
    gaussian: Tensor,
    corners: [Tensor; 2],
    no_mask: Tensor,
}

impl PromptEncoder {
    pub(super) fn new(p: &nn::Path<'_>) -> Self {
        let embedding = |p: nn::Path<'_>| p.randn_standard("weight", &[1, DIM]);
        let points = p / "point_embeddings";
        let [_, _, first, second] = [0, 1, 2, 3].map(|i| embedding(&points / i));
        let _ = embedding(p / "not_a_point_embed");
        mask_downscaling(&(p / "mask_downscaling"));
        // A buffer: saved, but no parameter, or `VarStore::unfreeze` and weight decay would reach it.
        let mut gaussian = (p / "pe_layer").zeros_no_train("positional_encoding_gaussian_matrix", &[2, DIM / 2]);
        let _ = gaussian.normal_(0.0, 1.0);
        Self { gaussian, corners: [first, second], no_mask: embedding(p / "no_mask_embed") }
    }

    /// Fourier features (..., 256) of points (..., 2) in 0..1.
    ///
    /// In f32 always: bf16 would move a point by a third of a pixel.
    fn encode(&self, points: &Tensor) -> Tensor {
        let _f32 = autocast::off(points.device());
        let x = (points * 2.0 - 1.0).matmul(&self.gaussian) * TAU;
        Tensor::cat(&[x.sin(), x.cos()], -1)
    }

    /// The two corner tokens (N,2,256) of boxes (N,4).
    pub(super) fn boxes(&self, boxes: &Tensor) -> Tensor {
        let points = (boxes + 0.5).view([-1, 2, 2]) / super::IMAGE_SIDE as f64;
        self.encode(&points) + Tensor::stack(&self.corners, 1)
    }

    /// What is added to the embedding of an image for which no mask is given: (1,256,1,1).
    pub(super) fn no_mask(&self) -> Tensor {
        self.no_mask.view([1, DIM, 1, 1])
    }

    /// Positional encoding (1,4096,256) of the embedding's grid, row by row.
    pub(super) fn grid(&self) -> Tensor {
        let options = (self.gaussian.kind(), self.gaussian.device());
        let centres = (Tensor::arange(GRID, options) + 0.5) / GRID as f64;
        let x = centres.view([1, GRID]).expand([GRID, GRID], false);
        let y = centres.view([GRID, 1]).expand([GRID, GRID], false);
        self.encode(&Tensor::stack(&[x, y], -1)).view([1, GRID * GRID, DIM])
    }
}

fn mask_downscaling(p: &nn::Path<'_>) {
    let config = nn::ConvConfig { stride: 2, ..Default::default() };
    nn::conv2d(p / 0, 1, 4, 2, config);
    LayerNorm2d::new(&(p / 1), 4);
    nn::conv2d(p / 3, 4, 16, 2, config);
    LayerNorm2d::new(&(p / 4), 16);
    nn::conv2d(p / 6, 16, DIM, 1, Default::default());
}
