//! What the accuracy gate found, as a bundle carries it.
//!
//! A compressed model is compared with a reference on labelled cases (`umedsam-export validate`); the summary lies in the
//! bundle's manifest and names the graphs that it is about, so that it says nothing of others that it is copied to.
//! [`Bounds`] says by what rules it was judged.

use std::fmt;
use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

use crate::metrics::{Difference, Interval};
use crate::{Manifest, Model, Precision, Storage};

/// Version of the gate's rules and of the summary's fields. A summary of another version is kept apart: it was judged by
/// other rules ([`ValidationStatus::OtherVersion`]).
pub const VALIDATION_VERSION: u32 = 2;

/// Most rows of a summary.
pub const MAX_ROWS: usize = 256;

/// Most reasons of a summary: the gate has four for each row and some for the whole.
pub const MAX_REASONS: usize = 4 * MAX_ROWS + 16;

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

/// What a model may lose, and how much must be known of it.
///
/// A model passes if it is shown not to lose more, which is a test of non-inferiority: of the mean of the rows and of each
/// row, the lower end of the difference's 95 % interval lies above the bound. Every one of them must, so that their number
/// needs no correction. A model that loses as much as a bound passes in about 2.5 % of the trials; in more of them where
/// few cases make up the loss, which the report's [`refused`](ValidationRow::refused) tells.
///
/// A row may lose four times as much as the mean, because it is known that much worse: the mean of ten to sixteen rows has
/// an error of a third to a quarter of a row's. A narrower bound would refuse most models that lose nothing, on as many
/// cases as there are of rare modalities. NSD spreads about twice as wide as DSC does, and may lose twice as much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// DSC that the mean of the rows may lose, in points of 100.
    pub tolerance_points: f64,
    /// Share of the objects that may collapse, 0 to 1.
    pub collapse_rate: f64,
    /// Least agreement of the two models' masks in the mean of the rows, as DSC, 0 to 1; a row may lack twice as much to 1.
    pub agreement: f64,
    /// How far the bias of the predicted IoU may lie from the reference's in the mean of the rows; twice as far in a row.
    pub iou_bias: f64,
    /// How far the correlation of the predicted IoU with the true one may fall below the reference's.
    pub iou_correlation: f64,
    /// Patients that a row must have to be judged.
    pub least_patients: usize,
    /// Rows that must be judged for a verdict.
    pub least_rows: usize,
    /// Mean DSC, 0 to 1, that the reference must have in every row that is judged: else there is nothing to lose.
    pub least_reference: f64,
}

impl Bounds {
    /// How much more a row may lose than the mean of the rows.
    pub const ROW: f64 = 4.0;
    /// How much more NSD may lose than DSC.
    pub const NSD: f64 = 2.0;

    /// What a measure may lose, in points of 100: in the mean of the rows, and in a row.
    pub fn loss_points(&self, nsd: bool) -> [f64; 2] {
        let mean = if nsd { Self::NSD } else { 1.0 } * self.tolerance_points;
        [mean, Self::ROW * mean]
    }
}

impl Default for Bounds {
    /// Half a point of DSC, no object, agreement 0.95, predicted IoU 0.02 (bias) and 0.05 (correlation); three rows of five
    /// patients, in which the reference has a DSC of 0.2.
    fn default() -> Self {
        Self {
            tolerance_points: 0.5,
            collapse_rate: 0.0,
            agreement: 0.95,
            iou_bias: 0.02,
            iou_correlation: 0.05,
            least_patients: 5,
            least_rows: 3,
            least_reference: 0.2,
        }
    }
}

/// One of the two bundles that were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidatedModel {
    /// Name of the weights, for people.
    pub name: String,
    /// How the weights are stored.
    pub storage: Storage,
    /// The precision that the network was computed in.
    pub precision: Precision,
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
    /// Model minus reference, case by case, with the 95 % interval of a paired bootstrap over patients.
    pub difference: Option<Difference>,
}

