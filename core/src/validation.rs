//! What the accuracy gate found out about a model, as its bundle carries it.

use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

/// The verdict of the gate on the two graphs of a bundle, and the figures behind it. Scores are 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Whether the model may take the reference's place.
    pub passed: bool,
    /// Why not, in words; empty if it may.
    pub reasons: Vec<String>,
    /// SHA-256 of the graphs that were looked at, in hexadecimal.
    pub encoder_sha256: String,
    /// See [`encoder_sha256`](Self::encoder_sha256).
    pub decoder_sha256: String,
    /// Name, precision and arithmetic of the model that it was compared with.
    pub reference: String,
    /// SHA-256 of that model's weights.
    pub reference_weights_sha256: String,
    /// The loss of mean DSC that was allowed; a row may lose twice as much.
    pub tolerance: f64,
    /// Share of objects that was allowed to collapse: to lose more than 0.2 of DSC.
    pub collapse_rate: f64,
    /// Cases that both models segmented.
    pub cases: usize,
    /// Objects in them.
    pub objects: usize,
    /// Objects that collapsed.
    pub collapsed: usize,
    /// Mean DSC of the model's masks with the reference's, over cases of a row, then rows.
    pub agreement: f64,
    /// One row a modality and dimension; the last is their mean, in which every row counts the same.
    pub rows: Vec<ValidationRow>,
}

/// Scores of a modality against the truth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRow {
    /// Modality and dimensions; "mean" in the last row.
    pub row: String,
    /// Number of cases.
    pub cases: usize,
    /// Mean DSC of the reference and of the model.
    pub dsc: [f64; 2],
    /// The model's less the reference's: mean, and the ends of the 95 % interval.
    pub dsc_difference: [f64; 3],
    /// Mean NSD of the true boundary, 2 px or 2 mm, of the reference and of the model.
    pub nsd: [f64; 2],
    /// As for DSC.
    pub nsd_difference: [f64; 3],
    /// Mean DSC of the model's masks with the reference's.
    pub agreement: f64,
}

/// Where a model stands with the gate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Standing<'a> {
    /// It passed.
    Passed(&'a Validation),
    /// It was refused.
    Refused(&'a Validation),
    /// The report that the bundle carries is of other graphs.
    OfOtherGraphs,
    /// It never went through the gate.
    Unknown,
}

impl std::fmt::Display for Standing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Passed(v) => write!(f, "passed the accuracy gate on {} cases", v.cases),
            Self::Refused(v) => write!(f, "refused by the accuracy gate: {}", v.reasons.join("; ")),
            Self::OfOtherGraphs => f.write_str("carries the accuracy gate's report on other graphs"),
            Self::Unknown => f.write_str("went through no accuracy gate"),
        }
    }
}
