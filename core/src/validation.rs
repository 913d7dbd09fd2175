//! What the accuracy gate found, as a bundle carries it.
//!
//! A compressed model is compared with a reference on labelled cases (`umedsam-export validate`); the summary lies in the
//! bundle's manifest and names the graphs that it is about, so that it says nothing of others that it is copied to.

use std::fmt;
use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

use crate::metrics::Difference;
use crate::{Arithmetic, Precision};

/// Version of the summary's fields that this library writes, and the only one that it reads.
pub const VALIDATION_VERSION: u32 = 1;

/// Most rows of a summary.
pub const MAX_ROWS: usize = 256;

/// Most reasons of a summary: the gate has one for each row and three for the whole.
pub const MAX_REASONS: usize = MAX_ROWS + 8;

/// Bytes that a name or a reason may take.
pub const MAX_TEXT: usize = 512;

/// Whether a model may stand in for its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It keeps to every bound.
    Passed,
    /// It breaks one at least.
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
        })
    }
}

/// One of the two bundles that were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatedModel {
    /// Name of the weights, for people.
    pub name: String,
    /// How the weights are stored.
    pub precision: Precision,
    /// How the network was computed.
    pub arithmetic: Arithmetic,
    /// Size of the bundle without this report, in bytes.
    pub size_bytes: u64,
    /// SHA-256 of the encoder graph, in hexadecimal.
    pub encoder_sha256: String,
    /// SHA-256 of the decoder graph, in hexadecimal.
    pub decoder_sha256: String,
}

/// A measure of both models, 0 to 1; nothing where no object has it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The reference's mean.
    pub reference: Option<f64>,
    /// The model's mean.
    pub model: Option<f64>,
    /// Model minus reference, case by case, with the 95 % interval of a paired bootstrap.
    pub difference: Option<Difference>,
}

/// How far the model's masks are the reference's: DSC of the two masks of an object, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Mean over the objects; in the last row over the rows.
    pub mean: f64,
    /// The object in which they differ most.
    pub worst: f64,
}

/// What was found in a modality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRow {
    /// The modality, as in [`Row`](crate::metrics::Row); "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; `-` where the name does not say; empty in the last row.
    pub dimensions: String,
    /// Cases that both models segmented.
    pub cases: usize,
    /// Objects that both have scored.
    pub objects: usize,
    /// Objects whose DSC falls by more than 20 points from reference to model.
    pub collapsed: usize,
    /// Dice similarity coefficient with the truth.
    pub dsc: Measure,
    /// NSD of the true boundary, 2 px or 2 mm.
    pub nsd: Measure,
    /// Of the two models' masks; nothing where both are empty.
    pub agreement: Option<Agreement>,
}

/// The accuracy gate's summary.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// [`VALIDATION_VERSION`].
    pub version: u32,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it was refused, in words with figures; empty if it passed.
    pub reasons: Vec<String>,
    /// The model.
    pub model: ValidatedModel,
    /// What it was compared with.
    pub reference: ValidatedModel,
    /// DSC that the mean of the rows might lose, in points of 100; a row might lose twice as much.
    pub tolerance_points: f64,
    /// Share of the objects that might collapse, 0 to 1.
    pub collapse_rate: f64,
    /// Cases given.
    pub cases: usize,
    /// Cases of these that the model failed to segment; they are in no row.
    pub failed: usize,
    /// The modalities; the last row is their mean, in which every row counts the same.
    pub rows: Vec<ValidationRow>,
}

/// What is wrong with a summary: the field, and the matter in words.
type Problem = (&'static str, String);

impl Validation {
    /// Whether the summary is about these graphs.
    pub fn is_of(&self, encoder_sha256: &str, decoder_sha256: &str) -> bool {
        self.model.encoder_sha256 == encoder_sha256 && self.model.decoder_sha256 == decoder_sha256
    }

    /// The last row, their mean.
    pub fn mean(&self) -> Option<&ValidationRow> {
        self.rows.last()
    }

    /// Reads a summary, the version first: a later one may hold other fields.
    pub(crate) fn read(value: &serde_json::Value) -> Result<Self, Problem> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VALIDATION_VERSION)) {
            return Err(wrong_version(version));
        }
        let found: Self = Self::deserialize(value).map_err(|e| ("validation", e.to_string()))?;
        found.check()?;
        Ok(found)
    }

    /// Looks at every value's bounds.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.version != VALIDATION_VERSION {
            return Err(wrong_version(Some(self.version.into())));
        }
        self.model.check("validation.model")?;
        self.reference.check("validation.reference")?;
        within("validation.tolerance_points", "", self.tolerance_points, 0.0, 100.0)?;
        within("validation.collapse_rate", "", self.collapse_rate, 0.0, 1.0)?;
        at_most("validation.failed", "", self.failed, self.cases)?;
        at_most("validation.reasons", "their number ", self.reasons.len(), MAX_REASONS)?;
        self.reasons.iter().try_for_each(|r| at_most("validation.reasons", "bytes of one ", r.len(), MAX_TEXT))?;
        if self.reasons.is_empty() != (self.verdict == Verdict::Passed) {
            let message = format!("{} with {} reasons", self.verdict, self.reasons.len());
            return Err(("validation.verdict", message));
        }
        at_most("validation.rows", "their number ", self.rows.len(), MAX_ROWS)?;
        self.rows.iter().enumerate().try_for_each(|(i, row)| row.check(i, self.cases))
    }
}