/// A figure of both models; nothing where it is not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The reference's.
    pub reference: Option<f64>,
    /// The model's.
    pub model: Option<f64>,
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
    /// Patients that these cases are of, as far as their names tell.
    pub patients: usize,
    /// Whether there are enough of them to judge the row; if not it counts in the collapsed objects only. The last row is
    /// the mean of those that are judged.
    pub judged: bool,
    /// Objects that both have scored.
    pub objects: usize,
    /// Objects whose DSC falls from reference to model by more than 20 points, or to less than half of what it was.
    pub collapsed: usize,
    /// Dice similarity coefficient with the truth.
    pub dsc: Measure,
    /// NSD of the true boundary, 2 px or 2 mm.
    pub nsd: Measure,
    /// Of the two models' masks; nothing where both are empty.
    pub agreement: Option<Agreement>,
    /// Bias of the predicted IoU: its mean over the objects minus the true IoU's; in the last row the mean over the rows.
    pub iou_bias: Pair,
    /// Share of simulated trials, with other patients of the same spread, in which this row refuses a model that loses
    /// nothing, half and all of the row's bound of DSC here and nothing elsewhere; in the last row, in which anything
    /// refuses one that loses nothing, half and all of the mean's bound in every row. Nothing where a row is not judged.
    pub refused: Option<[f64; 3]>,
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
    /// What the model might lose.
    pub bounds: Bounds,
    /// Cases given.
    pub cases: usize,
    /// Cases of these that the model failed to segment; they are in no row.
    pub failed: usize,
    /// Correlation of the predicted IoU with the true one, over all objects.
    pub iou_correlation: Pair,
    /// The modalities; the last row is the mean of those that are judged, in which every row counts the same.
    pub rows: Vec<ValidationRow>,
}

/// What is wrong with a summary: the field, and the matter in words.
type Problem = (&'static str, String);

impl Validation {
    /// Whether the summary is about these graphs.
    pub fn is_of(&self, encoder_sha256: &str, decoder_sha256: &str) -> bool {
        self.model.encoder_sha256 == encoder_sha256 && self.model.decoder_sha256 == decoder_sha256
    }

    /// The last row, the mean of those that are judged.
    pub fn mean(&self) -> Option<&ValidationRow> {
        self.rows.last()
    }

    /// The rows of modalities that are judged.
    pub fn judged(&self) -> impl Iterator<Item = &ValidationRow> {
        self.rows.iter().take(self.rows.len().saturating_sub(1)).filter(|row| row.judged)
    }

    /// Reads a summary of this version.
    fn read(value: &mut serde_json::Value) -> Result<Self, Problem> {
        for model in ["model", "reference"] {
            rename(value.get_mut(model).and_then(serde_json::Value::as_object_mut));
        }
        let found: Self = Self::deserialize(&*value).map_err(|e| ("validation", e.to_string()))?;
        found.check()?;
        Ok(found)
    }

    /// Looks at every value's bounds.
    pub(crate) fn check(&self) -> Result<(), Problem> {
        if self.version != VALIDATION_VERSION {
            let message = format!("{}: {VALIDATION_VERSION} is what this version of the library writes", self.version);
            return Err(("validation.version", message));
        }
        self.model.check("validation.model")?;
        self.reference.check("validation.reference")?;
        self.bounds.check().map_err(|message| ("validation.bounds", message))?;
        self.iou_correlation.check("validation.iou_correlation", "")?;
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

impl Bounds {
    /// What is wrong with a value, in words.
    ///
    /// # Errors
    /// If a value is out of its range.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, high) in [
            ("tolerance_points", self.tolerance_points, 100.0),
            ("collapse_rate", self.collapse_rate, 1.0),
            ("agreement", self.agreement, 1.0),
            ("iou_bias", self.iou_bias, 1.0),
            ("iou_correlation", self.iou_correlation, 2.0),
            ("least_reference", self.least_reference, 1.0),
        ] {
            within(name, "", value, 0.0, high).map_err(|(name, message)| format!("{name} {message}"))?;
        }
        // One patient alone has no interval.
        for (name, value, low) in [("least_patients", self.least_patients, 2), ("least_rows", self.least_rows, 1)] {
            if value < low {
                return Err(format!("{name} {value}: at least {low} expected"));
            }
        }
        Ok(())
    }
}

impl Pair {
    fn check(&self, field: &'static str, what: &str) -> Result<(), Problem> {
        // A predicted IoU is any number.
        match self.reference.iter().chain(&self.model).find(|value| !value.is_finite()) {
            Some(value) => Err((field, format!("{what}{value}: a finite number expected"))),
            None => Ok(()),
        }
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
        at_most(field, &named("patients"), self.patients, self.cases)?;
        at_most(field, &named("collapsed"), self.collapsed, self.objects)?;
        for (name, measure) in [("dsc", &self.dsc), ("nsd", &self.nsd)] {
            for value in measure.reference.iter().chain(&measure.model) {
                within(field, &named(name), *value, 0.0, 1.0)?;
            }
            let Some(d) = measure.difference else { continue };
            let named = named(&format!("{name}.difference"));
            within(field, &named, d.mean, -1.0, 1.0)?;
            // The ends of few patients' intervals may lie beyond what a difference can be.
            if let Some(Interval { low, high }) = d.interval {
                within(field, &named, low, f64::MIN, high)?;
                within(field, &named, high, low, f64::MAX)?;
            }
        }
        self.iou_bias.check(field, &named("iou_bias"))?;
        for share in self.refused.iter().flatten() {
            within(field, &named("refused"), *share, 0.0, 1.0)?;
        }
        let Some(agreement) = self.agreement else { return Ok(()) };
        [agreement.mean, agreement.worst].iter().try_for_each(|&v| within(field, &named("agreement"), v, 0.0, 1.0))
    }
}

/// Gives the fields `precision` and `arithmetic` their names of today, `storage` and `precision`: the first bundles have
/// those.
fn rename(model: Option<&mut serde_json::Map<String, serde_json::Value>>) {
    let Some(fields) = model.filter(|fields| !fields.contains_key("storage")) else { return };
    if let Some(precision) = fields.remove("arithmetic")
        && let Some(storage) = fields.insert("precision".into(), precision)
    {
        fields.insert("storage".into(), storage);
    }
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

/// What is known of a report of another version than [`VALIDATION_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherVersion {
    /// Its version, if it has one.
    pub version: Option<u64>,
    /// Its verdict, if it has one that this library knows.
    pub verdict: Option<Verdict>,
}

impl OtherVersion {
    /// Takes a report of another version out of a manifest, and checks one of this version.
    pub(crate) fn take(mut manifest: serde_json::Value) -> Result<(serde_json::Value, Option<Self>), Problem> {
        let mut other = None;
        if let Some(report) = manifest.get_mut("validation").filter(|v| !v.is_null()) {
            other = Self::of(report);
            if other.is_some() {
                *report = serde_json::Value::Null;
            } else {
                Validation::read(report)?;
            }
        }
        Ok((manifest, other))
    }

    /// What a report is, if it is not of this library's version.
    fn of(value: &serde_json::Value) -> Option<Self> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        let verdict = || Verdict::deserialize(value.get("verdict")?).ok();
        (version != Some(u64::from(VALIDATION_VERSION))).then(|| Self { version, verdict: verdict() })
    }
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
    /// The report is of a gate of another version, which judged by other rules.
    OtherVersion(OtherVersion),
    /// There is no report.
    Absent,
}

