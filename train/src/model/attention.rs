//! The decoder's attention: among tokens, and between tokens and image.

use tch::{Kind, Tensor, nn};

use super::quantize::{Linear, Scheme, attended, operand};
use crate::config::Precision;

const DIM: i64 = 256;
const HEADS: i64 = 8;

/// Who attends to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Between {
    Tokens,
    TokensToImage,
    ImageToTokens,
}

/// Attention with projections down to `inner` channels.
#[derive(Debug)]
pub(super) struct Attention {
    between: Between,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    head: i64,
    /// The floats of a device's products; nothing where the network is computed as it is.
    precision: Option<Precision>,
}

impl Attention {
    pub(super) fn new(p: &nn::Path<'_>, between: Between, scheme: &Scheme) -> Self {
        let inner = if between == Between::Tokens { DIM } else { DIM / 2 };
        let head = inner / HEADS;
        // What projects the image is moved to the tokens' side, and multiplied in f32 there.
        let linear = |name: &str, input, output, image: bool| {
            let p = p / name;
            let form = if image { scheme.stored_f32(&p) } else { scheme.stored(&p) };
            Linear::new(&p, input, output, form)
        };
        let (from, to) = (between == Between::ImageToTokens, between == Between::TokensToImage);
        // Export multiplies the queries with the scale.
        let factor = || Tensor::full([inner], (head as f64).powf(-0.5), (Kind::Double, p.device()));
        Self {
            between,
            q: linear("q_proj", DIM, inner, from).scaled(factor),
            k: linear("k_proj", DIM, inner, to),
            v: linear("v_proj", DIM, inner, to),
            out: linear("out_proj", inner, DIM, from),
            head,
            precision: scheme.precision(),
        }
    }

    /// Of queries, keys and values (1 or N, T, 256).
    pub(super) fn forward(&self, q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
        match (self.precision, self.between) {
            (None, _) => {
                let (q, k, v) = (self.split(&self.q, q), self.split(&self.k, k), self.split(&self.v, v));
                let scores = q.matmul(&k.transpose(-2, -1)) / (self.head as f64).sqrt();
                self.joined(&scores.softmax(-1, None::<Kind>).matmul(&v))
            }
            (Some(_), Between::Tokens) => {
                let (q, k, v) = (self.split(&self.q, q), self.split(&self.k, k), self.split(&self.v, v));
                self.joined(&attended(&q.matmul(&k.transpose(-2, -1)), &v, Precision::F32))
            }
            (Some(precision), Between::TokensToImage) => self.tokens_to_image(q, k, v, precision),
            (Some(precision), Between::ImageToTokens) => self.image_to_tokens(q, k, v, precision),
        }
    }

    /// Heads (N,8,T,head) of a projection.
    fn split(&self, projection: &Linear, x: &Tensor) -> Tensor {
        projection.forward(x).view([x.size()[0], x.size()[1], HEADS, self.head]).transpose(1, 2)
    }

    /// The output of heads (N,8,T,head).
    fn joined(&self, x: &Tensor) -> Tensor {
        let x = x.transpose(1, 2);
        self.out.forward(&x.reshape([x.size()[0], x.size()[1], HEADS * self.head]))
    }

    /// A projection's weights head by head, (8,head,256).
    fn heads(&self, projection: &Linear) -> Tensor {
        projection.layer().weight().view([HEADS, self.head, DIM])
    }

    /// As core does it: `(x Wk) q = x (Wk q)` and `sum p (x Wv) = (sum p x) Wv`. The keys' bias falls out of the softmax.
    fn tokens_to_image(&self, q: &Tensor, keys: &Tensor, image: &Tensor, precision: Precision) -> Tensor {
        let (count, tokens) = (q.size()[0], q.size()[1]);
        let asked = self.split(&self.q, q).matmul(&self.heads(&self.k)).view([count, HEADS * tokens, DIM]);
        let scores = operand(&asked, precision).matmul(&operand(keys, precision).transpose(-2, -1));
        let found = attended(&scores, image, precision).view([count, HEADS, tokens, DIM]);
        let bias = self.v.bias().view([HEADS, 1, self.head]);
        self.joined(&(found.matmul(&self.heads(&self.v).transpose(-2, -1)) + bias))
    }

    /// The same in the other direction.
    fn image_to_tokens(&self, image: &Tensor, k: &Tensor, v: &Tensor, precision: Precision) -> Tensor {
        let (count, tokens) = (k.size()[0], k.size()[1]);
        let columns = [count, HEADS * tokens, DIM];
        let keys = self.split(&self.k, k);
        let asked = keys.matmul(&self.heads(&self.q)).view(columns);
        let bias = keys.matmul(&self.q.bias().view([HEADS, self.head, 1])).view([count, 1, HEADS * tokens]);
        let scores = operand(image, precision).matmul(&operand(&asked, precision).transpose(-2, -1)) + bias;
        let weights = scores.view([count, -1, HEADS, tokens]).softmax(-1, None::<Kind>).flatten(2, 3);
        let outputs = self.out.layer().weight().tr().view([HEADS, self.head, DIM]);
        let values = self.split(&self.v, v).matmul(&outputs).view(columns);
        operand(&weights, precision).matmul(&operand(&values, precision)) + self.out.bias()
    }
}
