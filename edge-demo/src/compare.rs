//! `umedsam compare`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;
use umedsam::metrics::{CaseScore, Comparison, group};
use umedsam::{errln, outln};

use crate::CompareArguments;

/// Cases that are named where reports lack some.
const NAMED: usize = 5;

/// What is read of a report; `umedsam eval --json` writes it, and so does `umedsam-train evaluate --json`.
#[derive(Deserialize)]
struct Report {
    cases: Vec<CaseScore>,
}

/// Prints paired differences of two models, or of several runs of each.
pub(crate) fn run(arguments: &CompareArguments) -> anyhow::Result<()> {
    let (mut base, mut other) = (read(&arguments.base)?, read(&arguments.other)?);
    let lacking = lacking(base.iter().chain(&other));
    for line in &lacking {
        errln!("umedsam: {line}");
    }
    if !lacking.is_empty() {
        if !arguments.common {
            bail!("the reports are not of the same cases; --common compares those that are in all");
        }
        let common = common(base.iter().chain(&other));
        for (_, scores) in base.iter_mut().chain(&mut other) {
            scores.retain(|score| common.contains(&score.case));
        }
    }
    let scores = |reports: Vec<(PathBuf, Vec<CaseScore>)>| reports.into_iter().flat_map(|(_, scores)| scores).collect();
    let (base, other): (Vec<_>, Vec<_>) = (scores(base), scores(other));
    let compare = if arguments.by_source { Comparison::by_source } else { Comparison::new };
    let found = compare(&base, &other, arguments.seed);
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

fn read(files: &[PathBuf]) -> anyhow::Result<Vec<(PathBuf, Vec<CaseScore>)>> {
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let report: Report = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
        Ok((path.clone(), report.cases))
    };
    files.iter().map(read).collect()
}

/// The cases that a report has a DSC of.
fn scored(scores: &[CaseScore]) -> BTreeSet<&str> {
    scores.iter().filter(|score| score.dsc.is_some()).map(|score| score.case.as_str()).collect()
}

fn common<'a>(reports: impl Iterator<Item = &'a (PathBuf, Vec<CaseScore>)>) -> BTreeSet<String> {
    let common = reports.map(|(_, scores)| scored(scores)).reduce(|all, next| &all & &next);
    common.unwrap_or_default().into_iter().map(String::from).collect()
}

/// For each report that lacks cases which another one has, a line that says which.
fn lacking<'a>(reports: impl Iterator<Item = &'a (PathBuf, Vec<CaseScore>)> + Clone) -> Vec<String> {
    let all: BTreeSet<&str> = reports.clone().flat_map(|(_, scores)| scored(scores)).collect();
    let rows = |cases: &BTreeSet<&str>| -> BTreeSet<String> {
        let name = |case: &&str| [group(case).0, group(case).1].join(" ");
        cases.iter().map(name).collect()
    };
    let all_rows = rows(&all);
    let line = |(path, scores): &(PathBuf, Vec<CaseScore>)| {
        let own = scored(scores);
        let missing: Vec<&str> = all.difference(&own).copied().collect();
        if missing.is_empty() {
            return None;
        }
        let mut named = missing[..missing.len().min(NAMED)].join(", ");
        if missing.len() > NAMED {
            named += ", ...";
        }
        let mut line = format!("{} has no DSC of {} of {} cases: {named}", path.display(), missing.len(), all.len());
        let own_rows = rows(&own);
        let rows: Vec<&str> = all_rows.difference(&own_rows).map(String::as_str).collect();
        if !rows.is_empty() {
            line += &format!("; no case at all of {}", rows.join(", "));
        }
        Some(line)
    };
    reports.filter_map(line).collect()
}
