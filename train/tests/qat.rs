//! Training for 8 bits: the network in training against core's on the same weights, in integers; and runs of it.

mod common;

use std::fs;
use std::ops::ControlFlow;

use common::bench::Bench;
use tch::{Device, Kind, Tensor, nn};
use umedsam_train::config::{Precision, QuantizationConfig};
use umedsam_train::model::LiteMedSam;
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Event, Observer, TrainError, Trainer};

fn quantized(config: &QuantizationConfig) -> (nn::VarStore, LiteMedSam) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let model = LiteMedSam::quantized(&vs.root(), config);
    (vs, model)
}

fn in_8_bits(precision: Precision) -> QuantizationConfig {
    QuantizationConfig { enabled: true, precision, ..QuantizationConfig::default() }
}

/// Stops after a step.
struct Once;

impl Observer for Once {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        if let Event::Step(_) = event { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[test]
fn what_is_kept_out_stays_in_floats() {
    let all = quantized(&in_8_bits(Precision::F32)).1.integers();
    // Four linear layers in each of ten blocks, the neck's two, two upscalings.
    assert_eq!(all.len(), 44);
    let keep = vec!["image_encoder.layers.3.blocks.1.mlp".into(), "image_encoder.neck.2".into()];
    let kept = quantized(&QuantizationConfig { keep, ..in_8_bits(Precision::F32) }).1.integers();
    assert_eq!(kept.len(), 41);
    assert!(quantized(&QuantizationConfig::default()).1.integers().is_empty());

    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&["quantization.enabled=true", "quantization.keep=['image_encoder.layers.9']"]);
    let error = bench.start(&ranks, &config, "run", &mut ()).err().unwrap();
    assert!(matches!(&error, TrainError::NothingKept { name } if name == "image_encoder.layers.9"), "{error}");
}

#[test]
fn a_run_for_8_bits_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let config = bench.config(&[
        "quantization.enabled=true",
        "model.trained=['image_encoder.neck.', 'mask_decoder.output_upscaling.']",
        "loss.terms=['embedding', 'imitation', 'dice']",
        "loss.weighting=equal",
        "loss.weights={ imitation = 10.0, dice = 0.1 }",
        "sharp-min.kind=off",
        "data.samples-per-epoch=2",
        "training.batch=1",
        "training.epochs=1",
    ]);
    let straight = bench.train(&ranks, &config, "straight");
    let losses = &straight.epochs[1].losses;
    let total = losses["embedding"] + 10.0 * losses["imitation"] + 0.1 * losses["dice"];
    assert!((straight.epochs[1].loss.unwrap() - total).abs() < 1e-5 * total);
    // What rounding does, and no more.
    assert!((1e-6..0.1).contains(&losses["embedding"]), "{losses:?}");

    let mut once = Once;
    assert!(!bench.start(&ranks, &config, "broken", &mut once).unwrap().run().unwrap().finished);
    let mut silent = ();
    let resumed = Trainer::resume(&bench.path("broken"), None, Device::Cpu, &ranks, &mut silent).unwrap();
    assert_eq!(resumed.run().unwrap().epochs[1].losses, *losses);
    let [a, b] = ["straight", "broken"].map(|run| bench.tensors(&format!("{run}/final.safetensors")));
    assert!(a.iter().all(|(name, value)| value.equal(&b[name])));
}

#[test]
fn a_frozen_encoder_is_cores_in_8_bits_and_its_teachers_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (bench, ranks) = (Bench::new(folder.path()), Ranks::alone());
    let cache = format!("cache.folder={}", bench.path("cache").display());
    let config = bench.config(&[
        &cache,
        "quantization.enabled=true",
        "loss.terms=['imitation']",
        "data.samples-per-epoch=2",
        "training.epochs=1",
    ]);
    let summary = bench.train(&ranks, &config, "run");
    assert!(summary.epochs[1].losses["imitation"] > 0.0);
    let engine = |entry: fs::DirEntry| entry.file_name().into_string().unwrap()[17..].to_string();
    let mut engines: Vec<String> =
        fs::read_dir(bench.path("cache")).unwrap().map(|entry| engine(entry.unwrap())).collect();
    engines.sort();
    let own = format!("core-int8-{}-f16", umedsam::runtime::Kernels::detect().name());
    assert_eq!(engines, ["core-f16", &own]);
}

