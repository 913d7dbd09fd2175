//! The report of the accuracy gate, as a bundle carries it.
//!
//! `umedsam-export validate` compares a compressed model with a reference on labelled cases and writes its report into
//! the manifest of the model's bundle. The report names the digests of the graphs that it is about and is void in a
//! bundle of other graphs. [`Bounds`] are the rules by which the model was judged.

use std::fmt;
use std::prelude::v1::*;

use serde::{Deserialize, Serialize};

use crate::metrics::{Difference, Interval};
use crate::{Manifest, Model, Precision, Storage};

/// Version of the gate's rules and of the report's fields. A report of another version counts as
/// [`ValidationStatus::OtherVersion`], because it was made by other rules.
pub const VALIDATION_VERSION: u32 = 2;

/// Greatest number of rows of a report.
pub const MAX_ROWS: usize = 256;

/// Greatest number of reasons of a report: the gate has four for each row and some for the whole.
pub const MAX_REASONS: usize = 4 * MAX_ROWS + 16;

/// Greatest length of a name or a reason, in bytes.
pub const MAX_TEXT: usize = 512;

/// Whether a model may stand in for its reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It keeps every bound.
    Passed,
    /// It violates at least one bound.
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

/// What a model may lose against its reference, and how much evidence a verdict needs.
///
/// The gate is a test of non-inferiority: a model passes if the lower end of the difference's 95 % interval lies above
/// the bound, for the mean of the rows and for each row. All of these tests must succeed, so their number needs no
/// correction. A model that loses exactly as much as a bound passes in about 2.5 % of trials, and in more where few
/// cases make up the loss; [`refused`](ValidationRow::refused) estimates how often.
///
/// A row may lose four times as much as the mean, because its difference is known that much less precisely: the
/// standard error of the mean of ten to sixteen rows is a third to a quarter of a row's. With as few cases as there are
/// of rare modalities, a narrower bound would refuse most models that lose nothing. NSD varies about twice as much as
/// DSC and may lose twice as much.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// Loss of DSC that the mean of the rows may have, in points of 100.
    pub tolerance_points: f64,
    /// Share of the objects that may collapse ([`ValidationRow::collapsed`]), 0 to 1.
    pub collapse_rate: f64,
    /// Least agreement of the two models' masks in the mean of the rows: a DSC, 0 to 1. A row may be twice as far below
    /// 1.
    pub agreement: f64,
    /// Greatest distance of the predicted IoU's bias from the reference's in the mean of the rows; twice that in a row.
    pub iou_bias: f64,
    /// Greatest decrease of the correlation between predicted and true IoU from the reference's.
    pub iou_correlation: f64,
    /// Number of patients that a row must have to be judged.
    pub least_patients: usize,
    /// Number of judged rows that a verdict needs.
    pub least_rows: usize,
    /// Mean DSC, 0 to 1, that the reference must have in every judged row: a reference near 0 has nothing to lose.
    pub least_reference: f64,
}

impl Bounds {
    /// Loss that a row may have, as a multiple of that of the mean of the rows.
    pub const ROW: f64 = 4.0;
    /// Loss that NSD may have, as a multiple of that of DSC.
    pub const NSD: f64 = 2.0;

    /// The loss that a measure may have, in points of 100: in the mean of the rows, and in a row.
    pub fn loss_points(&self, nsd: bool) -> [f64; 2] {
        let mean = if nsd { Self::NSD } else { 1.0 } * self.tolerance_points;
        [mean, Self::ROW * mean]
    }
}

impl Default for Bounds {
    /// A loss of half a point of DSC, no collapsed object, an agreement of 0.95, a predicted IoU within 0.02 (bias) and
    /// 0.05 (correlation); at least three rows of five patients, in each of which the reference has a DSC of 0.2.
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
    /// What the weights are stored in.
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

/// A measure of both models, 0 to 1; `None` where it is not defined for any object.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The reference's mean.
    pub reference: Option<f64>,
    /// The model's mean.
    pub model: Option<f64>,
    /// Mean over the cases of model minus reference, with the 95 % interval of a paired bootstrap over patients.
    pub difference: Option<Difference>,
}

/// A figure of both models; `None` where it is not defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pair {
    /// The figure of the reference.
    pub reference: Option<f64>,
    /// The figure of the model.
    pub model: Option<f64>,
}

/// How well the model's masks agree with the reference's: the DSC of the two masks of an object, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agreement {
    /// Mean over the objects; in the last row, mean over the rows.
    pub mean: f64,
    /// The least agreement of an object.
    pub worst: f64,
}

