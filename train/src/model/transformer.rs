//! The two-way transformer: tokens attend to the image and the image to the tokens.

use tch::{Kind, Tensor, nn};

use super::layers::{layer_norm, linear};

const DIM: i64 = 256;
const HEADS: i64 = 8;

/// Attention with projections down to `inner` channels.
#[derive(Debug)]
struct Attention {
    q: nn::Linear,
    k: nn::Linear,
    v: nn::Linear,
    out: nn::Linear,
    head: i64,
}

impl Attention {
    fn new(p: &nn::Path<'_>, inner: i64) -> Self {
        Self {
            q: linear(p / "q_proj", DIM, inner),
            k: linear(p / "k_proj", DIM, inner),
            v: linear(p / "v_proj", DIM, inner),
            out: linear(p / "out_proj", inner, DIM),
            head: inner / HEADS,
        }
    }

    fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        let split = |x: &Tensor| x.view([x.size()[0], x.size()[1], HEADS, self.head]).transpose(1, 2);
        let (q, k, v) = (split(&q.apply(&self.q)), split(&k.apply(&self.k)), split(&v.apply(&self.v)));
        let scores = q.matmul(&k.transpose(-2, -1)) / (self.head as f64).sqrt();
        let x = scores.softmax(-1, None::<Kind>).matmul(&v).transpose(1, 2);
        x.reshape([x.size()[0], x.size()[1], HEADS * self.head]).apply(&self.out)
    }
}

#[derive(Debug)]
struct Layer {
    own: Attention,
    token_to_image: Attention,
    lin1: nn::Linear,
    lin2: nn::Linear,
    image_to_token: Attention,
    norms: [nn::LayerNorm; 4],
    /// The first layer's tokens are their own positions: it adds neither positions nor a residual to them.
    first: bool,
}

impl Layer {
    fn new(p: &nn::Path<'_>, first: bool) -> Self {
        Self {
            own: Attention::new(&(p / "self_attn"), DIM),
            token_to_image: Attention::new(&(p / "cross_attn_token_to_image"), DIM / 2),
            lin1: linear(p / "mlp" / "lin1", DIM, 2048),
            lin2: linear(p / "mlp" / "lin2", 2048, DIM),
            image_to_token: Attention::new(&(p / "cross_attn_image_to_token"), DIM / 2),
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
        let tokens = (&tokens + tokens.apply(&self.lin1).relu().apply(&self.lin2)).apply(norm3);
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
    pub(super) fn new(p: &nn::Path<'_>) -> Self {
        let layers = p / "layers";
        Self {
            layers: [Layer::new(&(&layers / 0), true), Layer::new(&(&layers / 1), false)],
            last: Attention::new(&(p / "final_attn_token_to_image"), DIM / 2),
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
