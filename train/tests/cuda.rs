//! CUDA is an answer, not a crash, on every kind of machine.

use tch::{Kind, Tensor};
use umedsam_train::cuda::{CudaError, device};

/// The only test of its program: libtorch must not have been asked about CUDA before.
#[test]
fn a_device_works_or_is_an_error() {
    match device(0) {
        Ok(cuda) => assert_eq!(Tensor::ones([2, 2], (Kind::Float, cuda)).sum(Kind::Float).double_value(&[]), 4.0),
        Err(CudaError::Library(reason)) => assert!(reason.contains("libtorch_cuda"), "{reason}"),
        Err(error @ CudaError::NoDevice { .. }) => println!("{error}"),
        Err(error) => panic!("{error}"),
    }
    let error = device(4096).unwrap_err();
    assert!(matches!(error, CudaError::Library(_) | CudaError::NoDevice { index: 4096, .. }), "{error}");
}
