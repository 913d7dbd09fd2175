//! Transposed convolutions of stride 2 and kernel 2.

use tch::{Tensor, nn};

use super::quantize::{Form, Layer, Scheme, stored};

#[derive(Debug)]
pub(super) struct Upscaling {
    plain: nn::ConvTranspose2D,
    layer: Layer,
}

impl Upscaling {
    pub(super) fn new(p: &nn::Path<'_>, input: i64, output: i64, scheme: &Scheme) -> Self {
        let stride = nn::ConvTransposeConfig { stride: 2, ..Default::default() };
        let plain = nn::conv_transpose2d(p, input, output, 2, stride);
        // Without overlap it is a linear layer to four sub-pixels, each of which has channels of its own.
        let layer = Layer::new(p, &plain.ws, &[0], scheme.int8(p));
        Self { plain, layer }
    }

    /// (B,C,H,W) to twice the height and width.
    pub(super) fn forward(&self, x: &Tensor) -> Tensor {
        if self.layer.form() == Form::Plain {
            return x.apply(&self.plain);
        }
        let (batch, _, height, width) = x.size4().expect("images are (B,C,H,W)");
        let product = |x: &Tensor, w: &Tensor| x.matmul(&w.flatten(1, 3));
        let pixels = |size: &Tensor, scale: &Tensor| (size.shallow_clone(), scale.view(-1));
        let x = self.layer.product(&x.permute([0, 2, 3, 1]), &[-1], product, pixels);
        let x = x.view([batch, height, width, -1, 2, 2]).permute([0, 3, 1, 4, 2, 5]);
        let bias = stored(self.plain.bs.as_ref().expect("upscalings have a bias"));
        x.reshape([batch, -1, 2 * height, 2 * width]) + bias.view([1, -1, 1, 1])
    }

    /// Adds the layer if it is in 8 bits.
    pub(super) fn report(&self, all: &mut Vec<(String, Tensor, Tensor)>) {
        self.layer.report(all);
    }
}
