//! Which blocks stay in floats: what each is worth in masks, and what it costs in time and bytes.

use serde::Serialize;
use umedsam::{Embedding, Model, Precision, SessionOptions, Storage};

use super::QuantizeError;
use super::probes::{self, Agreement, Masks, Probe};
use crate::bundle;
use crate::checkpoint::Weights;
use crate::onnx::{self, Block};
use crate::plan::{FloatPrecision, Plan};

/// What a model in 8 bits may cost at most with the blocks that it keeps in floats.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Budget {
    /// Time of an encode and a decode, in that of the model with everything in 8 bits that can be; 1 keeps nothing in
    /// floats. It is reckoned from the number of products, so that a choice does not depend on the machine's mood.
    pub time: f64,
    /// Bytes of the bundle.
    pub bytes: usize,
}

impl Budget {
    /// A tenth more time, 10 MB.
    pub const fn new() -> Self {
        Self { time: 1.1, bytes: 10_000_000 }
    }

    /// Within this time.
    #[must_use]
    pub const fn with_time(self, time: f64) -> Self {
        Self { time, ..self }
    }

    /// Within this many bytes.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

/// What keeping one block in other floats does to a model in 8 bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Sensitivity {
    /// The block, by its name in the graphs.
    pub block: String,
    /// What it is kept in.
    pub precision: FloatPrecision,
    /// How much the agreement with the f32 network's masks rises: mean DSC, 0 to 1.
    pub gain: f64,
    /// Standard error of the gain over the images; a gain of less than three of them is taken for chance.
    pub error: f64,
    /// Share of the time of an encode and a decode that it adds.
    pub time: f64,
    /// Bytes that it adds to the bundle.
    pub bytes: usize,
    /// Whether it was chosen.
    pub chosen: bool,
}

/// What was found and chosen.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Choice {
    /// The blocks to keep in floats.
    pub plan: Plan,
    /// Agreement with the f32 network's masks with everything in 8 bits that can be, and bytes of that bundle.
    pub before: (Agreement, usize),
    /// The same with the plan.
    pub after: (Agreement, usize),
    /// Every block and what it could be kept in.
    pub blocks: Vec<Sensitivity>,
}

/// Time of a product in each format, in that of 8 bits: the fused blocks' rates on x86-64 with VNNI and bf16
/// (benches/RESULTS.md).
const FAST: f64 = 1.7;
const F32: f64 = 3.4;

/// Standard errors that a gain must be away from none: among some fifty blocks two would be chance.
const CHANCE: f64 = 3.0;

/// Measures every block on `probes` and chooses those that are worth most for their time, as far as the budget goes.
///
/// `reference` are the masks to agree with, of the f32 network. `progress` is told of the models tried.
///
/// # Errors
/// [`QuantizeError`] if a graph cannot be built or run.
pub fn choose(
    weights: &Weights,
    reference: &Masks,
    probes: &[Probe],
    budget: Budget,
    mut progress: impl FnMut(&str, usize, usize),
) -> Result<Choice, QuantizeError> {
    let base = weights.plan().clone().without_blocks();
    let weights = weights.clone().with_plan(base.clone());
    let blocks = onnx::build(&weights, Storage::Int8)?.blocks;
    let candidates: Vec<(&Block, FloatPrecision)> =
        blocks.iter().flat_map(|b| kept_in(b).iter().map(move |&f| (b, f))).collect();
    let total: f64 = blocks.iter().map(|b| time(b, None)).sum();
    let mut judge = Judge { reference, probes, encoded: None };
    let before = judge.look(&weights)?;
    let mut measured = Vec::with_capacity(candidates.len());
    for (done, (block, precision)) in candidates.iter().enumerate() {
        progress("blocks", done, candidates.len());
        let plan = base.clone().with_block(&block.name, *precision);
        let (agreement, bytes) = judge.look(&weights.clone().with_plan(plan))?;
        measured.push(Sensitivity {
            block: block.name.clone(),
            precision: *precision,
            gain: agreement.mean - before.0.mean,
            error: standard_error(&before.0.images, &agreement.images),
            time: (time(block, Some(*precision)) - time(block, None)) / total,
            bytes: bytes.saturating_sub(before.1),
            chosen: false,
        });
    }
    progress("blocks", candidates.len(), candidates.len());
    let plan = pick(&mut measured, base, before.1, budget);
    let after = judge.look(&weights.with_plan(plan.clone()))?;
    Ok(Choice { plan, before, after, blocks: measured })
}

