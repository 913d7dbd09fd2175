//! Samples as tensors: assembled in the host's memory, then on the network's device.

use tch::{Device, Kind, Tensor};
use umedsam::MODEL_SIDE;
use umedsam::preprocess::{INPUT_LEN, Preprocessor};

use super::case::Picture;
use super::sample::{GRID, Sample};
use crate::embeddings::Stored;
use crate::torch;

const SIDE: i64 = MODEL_SIDE as i64;

/// Samples that go through the network together, in the host's memory: pinned where they are bound for a CUDA device,
/// so that the way there takes no time of the thread that computes.
#[derive(Debug)]
pub struct Staged {
    /// Files, slices and labels.
    pub names: Vec<String>,
    /// The pictures.
    pub pictures: Vec<Picture>,
    /// Their embeddings, where the cache holds them.
    pub stored: Vec<Option<Stored>>,
    /// Position of each sample's picture, where samples share pictures.
    shared: Option<Tensor>,
    known: Vec<bool>,
    tensors: Tensors,
}

#[derive(Debug)]
struct Tensors {
    boxes: Tensor,
    masks: Tensor,
    shapes: Option<Tensor>,
    images: Option<Tensor>,
}

impl Staged {
    /// Samples for a device, with the network's inputs if `with_images`. If `share`, consecutive samples of equal
    /// pictures have one.
    ///
    /// # Errors
    /// [`umedsam::Error`] for a picture whose fields don't fit each other.
    pub fn new(samples: Vec<Sample>, device: Device, with_images: bool, share: bool) -> Result<Self, umedsam::Error> {
        let count = samples.len() as i64;
        let boxes: Vec<f32> = samples.iter().flat_map(|s| s.model_box).collect();
        let mut masks: Vec<u8> = Vec::with_capacity(samples.len() * GRID);
        samples.iter().for_each(|s| masks.extend(s.mask.iter().map(|&inside| u8::from(inside))));
        let grid = [count, 1, SIDE, SIDE];
        let shapes = samples.iter().all(|s| s.shape.len() == GRID).then(|| {
            let mut shapes: Vec<f32> = Vec::with_capacity(samples.len() * GRID);
            samples.iter().for_each(|s| shapes.extend(&s.shape));
            Tensor::from_slice(&shapes).view(grid)
        });
        let (mut names, mut pictures, mut stored) = (Vec::new(), Vec::<Picture>::new(), Vec::new());
        let mut places = Vec::with_capacity(samples.len());
        let known = samples.iter().map(|s| s.known).collect();
        for sample in samples {
            names.push(sample.name);
            if !share || pictures.last() != Some(&sample.picture) {
                pictures.push(sample.picture);
                stored.push(sample.embedding);
            }
            places.push(pictures.len() as i64 - 1);
        }
        let images = if with_images { Some(images(&pictures)?) } else { None };
        let pinned = |t: Tensor| if device.is_cuda() { torch::pinned(&t).expect("pinned memory") } else { t };
        Ok(Self {
            shared: (pictures.len() < names.len()).then(|| pinned(Tensor::from_slice(&places))),
            names,
            pictures,
            stored,
            known,
            tensors: Tensors {
                boxes: pinned(Tensor::from_slice(&boxes).view([count, 4])),
                masks: pinned(Tensor::from_slice(&masks).view(grid)),
                shapes: shapes.map(pinned),
                images: images.map(pinned),
            },
        })
    }

    /// Whether the tensors are in memory that a CUDA device reads by itself.
    pub fn is_pinned(&self) -> bool {
        let Tensors { boxes, masks, shapes, images } = &self.tensors;
        [Some(boxes), Some(masks), shapes.as_ref(), images.as_ref()]
            .into_iter()
            .flatten()
            .all(|t| torch::is_pinned(t).unwrap_or(false))
    }

    /// The samples on a device. Nobody waits for the copy of what is pinned.
    pub fn to_device(&self, device: Device) -> Batch {
        let there = |t: &Tensor| if device == Device::Cpu { t.shallow_clone() } else { copied(t, device) };
        let Tensors { boxes, masks, shapes, images } = &self.tensors;
        Batch {
            boxes: there(boxes),
            masks: there(masks).to_kind(Kind::Float),
            shapes: shapes.as_ref().map(there),
            images: images.as_ref().map(there),
            known: self.known.clone(),
            shared: self.shared.as_ref().map(there),
        }
    }
}

