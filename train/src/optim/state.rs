//! An optimizer's state of one parameter, and its way to named tensors and back.

use std::collections::HashMap;

use tch::{Device, Kind, Tensor};

/// Why a state could not be restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// A tensor is not there.
    #[error("tensor {tensor} is missing")]
    Missing {
        /// Name of the tensor.
        tensor: String,
    },
    /// A tensor has another shape than its parameter.
    #[error("tensor {tensor} has shape {found:?}, {expected:?} expected")]
    Shape {
        /// Name of the tensor.
        tensor: String,
        /// Shape found.
        found: Vec<i64>,
        /// Shape of the parameter; none for a number of steps.
        expected: Vec<i64>,
    },
    /// A tensor has another element type than its parameter.
    #[error("tensor {tensor} is of {found:?}, {expected:?} expected")]
    Kind {
        /// Name of the tensor.
        tensor: String,
        /// Type found.
        found: Kind,
        /// Type of the parameter.
        expected: Kind,
    },
    /// A number of steps is none.
    #[error("tensor {tensor}: {value} is no number of steps")]
    Steps {
        /// Name of the tensor.
        tensor: String,
        /// What it holds.
        value: f64,
    },
}

/// Steps taken so far and running averages of the gradient and of its square.
///
/// The averages are there from the first step on: a parameter that gets no gradient takes no memory.
#[derive(Debug, Default)]
pub(super) struct Moments {
    pub(super) steps: u32,
    pub(super) averages: Option<(Tensor, Tensor)>,
}

impl Moments {
    /// Appends `name.step` and, if a step was taken, copies of the averages as `name.exp_avg` and `name.exp_avg_sq`.
    pub(super) fn save(&self, name: &str, state: &mut Vec<(String, Tensor)>) {
        let steps = Tensor::full([], i64::from(self.steps), (Kind::Int64, Device::Cpu));
        state.push((format!("{name}.step"), steps));
        if let Some((mean, square)) = &self.averages {
            state.push((format!("{name}.exp_avg"), mean.copy()));
            state.push((format!("{name}.exp_avg_sq"), square.copy()));
        }
    }

    /// The state of `parameter` under `name`; the tensors of `state` are copied.
    pub(super) fn restore(name: &str, parameter: &Tensor, state: &HashMap<String, Tensor>) -> Result<Self, StateError> {
        let find = |tensor: String, expected: Vec<i64>| {
            let Some(value) = state.get(&tensor) else { return Err(StateError::Missing { tensor }) };
            match value.size() {
                found if found == expected => Ok((tensor, value)),
                found => Err(StateError::Shape { tensor, found, expected }),
            }
        };
        // PyTorch counts in f32, this module in i64.
        let (tensor, steps) = find(format!("{name}.step"), Vec::new())?;
        let value = steps.double_value(&[]);
        let steps = value as u32;
        if f64::from(steps) != value {
            return Err(StateError::Steps { tensor, value });
        }
        if steps == 0 {
            return Ok(Self::default());
        }
        let average = |suffix: &str| {
            let (tensor, value) = find(format!("{name}.{suffix}"), parameter.size())?;
            let (found, expected) = (value.kind(), parameter.kind());
            if found != expected {
                return Err(StateError::Kind { tensor, found, expected });
            }
            Ok(value.detach().to_device(parameter.device()).copy())
        };
        Ok(Self { steps, averages: Some((average("exp_avg")?, average("exp_avg_sq")?)) })
    }
}
