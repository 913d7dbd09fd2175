//! The encoder's end: conv1x1, LayerNorm, conv3x3, LayerNorm: `0` to `3`.

use tch::{Tensor, nn};

use super::layers::LayerNorm2d;
use super::quantize::{Form, Layer, Scheme};

const DIM: i64 = 256;

#[derive(Debug)]
pub(super) struct Neck {
    convs: [nn::Conv2D; 2],
    layers: [Layer; 2],
    norms: [LayerNorm2d; 2],
}

impl Neck {
    pub(super) fn new(p: &nn::Path<'_>, input: i64, scheme: &Scheme) -> Self {
        let conv = |i: i64, input, kernel| {
            let p = p / i;
            let config = nn::ConvConfig { padding: kernel / 2, bias: false, ..Default::default() };
            let conv = nn::conv2d(&p, input, DIM, kernel, config);
            let layer = Layer::new(&p, &conv.ws, &[1, 2, 3], scheme.int8(&p));
            (conv, layer)
        };
        let ((first, first_layer), (second, second_layer)) = (conv(0, input, 1), conv(2, DIM, 3));
        Self {
            convs: [first, second],
            layers: [first_layer, second_layer],
            norms: [1, 3].map(|i| LayerNorm2d::new(&(p / i), DIM)),
        }
    }

    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        let ([first, second], [norm, last]) = (&self.convs, &self.norms);
        if self.layers[0].form() == Form::Plain {
            return last.forward(&norm.forward(&x.apply(first)).apply(second));
        }
        let [first, second] = &self.layers;
        let product = |x: &Tensor, w: &Tensor| x.matmul(&w.flatten(1, 3).tr());
        let tokens = x.permute([0, 2, 3, 1]);
        let x = first.product(&tokens, &[-1], product, |size, scale| (size.shallow_clone(), scale.view(-1)));
        let x = norm.forward_last(&x).permute([0, 3, 1, 2]);
        // One step for the whole image: a sum runs over nine pixels.
        let product = |x: &Tensor, w: &Tensor| x.conv2d(w, None::<&Tensor>, [1, 1], [1, 1], [1, 1], 1);
        let channels = |size: &Tensor, scale: &Tensor| (size.shallow_clone(), scale.view([1, -1, 1, 1]));
        last.forward(&second.product(&x, &[1, 2, 3], product, channels))
    }

    /// Adds the layers in 8 bits.
    pub(super) fn report(&self, all: &mut Vec<(String, Tensor, Tensor)>) {
        self.layers.iter().for_each(|layer| layer.report(all));
    }
}
