//! bf16 where it is asked for, f32 elsewhere.

use std::panic::catch_unwind;

use tch::{Device, Kind, Reduction, Tensor};
use umedsam_train::autocast::bf16;

fn random(size: &[i64]) -> Tensor {
    Tensor::randn(size, (Kind::Float, Device::Cpu))
}

/// What a product of two f32 matrices comes out as in this thread.
fn product() -> Kind {
    random(&[2, 3]).matmul(&random(&[3, 2])).kind()
}

#[test]
fn products_are_bf16_losses_and_gradients_f32() {
    let weights = random(&[4, 3, 3, 3]).set_requires_grad(true);
    let bias = random(&[4]).set_requires_grad(true);
    let images = random(&[2, 3, 8, 8]);
    let forward = || {
        let features = images.conv2d(&weights, Some(&bias), 1, 1, 1, 1);
        (features.kind(), features.mse_loss(&Tensor::ones_like(&features), Reduction::Mean))
    };
    let (full, exact) = forward();
    let (kind, loss) = {
        let _bf16 = bf16(Device::Cpu);
        forward()
    };
    assert_eq!((full, kind, loss.kind()), (Kind::Float, Kind::BFloat16, Kind::Float));
    let relative = (loss.double_value(&[]) / exact.double_value(&[]) - 1.0).abs();
    assert!(relative > 0.0 && relative < 0.01, "{relative}");

    loss.backward();
    for parameter in [&weights, &bias] {
        let gradient = parameter.grad();
        assert_eq!((gradient.kind(), gradient.size()), (Kind::Float, parameter.size()));
        assert!(gradient.isfinite().all().int64_value(&[]) == 1 && gradient.norm().double_value(&[]) > 0.0);
    }
}

/// The copies that autocast keeps of parameters must not outlive the guard, or each step would see the first's weights.
#[test]
fn a_changed_parameter_is_seen_by_the_next_guard() {
    let mut weights = Tensor::ones([2, 2], (Kind::Float, Device::Cpu)).set_requires_grad(true);
    let ones = Tensor::ones([1, 2], (Kind::Float, Device::Cpu));
    let product = |weights: &Tensor| {
        let _bf16 = bf16(Device::Cpu);
        ones.matmul(weights).sum(Kind::Float).double_value(&[])
    };
    assert_eq!(product(&weights), 4.0);
    let _ = tch::no_grad(|| weights.g_mul_scalar_(3.0));
    assert_eq!(product(&weights), 12.0);
}

#[test]
fn a_guard_puts_back_what_was_before() {
    assert_eq!(product(), Kind::Float);
    {
        let _outer = bf16(Device::Cpu);
        {
            let _inner = bf16(Device::Cpu);
            // CUDA's state is another one, and can be set on every machine.
            let _cuda = bf16(Device::Cuda(0));
            assert_eq!(product(), Kind::BFloat16);
        }
        assert_eq!(product(), Kind::BFloat16);
        assert_eq!(std::thread::spawn(product).join().unwrap(), Kind::Float, "another thread");
    }
    assert_eq!(product(), Kind::Float);
    {
        let _cuda = bf16(Device::Cuda(0));
        assert_eq!(product(), Kind::Float);
    }

    let panicked = catch_unwind(|| {
        let _bf16 = bf16(Device::Cpu);
        assert_eq!(product(), Kind::Float, "wrong on purpose");
    });
    assert!(panicked.is_err());
    assert_eq!(product(), Kind::Float);
}