/// What was found in the cases of a modality.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationRow {
    /// The modality, as in [`Row`](crate::metrics::Row); "mean" in the last row.
    pub modality: String,
    /// `2D` or `3D`; `-` where the name does not say; empty in the last row.
    pub dimensions: String,
    /// Number of cases that both models segmented.
    pub cases: usize,
    /// Number of these cases' patients, as far as the names tell ([`patient`](crate::metrics::patient)).
    pub patients: usize,
    /// Whether there are enough patients to judge the row. If not, only its collapsed objects count. The last row is
    /// the mean of the judged rows.
    pub judged: bool,
    /// Number of objects that have a score of both models.
    pub objects: usize,
    /// Number of objects whose DSC falls by more than 20 points from reference to model, or to less than half.
    pub collapsed: usize,
    /// Dice similarity coefficient with the truth.
    pub dsc: Measure,
    /// Normalised surface Dice of the boundary ([`Convention::Boundary`](crate::metrics::Convention)): within 2 pixels
    /// or 2 mm.
    pub nsd: Measure,
    /// Agreement of the two models' masks; `None` where no object has a mask.
    pub agreement: Option<Agreement>,
    /// Bias of the predicted IoU: the mean over the objects of predicted minus true IoU; in the last row, mean over the
    /// rows.
    pub iou_bias: Pair,
    /// How often the gate would refuse: shares of simulated trials, on other patients whose differences vary as these
    /// do. In a row, the shares in which this row refuses a model that loses nothing, half and all of the row's bound
    /// of DSC in this row alone. In the last row, the shares in which any rule refuses a model that loses nothing, half
    /// and all of the mean's bound in every row. `None` where a row is not judged.
    pub refused: Option<[f64; 3]>,
}

/// The report of the accuracy gate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// [`VALIDATION_VERSION`].
    pub version: u32,
    /// Whether the model passed.
    pub verdict: Verdict,
    /// Why the model was refused, in words and figures; empty if it passed.
    pub reasons: Vec<String>,
    /// The model that was judged.
    pub model: ValidatedModel,
    /// The model that it was compared with.
    pub reference: ValidatedModel,
    /// The bounds that it was judged by.
    pub bounds: Bounds,
    /// Number of cases given.
    pub cases: usize,
    /// Number of these cases that the model failed to segment; they are in no row.
    pub failed: usize,
    /// Pearson's correlation between predicted and true IoU over all objects.
    pub iou_correlation: Pair,
    /// One row for each modality and dimension; the last is the mean of the judged rows, all of equal weight.
    pub rows: Vec<ValidationRow>,
}

/// What is wrong with a report: the field, and the fault in words.
type Problem = (&'static str, String);

impl Validation {
    /// Whether the report is about the graphs of these digests.
    pub fn is_of(&self, encoder_sha256: &str, decoder_sha256: &str) -> bool {
        self.model.encoder_sha256 == encoder_sha256 && self.model.decoder_sha256 == decoder_sha256
    }

    /// The last row, which is the mean of the judged rows.
    pub fn mean(&self) -> Option<&ValidationRow> {
        self.rows.last()
    }

    /// The judged rows, without their mean.
    pub fn judged(&self) -> impl Iterator<Item = &ValidationRow> {
        self.rows.iter().take(self.rows.len().saturating_sub(1)).filter(|row| row.judged)
    }

    /// Reads a report of this version.
    fn read(value: &mut serde_json::Value) -> Result<Self, Problem> {
        for model in ["model", "reference"] {
            rename(value.get_mut(model).and_then(serde_json::Value::as_object_mut));
        }
        let found: Self = Self::deserialize(&*value).map_err(|e| ("validation", e.to_string()))?;
        found.check()?;
        Ok(found)
    }

    /// Checks every value's bounds.
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
    /// Checks every value.
    ///
    /// # Errors
    /// The field, its value and its range, in words, if a value is out of its range.
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

/// Gives the fields `precision` and `arithmetic` their names of today, `storage` and `precision`: the first bundles
/// have those.
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

/// A report of another version than [`VALIDATION_VERSION`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherVersion {
    /// Its version, if it has one.
    pub version: Option<u64>,
    /// Its verdict, if this library knows it.
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

/// Whether a model went through the accuracy gate. `Display` puts it in one line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValidationStatus<'a> {
    /// The model passed.
    Passed(&'a Validation),
    /// The model was refused.
    Refused(&'a Validation),
    /// The report is about other graphs than the bundle's.
    OtherGraphs(&'a Validation),
    /// The report is of another version of the gate, which judged by other rules.
    OtherVersion(OtherVersion),
    /// The bundle has no report.
    Absent,
}

impl Model {
    /// Whether the graphs of this bundle went through the accuracy gate.
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
