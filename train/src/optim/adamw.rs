//! AdamW (I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019).

use std::collections::HashMap;

use tch::{COptimizer, Tensor};

use super::state::{Moments, StateError};

/// Parameters with the same weight decay.
#[derive(Debug)]
pub struct Group {
    /// Parameters by name; the names are those of the state. Tensors share their storage with the caller's.
    pub parameters: Vec<(String, Tensor)>,
    /// Part of the learning rate by which the parameters shrink at each step.
    pub weight_decay: f64,
}

/// Options of [`AdamW`]. The defaults are PyTorch's, but for the paper's learning rate.
#[derive(Clone, Copy, Debug)]
pub struct AdamWOptions {
    /// Learning rate, not negative.
    pub learning_rate: f64,
    /// Decay of the running averages of the gradient and of its square, in 0..1.
    pub betas: (f64, f64),
    /// Added to the root of the average square.
    pub epsilon: f64,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { learning_rate: 5e-5, betas: (0.9, 0.999), epsilon: 1e-8 }
    }
}

/// `torch.optim.AdamW`, without its variants.
///
/// The operations are those of PyTorch's one-tensor implementation, its default on the CPU, in their order and with
/// their roundings. On CUDA, PyTorch's default takes all tensors at once, and the last bits may differ. As there, a
/// parameter without gradient is passed over, with its decay and its count of steps.
///
/// Ours is the state by name: see [`AdamW::state`].
#[derive(Debug)]
pub struct AdamW {
    slots: Vec<Slot>,
    options: AdamWOptions,
    /// Holds the parameters only for what `tch` offers nowhere else: taking gradients away.
    gradients: COptimizer,
}

#[derive(Debug)]
struct Slot {
    name: String,
    parameter: Tensor,
    weight_decay: f64,
    moments: Moments,
}

impl AdamW {
    /// An optimizer that has taken no step.
    ///
    /// # Panics
    /// If two parameters have the same name, or an option is out of its range.
    pub fn new(groups: Vec<Group>, options: AdamWOptions) -> Self {
        let AdamWOptions { learning_rate, betas, epsilon } = options;
        assert!(learning_rate >= 0.0 && epsilon >= 0.0, "learning rate and epsilon must not be negative");
        assert!((0.0..1.0).contains(&betas.0) && (0.0..1.0).contains(&betas.1), "betas must be in 0..1");
        let slots: Vec<Slot> = groups
            .into_iter()
            .flat_map(|Group { parameters, weight_decay }| {
                let slot = move |(name, parameter)| Slot { name, parameter, weight_decay, moments: Moments::default() };
                parameters.into_iter().map(slot)
            })
            .collect();
        let mut names: Vec<&str> = slots.iter().map(|slot| slot.name.as_str()).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "two parameters have the same name");
        let mut gradients = COptimizer::sgd(0.0, 0.0, 0.0, 0.0, false).expect("an optimizer");
        for slot in &slots {
            gradients.add_parameters(&slot.parameter, 0).expect("a parameter");
        }
        Self { slots, options, gradients }
    }

    /// Moves every parameter that has a gradient.
    pub fn step(&mut self) {
        let _guard = tch::no_grad_guard();
        for slot in &mut self.slots {
            slot.step(&self.options);
        }
    }

    /// Takes the gradients away, as PyTorch does: a parameter that the next loss does not reach is not moved.
    pub fn zero_grad(&mut self) {
        self.gradients.zero_grad().expect("gradients of leaves");
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.options.learning_rate
    }

    /// Sets the learning rate from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.options.learning_rate = learning_rate;
    }

    /// The parameters of all groups, in order.
    pub fn parameters(&self) -> impl Iterator<Item = &Tensor> {
        self.slots.iter().map(|slot| &slot.parameter)
    }

    /// All that [`AdamW::step`] needs beyond parameters, gradients and options, as copies: for each parameter
    /// `name.step` (i64) and, once it has taken a step, `name.exp_avg` and `name.exp_avg_sq`.
    ///
    /// The learning rate is not among it.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut state = Vec::with_capacity(3 * self.slots.len());
        for slot in &self.slots {
            slot.moments.save(&slot.name, &mut state);
        }
        state
    }

    /// Takes up a state, after which steps give the same bits as where it was saved.
    ///
    /// # Errors
    /// [`StateError`] if a tensor is missing or does not fit; nothing is changed then. Tensors of other names are passed
    /// over.
    pub fn restore(&mut self, state: &HashMap<String, Tensor>) -> Result<(), StateError> {
        let restore = |slot: &Slot| Moments::restore(&slot.name, &slot.parameter, state);
        let moments: Vec<Moments> = self.slots.iter().map(restore).collect::<Result<_, _>>()?;
        for (slot, moments) in self.slots.iter_mut().zip(moments) {
            slot.moments = moments;
        }
        Ok(())
    }
}

impl Slot {
    fn step(&mut self, options: &AdamWOptions) {
        let gradient = self.parameter.grad();
        if !gradient.defined() {
            return;
        }
        let AdamWOptions { learning_rate, betas, epsilon } = *options;
        let Moments { steps, averages } = &mut self.moments;
        let (mean, square) = averages.get_or_insert_with(|| (self.parameter.zeros_like(), self.parameter.zeros_like()));
        *steps += 1;
        if self.weight_decay != 0.0 {
            let _ = self.parameter.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
        }
        // PyTorch gives addcmul and addcdiv a factor, which `tch` lacks. It multiplies their first tensor before all
        // else, so that to do it beforehand gives the same bits.
        let _ = mean.lerp_(&gradient, 1.0 - betas.0);
        let _ = square.g_mul_scalar_(betas.1).addcmul_(&(&gradient * (1.0 - betas.1)), &gradient);
        // powi would round otherwise than Python's power.
        let correction = |beta: f64| 1.0 - beta.powf(f64::from(*steps));
        let step_size = learning_rate / correction(betas.0);
        let denominator = (square.sqrt() / correction(betas.1).powf(0.5)).g_add_scalar_(epsilon);
        let _ = self.parameter.addcdiv_(&(&*mean * -step_size), &denominator);
    }
}