impl ValidatedModel {
    fn check(&self, field: &'static str) -> Result<(), Problem> {
        at_most(field, "bytes of name ", self.name.len(), MAX_TEXT)?;
        for (name, digest) in [("encoder_sha256", &self.encoder_sha256), ("decoder_sha256", &self.decoder_sha256)] {
            if digest.len() != 64 || !digest.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
                return Err((field, format!("{name}: 64 lower-case hexadecimal digits expected")));
            }
        }
        Ok(())
    }
}

impl ValidationRow {
    fn check(&self, index: usize, cases: usize) -> Result<(), Problem> {
        let field = "validation.rows";
        let named = |name: &str| format!("row {index}: {name} ");
        at_most(field, &named("bytes of modality"), self.modality.len(), MAX_TEXT)?;
        at_most(field, &named("bytes of dimensions"), self.dimensions.len(), MAX_TEXT)?;
        at_most(field, &named("cases"), self.cases, cases)?;
        at_most(field, &named("collapsed"), self.collapsed, self.objects)?;
        for (name, measure) in [("dsc", &self.dsc), ("nsd", &self.nsd)] {
            for value in measure.reference.iter().chain(&measure.model) {
                within(field, &named(name), *value, 0.0, 1.0)?;
            }
            let Some(d) = measure.difference else { continue };
            let named = named(&format!("{name}.difference"));
            [d.mean, d.low, d.high].iter().try_for_each(|&v| within(field, &named, v, -1.0, 1.0))?;
            within(field, &named, d.low, -1.0, d.high)?;
        }
        let Some(agreement) = self.agreement else { return Ok(()) };
        [agreement.mean, agreement.worst].iter().try_for_each(|&v| within(field, &named("agreement"), v, 0.0, 1.0))
    }
}

fn wrong_version(found: Option<u64>) -> Problem {
    let found = found.map_or("none".into(), |v| v.to_string());
    let message = format!("{found} found, {VALIDATION_VERSION} is what this version of the library reads");
    ("validation.version", message)
}

fn within(field: &'static str, what: &str, value: f64, low: f64, high: f64) -> Result<(), Problem> {
    // NaN is in no range.
    if (low..=high).contains(&value) {
        Ok(())
    } else {
        Err((field, format!("{what}{value}: {low} to {high} expected")))
    }
}

fn at_most(field: &'static str, what: &str, value: usize, max: usize) -> Result<(), Problem> {
    if value <= max { Ok(()) } else { Err((field, format!("{what}{value}: at most {max} expected"))) }
}

/// Whether a model went through the accuracy gate. Shown, it is one line for people.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValidationStatus<'a> {
    /// It passed.
    Passed(&'a Validation),
    /// It was refused.
    Refused(&'a Validation),
    /// The report is about other graphs than the bundle's.
    OtherGraphs(&'a Validation),
    /// There is no report.
    Absent,
}

impl fmt::Display for ValidationStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none: this model went through no accuracy gate"),
            Self::OtherGraphs(v) => {
                write!(f, "none: the report in this bundle is about other graphs ({}, {})", v.model.name, v.verdict)
            }
            Self::Refused(v) => {
                let more = v.reasons.len().saturating_sub(1);
                let first = v.reasons.first().map_or("no reason given", String::as_str);
                write!(f, "refused by the accuracy gate: {first}")?;
                if more > 0 { write!(f, " (and {more} more)") } else { Ok(()) }
            }
            Self::Passed(v) => {
                write!(f, "passed the accuracy gate in {}", v.model.arithmetic)?;
                if let Some(d) = v.mean().and_then(|row| row.dsc.difference) {
                    let (mean, low, high) = (100.0 * d.mean, 100.0 * d.low, 100.0 * d.high);
                    write!(f, ": DSC {mean:+.2} points [{low:+.2}, {high:+.2}]")?;
                }
                let Validation { reference, cases, tolerance_points, .. } = v;
                write!(
                    f,
                    " against {} {} in {}, {cases} cases, {tolerance_points} allowed",
                    reference.name, reference.precision, reference.arithmetic
                )
            }
        }
    }
}
