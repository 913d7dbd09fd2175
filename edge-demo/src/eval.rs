//! `umedsam eval`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::files::write_atomically;
use umedsam::metrics::{CaseScore, Report, on_all_cores};
use umedsam::npz::{self, Limits, Truth, read_segs};
use umedsam::outln;

use crate::EvalArguments;

/// Scores every case that has a segmentation; fails if one has none.
pub(crate) fn run(arguments: &EvalArguments) -> anyhow::Result<()> {
    let report = Report::new(score_all(&npz::cases(&arguments.cases)?, &arguments.segs)?);
    if let Some(path) = &arguments.csv {
        let csv = report.csv();
        write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())?;
    }
    if arguments.json {
        outln!("{}", serde_json::json!(report));
    } else {
        outln!("{report}");
    }
    Ok(())
}

/// Scores on all cores, in the order of the cases.
fn score_all(cases: &[PathBuf], segs: &Path) -> anyhow::Result<Vec<CaseScore>> {
    if segs.is_file() && !matches!(cases, [case] if case.is_file()) {
        bail!("{}: a file of segmentations is for one case; of a folder, name the folder", segs.display());
    }
    let missing: Vec<&PathBuf> = cases.iter().filter(|c| !segs_of(c, segs).is_file()).collect();
    if let Some(first) = missing.first() {
        let first = first.display();
        bail!("{} of {} cases have no segmentation in {}, such as {first}", missing.len(), cases.len(), segs.display());
    }
    on_all_cores(cases, |case| score(case, segs)).into_iter().collect()
}

/// The segmentation of a case: of its name in a folder, or the file itself.
fn segs_of(case: &Path, segs: &Path) -> PathBuf {
    if segs.is_file() { segs.into() } else { segs.join(case.file_name().unwrap_or_default()) }
}

fn score(case: &Path, segs: &Path) -> anyhow::Result<CaseScore> {
    let limits = Limits::new();
    let truth = Truth::read(case, &limits)?;
    let name = case.file_name().unwrap_or_default();
    let path = segs_of(case, segs);
    let (labels, shape) = read_segs(&path, &limits)?;
    if shape != truth.shape {
        bail!("{}: segs has shape {shape:?}, gts of the case {:?}", path.display(), truth.shape);
    }
    Ok(CaseScore::new(name.to_string_lossy(), &truth.labels, &labels, &truth.shape, truth.spacing))
}
