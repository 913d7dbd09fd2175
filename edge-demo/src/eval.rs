//! `umedsam eval`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::files::write_atomically;
use umedsam::metrics::{CaseScore, Report, on_all_cores};
use umedsam::npz::{self, Limits, Truth, read_segs};
use umedsam::{errln, outln};

use crate::EvalArguments;

/// Scores every case that can be scored, and fails if one cannot.
pub(crate) fn run(arguments: &EvalArguments) -> anyhow::Result<()> {
    let (cases, segs) = (npz::cases(&arguments.cases)?, &arguments.segs);
    if segs.is_file() && !arguments.cases.is_file() {
        bail!("{}: a file of segmentations is for one case; of a folder, name the folder", segs.display());
    }
    // On all cores, in the order of the cases.
    let scores = on_all_cores(&cases, |case| score(case, segs).map_err(|error| (case, error)));
    let (mut scored, mut failures) = (Vec::new(), Vec::new());
    for score in scores {
        match score {
            Ok(score) => scored.push(score),
            Err((case, error)) => failures.push((case.display().to_string(), format!("{error:#}"))),
        }
    }
    for (_, error) in &failures {
        errln!("umedsam: {error}");
    }
    if scored.is_empty() {
        bail!("none of {} cases could be scored", cases.len());
    }
    let report = Report::new(scored);
    if let Some(path) = &arguments.csv {
        let csv = report.csv();
        write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())?;
    }
    if arguments.json {
        let mut json = serde_json::json!(report);
        let failed = |(case, error): &(String, String)| serde_json::json!({ "case": case, "error": error });
        json["failed"] = failures.iter().map(failed).collect();
        outln!("{json}");
    } else {
        outln!("{report}");
    }
    if !failures.is_empty() {
        bail!("{} of {} cases could not be scored; they are in no row", failures.len(), cases.len());
    }
    Ok(())
}

/// The segmentation of a case: of its name in a folder, or the file itself.
fn segs_of(case: &Path, segs: &Path) -> PathBuf {
    if segs.is_file() { segs.into() } else { segs.join(case.file_name().unwrap_or_default()) }
}

fn score(case: &Path, segs: &Path) -> anyhow::Result<CaseScore> {
    let limits = Limits::new();
    let name = case.file_name().unwrap_or_default();
    let path = segs_of(case, segs);
    if !path.is_file() {
        bail!("{}: no segmentation in {}", case.display(), segs.display());
    }
    let truth = Truth::read(case, &limits)?;
    let (labels, shape) = read_segs(&path, &limits)?;
    if shape != truth.shape {
        bail!("{}: segs has shape {shape:?}, gts of the case {:?}", path.display(), truth.shape);
    }
    truth.of_segs(&labels)?;
    Ok(CaseScore::new(name.to_string_lossy(), &truth.labels, &labels, &truth.shape, truth.spacing))
}
