//! The network's names and files.

mod common;

use std::collections::BTreeMap;

use common::network;
use tch::{Device, Kind, Tensor};
use umedsam_train::model::{WeightsError, load, save};

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
