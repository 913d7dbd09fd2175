//! The moving average of the parameters: quieter than the last step's, at the price of a copy.
//!
//! Where BatchNorm's running statistics move, they are averaged as the parameters are, each step's with the same share,
//! and saved with them. They are not estimated again by the averaged network: between the steps that count, the network
//! changes so little that means and variances follow it nearly linearly.

use tch::Tensor;

/// An exponential moving average (Polyak averaging) of parameters, which share their memory with the network.
///
/// Its bias is corrected, as Adam's is: it is of the parameters after the steps alone, not of those before the first.
#[derive(Debug)]
pub struct Average {
    decay: f64,
    /// Steps taken in.
    steps: u64,
    parameters: Vec<(String, Tensor)>,
    averages: Vec<Tensor>,
}

impl Average {
    /// Of the parameters as they are, until the first step. A step's share falls to `decay` of itself with each
    /// further one.
    pub fn new(decay: f64, parameters: Vec<(String, Tensor)>) -> Self {
        let averages = parameters.iter().map(|(_, p)| p.detach().copy()).collect();
        Self { decay, steps: 0, parameters, averages }
    }

    /// Takes the parameters in after a step.
    pub fn update(&mut self) {
        self.steps += 1;
        let share = (1.0 - self.decay) / (1.0 - self.decay.powf(self.steps as f64));
        tch::no_grad(|| {
            for (average, (_, parameter)) in self.averages.iter_mut().zip(&self.parameters) {
                let _ = average.lerp_(&parameter.detach(), share);
            }
        });
    }

    /// Exchanges parameters and averages: once to measure or save the averages, and once more to go on.
    pub fn swap(&mut self) {
        tch::no_grad(|| {
            for (average, (_, parameter)) in self.averages.iter_mut().zip(&mut self.parameters) {
                let before = parameter.copy();
                parameter.copy_(average);
                average.copy_(&before);
            }
        });
    }

    /// Steps taken in, to be saved.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The averages by the names of the parameters, to be saved.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.parameters.iter().zip(&self.averages).map(|((name, _), a)| (name.clone(), a.shallow_clone())).collect()
    }

    /// Goes on from a saved average of so many steps.
    ///
    /// # Errors
    /// The name of the first parameter that `saved` has no tensor of its shape for; nothing is changed then.
    pub fn restore(&mut self, steps: u64, saved: impl Fn(&str) -> Option<Tensor>) -> Result<(), String> {
        let found = |((name, _), average): (&(String, Tensor), &Tensor)| {
            saved(name).filter(|t| t.size() == average.size()).ok_or_else(|| name.clone())
        };
        let tensors: Vec<Tensor> = self.parameters.iter().zip(&self.averages).map(found).collect::<Result<_, _>>()?;
        self.steps = steps;
        tch::no_grad(|| self.averages.iter_mut().zip(&tensors).for_each(|(average, saved)| average.copy_(saved)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(t: &Tensor) -> f64 {
        t.double_value(&[])
    }

    #[test]
    fn follows_the_parameter_and_changes_places_with_it() {
        let mut parameter = Tensor::from(1.0f32).set_requires_grad(true);
        let mut average = Average::new(0.75, vec![("p".into(), parameter.shallow_clone())]);
        let _ = tch::no_grad(|| parameter.fill_(5.0));
        average.update();
        let _ = tch::no_grad(|| parameter.fill_(-2.0));
        average.update();
        // What it began with has no part: (0.75 * 5 - 2) / 1.75.
        average.swap();
        assert!((value(&parameter) - 1.0).abs() < 1e-6 && parameter.requires_grad());
        average.swap();
        assert!((value(&parameter) + 2.0).abs() < 1e-6);

        let saved = average.state();
        let mut other = Average::new(0.5, vec![("p".into(), parameter.shallow_clone())]);
        other
            .restore(average.steps(), |name| saved.iter().find(|(n, _)| n == name).map(|(_, t)| t.shallow_clone()))
            .unwrap();
        let _ = tch::no_grad(|| parameter.fill_(8.0));
        other.update();
        // The third step, of decay 0.5: 4 of 7.
        assert!((value(&other.state()[0].1) - 5.0).abs() < 1e-6);
        assert_eq!(other.restore(3, |_| None), Err("p".into()));
    }
}
