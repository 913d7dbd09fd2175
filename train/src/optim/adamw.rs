//! AdamW (I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019).

use std::collections::{BTreeMap, HashMap};

use tch::{COptimizer, Kind, Tensor};

use super::state::{Moments, StateError};
use crate::torch::{self, AdamWLists, AdamWNumbers};

/// Parameters with the same weight decay and learning rate.
#[derive(Debug)]
pub struct Group {
    /// Parameters by name; the names are those of the state. Tensors share their storage with the caller's.
    pub parameters: Vec<(String, Tensor)>,
    /// Part of the learning rate by which the parameters shrink at each step.
    pub weight_decay: f64,
    /// Their learning rate.
    pub rate: Rate,
}

/// The learning rate of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// The optimizer's, times this.
    Times(f64),
    /// Its own, which stays as it is.
    Own(f64),
}

impl Rate {
    fn of(self, shared: f64) -> f64 {
        match self {
            Self::Times(factor) => shared * factor,
            Self::Own(rate) => rate,
        }
    }
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
    /// All parameters in one kernel, whose last bits may differ.
    pub fused: bool,
}

impl Default for AdamWOptions {
    fn default() -> Self {
        Self { learning_rate: 5e-5, betas: (0.9, 0.999), epsilon: 1e-8, fused: false }
    }
}

/// `torch.optim.AdamW`, without its variants.
///
/// The operations are those of PyTorch's one-tensor implementation, its default on the CPU, in their order and with
/// their roundings; with [`AdamWOptions::fused`] they are its `fused=True`. As there, a parameter without gradient is
/// passed over, with its decay and its count of steps.
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
    rate: Rate,
    moments: Moments,
}

impl AdamW {
    /// An optimizer that has taken no step.
    ///
    /// # Panics
    /// If two parameters have the same name, or an option is out of its range.
    pub fn new(groups: Vec<Group>, options: AdamWOptions) -> Self {
        let AdamWOptions { learning_rate, betas, epsilon, .. } = options;
        assert!(learning_rate >= 0.0 && epsilon >= 0.0, "learning rate and epsilon must not be negative");
        assert!((0.0..1.0).contains(&betas.0) && (0.0..1.0).contains(&betas.1), "betas must be in 0..1");
        let slots: Vec<Slot> = groups
            .into_iter()
            .flat_map(|Group { parameters, weight_decay, rate }| {
                let slot = move |(name, parameter)| {
                    let moments = Moments::default();
                    Slot { name, parameter, weight_decay, rate, moments }
                };
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
        self.step_unless(None);
    }

    /// As [`step`](Self::step), but that nothing moves if `not_finite`, an f32 scalar on the parameters' device, is not 0;
    /// nobody waits to know. What the state counts as steps is off by this one then: the training is to end.
    ///
    /// # Panics
    /// If there is such a condition, and the optimizer is not [fused](AdamWOptions::fused).
    pub fn step_unless(&mut self, not_finite: Option<&Tensor>) {
        let _guard = tch::no_grad_guard();
        if self.options.fused {
            return self.step_fused(not_finite);
        }
        assert!(not_finite.is_none(), "only a fused step can be left out by the device");
        for slot in &mut self.slots {
            slot.step(&self.options);
        }
    }

    fn step_fused(&mut self, not_finite: Option<&Tensor>) {
        // One kernel for parameters of one weight decay, one learning rate and one number of steps: a few at most.
        let mut groups: BTreeMap<(u64, u64, u32), AdamWLists> = BTreeMap::new();
        let AdamWOptions { learning_rate, betas, epsilon, .. } = self.options;
        for slot in &mut self.slots {
            let gradient = slot.parameter.grad();
            if !gradient.defined() {
                continue;
            }
            slot.moments.steps += 1;
            let learning_rate = slot.rate.of(learning_rate);
            let key = (slot.weight_decay.to_bits(), learning_rate.to_bits(), slot.moments.steps);
            let lists = groups.entry(key).or_default();
            let (mean, square) = slot.averages();
            lists.means.push(mean.shallow_clone());
            lists.squares.push(square.shallow_clone());
            lists.gradients.push(gradient);
            lists.parameters.push(slot.parameter.shallow_clone());
        }
        for ((weight_decay, learning_rate, steps), lists) in groups {
            let [weight_decay, learning_rate] = [weight_decay, learning_rate].map(f64::from_bits);
            let steps = Tensor::full([], f64::from(steps), (Kind::Float, lists.parameters[0].device()));
            let numbers = AdamWNumbers { learning_rate, betas, weight_decay, epsilon };
            torch::adamw(&lists, &steps, numbers, not_finite).expect("parameters, gradients and averages of one shape");
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

    /// Sets the learning rate from the next step on, but for groups with [their own](Rate::Own).
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
    /// The running averages, 0 at first.
    fn averages(&mut self) -> &mut (Tensor, Tensor) {
        let parameter = &self.parameter;
        self.moments.averages.get_or_insert_with(|| (parameter.zeros_like(), parameter.zeros_like()))
    }

    fn step(&mut self, options: &AdamWOptions) {
        let gradient = self.parameter.grad();
        if !gradient.defined() {
            return;
        }
        let AdamWOptions { betas, epsilon, .. } = *options;
        let learning_rate = self.rate.of(options.learning_rate);
        self.moments.steps += 1;
        let steps = self.moments.steps;
        if self.weight_decay != 0.0 {
            let _ = self.parameter.g_mul_scalar_(1.0 - learning_rate * self.weight_decay);
        }
        // PyTorch gives addcmul and addcdiv a factor, which `tch` lacks. It multiplies their first tensor before all
        // else, so that to do it beforehand gives the same bits.
        let (mean, square) = self.averages();
        let _ = mean.lerp_(&gradient, 1.0 - betas.0);
        let _ = square.g_mul_scalar_(betas.1).addcmul_(&(&gradient * (1.0 - betas.1)), &gradient);
        // powi would round otherwise than Python's power.
        let correction = |beta: f64| 1.0 - beta.powf(f64::from(steps));
        let step_size = learning_rate / correction(betas.0);
        let denominator = (square.sqrt() / correction(betas.1).powf(0.5)).g_add_scalar_(epsilon);
        let step = &*mean * -step_size;
        let _ = self.parameter.addcdiv_(&step, &denominator);
    }
}
