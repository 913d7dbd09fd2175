//! What both models make of one case.

use std::path::Path;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use umedsam::metrics::{Convention, dice, group, mean, score_case};
use umedsam::npz::{Boxes, Case, Limits, Truth};
use umedsam::{Session, VolumeOptions};

use super::ValidateError;

/// Scores of one object, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ObjectRecord {
    /// Its label.
    pub label: usize,
    /// DSC with the truth, of the reference and of the model.
    pub dsc: [f64; 2],
    /// NSD of the true boundary, 2 px or 2 mm, of the same; nothing where there is no boundary.
    pub nsd: [Option<f64>; 2],
    /// DSC of the model's mask with the reference's.
    pub agreement: f64,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CaseRecord {
    /// The case's file name.
    pub case: String,
    /// Its objects: the labels that are in the truth.
    pub objects: Vec<ObjectRecord>,
    /// Seconds from pixels to labels, of the reference and of the model.
    pub seconds: [f64; 2],
    /// Of these, seconds in the encoder.
    pub encode_seconds: [f64; 2],
    /// Whether the model's session failed, and how.
    pub failure: Option<String>,
}

impl CaseRecord {
    /// Modality and dimensions.
    pub fn row(&self) -> String {
        let (modality, dimensions) = group(&self.case);
        format!("{modality} {dimensions}")
    }

    /// Mean over the objects of something of each.
    pub(super) fn mean(&self, of: impl Fn(&ObjectRecord) -> Option<f64>) -> Option<f64> {
        mean(self.objects.iter().map(of))
    }
}

/// Label maps of a case.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) case: Case,
    pub(super) truth: Truth,
    /// Of the reference and of the model; nothing where the model failed.
    pub(super) found: [Option<Vec<u16>>; 2],
}

/// Segments a case with both models, the reference first if `reference_first`, and scores what they found.
pub(super) fn record(
    path: &Path,
    sessions: &mut [Session; 2],
    reference_first: bool,
) -> Result<(CaseRecord, Labels), ValidateError> {
    let case = Case::read(path, &Limits::new())?;
    let truth = Truth::read(path, &Limits::new())?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if truth.shape != case.shape.labels() {
        return Err(ValidateError::Shape { case: name, truth: truth.shape, image: case.shape.labels() });
    }
    let (mut seconds, mut encode_seconds) = ([0.0; 2], [0.0; 2]);
    let (mut found, mut failure) = ([None, None], None);
    for who in if reference_first { [0, 1] } else { [1, 0] } {
        let (start, before) = (Instant::now(), sessions[who].stats().encode);
        match labels(&mut sessions[who], &case) {
            Ok(labels) => found[who] = Some(labels),
            Err(error) if who == 1 => failure = Some(error.to_string()),
            Err(source) => return Err(ValidateError::Reference { case: name, source }),
        }
        seconds[who] = start.elapsed().as_secs_f64();
        encode_seconds[who] = (sessions[who].stats().encode - before).as_secs_f64();
    }
    let objects = match &found {
        [Some(reference), Some(model)] => objects(&truth, reference, model),
        _ => Vec::new(),
    };
    let record = CaseRecord { case: name, objects, seconds, encode_seconds, failure };
    Ok((record, Labels { case, truth, found }))
}

/// As devices do it: an image's boxes at once, a volume from the middle of each object on.
fn labels(session: &mut Session, case: &Case) -> Result<Vec<u16>, umedsam::Error> {
    Ok(match &case.boxes {
        Boxes::Plane(boxes) => session.segment_image(&case.slice(0)?, boxes, None)?.labels,
        Boxes::Volume(boxes) => {
            let shape = (case.shape.depth.unwrap_or(1), case.shape.height, case.shape.width);
            session.segment_volume(shape, |z| case.slice(z), boxes, &VolumeOptions::new(), |_, _| {})?.labels
        }
    })
}

fn objects(truth: &Truth, reference: &[u16], model: &[u16]) -> Vec<ObjectRecord> {
    let score = |found: &[u16]| score_case(&truth.labels, found, &truth.shape, truth.spacing, Convention::Boundary);
    let scores = [score(reference), score(model)];
    let agreement = agreement(reference, model, scores[0].len());
    let mut there = vec![false; scores[0].len() + 1];
    truth.labels.iter().for_each(|&label| there[usize::from(label)] = true);
    let object = |label: usize| {
        let [a, b] = [scores[0][label - 1], scores[1][label - 1]];
        Some(ObjectRecord { label, dsc: [a.dsc?, b.dsc?], nsd: [a.nsd, b.nsd], agreement: agreement[label - 1] })
    };
    (1..there.len()).filter(|&label| there[label]).filter_map(object).collect()
}

/// DSC of the labels 1 to `count` in two label maps; two empty masks agree.
fn agreement(a: &[u16], b: &[u16], count: usize) -> Vec<f64> {
    let mut sizes = vec![[0usize; 3]; count + 1];
    for (&a, &b) in a.iter().zip(b) {
        for (of, label) in [a, b].into_iter().enumerate() {
            if let Some(size) = sizes.get_mut(usize::from(label)) {
                size[of] += 1;
                size[2] += usize::from(of == 0 && a == b);
            }
        }
    }
    sizes[1..].iter().map(|&[a, b, both]| dice(both, a, b).unwrap_or(1.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_agree_by_label() {
        assert_eq!(agreement(&[0, 1, 1, 2, 2, 9], &[1, 1, 1, 0, 3, 9], 3), [0.8, 0.0, 0.0]);
        assert_eq!(agreement(&[0, 2], &[0, 2], 2), [1.0, 1.0]);
    }
}
