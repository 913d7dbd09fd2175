//! The network against PyTorch's in training: what is trained, three boxes in one image, every gradient, BatchNorm.
//!
//! tests/golden/train_model.py makes the golden values.

mod common;

use common::network;

#[test]
fn buffers_are_never_trained() {
    let (mut vs, _) = network();
    // The checkpoint's 435 tensors less 27 BatchNorm layers' three buffers and the positional encoding's frequencies.
    assert_eq!(vs.trainable_variables().len(), 353);
    vs.freeze();
    vs.unfreeze();
    let trained = |name: &str| !name.ends_with("running_mean") && !name.ends_with("running_var");
    for (name, variable) in vs.variables() {
        let expected = trained(&name) && !name.ends_with("gaussian_matrix");
        assert_eq!(variable.requires_grad(), expected, "{name}");
    }
}

#[cfg(feature = "weights-tests")]
mod weights {
    use std::collections::BTreeMap;

    use safetensors::SafeTensors;
    use tch::{Kind, Reduction, Tensor, nn};
    use umedsam_train::model::{LiteMedSam, load};

    use super::*;

    const GOLDEN: &[u8] = include_bytes!("data/parity.safetensors");

    fn golden(name: &str) -> Tensor {
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        let stored = file.tensor(name).unwrap();
        let values: Vec<f32> = stored.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        let shape: Vec<i64> = stored.shape().iter().map(|&d| i64::try_from(d).unwrap()).collect();
        Tensor::from_slice(&values).view(&shape[..])
    }

    /// Names of the golden values that begin with `prefix`, without it.
    fn golden_names(prefix: &str) -> Vec<String> {
        let file = SafeTensors::deserialize(GOLDEN).unwrap();
        file.names().into_iter().filter_map(|n| n.strip_prefix(prefix)).map(String::from).collect()
    }

