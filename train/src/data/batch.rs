//! Samples as tensors.

use tch::{Device, Kind, Tensor};
use umedsam::MODEL_SIDE;
use umedsam::preprocess::{INPUT_LEN, Preprocessor};

use super::case::Picture;
use super::sample::{GRID, Sample};

const SIDE: i64 = MODEL_SIDE as i64;

/// Samples that go through the network together, on its device.
#[derive(Debug)]
pub struct Batch {
    /// Files, slices and labels.
    pub names: Vec<String>,
    /// Boxes (N,4), x0 y0 x1 y1 in pixels of the 256x256 input.
    pub boxes: Tensor,
    /// Masks (N,1,256,256), 0 or 1.
    pub masks: Tensor,
    /// Targets of the shape-distance loss (N,1,256,256); nothing where it isn't wanted.
    pub shapes: Option<Tensor>,
}

impl Batch {
    /// Everything of the samples but their pictures.
    pub fn new(samples: &[Sample], device: Device) -> Self {
        let count = samples.len() as i64;
        let boxes: Vec<f32> = samples.iter().flat_map(|s| s.model_box).collect();
        let mut masks: Vec<u8> = Vec::with_capacity(samples.len() * GRID);
        samples.iter().for_each(|s| masks.extend(s.mask.iter().map(|&inside| u8::from(inside))));
        let grid = [count, 1, SIDE, SIDE];
        let shapes = samples.iter().all(|s| s.shape.len() == GRID).then(|| {
            let mut shapes: Vec<f32> = Vec::with_capacity(samples.len() * GRID);
            samples.iter().for_each(|s| shapes.extend(&s.shape));
            Tensor::from_slice(&shapes).view(grid).to_device(device)
        });
        Self {
            names: samples.iter().map(|s| s.name.clone()).collect(),
            boxes: Tensor::from_slice(&boxes).view([count, 4]).to_device(device),
            masks: Tensor::from_slice(&masks).view(grid).to_device(device).to_kind(Kind::Float),
            shapes,
        }
    }
}

/// Network inputs (N,3,256,256) of pictures, as core makes them.
///
/// # Errors
/// [`umedsam::Error`] for a picture whose fields don't fit each other.
pub fn images(pictures: &[&Picture], device: Device) -> Result<Tensor, umedsam::Error> {
    let mut input = vec![0.0; pictures.len() * INPUT_LEN];
    let mut preprocessor = Preprocessor::new();
    for (input, picture) in input.chunks_exact_mut(INPUT_LEN).zip(pictures) {
        // What has the network's size is not resized again.
        preprocessor.preprocess_into(&picture.view()?, input);
    }
    Ok(Tensor::from_slice(&input).view([pictures.len() as i64, 3, SIDE, SIDE]).to_device(device))
}
