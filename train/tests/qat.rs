//! Training for 8 bits: the network in training against core's on the same weights, in integers.

mod common;

use tch::{Device, Kind, Tensor, nn};
use umedsam_train::config::{Floats, QuantizationConfig};
use umedsam_train::model::LiteMedSam;

fn quantized(floats: Floats) -> (nn::VarStore, LiteMedSam) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let config = QuantizationConfig { enabled: true, floats, ..QuantizationConfig::default() };
    let model = LiteMedSam::quantized(&vs.root(), &config);
    (vs, model)
}

#[cfg(feature = "weights-tests")]
mod weights {
    use std::collections::HashMap;
    use std::path::PathBuf;

    use prost::Message;
    use tract_onnx::pb::ModelProto;
    use umedsam::preprocess::{INPUT_LEN, Preprocessor};
    use umedsam::runtime::{Graph, GraphOptions, Kernels};
    use umedsam::{Arithmetic, ImageView, Model, PixelBox, Precision, SessionOptions};
    use umedsam_export::checkpoint::Weights;
    use umedsam_export::{bundle, onnx};
    use umedsam_train::model::load;

    use super::*;

    const BOXES: [f32; 8] = [40.0, 30.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25];

    fn path() -> PathBuf {
        std::env::var_os("UMEDSAM_WEIGHTS").expect("UMEDSAM_WEIGHTS names the weights").into()
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

    /// The root of the mean squared difference, as a share of the expected values' standard deviation; and the greatest.
    fn difference(found: &Tensor, expected: &[f32]) -> (f64, f64) {
        let found = found.detach().contiguous().view(-1);
        let expected = Tensor::from_slice(expected);
        let error = &found - &expected;
        let share = error.square().mean(Kind::Double).sqrt().double_value(&[]) / expected.std(true).double_value(&[]);
        (share, error.abs().max().double_value(&[]))
    }

    fn run(name: &'static str, onnx: &[u8], inputs: &[(&[usize], &[f32])], kernels: Kernels) -> Vec<Vec<f32>> {
        let shapes: Vec<(usize, &[usize])> = inputs.iter().enumerate().map(|(i, (shape, _))| (i, *shape)).collect();
        let options = GraphOptions::default().with_arithmetic(Arithmetic::Int8).with_kernels(kernels);
        let mut graph = Graph::load(name, onnx, &shapes, &options).unwrap();
        graph.run(inputs).unwrap();
        (0..).map_while(|i| graph.output(i).ok().map(<[f32]>::to_vec)).collect()
    }

    #[test]
    fn the_network_in_training_is_cores_in_8_bits() {
        let graphs = onnx::build(&Weights::load(path()).unwrap(), Precision::Int8).unwrap();
        let image = retina();
        for kernels in Kernels::available() {
            let floats = match kernels.name() {
                "avx512-bf16" => Floats::Bf16,
                "avx2" => Floats::F32,
                _ => continue,
            };
            let (vs, model) = quantized(floats);
            load(&vs, &path()).unwrap();
            let embedding = &run("encoder", &graphs.encoder, &[(&[1, 3, 256, 256], &image)], kernels)[0];
            let inputs: [(&[usize], &[f32]); 2] = [(&[1, 256, 64, 64], embedding), (&[2, 4], &BOXES)];
            let found = run("decoder", &graphs.decoder, &inputs, kernels);
            tch::no_grad(|| {
                let own = model.encode(&Tensor::from_slice(&image).view([1, 3, 256, 256]), false);
                println!("{} embedding {:?}", kernels.name(), difference(&own, embedding));
                let boxes = Tensor::from_slice(&BOXES).view([2, 4]);
                let (logits, iou) = model.decode(&Tensor::from_slice(embedding).view([1, 256, 64, 64]), &boxes);
                println!("{} logits {:?}", kernels.name(), difference(&logits, &found[0]));
                println!("{} iou {:?}", kernels.name(), difference(&iou, &found[1]));
                let store = nn::VarStore::new(Device::Cpu);
                let plain = LiteMedSam::new(&store.root());
                load(&store, &path()).unwrap();
                let base = plain.encode(&Tensor::from_slice(&image).view([1, 3, 256, 256]), false);
                println!("f32 to core {:?}", difference(&base, embedding));
                let base: Vec<f32> = Vec::try_from(base.contiguous().view(-1)).unwrap();
                println!("f32 to own {:?}", difference(&own, &base));
            });
        }
    }
}