impl Model {
    /// Whether these graphs went through the accuracy gate.
    pub fn validation(&self) -> ValidationStatus<'_> {
        let Manifest { validation, encoder_sha256, decoder_sha256, .. } = self.manifest();
        match validation {
            None => self.other_version.map_or(ValidationStatus::Absent, ValidationStatus::OtherVersion),
            Some(report) if !report.is_of(encoder_sha256, decoder_sha256) => ValidationStatus::OtherGraphs(report),
            Some(report) if report.verdict == Verdict::Passed => ValidationStatus::Passed(report),
            Some(report) => ValidationStatus::Refused(report),
        }
    }
}

impl fmt::Display for ValidationStatus<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none: this model went through no accuracy gate"),
            Self::OtherGraphs(v) => {
                write!(f, "none: the report in this bundle is about other graphs ({}, {})", v.model.name, v.verdict)
            }
            Self::OtherVersion(OtherVersion { version, verdict }) => {
                let version = version.map_or("unknown".into(), |v| v.to_string());
                let verdict = verdict.map_or("no verdict".into(), |v| v.to_string());
                write!(
                    f,
                    "none by the rules of this version ({VALIDATION_VERSION}): the report in this bundle is of version \
                     {version} ({verdict})"
                )
            }
            Self::Refused(v) => {
                let more = v.reasons.len().saturating_sub(1);
                let first = v.reasons.first().map_or("no reason given", String::as_str);
                write!(f, "refused by the accuracy gate: {first}")?;
                if more > 0 { write!(f, " (and {more} more)") } else { Ok(()) }
            }
            Self::Passed(v) => {
                write!(f, "passed the accuracy gate in {}", v.model.precision)?;
                if let Some(d) = v.mean().and_then(|row| row.dsc.difference) {
                    write!(f, ": DSC {d} points, {} may be lost,", v.bounds.tolerance_points)?;
                }
                let Validation { reference, .. } = v;
                let (rows, all) = (v.judged().count(), v.rows.len().saturating_sub(1));
                let cases: usize = v.judged().map(|row| row.cases).sum();
                write!(
                    f,
                    " against {} {} in {}; {rows} of {all} rows judged, {cases} cases",
                    reference.name, reference.storage, reference.precision
                )
            }
        }
    }
}
