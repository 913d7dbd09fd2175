//! The fused blocks against the bodies of the functions that they replace, and every set of kernels against the
//! portable one.

use prost::Message;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::{Graph, GraphOptions, Kernels};
use umedsam::{Arithmetic, ImageView, Model};
use umedsam_tests::{max_difference, picture, scale};

const IMAGE: [usize; 4] = [1, 3, 256, 256];
const EMBEDDING: [usize; 4] = [1, 256, 64, 64];
const BOXES: [f32; 12] = [10.0, 20.0, 200.0, 180.0, 90.5, 60.0, 140.0, 130.25, 0.0, 0.0, 255.0, 255.0];

/// The graph with every call's result as an output, in order, and the calls' names.
fn tapped(onnx: &[u8]) -> (Vec<u8>, Vec<String>) {
    let mut model = ModelProto::decode(onnx).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let calls = graph.node.iter().filter(|n| n.domain == "umedsam" && n.op_type != "PositionEncoding");
    let names: Vec<String> = calls.map(|n| n.output[0].clone()).collect();
    graph.output = names.iter().map(|name| ValueInfoProto { name: name.clone(), ..Default::default() }).collect();
    (model.encode_to_vec(), names)
}

fn image() -> Vec<f32> {
    let mut input = vec![0.0; INPUT_LEN];
    let pixels = picture();
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, 256, 256).unwrap(), &mut input);
    input
}

/// The largest difference from `expected`, in parts of each value's scale, and the name of that value.
fn worst(graph: &Graph, names: &[String], expected: &[Vec<f32>]) -> (f32, String) {
    let differences = names.iter().zip(expected).enumerate().map(|(i, (name, expected))| {
        (max_difference(graph.output(i).unwrap(), expected) / scale(expected), name.clone())
    });
    differences.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap()
}

fn outputs(graph: &Graph, count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|i| graph.output(i).unwrap().to_vec()).collect()
}

/// How far an arithmetic may be from f32, block after block.
const fn tolerance(arithmetic: Arithmetic) -> f32 {
    match arithmetic {
        Arithmetic::F32 => 5e-5,
        Arithmetic::Bf16 => 0.05,
        _ => 0.25,
    }
}

#[test]
fn blocks_equal_the_bodies_of_their_functions() {
    let model = Model::bundled().unwrap();
    let image = image();
    let (encoder, blocks) = tapped(model.encoder_onnx());
    let mut reference =
        Graph::load("encoder", &encoder, &[(0, &IMAGE)], &GraphOptions::default().with_bodies().with_threads(2))
            .unwrap();
    assert!(!reference.is_fused());
    reference.run(&[(&IMAGE, &image)]).unwrap();
    let expected = outputs(&reference, blocks.len());
    assert_eq!(blocks.len(), 37);

    let (decoder, calls) = tapped(model.decoder_onnx());
    let embedding = expected.last().unwrap();
    let prompts = (&[3, 4][..], &BOXES[..]);
    let mut reference = Graph::load("decoder", &decoder, &[], &GraphOptions::default().with_bodies()).unwrap();
    reference.run(&[(&EMBEDDING, embedding), prompts]).unwrap();
    let decoded = outputs(&reference, calls.len());

    for kernels in Kernels::available() {
        for arithmetic in Arithmetic::ALL {
            let options = GraphOptions::default().with_kernels(kernels).with_arithmetic(arithmetic).with_threads(2);
            let mut graph = Graph::load("encoder", &encoder, &[(0, &IMAGE)], &options).unwrap();
            assert!(graph.is_fused());
            graph.run(&[(&IMAGE, &image)]).unwrap();
            let (difference, name) = worst(&graph, &blocks, &expected);
            println!("{} {arithmetic}: encoder {difference:e} at {name}", kernels.name());
            assert!(difference < tolerance(arithmetic), "{} {arithmetic}: {difference:e} at {name}", kernels.name());

            let mut graph = Graph::load("decoder", &decoder, &[], &options).unwrap();
            assert!(graph.is_fused());
            graph.run(&[(&EMBEDDING, embedding), prompts]).unwrap();
            let (difference, name) = worst(&graph, &calls, &decoded);
            println!("{} {arithmetic}: decoder {difference:e} at {name}", kernels.name());
            assert!(difference < tolerance(arithmetic), "{} {arithmetic}: {difference:e} at {name}", kernels.name());
        }
    }
}
