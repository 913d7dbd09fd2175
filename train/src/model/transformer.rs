//! The two-way transformer: tokens attend to the image and the image to the tokens.

use tch::{Tensor, nn};

use super::attention::{Attention, Between};
use super::layers::layer_norm;
use super::quantize::{Linear, Scheme};

const DIM: i64 = 256;

#[derive(Debug)]
struct Layer {
    own: Attention,
    token_to_image: Attention,
    lin1: Linear,
    lin2: Linear,
    image_to_token: Attention,
    norms: [nn::LayerNorm; 4],
    /// The first layer's tokens are their own positions: it adds neither positions nor a residual to them.
    first: bool,
}

impl Layer {
    fn new(p: &nn::Path<'_>, first: bool, scheme: &Scheme) -> Self {
        let attention = |name: &str, between| Attention::new(&(p / name), between, scheme);
        let linear = |name: &str, input, output| {
            let p = p / "mlp" / name;
            Linear::new(&p, input, output, scheme.stored(&p))
        };
        Self {
            own: attention("self_attn", Between::Tokens),
            token_to_image: attention("cross_attn_token_to_image", Between::TokensToImage),
            lin1: linear("lin1", DIM, 2048),
            lin2: linear("lin2", 2048, DIM),
            image_to_token: attention("cross_attn_image_to_token", Between::ImageToTokens),
            norms: ["norm1", "norm2", "norm3", "norm4"].map(|name| layer_norm(p / name, DIM)),
            first,
        }
    }

    fn forward(&self, tokens: &Tensor, image: &Tensor, positions: &Tensor, grid: &Tensor) -> (Tensor, Tensor) {
        let [norm1, norm2, norm3, norm4] = &self.norms;
        let tokens = if self.first {
            self.own.forward(tokens, tokens, tokens)
        } else {
            let placed = tokens + positions;
            tokens + self.own.forward(&placed, &placed, tokens)
        };
        let tokens = tokens.apply(norm1);
        let keys = image + grid;
        let tokens = (&tokens + self.token_to_image.forward(&(&tokens + positions), &keys, image)).apply(norm2);
        let tokens = (&tokens + self.lin2.forward(&self.lin1.forward(&tokens).relu())).apply(norm3);
        let placed = &tokens + positions;
        let image = (image + self.image_to_token.forward(&keys, &placed, &tokens)).apply(norm4);
        (tokens, image)
    }
}

#[derive(Debug)]
pub(super) struct Transformer {
    layers: [Layer; 2],
    last: Attention,
    norm: nn::LayerNorm,
}

impl Transformer {
    pub(super) fn new(p: &nn::Path<'_>, scheme: &Scheme) -> Self {
        let layers = p / "layers";
        Self {
            layers: [Layer::new(&(&layers / 0), true, scheme), Layer::new(&(&layers / 1), false, scheme)],
            last: Attention::new(&(p / "final_attn_token_to_image"), Between::TokensToImage, scheme),
            norm: layer_norm(p / "norm_final_attn", DIM),
        }
    }

    /// Tokens (N,T,256) and image tokens (N,4096,256) after both layers, of prompts (N,T,256), an image (1 or
    /// N,4096,256) and its grid's encoding (1,4096,256).
    pub(super) fn forward(&self, prompts: &Tensor, image: &Tensor, grid: &Tensor) -> (Tensor, Tensor) {
        let [first, second] = &self.layers;
        let (tokens, image) = first.forward(prompts, image, prompts, grid);
        let (tokens, image) = second.forward(&tokens, &image, prompts, grid);
        let attended = self.last.forward(&(&tokens + prompts), &(&image + grid), &image);
        ((tokens + attended).apply(&self.norm), image)
    }
}