#[cfg(feature = "weights-tests")]
mod weights {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use prost::Message;
    use tract_onnx::pb::ModelProto;
    use umedsam::preprocess::{INPUT_LEN, Preprocessor};
    use umedsam::runtime::{Graph, GraphOptions, Kernels};
    use umedsam::{ImageView, Storage};
    use umedsam_export::checkpoint::Weights;
    use umedsam_export::onnx;
    use umedsam_train::model::{load, save};

    use super::*;

    const BOXES: [f32; 8] = [40.0, 30.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25];

    fn path() -> PathBuf {
        std::env::var_os("UMEDSAM_WEIGHTS").expect("UMEDSAM_WEIGHTS names the weights").into()
    }

    fn loaded(config: &QuantizationConfig) -> (nn::VarStore, LiteMedSam) {
        let (vs, model) = quantized(config);
        load(&vs, &path()).unwrap();
        (vs, model)
    }

    /// A fundus photograph as the network sees it.
    fn retina() -> Vec<f32> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../edge-demo/assets/retina.jpg");
        let picture = image::open(file).unwrap().into_rgb8();
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let mut input = vec![0.0; INPUT_LEN];
        let view = ImageView::rgb8(picture.as_raw(), width, height).unwrap();
        Preprocessor::new().preprocess_into(&view, &mut input);
        input
    }

    fn run(name: &'static str, onnx: &[u8], inputs: &[(&[usize], &[f32])], kernels: Kernels) -> Vec<Vec<f32>> {
        let shapes: Vec<(usize, &[usize])> = inputs.iter().enumerate().map(|(i, (shape, _))| (i, *shape)).collect();
        let options = GraphOptions::default().with_precision(umedsam::Precision::Int8).with_kernels(kernels);
        let mut graph = Graph::load(name, onnx, &shapes, &options).unwrap();
        graph.run(inputs).unwrap();
        (0..).map_while(|i| graph.output(i).ok().map(<[f32]>::to_vec)).collect()
    }

    /// The root of the mean squared difference, as a share of the expected values' standard deviation.
    fn difference(found: &Tensor, expected: &Tensor) -> f64 {
        let error = found.reshape([-1]) - expected.reshape([-1]);
        error.square().mean(Kind::Double).sqrt().double_value(&[]) / expected.std(true).double_value(&[])
    }

    /// The encoder is compared block by block beside it; here, how far the small differences of its blocks go. Each makes
    /// a few values in a thousand, those between two steps, fall to the other one, and those differences make others: on
    /// this picture by a good half of what rounding itself changes.
    #[test]
    fn the_network_in_training_is_cores_in_8_bits() {
        let graphs = onnx::build(&Weights::load(path()).unwrap(), Storage::Int8).unwrap();
        let image = retina();
        let images = Tensor::from_slice(&image).view([1, 3, 256, 256]);
        let exact = tch::no_grad(|| loaded(&QuantizationConfig::default()).1.encode(&images, false));
        for (kernels, precision) in [("avx2", Precision::F32), ("avx512-bf16", Precision::Bf16)] {
            let Some(kernels) = Kernels::available().find(|k| k.name() == kernels) else { continue };
            let (_, model) = loaded(&in_8_bits(precision));
            let values = &run("encoder", &graphs.encoder, &[(&[1, 3, 256, 256], &image)], kernels)[0];
            let inputs: [(&[usize], &[f32]); 2] = [(&[1, 256, 64, 64], values), (&[2, 4], &BOXES)];
            let [logits, iou] = run("decoder", &graphs.decoder, &inputs, kernels).try_into().unwrap();
            let embedding = Tensor::from_slice(values).view([1, 256, 64, 64]);
            let boxes = Tensor::from_slice(&BOXES).view([2, 4]);
            let (own, (own_logits, own_iou)) =
                tch::no_grad(|| (model.encode(&images, false), model.decode(&embedding, &boxes)));
            let rounding = difference(&exact, &embedding);
            for (what, found, tolerance) in [
                ("embedding", difference(&own, &embedding), 0.8 * rounding),
                ("logits", difference(&own_logits, &Tensor::from_slice(&logits)), 0.01),
                ("IoU", (own_iou.reshape([-1]) - Tensor::from_slice(&iou)).abs().max().double_value(&[]), 0.003),
            ] {
                println!("{} {what}: {found:.1e} (rounding: {rounding:.1e})", kernels.name());
                assert!(found < tolerance, "{} {what}: {found:e}", kernels.name());
            }
        }
    }

    #[test]
    fn gradients_are_those_of_the_network_in_floats_but_for_rounding() {
        let images = Tensor::from_slice(&retina()).view([1, 3, 256, 256]);
        let boxes = Tensor::from_slice(&BOXES).view([2, 4]);
        let gradients = |config: &QuantizationConfig| -> BTreeMap<String, Tensor> {
            let (vs, model) = loaded(config);
            let (logits, iou) = model.decode(&model.encode(&images, false), &boxes);
            (logits.sigmoid().mean(Kind::Float) + iou.mean(Kind::Float)).backward();
            let defined = vs.variables().into_iter().filter(|(_, v)| v.requires_grad() && v.grad().defined());
            defined.map(|(name, v)| (name, v.grad())).collect()
        };
        let (plain, rounded) = (gradients(&QuantizationConfig::default()), gradients(&in_8_bits(Precision::F32)));
        let mut compared = 0;
        for (name, expected) in plain {
            // The keys' bias has no part in a softmax; core leaves it out where tokens attend to the image.
            if name.ends_with("k_proj.bias") || expected.abs().max().double_value(&[]) == 0.0 {
                continue;
            }
            let found = rounded[&name].reshape([-1]);
            let expected = expected.reshape([-1]);
            let cosine = (found.dot(&expected) / (found.norm() * expected.norm())).double_value(&[]);
            assert!(cosine > 0.7, "{name}: {cosine}");
            compared += 1;
        }
        assert!(compared > 300, "{compared}");
    }

    /// Integers of an ONNX file's weights, by name.
    fn stored(onnx: &[u8]) -> BTreeMap<String, Vec<i8>> {
        let graph = ModelProto::decode(onnx).unwrap().graph.unwrap();
        let integers = |t: &[u8]| t.iter().map(|&b| b.cast_signed()).collect();
        let named = graph.initializer.iter().filter_map(|t| Some((t.name.strip_suffix(".weight.int8")?, t)));
        named.map(|(name, t)| (name.to_string(), integers(&t.raw_data))).collect()
    }

    #[test]
    fn export_writes_the_integers_of_training() {
        let (vs, model) = loaded(&in_8_bits(Precision::F32));
        // As after some training.
        tch::manual_seed(5);
        tch::no_grad(|| {
            for mut variable in vs.trainable_variables() {
                let moved = &variable * (variable.randn_like() * 0.01 + 1.0);
                variable.copy_(&moved);
            }
        });
        let folder = tempfile::tempdir().unwrap();
        let file: &Path = &folder.path().join("trained.safetensors");
        save(&vs, file).unwrap();
        let graphs = onnx::build(&Weights::load(file).unwrap(), Storage::Int8).unwrap();
        let (encoder, decoder) = (stored(&graphs.encoder), stored(&graphs.decoder));
        for (name, integers, _) in model.integers() {
            let stored = match name.strip_prefix("image_encoder.") {
                Some(name) => &encoder[name],
                None => &decoder[&name],
            };
            // As export lays them out: (in, out), queries before keys before values.
            let size = integers.size();
            let integers = match &size[..] {
                [_, _, 3, 3] => integers,
                [_, outputs, 2, 2] => integers.permute([0, 2, 3, 1]).reshape([-1, 4 * outputs]),
                [outputs, inputs, ..] if name.ends_with("qkv") => {
                    integers.view([-1, 3, 32, *inputs]).transpose(0, 1).reshape([*outputs, *inputs]).tr()
                }
                [outputs, inputs, ..] => integers.view([*outputs, *inputs]).tr(),
                other => panic!("{name}: {other:?}"),
            };
            let integers = Vec::<i8>::try_from(integers.contiguous().view(-1).to_kind(Kind::Int8)).unwrap();
            assert!(integers == *stored, "{name}");
        }
    }
}
