//! SharpMin: the gradient of the next step is taken not where the parameters are but at the worst point nearby.
//!
//! SAM (P. Foret et al., "Sharpness-aware minimization for efficiently improving generalization", ICLR 2021) moves the
//! parameters w by `rho g / |g|`. ASAM (J. Kwon et al., "ASAM: adaptive sharpness-aware minimization for scale-invariant
//! learning of deep neural networks", ICML 2021) looks around in units of the parameters, T = |w| + eta elementwise, and
//! moves by `rho T^2 g / |T g|`. There is one norm over all parameters. ASAM's authors leave biases unscaled in their
//! code; here T is the paper's, of every element.

use tch::Tensor;

/// Keeps a gradient of zero, which moves nothing, from being divided by zero.
const LEAST_NORM: f64 = 1e-12;

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
        // The direction in the units of T, whose norm counts, and T.
        let moves: Vec<(&Tensor, Tensor, Option<Tensor>)> = parameters
            .into_iter()
            .map(|parameter| (parameter, parameter.grad()))
            .filter(|(_, gradient)| gradient.defined())
            .map(|(parameter, gradient)| match self.adaptive {
                false => (parameter, gradient, None),
                true => {
                    let unit = parameter.abs() + self.eta;
                    (parameter, gradient * &unit, Some(unit))
                }
            })
            .collect();
        if moves.is_empty() {
            return Perturbation { saved: Vec::new() };
        }
        let norms: Vec<Tensor> = moves.iter().map(|(_, direction, _)| direction.norm()).collect();
        let scale = self.rho / (Tensor::stack(&norms, 0).norm() + LEAST_NORM);
        let saved = moves.into_iter().map(|(parameter, direction, unit)| {
            let saved = parameter.copy();
            let mut parameter = parameter.shallow_clone();
            let step = match unit {
                None => direction * &scale,
                Some(unit) => direction * unit * &scale,
            };
            let _ = parameter.g_add_(&step);
            (parameter, saved)
        });
        Perturbation { saved: saved.collect() }
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
