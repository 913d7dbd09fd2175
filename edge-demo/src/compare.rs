//! `umedsam compare`.

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;
use umedsam::metrics::{CaseScore, Comparison};
use umedsam::outln;

use crate::CompareArguments;

/// What is read of a report; `umedsam eval --json` writes it, and so does `umedsam-train evaluate --json`.
#[derive(Deserialize)]
struct Report {
    cases: Vec<CaseScore>,
}

/// Prints paired differences of two models, or of several runs of each.
pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<()> {
    let found = Comparison::new(&read(&arguments.base)?, &read(&arguments.other)?, arguments.seed);
    if found.rows.last().is_none_or(|all| all.cases == 0) {
        bail!("the reports have no case in common");
    }
    if arguments.json {
        outln!("{}", serde_json::json!(found));
    } else {
        outln!("{found}");
    }
    Ok(())
}

fn read(files: &[PathBuf]) -> anyhow::Result<Vec<CaseScore>> {
    let mut scores = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let report: Report = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        scores.extend(report.cases);
    }
    Ok(scores)
}
