//! The moving average of the parameters: quieter than the last step's, at the price of a copy.

use tch::Tensor;

/// An exponential moving average (Polyak averaging) of parameters, which share their memory with the network.
#[derive(Debug)]
pub struct Average {
    decay: f64,
    parameters: Vec<(String, Tensor)>,
    averages: Vec<Tensor>,
}

impl Average {
    /// Starts at the parameters as they are. Each step leaves `decay` of the average and adds `1 - decay` of the
    /// parameters.
    pub fn new(decay: f64, parameters: Vec<(String, Tensor)>) -> Self {
        let averages = parameters.iter().map(|(_, p)| p.detach().copy()).collect();
        Self { decay, parameters, averages }
    }

    /// Takes the parameters in after a step.
    pub fn update(&mut self) {
        tch::no_grad(|| {
            for (average, (_, parameter)) in self.averages.iter_mut().zip(&self.parameters) {
                let _ = average.lerp_(&parameter.detach(), 1.0 - self.decay);
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

    /// The averages by the names of the parameters, to be saved.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        self.parameters.iter().zip(&self.averages).map(|((name, _), a)| (name.clone(), a.shallow_clone())).collect()
    }

    /// Goes on from a saved average.
    ///
    /// # Errors
    /// The name of the first parameter that `saved` has no tensor of its shape for; nothing is changed then.
    pub fn restore(&mut self, saved: impl Fn(&str) -> Option<Tensor>) -> Result<(), String> {
        let found = |((name, _), average): (&(String, Tensor), &Tensor)| {
            saved(name).filter(|t| t.size() == average.size()).ok_or_else(|| name.clone())
        };
        let tensors: Vec<Tensor> = self.parameters.iter().zip(&self.averages).map(found).collect::<Result<_, _>>()?;
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
        average.update();
        // 1 + 4 (1 - 0.75^2)
        average.swap();
        assert!((value(&parameter) - 2.75).abs() < 1e-6 && parameter.requires_grad());
        average.swap();
        assert!((value(&parameter) - 5.0).abs() < 1e-6);

        let saved = average.state();
        let mut other = Average::new(0.5, vec![("p".into(), parameter.shallow_clone())]);
        other.restore(|name| saved.iter().find(|(n, _)| n == name).map(|(_, t)| t.shallow_clone())).unwrap();
        other.update();
        assert!((value(&other.state()[0].1) - 3.875).abs() < 1e-6);
        assert_eq!(other.restore(|_| None), Err("p".into()));
    }
}
