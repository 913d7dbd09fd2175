//! Weights and activations in 8 bits, as integers in f32.
//!
//! Integers, not what they stand for, are multiplied: the products of 0..=255 and -127..=127 are exact in f32, and so are
//! their sums below 2^24. No sum of up to 518 of them can reach that, and none of 2304, the most there are, comes near it
//! unless nearly all weights and steps are extreme at once; it would then be rounded in its 25th bit, as core rounds it.
//! TF32 and bf16 hold these integers exactly, too.

use tch::{Kind, Tensor};

use super::round::straight_through;

/// Integers of -127 to 127 and the scale of each output channel, whose weights lie along `axes`: the largest becomes 127
/// ([`umedsam::runtime::quantize_weights`]).
pub(super) fn of_weights(weight: &Tensor, axes: &[i64]) -> (Tensor, Tensor) {
    let scale = tch::no_grad(|| {
        let greatest = weight.abs().amax(axes, true);
        // By a tensor: CUDA divides by a number by multiplying with its inverse.
        let scale = &greatest / greatest.full_like(127.0);
        scale.where_self(&greatest.gt(0.0), &scale.ones_like())
    });
    let scaled = weight / &scale;
    let rounded = tch::no_grad(|| scaled.round());
    (straight_through(rounded, &scaled), scale)
}

/// Steps from the one that is 0, and the size of a step: 256 between the least and the greatest value along `axes`, of
/// which 0 is one. What holds a value that is not finite has steps of NaN.
pub(super) fn of_activations(x: &Tensor, axes: &[i64]) -> (Tensor, Tensor) {
    let (steps, size, inverse) = tch::no_grad(|| {
        let x = x.detach();
        let least = x.amin(axes, true).clamp_max(0.0);
        let range = x.amax(axes, true).clamp_min(0.0) - &least;
        let size = &range / range.full_like(255.0);
        let usable = size.gt(0.0).logical_and(&size.isfinite());
        let size = size.where_self(&usable, &size.ones_like());
        let inverse = size.reciprocal();
        let zero = (-least / &size).round().clamp(0.0, 255.0);
        // Core rounds the product and the sum once, together, to f32: in f64 the product is exact.
        let at = (x.to_kind(Kind::Double) * inverse.to_kind(Kind::Double)).g_add_(&zero).to_kind(Kind::Float);
        let steps = at.clamp(0.0, 255.0).round() - zero;
        (steps, size + range * 0.0, inverse)
    });
    if !x.requires_grad() {
        return (steps, size);
    }
    (straight_through(steps, &(x * inverse)), size)
}

#[cfg(test)]
mod tests {
    use tch::Device;
    use umedsam::runtime::quantize_weights;

    use super::*;

    fn random(shape: &[i64], seed: i64) -> Tensor {
        tch::manual_seed(seed);
        Tensor::randn(shape, (Kind::Float, Device::Cpu))
    }

    fn values(t: &Tensor) -> Vec<f32> {
        Vec::try_from(t.detach().contiguous().view(-1)).unwrap()
    }

    #[test]
    fn weights_are_cores() {
        let weight = random(&[31, 320], 1);
        let _ = weight.get(3).zero_();
        let (integers, scale) = of_weights(&weight, &[1]);
        let (expected, scales) = quantize_weights(&values(&weight), 31, |i| i / 320);
        assert_eq!(values(&integers), expected.into_iter().map(f32::from).collect::<Vec<_>>());
        assert_eq!(values(&scale), scales);
    }

    /// The kernels' arithmetic, value by value.
    fn step(v: f32, least: f32, greatest: f32) -> (f32, f32) {
        let size = (greatest - least) / 255.0;
        let size = if size > 0.0 { size } else { 1.0 };
        let zero = (-least / size).round_ties_even().clamp(0.0, 255.0);
        (v.mul_add(1.0 / size, zero).clamp(0.0, 255.0).round_ties_even() - zero, size)
    }

    #[test]
    fn steps_are_the_kernels() {
        // Of either sign, of both, of none; and one whose values lie on the borders between steps.
        let x = random(&[400, 320], 2) + random(&[400, 1], 3) * 2.0;
        let _ = x.get(0).zero_();
        x.get(1).copy_(&(Tensor::arange(320, (Kind::Float, Device::Cpu)).remainder(256.0) - 17.5));
        let (steps, size) = of_activations(&x, &[1]);
        let expected = values(&x);
        let expected = expected.chunks_exact(320).map(|row| {
            let least = row.iter().fold(0.0f32, |a, &b| a.min(b));
            let greatest = row.iter().fold(0.0f32, |a, &b| a.max(b));
            row.iter().map(|&v| step(v, least, greatest)).unzip::<f32, f32, Vec<_>, Vec<_>>()
        });
        let (expected, sizes): (Vec<_>, Vec<_>) = expected.unzip();
        assert_eq!(values(&steps), expected.concat());
        assert_eq!(values(&size), sizes.iter().map(|row| row[0]).collect::<Vec<_>>());
    }

    #[test]
    fn gradients_pass_as_if_nothing_were_rounded() {
        let x = random(&[5, 64], 4).set_requires_grad(true);
        let weight = random(&[16, 64], 5).set_requires_grad(true);
        let wanted = random(&[5, 16], 6);
        let (steps, size) = of_activations(&x, &[1]);
        let (integers, scale) = of_weights(&weight, &[1]);
        let y = steps.matmul(&integers.tr()) * &size * scale.tr();
        (y * &wanted).sum(Kind::Float).backward();
        // Those of a product of what the integers stand for.
        let (of_x, of_weight) = tch::no_grad(|| {
            let (x, weight) = ((steps * size).detach(), (integers * scale).detach());
            (wanted.matmul(&weight), wanted.tr().matmul(&x))
        });
        for (found, expected) in [(x.grad(), of_x), (weight.grad(), of_weight)] {
            let difference = ((found - &expected).abs().max() / expected.abs().max()).double_value(&[]);
            assert!(difference < 1e-5, "{difference:e}");
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let x = random(&[2, 16], 7);
            let _ = x.get(1).get(5).fill_(value);
            let (steps, size) = of_activations(&x, &[1]);
            let y = (steps * size).sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
            assert!(y.double_value(&[0]).is_finite() && y.double_value(&[1]).is_nan(), "{value}");
        }
    }
}
