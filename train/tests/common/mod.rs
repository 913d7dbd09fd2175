//! What the tests share.

use tch::{Device, nn};
use umedsam_train::model::LiteMedSam;

/// A network of random weights on the CPU.
pub(crate) fn network() -> (nn::VarStore, LiteMedSam) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let model = LiteMedSam::new(&vs.root());
    (vs, model)
}
