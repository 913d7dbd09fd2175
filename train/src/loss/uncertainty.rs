//! The sum of several losses, with weights that are learnt with the network.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, nn};

use super::Term;

/// How the losses are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weighting {
    /// `sum L / (2 s^2) + ln s`: the paper's equation 1 (A. Kendall et al., CVPR 2018). For a constant L it is least at
    /// s^2 = L; it can be negative.
    Kendall,
    /// `sum L / (2 c^2) + ln(1 + c^2)`: the paper's code (L. Liebel and M. Körner, arXiv 1805.06334). For a constant L
    /// it is least at c^2 = (L + sqrt(L^2 + 8 L)) / 4; it is never negative.
    LiebelKoerner,
    /// `sum w L`: nothing is learnt; w is 1 unless [`Uncertainty::with_weights`] says otherwise.
    Equal,
}

/// Why losses cannot be summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UncertaintyError {
    /// There is no loss.
    #[error("there must be a loss")]
    Empty,
    /// A loss is named twice.
    #[error("the loss {} is named twice", .0.name())]
    Duplicate(Term),
}

/// Weights of losses as parameters of the training, one for each term, which start with s = 1 or c = 1.
///
/// They need a learning rate of their own: with the network's they would move by less than a tenth in a thousand steps.
/// They must have no weight decay, which would pull them to a noise of the loss that nobody chose (the paper's code
/// does), and belong into checkpoints. After each step [`Uncertainty::bound`] keeps them from falling further than the
/// least s or c: a loss that comes near 0, as distillation does which begins there, would otherwise outweigh all others.
#[derive(Debug)]
pub struct Uncertainty {
    weighting: Weighting,
    terms: Vec<Term>,
    /// ln s, which can neither divide by zero nor turn s negative, or c; scalars.
    parameters: Vec<Tensor>,
    /// What each loss is multiplied with.
    weights: Vec<f64>,
    /// Least s or c.
    least: f64,
}

impl Uncertainty {
    /// Weights of `terms`, under `root` with the terms' names: `ln_sigma.dice` or `c.dice`.
    ///
    /// # Errors
    /// [`UncertaintyError`] if there is no term or one is there twice.
    pub fn new(root: &nn::Path<'_>, weighting: Weighting, terms: &[Term]) -> Result<Self, UncertaintyError> {
        if terms.is_empty() {
            return Err(UncertaintyError::Empty);
        }
        if let Some((_, &term)) = terms.iter().enumerate().find(|&(i, term)| terms[..i].contains(term)) {
            return Err(UncertaintyError::Duplicate(term));
        }
        let parameter = |folder: &str, start| {
            let folder = root / folder;
            terms.iter().map(|term| folder.var(term.name(), &[], nn::Init::Const(start))).collect()
        };
        let parameters = match weighting {
            Weighting::Kendall => parameter("ln_sigma", 0.0),
            Weighting::LiebelKoerner => parameter("c", 1.0),
            Weighting::Equal => Vec::new(),
        };
        Ok(Self { weighting, terms: terms.into(), parameters, weights: vec![1.0; terms.len()], least: 0.0 })
    }

    /// With losses multiplied by these weights before they are weighed; those that have none count once.
    pub fn with_weights(mut self, weights: &BTreeMap<Term, f64>) -> Self {
        self.weights = self.terms.iter().map(|term| weights.get(term).copied().unwrap_or(1.0)).collect();
        self
    }

    /// With a least s or c, above 0: the most that a loss is multiplied with is half of one over its square.
    pub fn with_least(mut self, least: f64) -> Self {
        self.least = least;
        self
    }

    /// Lifts what a step took below the least s or c.
    pub fn bound(&self) {
        let least = match self.weighting {
            Weighting::Kendall => self.least.ln(),
            Weighting::LiebelKoerner => self.least,
            Weighting::Equal => return,
        };
        tch::no_grad(|| {
            for parameter in &self.parameters {
                let _ = parameter.shallow_clone().clamp_min_(least);
            }
        });
    }

    /// The terms, in the order of [`Uncertainty::total`] and [`Uncertainty::sigmas`].
    pub fn terms(&self) -> &[Term] {
        &self.terms
    }

    /// The weighted sum of scalar losses, one for each term in order: an f32 scalar.
    ///
    /// # Panics
    /// If the losses are not as many as the terms.
    pub fn total(&self, losses: &[Tensor]) -> Tensor {
        assert_eq!(losses.len(), self.terms.len(), "number of losses");
        let times = |(loss, &weight): (&Tensor, &f64)| if weight == 1.0 { loss.shallow_clone() } else { loss * weight };
        let losses: Vec<Tensor> = losses.iter().zip(&self.weights).map(times).collect();
        let losses = Tensor::stack(&losses, 0).to_kind(Kind::Float);
        let weighted = match self.weighting {
            Weighting::Kendall => {
                let ln_sigma = Tensor::stack(&self.parameters, 0);
                losses * (&ln_sigma * -2.0).exp() * 0.5 + ln_sigma
            }
            Weighting::LiebelKoerner => {
                let squares = Tensor::stack(&self.parameters, 0).square();
                losses * 0.5 / &squares + squares.log1p()
            }
            Weighting::Equal => losses,
        };
        weighted.sum(None::<Kind>)
    }

    /// s or c of each term, for logs, in f64 on the parameters' device; nothing for [`Weighting::Equal`].
    pub fn sigmas(&self) -> Option<Tensor> {
        let values = || tch::no_grad(|| Tensor::stack(&self.parameters, 0).to_kind(Kind::Double));
        match self.weighting {
            Weighting::Kendall => Some(values().exp()),
            Weighting::LiebelKoerner => Some(values()),
            Weighting::Equal => None,
        }
    }
}
