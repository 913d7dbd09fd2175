//! A checkpoint's tensors while they are changed.

use std::collections::BTreeMap;

use ndarray::Array2;

use crate::checkpoint::{Error, Tensor, TensorData, Weights};
use crate::layers::Layer;

/// The f32 tensors that were changed, above the weights that they are changes of.
#[derive(Debug)]
pub(super) struct Tensors {
    base: Weights,
    changed: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Tensors {
    pub(super) fn new(base: Weights) -> Self {
        Self { base, changed: BTreeMap::new() }
    }

    /// The values of a tensor of this shape, to be changed.
    pub(super) fn values_mut(&mut self, name: &str, shape: &[usize]) -> Result<&mut [f32], Error> {
        if !self.changed.contains_key(name) {
            let values = self.base.f32(name, shape)?.to_vec();
            self.changed.insert(name.into(), (shape.to_vec(), values));
        }
        Ok(self.changed.get_mut(name).map(|(_, values)| values.as_mut_slice()).unwrap_or_default())
    }

    /// A layer's weights as a matrix (n, k).
    pub(super) fn matrix(&mut self, layer: &Layer) -> Result<Array2<f32>, Error> {
        let values = self.values_mut(&layer.weight(), &layer.shape)?;
        Ok(Array2::from_shape_fn((layer.n, layer.k), |(n, k)| values[layer.place(k, n)]))
    }

    /// Puts a matrix (n, k) in the place of a layer's weights.
    pub(super) fn set_matrix(&mut self, layer: &Layer, matrix: &Array2<f32>) -> Result<(), Error> {
        let values = self.values_mut(&layer.weight(), &layer.shape)?;
        matrix.indexed_iter().for_each(|((n, k), &v)| values[layer.place(k, n)] = v);
        Ok(())
    }

    /// The checkpoint with all changes; provenance and plan are the base's.
    pub(super) fn finish(self) -> Result<Weights, Error> {
        let mut tensors: BTreeMap<String, Tensor> =
            self.base.iter().map(|(name, tensor)| (name.to_owned(), tensor.clone())).collect();
        for (name, (shape, values)) in self.changed {
            tensors.insert(name, Tensor::new(shape, TensorData::F32(values))?);
        }
        Ok(Weights::new(tensors, self.base.provenance().clone())?.with_plan(self.base.plan().clone()))
    }
}
