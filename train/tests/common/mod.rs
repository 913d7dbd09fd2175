//! What the tests share.

#![allow(dead_code, reason = "each test program uses its part")]

pub(crate) mod bench;
#[cfg(feature = "mpi")]
pub(crate) mod launch;

use std::path::Path;

use tch::{Device, Tensor, nn};
use umedsam_train::model::LiteMedSam;

/// A network of random weights on the CPU.
pub(crate) fn network() -> (nn::VarStore, LiteMedSam) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let model = LiteMedSam::new(&vs.root());
    (vs, model)
}

/// A gray case of these labels, (H,W) or (D,H,W), whose intensities are 50 times the labels.
pub(crate) fn write_case(path: &Path, labels: &[u8], shape: &[i64]) {
    let gts = Tensor::from_slice(labels).view(shape);
    Tensor::write_npz(&[("imgs", &gts * 50), ("gts", gts)], path).unwrap();
}
