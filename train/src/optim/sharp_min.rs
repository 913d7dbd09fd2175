//! SharpMin: the gradient of the next step is taken not where the parameters are but at the worst point nearby.
//!
//! SAM (P. Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021) moves the
//! parameters w by `rho g / |g|`. ASAM (J. Kwon et al., "ASAM: adaptive sharpness-aware minimization for scale-invariant
//! learning of deep neural networks", ICML 2021) looks around in units of the parameters, T = |w| + eta elementwise, and
//! moves by `rho T^2 g / |T g|`. There is one norm over all parameters. ASAM's authors leave biases unscaled in their
//! code; here T is the paper's, of every element.

use tch::Tensor;

use crate::torch;

/// Keeps a gradient of zero, which moves nothing, from being divided by zero.
const LEAST_NORM: f64 = 1e-12;

const ONE_DEVICE: &str = "parameters on one device";

/// The perturbation's size and form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharpMin {
    /// Length of the perturbation: 0.05 in SAM's paper, 0.5 or more with `adaptive` in ASAM's.
    pub rho: f64,
    /// ASAM instead of SAM.
    pub adaptive: bool,
    /// What ASAM adds to |w|: 0.01 in its paper.
    pub eta: f64,
}

impl Default for SharpMin {
    /// SAM with rho 0.05.
    fn default() -> Self {
        Self { rho: 0.05, adaptive: false, eta: 0.01 }
    }
}

impl SharpMin {
    /// Moves the parameters to the worst point, by their gradients; those without gradient stay.
    ///
    /// The gradients are left as they are, to be taken away before the second pass. Nothing waits for the device.
    ///
    /// # Panics
    /// If the parameters are on several devices.
    pub fn perturb<'a>(&self, parameters: impl IntoIterator<Item = &'a Tensor>) -> Perturbation {
        let _guard = tch::no_grad_guard();
        // Directions, for ASAM in the units of T: their norm counts.
        let (mut moved, mut directions) = (Vec::new(), Vec::new());
        for parameter in parameters {
            let gradient = parameter.grad();
            if gradient.defined() {
                moved.push(parameter.shallow_clone());
                directions.push(gradient);
            }
        }
        if moved.is_empty() {
            return Perturbation { saved: Vec::new() };
        }
        let units: Vec<Tensor> = match self.adaptive {
            false => Vec::new(),
            true => moved.iter().map(|parameter| parameter.abs() + self.eta).collect(),
        };
        let in_units = |directions: &[Tensor]| directions.iter().zip(&units).map(|(d, unit)| d * unit).collect();
        if self.adaptive {
            directions = in_units(&directions);
        }
        let scale = self.rho / (torch::norm(&directions).expect(ONE_DEVICE) + LEAST_NORM);
        if self.adaptive {
            directions = in_units(&directions);
        }
        let saved = moved.iter().map(|parameter| (parameter.shallow_clone(), parameter.copy())).collect();
        let perturbation = Perturbation { saved };
        torch::add_scaled(&moved, &directions, &scale).expect(ONE_DEVICE);
        perturbation
    }
}

/// Parameters that were moved, with copies of what they were: a sum less what was added is not the same bits.
#[derive(Debug)]
#[must_use = "the parameters move back when this is dropped"]
pub struct Perturbation {
    saved: Vec<(Tensor, Tensor)>,
}

impl Perturbation {
    /// Moves the parameters back, to the bit. Dropping does the same, on an early return or a panic.
    pub fn undo(mut self) {
        self.restore().expect("copies of the parameters' own shape");
    }

    fn restore(&mut self) -> Result<(), tch::TchError> {
        let _guard = tch::no_grad_guard();
        self.saved.drain(..).try_for_each(|(mut parameter, saved)| parameter.f_copy_(&saved))
    }
}

impl Drop for Perturbation {
    fn drop(&mut self) {
        let restored = self.restore();
        // A second panic would end the process without a word on the first.
        if !std::thread::panicking() {
            restored.expect("copies of the parameters' own shape");
        }
    }
}
