//! The network's names and files.

mod common;

use std::collections::BTreeMap;

use common::network;
use tch::{Device, Kind, Tensor, nn};
use umedsam_train::config::{EncoderSize, QuantizationConfig};
use umedsam_train::model::{LiteMedSam, WeightsError, encoder_size, load, load_around_stages, save};

/// Names, types and shapes of the published checkpoint.
const TABLE: &str = include_str!("../../export/src/checkpoint/litemedsam.txt");

#[test]
fn a_saved_network_has_the_names_and_shapes_of_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let (vs, _) = network();
    save(&vs, &path).unwrap();
    let saved: BTreeMap<String, Tensor> = Tensor::read_safetensors(&path).unwrap().into_iter().collect();
    let line = |(name, t): (&String, &Tensor)| {
        let kind = if t.kind() == Kind::Int64 { "i64" } else { "f32" };
        t.size().iter().fold(format!("{name} {kind}"), |line, d| format!("{line} {d}"))
    };
    let mut expected: Vec<&str> = TABLE.lines().filter(|l| !l.starts_with('#') && !l.is_empty()).collect();
    expected.sort_unstable();
    let mut found: Vec<String> = saved.iter().map(line).collect();
    found.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left");

    // And they come back to the bit.
    let (other, _) = network();
    load(&other, &path).unwrap();
    for (name, variable) in other.variables() {
        assert!(variable.equal(&saved[&name]), "{name}");
    }
}

#[test]
fn a_file_that_does_not_fit_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.safetensors");
    let (vs, _) = network();
    let name = "mask_decoder.mask_tokens.weight";
    let before = vs.variables()[name].copy();
    let mut tensors: Vec<(String, Tensor)> = vs.variables().into_iter().map(|(n, t)| (n, (t + 1.0).detach())).collect();
    let position = tensors.iter().position(|(n, _)| n == name).unwrap();
    tensors[position].1 = Tensor::zeros([256, 4], (Kind::Float, Device::Cpu));
    Tensor::write_safetensors(&tensors, &path).unwrap();
    let error = load(&vs, &path).unwrap_err();
    assert!(matches!(&error, WeightsError::Shape { tensor, .. } if tensor == name), "{error}");
    drop(tensors.remove(position));
    Tensor::write_safetensors(&tensors, &path).unwrap();
    let error = load(&vs, &path).unwrap_err();
    assert!(matches!(&error, WeightsError::Missing { tensor, .. } if tensor == name), "{error}");
    assert!(vs.variables()[name].equal(&before));
}

#[test]
fn a_small_encoder_has_the_large_ones_form() {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let small = LiteMedSam::sized(&vs.root(), EncoderSize::Small, &QuantizationConfig::default());
    let (large_vs, large) = network();
    let image = Tensor::rand([1, 3, 256, 256], (Kind::Float, Device::Cpu));
    let embed = |model: &LiteMedSam| tch::no_grad(|| model.encode(&image, false)).size();
    assert_eq!(embed(&small), embed(&large));
    let count = |vs: &nn::VarStore| {
        let encoder =
            vs.variables().into_iter().filter(|(name, t)| name.starts_with("image_encoder.") && t.requires_grad());
        encoder.map(|(_, t)| t.numel()).sum::<usize>()
    };
    assert_eq!((count(&vs), count(&large_vs)), (3_241_282, 5_726_740));

    // A file of the one is no file of the other, and tells which it is.
    let folder = tempfile::tempdir().unwrap();
    let [small_file, large_file] = ["small", "large"].map(|name| folder.path().join(format!("{name}.safetensors")));
    save(&vs, &small_file).unwrap();
    save(&large_vs, &large_file).unwrap();
    assert_eq!(encoder_size(&small_file).unwrap(), EncoderSize::Small);
    assert_eq!(encoder_size(&large_file).unwrap(), EncoderSize::Lite);
    assert!(load(&vs, &large_file).is_err());
    // What is around the stages is taken from the other.
    load_around_stages(&vs, &large_file).unwrap();
    for name in ["image_encoder.neck.3.weight", "mask_decoder.mask_tokens.weight"] {
        assert!(vs.variables()[name].equal(&large_vs.variables()[name]), "{name}");
    }
}