    /// Two pictures (2,3,256,256), by the generator's formula.
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
        let boxes = [30.0f32, 40.0, 120.0, 220.0, 0.0, 0.0, 255.0, 255.0, 200.0, 8.0, 236.0, 31.0];
        Tensor::from_slice(&boxes).view([3, 4])
    }

    /// Masks (3,1,256,256), by the generator's formula.
    fn masks() -> Tensor {
        let value = |i: u32| f32::from((i % 256 * 5 + i / 256 * 3 + i / 65_536 * 29) % 211 < 70);
        let values: Vec<f32> = (0..3 * 256 * 256).map(value).collect();
        Tensor::from_slice(&values).view([3, 1, 256, 256])
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

    /// The sum and the sum of absolute values of each item of the batch.
    fn sums(t: &Tensor) -> Tensor {
        let flat = t.detach().to_kind(Kind::Double).flatten(1, -1);
        let sum = |x: &Tensor| x.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        Tensor::stack(&[sum(&flat), sum(&flat.abs())], 1).to_kind(Kind::Float)
    }

    /// The greatest difference, as a part of the greatest expected magnitude.
    fn of_scale(found: &Tensor, expected: &Tensor) -> f64 {
        assert_eq!(found.size(), expected.size());
        ((found - expected).abs().max() / expected.abs().max()).double_value(&[])
    }

    /// The greatest difference, each as a part of its own expected magnitude; those under `floor` of the greatest
    /// magnitude, which are rounding errors of larger sums, as a part of that.
    fn of_each(found: &Tensor, expected: &Tensor, floor: f64) -> f64 {
        assert_eq!(found.size(), expected.size());
        let magnitude = expected.abs();
        let least: f64 = magnitude.max().double_value(&[]) * floor;
        ((found - expected).abs() / magnitude.clamp_min(least)).max().double_value(&[])
    }

    fn check(what: &str, difference: f64, tolerance: f64) {
        println!("{what}: {difference:.1e}");
        assert!(difference < tolerance, "{what}: {difference:e}");
    }

    fn check_greatest(what: &str, differences: Vec<(f64, String)>, tolerance: f64) {
        // A NaN is the greatest.
        let (difference, name) = differences.into_iter().max_by(|a, b| a.0.abs().total_cmp(&b.0.abs())).unwrap();
        check(&format!("{what} ({name})"), difference, tolerance);
    }

    #[test]
    fn three_boxes_in_one_image_and_every_gradient() {
        let (vs, model) = loaded();
        let statistics = "image_encoder.patch_embed.seq.0.bn.running_mean";
        let before = vs.variables()[statistics].copy();
        let embeddings = model.encode(&images(), false);
        let (logits, iou) = model.decode(&embeddings.narrow(0, 1, 1), &boxes());
        assert_eq!((logits.size(), iou.size()), (vec![3, 1, 256, 256], vec![3, 1]));
        check("embedding", of_scale(&sample(&embeddings, 9973), &golden("embedding")), 1e-4);
        check("embedding's sums", of_scale(&sums(&embeddings), &golden("embedding_sums")), 1e-4);
        check("logits", of_scale(&sample(&logits, 9973), &golden("logits")), 1e-4);
        check("logits' sums", of_scale(&sums(&logits), &golden("logits_sums")), 1e-4);
        check("IoU", of_scale(&sample(&iou, 3), &golden("iou")), 1e-4);

        let loss = logits.binary_cross_entropy_with_logits(&masks(), None::<Tensor>, None::<Tensor>, Reduction::Mean);
        check("loss", of_each(&sample(&loss, 1), &golden("loss"), 0.0), 1e-5);
        loss.backward();
        // Gradients with BatchNorm in eval leave its statistics alone.
        assert!(vs.variables()[statistics].equal(&before));

        let parameters: BTreeMap<String, Tensor> =
            vs.variables().into_iter().filter(|(_, v)| v.requires_grad()).collect();
        let norms = golden("gradient_norms");
        assert_eq!(norms.size(), [i64::try_from(parameters.len()).unwrap()]);
        let mut differences = Vec::new();
        for (i, (name, parameter)) in (0..).zip(&parameters) {
            let (gradient, expected) = (parameter.grad(), norms.double_value(&[i]));
            if expected == 0.0 {
                assert!(!gradient.defined() || gradient.abs().max().double_value(&[]) == 0.0, "{name}");
                continue;
            }
            let norm = gradient.to_kind(Kind::Double).norm().double_value(&[]);
            if name.ends_with("k_proj.bias") {
                // Softmax does not see what is added to every key: zero but for rounding.
                assert!(norm < 1e-5 && expected < 1e-5, "{name}: {norm:e}");
                continue;
            }
            differences.push(((norm - expected).abs() / expected, name.clone()));
        }
        assert_eq!(differences.len(), 309);
        check_greatest("norm of a gradient", differences, 1e-3);

        let names = golden_names("gradient.").into_iter().filter(|n| !n.ends_with("k_proj.bias"));
        let difference = |name: String| {
            let found = sample(&parameters[&name].grad(), 97);
            (of_each(&found, &golden(&format!("gradient.{name}")), 0.05), name)
        };
        let differences: Vec<_> = names.map(difference).collect();
        assert!(differences.len() > 40);
        check_greatest("element of a gradient", differences, 1e-3);
    }

    #[test]
    fn batch_norm_in_training() {
        let (vs, model) = loaded();
        let embeddings = tch::no_grad(|| model.encode(&images(), true));
        check("embedding in training", of_scale(&sample(&embeddings, 3989), &golden("train_embedding")), 1e-4);
        let (variables, names) = (vs.variables(), golden_names("statistics."));
        assert_eq!(names.len(), 2 * 27);
        let difference =
            |name: String| (of_scale(&sample(&variables[&name], 8), &golden(&format!("statistics.{name}"))), name);
        check_greatest("running statistics", names.into_iter().map(difference).collect(), 1e-4);
    }
}
