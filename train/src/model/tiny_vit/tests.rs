//! Each block of the quantized encoder against core's, on the values that reach core's.

use std::collections::HashMap;

use prost::Message;
use tch::{Device, Tensor, nn};
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::{Graph, GraphOptions, Kernels};
use umedsam::{ImageView, Storage};
use umedsam_export::checkpoint::Weights;
use umedsam_export::onnx;

use super::*;
use crate::config::QuantizationConfig;
use crate::model::{LiteMedSam, load};

/// Rounding errors before a value is brought to its step let a few in ten thousand, those between two steps, fall to the
/// other one: the difference, as a share of the standard deviation. Nothing smaller can be asked of two programs that sum
/// in another order.
const TIES: f64 = 5e-4;

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

/// What every block of the encoder hands on, (1,C,H,W), by its name.
fn values(encoder: &[u8], image: &[f32], kernels: Kernels) -> HashMap<String, Tensor> {
    let mut model = ModelProto::decode(encoder).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let calls = graph.node.iter().filter(|node| node.domain == "umedsam");
    let names: Vec<String> = calls.map(|node| node.output[0].clone()).collect();
    graph.output = names.iter().map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
    let options = GraphOptions::default().with_precision(umedsam::Precision::Int8).with_kernels(kernels);
    let shape = [1, 3, 256, 256];
    let mut graph = Graph::load("encoder", &model.encode_to_vec(), &[(0, &shape)], &options).unwrap();
    assert!(graph.is_fused());
    graph.run(&[(&shape, image)]).unwrap();
    let value = |(i, name): (usize, String)| {
        let values = Tensor::from_slice(graph.output(i).unwrap());
        let values = match values.numel() / 256 {
            _ if name == "embedding" => values.view([1, 256, 64, 64]),
            16384 => values.view([1, 256, 256, 64]).permute([0, 3, 1, 2]),
            8192 => values.view([1, 128, 128, 128]).permute([0, 3, 1, 2]),
            _ => values.view([1, 64, 64, -1]).permute([0, 3, 1, 2]),
        };
        (name, values)
    };
    names.into_iter().enumerate().map(value).collect()
}

/// GELU as core's kernels approximate it before a product in 8 bits, by a polynomial that is off by 7e-5 at most.
fn gelu_fast(x: &Tensor) -> Tensor {
    const LIMIT: f64 = 4.2;
    const P: [f64; 8] = [
        0.167_853_67,
        -0.081_560_105,
        0.055_975_273,
        -0.038_053_63,
        0.023_672_165,
        -0.016_128_54,
        0.011_273_597,
        -0.003_991_774,
    ];
    let c = x.clamp(-LIMIT, LIMIT);
    let u = c.square() * (2.0 / (LIMIT * LIMIT)) - 1.0;
    let y = P.iter().rev().fold(x.zeros_like(), |y, &p| y * &u + p);
    x * (c * y + 0.5)
}

#[test]
fn blocks_are_cores() {
    tch::set_num_threads(1);
    let _no_grad = tch::no_grad_guard();
    let path = std::env::var_os("UMEDSAM_WEIGHTS").expect("UMEDSAM_WEIGHTS names the weights");
    let graphs = onnx::build(&Weights::load(&path).unwrap(), Storage::Int8).unwrap();
    let image = retina();
    for kernels in Kernels::available() {
        let precision = match kernels.name() {
            "avx512-bf16" => Precision::Bf16,
            "avx2" => Precision::F32,
            _ => continue,
        };
        let variables = nn::VarStore::new(Device::Cpu);
        let quantization = QuantizationConfig { enabled: true, precision, ..QuantizationConfig::default() };
        let model = LiteMedSam::quantized(&variables.root(), &quantization);
        load(&variables, path.as_ref()).unwrap();
        let values = values(&graphs.encoder, &image, kernels);
        let check = |name: &str, found: &Tensor, tolerance: f64| {
            let expected = &values[name];
            let scale = expected.std(true).double_value(&[]);
            let error = (found - expected).square().mean(Kind::Double).sqrt().double_value(&[]) / scale;
            println!("{} {name}: {error:.1e}", kernels.name());
            assert!(error < tolerance, "{} {name}: {error:e}", kernels.name());
        };
        // Where core's GELU is off by 7e-5.
        let float = if precision == Precision::F32 { 5e-5 } else { 5e-3 };
        let encoder = &model.encoder;
        let image = Tensor::from_slice(&image).view([1, 3, 256, 256]);
        let x = encoder.patch[1].forward(&gelu(&encoder.patch[0].forward(&image, false)), false);
        check("patch_embed", &x, 1e-4);
        let mut x = values["patch_embed"].shallow_clone();
        for (i, bottleneck) in encoder.bottlenecks.iter().enumerate() {
            let name = format!("layers.0.blocks.{i}");
            check(&name, &gelu(&(bottleneck.forward(&x, false) + &x)), float);
            x = values[&name].shallow_clone();
        }
        for (i, (merge, blocks)) in encoder.stages.iter().enumerate() {
            let name = format!("layers.{i}.downsample");
            check(&name, &merge.forward(&x, false), float);
            x = values[&name].shallow_clone();
            for (j, block) in blocks.iter().enumerate() {
                let name = |part: &str| format!("layers.{}.blocks.{j}.{part}", i + 1);
                check(&name("attn"), &block.attended(&x), TIES);
                check(&name("local_conv"), &block.local.forward(&values[&name("attn")], false), 1e-6);
                let tokens = values[&name("local_conv")].permute([0, 2, 3, 1]);
                check(&name("mlp"), &block.transformed(&values[&name("local_conv")]), 1e-2);
                let y = block.fc2.forward(&gelu_fast(&block.fc1.forward(&tokens.apply(&block.norm))));
                check(&name("mlp"), &(y + &tokens).permute([0, 3, 1, 2]), TIES);
                x = values[&name("mlp")].shallow_clone();
            }
        }
        check("embedding", &encoder.neck.forward(&x), TIES);
    }
}
