//! Which blocks stay in floats: what each costs in masks, and what it is worth in time.

use serde::Serialize;
use umedsam::{Arithmetic, Model, Precision, SessionOptions};

use super::QuantizeError;
use super::probes::{self, Agreement, Masks, Probe};
use crate::bundle;
use crate::checkpoint::Weights;
use crate::plan::{Floats, Plan};

/// The masks of weights in a precision and an arithmetic.
///
/// # Errors
/// [`QuantizeError`] if the graphs cannot be built or run.
pub fn masks(
    weights: &Weights,
    precision: Precision,
    arithmetic: Arithmetic,
    probes: &[Probe],
) -> Result<Masks, QuantizeError> {
    let (bytes, _) = bundle::build(weights, precision, "probe")?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let options = SessionOptions::new().with_threads(threads).with_arithmetic(arithmetic);
    let mut session = Model::from_bytes(bytes)?.session(&options)?;
    Ok(probes::masks(&mut session, probes)?)
}

/// What keeping one block in other floats does to an int8 model's masks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sensitivity {
    /// The block, by its name in the graphs.
    pub block: String,
    /// What it is kept in.
    pub floats: Floats,
    /// How much the agreement with the f32 network's masks rises: mean DSC, 0 to 1.
    pub gain: f64,
}