/// The blocks of the greatest gain for their time first, while the budget lasts. Gains are taken to add up.
fn pick(measured: &mut [Sensitivity], mut plan: Plan, bytes: usize, budget: Budget) -> Plan {
    let mut order: Vec<usize> = (0..measured.len()).collect();
    let worth = |s: &Sensitivity| s.gain / s.time.max(1e-4);
    order.sort_by(|&a, &b| worth(&measured[b]).total_cmp(&worth(&measured[a])));
    let (mut time, mut bytes) = (1.0, bytes);
    for i in order {
        let s = &mut measured[i];
        let fits = time + s.time <= budget.time && bytes + s.bytes <= budget.bytes;
        if s.gain > CHANCE * s.error && fits && plan.block(&s.block).is_none() {
            plan = plan.with_block(&s.block, s.precision);
            s.chosen = true;
            time += s.time;
            bytes += s.bytes;
        }
    }
    plan
}

/// What a block could be kept in that it is not computed in anyway; blocks without products to speak of are none.
fn kept_in(block: &Block) -> &'static [FloatPrecision] {
    match (block.has_int8, block.products) {
        (_, 0..1_000_000) => &[],
        (true, _) => &[FloatPrecision::Fast, FloatPrecision::F32],
        (false, _) => &[FloatPrecision::F32],
    }
}

/// Of the mean of the differences between two values of each image; infinite where one image says nothing about it.
fn standard_error(before: &[f64], after: &[f64]) -> f64 {
    let n = before.len() as f64;
    let differences: Vec<f64> = before.iter().zip(after).map(|(a, b)| b - a).collect();
    let mean = differences.iter().sum::<f64>() / n;
    let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
    if n > 1.0 { (squares / (n - 1.0) / n).sqrt() } else { f64::INFINITY }
}

fn time(block: &Block, precision: Option<FloatPrecision>) -> f64 {
    let rate = match (precision, block.has_int8) {
        (Some(FloatPrecision::F32), _) => F32,
        (None, true) => 1.0,
        (Some(FloatPrecision::Fast), _) | (None, false) => FAST,
    };
    block.products as f64 * rate
}

/// Looks at models in 8 bits. Those that differ in the decoder only share what the encoder makes.
#[derive(Debug)]
struct Judge<'a> {
    reference: &'a Masks,
    probes: &'a [Probe],
    encoded: Option<(String, Vec<Embedding>)>,
}

impl Judge<'_> {
    /// The agreement of weights in 8 bits, and the bytes of their bundle.
    fn look(&mut self, weights: &Weights) -> Result<(Agreement, usize), QuantizeError> {
        let (bytes, manifest) = bundle::build(weights, Storage::Int8, "candidate")?;
        let size = bytes.len();
        let mut session = Model::from_bytes(bytes)?.session(&options(Precision::Int8))?;
        let (_, embeddings) = match self.encoded.take() {
            Some(encoded) if encoded.0 == manifest.encoder_sha256 => self.encoded.insert(encoded),
            _ => self.encoded.insert((manifest.encoder_sha256, probes::encode(&mut session, self.probes)?)),
        };
        let masks = probes::decode(&mut session, self.probes, embeddings)?;
        Ok((probes::agreement(self.probes, self.reference, &masks), size))
    }
}

/// The masks of weights that are stored so, computed in this precision.
///
/// # Errors
/// [`QuantizeError`] if the graphs cannot be built or run.
pub fn masks(
    weights: &Weights,
    storage: Storage,
    precision: Precision,
    probes: &[Probe],
) -> Result<Masks, QuantizeError> {
    let (bytes, _) = bundle::build(weights, storage, "reference")?;
    let mut session = Model::from_bytes(bytes)?.session(&options(precision))?;
    let embeddings = probes::encode(&mut session, probes)?;
    Ok(probes::decode(&mut session, probes, &embeddings)?)
}

fn options(precision: Precision) -> SessionOptions {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    SessionOptions::new().with_threads(threads).with_precision(precision)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(name: &str, gain: f64, time: f64, bytes: usize) -> Sensitivity {
        Sensitivity {
            block: name.into(),
            precision: FloatPrecision::Fast,
            gain,
            error: 1e-4,
            time,
            bytes,
            chosen: false,
        }
    }

    #[test]
    fn the_worthiest_blocks_are_kept_within_the_budget() {
        let mut blocks =
            [block("dear", 0.004, 0.09, 10), block("cheap", 0.001, 0.01, 10), block("chance", 0.0002, 0.0, 0)];
        let chosen = |blocks: &mut [Sensitivity], budget| -> Vec<String> {
            pick(blocks, Plan::default(), 100, budget).blocks().map(|(name, _)| name.to_owned()).collect()
        };
        let budget = Budget::new();
        assert_eq!(chosen(&mut blocks, budget), ["cheap", "dear"]);
        assert_eq!(blocks.each_ref().map(|b| b.chosen), [true, true, false]);
        assert_eq!(chosen(&mut blocks, budget.with_time(1.05)), ["cheap"]);
        assert_eq!(chosen(&mut blocks, budget.with_bytes(110)), ["cheap"]);
        assert!(chosen(&mut blocks, budget.with_time(1.0)).is_empty());
    }
}
