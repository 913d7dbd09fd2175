//! What an embedding is kept under.

use std::prelude::v1::*;

use crate::preprocess::PREPROCESSING_VERSION;
use crate::{ContentKey, ImageView, Precision};

/// How a session encodes: what an embedding depends on beside the image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe<'a> {
    /// SHA-256 of the encoder graph.
    pub(crate) encoder: &'a str,
    pub(crate) precision: Precision,
    /// Name of the kernels.
    pub(crate) kernels: &'a str,
    /// What an int8 network computes the rest in, which depends on the maker of the CPU beside the kernels.
    pub(crate) floats: Precision,
    /// Whether the graph runs in fused blocks.
    pub(crate) fused: bool,
}

impl Recipe<'_> {
    /// The key of the embedding that is made of `image` and kept as `format` says.
    ///
    /// Pixels count as the preprocessor reads them: rows without what is between them. They have 8 bits; what mapped other
    /// values to these, such as an intensity window, shows in the pixels themselves.
    pub(super) fn key(&self, image: &ImageView<'_>, format: &str) -> String {
        let size = [image.width(), image.height(), image.channel_count()];
        ContentKey::new()
            .with("library", env!("CARGO_PKG_VERSION"))
            .with("preprocessing", PREPROCESSING_VERSION.to_le_bytes())
            .with("encoder", self.encoder)
            .with("precision", self.precision.to_string())
            .with("kernels", self.kernels)
            .with("floats", self.floats.to_string())
            .with("fused", [u8::from(self.fused)])
            .with("format", format)
            .with("width, height, channels", size.map(|n| (n as u64).to_le_bytes()).as_flattened())
            .with_pieces("pixels", (0..image.height()).map(|y| image.row(y)))
            .hex()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECIPE: Recipe<'_> = Recipe {
        encoder: "0123",
        precision: Precision::Int8,
        kernels: "avx512-bf16",
        floats: Precision::Bf16,
        fused: true,
    };

    fn view<'a>(pixels: &'a [u8], width: usize, height: usize, channels: usize, gap: usize) -> ImageView<'a> {
        let stride = width * channels + gap;
        match channels {
            1 => ImageView::gray8_strided(pixels, width, height, stride).unwrap(),
            _ => ImageView::rgb8_strided(pixels, width, height, stride).unwrap(),
        }
    }

    #[test]
    fn everything_that_changes_an_embedding_changes_its_key() {
        let pixels = [7; 12];
        let mut changed = pixels;
        changed[5] ^= 1;
        let image = view(&pixels, 3, 4, 1, 0);
        let keys = [
            RECIPE.key(&image, "f32"),
            RECIPE.key(&image, "f16"),
            Recipe { encoder: "0124", ..RECIPE }.key(&image, "f32"),
            Recipe { precision: Precision::Bf16, ..RECIPE }.key(&image, "f32"),
            Recipe { kernels: "avx512-vnni", ..RECIPE }.key(&image, "f32"),
            Recipe { floats: Precision::F32, ..RECIPE }.key(&image, "f32"),
            Recipe { fused: false, ..RECIPE }.key(&image, "f32"),
            // The same bytes in other shapes, and a pixel that is not the same.
            RECIPE.key(&view(&pixels, 2, 6, 1, 0), "f32"),
            RECIPE.key(&view(&pixels, 4, 3, 1, 0), "f32"),
            RECIPE.key(&view(&pixels, 1, 4, 3, 0), "f32"),
            RECIPE.key(&view(&pixels, 2, 2, 3, 0), "f32"),
            RECIPE.key(&view(&changed, 3, 4, 1, 0), "f32"),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[..i].contains(key), "{i}");
        }
    }

    /// An image of few pixels and few values, so that two are often alike, with `gap` bytes between its rows.
    fn image() -> impl Strategy<Value = (usize, usize, usize, Vec<u8>)> {
        (1..4usize, 1..4usize, prop_oneof![Just(1), Just(3)]).prop_flat_map(|(width, height, channels)| {
            let pixels = prop::collection::vec(0..2u8, width * height * channels);
            (Just(width), Just(height), Just(channels), pixels)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2000, ..ProptestConfig::default() })]

        #[test]
        fn keys_are_equal_where_images_are(a in image(), b in image(), gap in 0..3usize) {
            let key = |(width, height, channels, pixels): &(usize, usize, usize, Vec<u8>), gap: usize| {
                let rows = pixels.chunks(width * channels);
                let spread: Vec<u8> = rows.flat_map(|row| [row, &[9, 8, 7][..gap]].concat()).collect();
                RECIPE.key(&view(&spread, *width, *height, *channels, gap), "f32")
            };
            prop_assert_eq!(key(&a, 0) == key(&b, gap), a == b);
            prop_assert_eq!(key(&a, 0), key(&a, gap));
        }
    }
}
