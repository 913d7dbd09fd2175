//! The built-in model, block by block and whole, on whatever machine this is: `tests/cross.sh` runs it on emulated ones
//! and lays their results beside this one's.

#![allow(unreachable_pub, reason = "public where they are part of the package umedsam-tests")]

#[path = "../../tests/src/block.rs"]
mod block;
#[cfg(feature = "tract")]
#[path = "../../tests/src/blocks.rs"]
mod blocks;
#[path = "../../tests/src/values.rs"]
mod values;

use std::env::var_os;
use std::fs;
use std::path::PathBuf;

use block::Block;
use umedsam::postprocess::LOGITS_LEN;
use umedsam::runtime::{Graph, GraphOptions, Kernels};
use umedsam::{Model, Precision};

/// Whether this machine is an emulated one, on which an encode in f32 takes minutes: then everything is run in the model's
/// own precision only.
fn is_emulated() -> bool {
    var_os("UMEDSAM_EMULATED").is_some()
}

/// A folder that an environment variable names: where this machine's results go, or where another's are.
fn folder(variable: &str) -> Option<PathBuf> {
    var_os(variable).filter(|name| !name.is_empty()).map(PathBuf::from)
}

/// The blocks, one after another, as tract computes the bodies of their functions here or did on another machine.
fn all_blocks(model: &Model) -> Box<dyn Iterator<Item = Block>> {
    if let Some(folder) = folder("UMEDSAM_RECORDED") {
        let files = (0..).map(move |i| folder.join(format!("block-{i}")));
        return Box::new(files.take_while(|file| file.exists()).map(|file| Block::read(&file)));
    }
    #[cfg(not(feature = "tract"))]
    panic!("without the feature tract, UMEDSAM_RECORDED must name a folder of blocks ({})", model.manifest().name);
    #[cfg(feature = "tract")]
    Box::new(blocks::blocks(model.encoder_onnx(), model.decoder_onnx()).into_iter())
}

#[test]
fn blocks_of_the_built_in_model_equal_the_bodies_of_their_functions() {
    let model = Model::bundled().unwrap();
    let own = model.manifest().storage.precision();
    let mut precisions =
        vec![(Precision::F32, 2e-5), (Precision::F16, 0.01), (Precision::Bf16, 0.02), (Precision::Int8, 0.05)];
    precisions.retain(|(precision, _)| *precision == own || !is_emulated());
    let mut checked = 0;
    for block in all_blocks(&model) {
        block.check(&precisions);
        if let Some(folder) = folder("UMEDSAM_RECORD") {
            block.write(&folder.join(format!("block-{checked}")));
        }
        checked += 1;
    }
    assert!(checked > 15, "{checked} blocks");
}

/// Logits of the picture's three boxes.
fn logits(model: &Model, precision: Precision) -> Vec<f32> {
    let (shape, image) = block::image();
    let options = GraphOptions::default().with_precision(precision).with_poisoned_memory();
    let mut encoder = Graph::load("encoder", model.encoder_onnx(), &[(0, &shape)], &options).unwrap();
    let mut decoder = Graph::load("decoder", model.decoder_onnx(), &[], &options).unwrap();
    assert!(encoder.is_fused() && decoder.is_fused());
    encoder.run(&[(&shape, &image)]).unwrap();
    decoder.run(&[(&[1, 256, 64, 64], encoder.output(0).unwrap()), (&[3, 4], &block::BOXES)]).unwrap();
    decoder.output(0).unwrap().to_vec()
}

/// The least DSC of two runs' masks.
fn agreement(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let objects = a.chunks_exact(LOGITS_LEN).zip(b.chunks_exact(LOGITS_LEN));
    let of = |(a, b): (&[f32], &[f32])| {
        let area = |v: &[f32]| v.iter().filter(|v| **v > 0.0).count();
        let both = a.iter().zip(b).filter(|(a, b)| **a > 0.0 && **b > 0.0).count();
        assert!(area(a) > 0 && a.iter().all(|v| v.is_finite()), "a mask");
        2.0 * both as f64 / (area(a) + area(b)) as f64
    };
    objects.map(of).fold(1.0, f64::min)
}

#[test]
fn the_kernels_are_those_of_this_machine() {
    let expected = var_os("UMEDSAM_EXPECT_KERNELS").filter(|name| !name.is_empty());
    assert!(expected.is_none_or(|name| name == Kernels::detect().name()), "{}", Kernels::detect().name());
}

#[test]
fn masks_are_those_of_other_machines() {
    let model = Model::bundled().unwrap();
    let own = model.manifest().storage.precision();
    let precisions = Precision::ALL.into_iter().filter(|a| *a == own || !is_emulated());
    let found: Vec<(Precision, Vec<f32>)> = precisions.map(|a| (a, logits(&model, a))).collect();
    if let Some((_, exact)) = found.iter().find(|(a, _)| *a == Precision::F32) {
        for (precision, logits) in &found {
            let dsc = agreement(logits, exact);
            println!("{precision}: DSC {dsc:.4} to f32");
            assert!(dsc >= 0.97, "{precision}: DSC {dsc} to f32");
        }
    }
    let all: Vec<u8> = found.iter().flat_map(|(_, v)| v).flat_map(|v| v.to_le_bytes()).collect();
    if let Some(folder) = folder("UMEDSAM_RECORD") {
        fs::write(folder.join("logits"), all).unwrap();
    } else if let Some(folder) = folder("UMEDSAM_RECORDED") {
        let other = fs::read(folder.join("logits")).unwrap();
        let other: Vec<f32> = other.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        assert_eq!(other.len(), Precision::ALL.len() * 3 * LOGITS_LEN);
        for (precision, logits) in &found {
            let place = Precision::ALL.iter().position(|a| a == precision).unwrap();
            let other = &other[place * 3 * LOGITS_LEN..][..3 * LOGITS_LEN];
            let dsc = agreement(logits, other);
            let difference = values::max_difference(logits, other) / values::scale(other);
            println!("{precision}: DSC {dsc:.4}, logits {difference:e} of the scale from the other machine's");
            // In 8 bits the other machine may compute the rest in bf16, this one in f32.
            let (least, most) = if *precision == Precision::F32 { (0.9995, 1e-4) } else { (0.97, 0.1) };
            assert!(dsc >= least && difference <= most, "{precision}: DSC {dsc}, logits {difference:e}");
        }
    }
}
