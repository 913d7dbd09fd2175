//! Model bundles. Digests are checked before anything else is believed, so what is damaged ends there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umedsam::Model;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes.to_vec()) {
        assert!(model.encoder_onnx().len() + model.decoder_onnx().len() <= bytes.len());
    }
});
