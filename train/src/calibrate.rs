//! Calibration of the predicted IoU.
//!
//! The head that predicts it ends in a linear layer, so that a straight line fitted to what it says and what is true
//! ([`Calibration::line`](umedsam::metrics::Calibration)) becomes a part of the weights and costs nothing.

use tch::{Tensor, nn};

/// The last layer of the head; its first output is the single mask's.
const LAYER: &str = "mask_decoder.iou_prediction_head.layers.2";

/// Makes the network predict `slope * iou + intercept` where it predicted `iou`.
pub fn fold(variables: &nn::VarStore, (slope, intercept): (f64, f64)) {
    let variables = variables.variables();
    let first = |name: &str| variables[&format!("{LAYER}.{name}")].detach().narrow(0, 0, 1);
    tch::no_grad(|| {
        let (mut weight, mut bias): (Tensor, Tensor) = (first("weight"), first("bias"));
        let scaled = &bias * slope + intercept;
        bias.copy_(&scaled);
        let scaled = &weight * slope;
        weight.copy_(&scaled);
    });
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;
    use crate::model::LiteMedSam;

    #[test]
    fn the_line_is_in_the_weights_and_masks_stay() {
        tch::manual_seed(3);
        let variables = nn::VarStore::new(Device::Cpu);
        let model = LiteMedSam::new(&variables.root());
        let embedding = Tensor::randn([1, 256, 64, 64], (Kind::Float, Device::Cpu));
        let boxes = Tensor::from_slice(&[10f32, 20.0, 90.0, 80.0]).view([1, 4]);
        let decode = || tch::no_grad(|| model.decode(&embedding, &boxes));
        let (masks, before) = decode();
        fold(&variables, (0.5, 0.25));
        let (same, after) = decode();
        assert!(masks.equal(&same));
        let expected = before.double_value(&[0, 0]) * 0.5 + 0.25;
        assert!((after.double_value(&[0, 0]) - expected).abs() < 1e-5);
    }
}
