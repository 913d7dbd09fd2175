//! The network's names and files, and its values against PyTorch's.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor, nn};
use umedsam_train::model::{LiteMedSam, WeightsError, load, save};

/// Names, types and shapes of the published checkpoint.
const TABLE: &str = include_str!("../../export/src/checkpoint/litemedsam.txt");

fn network() -> (nn::VarStore, LiteMedSam) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let model = LiteMedSam::new(&vs.root());
    (vs, model)
}

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

#[cfg(feature = "weights-tests")]
mod weights {
    use safetensors::SafeTensors;

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("data/model.safetensors");

    fn golden(name: &str) -> Tensor {
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        let values: Vec<f32> =
            file.tensor(name).unwrap().data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        Tensor::from_slice(&values)
    }

    /// Two pictures (2,3,256,256), as tests/golden/train_model.py makes them.
    fn images() -> Tensor {
        let value = |i: u64| {
            let (n, c, y, x) = (i / 196_608, i / 65_536 % 3, i / 256 % 256, i % 256);
            let noise = (i * 2_654_435_761 % (1 << 32)) >> 26;
            (((x * (n + 1) + y * (2 - n) + c * 40) % 192 + noise) as f32) / 256.0
        };
        let values: Vec<f32> = (0..2 * 3 * 256 * 256).map(value).collect();
        Tensor::from_slice(&values).view([2, 3, 256, 256])
    }

    fn boxes() -> Tensor {
        Tensor::from_slice(&[60.0f32, 70.0, 190.0, 200.0, 20.0, 20.0, 100.0, 90.0]).view([2, 4])
    }

    fn loaded() -> (nn::VarStore, LiteMedSam) {
        let (vs, model) = network();
        let path = std::env::var_os("UMEDSAM_WEIGHTS").expect("UMEDSAM_WEIGHTS names the weights");
        load(&vs, path.as_ref()).unwrap();
        (vs, model)
    }

    fn sample(t: &Tensor, count: i64) -> Tensor {
        let flat = t.detach().reshape([-1]);
        let step = (flat.size()[0] / count).max(1);
        flat.slice(0, None::<i64>, None::<i64>, step)
    }

    fn relative(found: &Tensor, expected: &Tensor) -> f64 {
        let difference = (found - expected).abs().max() / expected.abs().max();
        difference.double_value(&[])
    }

    #[test]
    fn embeddings_logits_and_gradients_equal_pytorch() {
        let (vs, model) = loaded();
        let embeddings = model.encode(&images(), false);
        let (logits, iou) = model.decode(&embeddings, &boxes());
        for (name, found, count) in [("embedding", &embeddings, 4000), ("logits", &logits, 4000), ("iou", &iou, 2)] {
            let difference = relative(&sample(found, count), &golden(name));
            println!("{name}: {difference:e} of the scale");
            assert!(difference < 1e-4, "{name}: {difference:e} of the scale");
        }
        // One embedding for both boxes is the same as a copy for each.
        let first = embeddings.narrow(0, 0, 1);
        let shared = model.decode(&first, &boxes()).0;
        let copied = model.decode(&first.repeat([2, 1, 1, 1]), &boxes()).0;
        assert!(relative(&shared, &copied) < 1e-5);

        let mask = Tensor::arange(256, (Kind::Float, Device::Cpu));
        let mask =
            (mask.view([256, 1]) + mask.view([1, 256])).lt(230.0).to_kind(Kind::Float).expand([2, 1, 256, 256], false);
        let loss = logits.binary_cross_entropy_with_logits(&mask, None::<Tensor>, None::<Tensor>, tch::Reduction::Mean);
        assert!((loss.double_value(&[]) - golden("loss").double_value(&[0])).abs() < 1e-4);
        loss.backward();
        let variables = vs.variables();
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        let names: Vec<&str> = file.names().into_iter().filter_map(|n| n.strip_prefix("grad.")).collect();
        assert!(names.len() > 20);
        for name in names {
            let difference = relative(&sample(&variables[name].grad(), 50), &golden(&format!("grad.{name}")));
            assert!(difference < 1e-3, "gradient of {name}: {difference:e} of the scale");
        }
    }
}
