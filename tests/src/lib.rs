//! What the whole-pipeline tests share: golden values and the pictures that they belong to.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

pub mod block;
pub mod blocks;
mod values;

pub use values::{max_difference, picture, scale};

const NETWORK: &[u8] = include_bytes!("../data/network.safetensors");

/// Values of PyTorch's (tests/golden/network.py), by name.
pub fn golden(name: &str) -> Vec<f32> {
    golden_bytes(name).as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

/// As [`golden`], for bytes.
pub fn golden_bytes(name: &str) -> &'static [u8] {
    SafeTensors::deserialize(NETWORK).unwrap().tensor(name).unwrap().data()
}

/// Names of all golden values.
pub fn golden_names() -> Vec<String> {
    SafeTensors::deserialize(NETWORK).unwrap().names().into_iter().map(Into::into).collect()
}

/// Every n-th value, as the generator took them.
pub fn sample(values: &[f32], count: usize) -> Vec<f32> {
    values.iter().copied().step_by((values.len() / count).max(1)).collect()
}

/// The sample image of a cell: gray values, width and height.
pub fn cell() -> (Vec<u8>, usize, usize) {
    let image = image::open(root().join("edge-demo/assets/cell.png")).unwrap().into_luma8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    (image.into_raw(), width, height)
}

/// The workspace's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