fn copied(t: &Tensor, device: Device) -> Tensor {
    t.to_device_(device, t.kind(), true, false)
}

/// Samples that go through the network together, on its device.
#[derive(Debug)]
pub struct Batch {
    /// Boxes (N,4), x0 y0 x1 y1 in pixels of the 256x256 input.
    pub boxes: Tensor,
    /// Masks (N,1,256,256), 0 or 1.
    pub masks: Tensor,
    /// Targets of the shape-distance loss (N,1,256,256); nothing where it isn't wanted.
    pub shapes: Option<Tensor>,
    /// Network inputs (P,3,256,256) of the pictures; nothing where none were asked for.
    pub images: Option<Tensor>,
    /// Whether the labels say what each sample's mask is.
    known: Vec<bool>,
    /// Position (N) of each sample's picture, where samples share pictures.
    shared: Option<Tensor>,
}

impl Batch {
    /// What belongs to each sample (N,...), of what belongs to each picture (P,...); of a single picture it stays as it
    /// is, since the network takes one embedding for all boxes.
    pub fn of_samples(&self, of_pictures: Tensor) -> Tensor {
        match &self.shared {
            Some(places) if of_pictures.size()[0] > 1 => of_pictures.index_select(0, places),
            _ => of_pictures,
        }
    }

    /// Positions (K) of the samples whose masks the labels say, where these are not all.
    pub fn known(&self) -> Option<Tensor> {
        let known = (0i64..).zip(&self.known).filter(|(_, known)| **known).map(|(i, _)| i);
        let known: Vec<i64> = known.collect();
        (known.len() < self.known.len()).then(|| Tensor::from_slice(&known).to_device(self.masks.device()))
    }

    /// Takes a teacher's logits (N,1,256,256) for the masks of the other samples.
    pub fn complete(&mut self, teacher: &Tensor) {
        if self.known.iter().all(|known| *known) {
            return;
        }
        let known = Tensor::from_slice(&self.known).view([-1, 1, 1, 1]).to_device(self.masks.device());
        self.masks = self.masks.where_self(&known, &teacher.gt(0.0).to_kind(Kind::Float));
    }

    /// The same with network inputs times a factor.
    #[must_use]
    pub fn nudged(&self, factor: f64) -> Self {
        let share = |t: &Option<Tensor>| t.as_ref().map(Tensor::shallow_clone);
        Self {
            boxes: self.boxes.shallow_clone(),
            masks: self.masks.shallow_clone(),
            shapes: share(&self.shapes),
            images: self.images.as_ref().map(|t| t * factor),
            known: self.known.clone(),
            shared: share(&self.shared),
        }
    }

    /// Samples `start..start + length`, which share the memory of the batch. Their pictures are left out.
    pub fn narrow(&self, start: i64, length: i64) -> Self {
        Self {
            boxes: self.boxes.narrow(0, start, length),
            masks: self.masks.narrow(0, start, length),
            shapes: self.shapes.as_ref().map(|t| t.narrow(0, start, length)),
            images: None,
            known: self.known[start as usize..][..length as usize].to_vec(),
            shared: None,
        }
    }
}

/// Network inputs (N,3,256,256) of pictures, as core makes them, in the host's memory.
///
/// # Errors
/// [`umedsam::Error`] for a picture whose fields don't fit each other.
pub fn images(pictures: &[Picture]) -> Result<Tensor, umedsam::Error> {
    let mut input = vec![0.0; pictures.len() * INPUT_LEN];
    let mut preprocessor = Preprocessor::new();
    for (input, picture) in input.chunks_exact_mut(INPUT_LEN).zip(pictures) {
        // What has the network's size is not resized again.
        preprocessor.preprocess_into(&picture.view()?, input);
    }
    Ok(Tensor::from_slice(&input).view([pictures.len() as i64, 3, SIDE, SIDE]))
}
