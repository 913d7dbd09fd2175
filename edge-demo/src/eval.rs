//! `umedsam eval`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, bail};
use serde::Serialize;
use umedsam::files::write_atomically;
use umedsam::metrics::{Convention, LabelScore, mean, score_case};
use umedsam::npz::{Limits, Truth, read_segs};

use crate::EvalArguments;
use crate::input::{Kind, files};

/// Scores of one case, 0 to 1: means over its labels.
#[derive(Clone, Debug, Serialize)]
struct CaseScore {
    case: String,
    labels: usize,
    dsc: Option<f64>,
    /// In upstream's convention.
    nsd_upstream: Option<f64>,
    /// Of the true boundary: 2 px in 2D, 2 mm in 3D.
    nsd: Option<f64>,
}

/// Means over the cases of a modality.
#[derive(Debug, Serialize)]
struct Row {
    modality: String,
    dimensions: String,
    cases: usize,
    dsc: Option<f64>,
    nsd_upstream: Option<f64>,
    nsd: Option<f64>,
}

/// Scores every case that has a segmentation; fails if one has none.
pub(crate) fn run(arguments: &EvalArguments) -> anyhow::Result<()> {
    let cases: Vec<PathBuf> = files(std::slice::from_ref(&arguments.cases))?
        .into_iter()
        .filter_map(|(path, kind)| (kind == Kind::Npz).then_some(path))
        .collect();
    let scores = score_all(&cases, &arguments.segs)?;
    if let Some(path) = &arguments.csv {
        let csv = csv(&scores);
        write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())?;
    }
    let rows = table(&scores);
    if arguments.json {
        println!("{}", serde_json::json!({ "rows": rows, "cases": scores }));
    } else {
        print(&rows);
    }
    Ok(())
}

/// Scores on all cores, in the order of the cases.
fn score_all(cases: &[PathBuf], segs: &Path) -> anyhow::Result<Vec<CaseScore>> {
    let missing: Vec<&PathBuf> =
        cases.iter().filter(|c| !segs.join(c.file_name().unwrap_or_default()).is_file()).collect();
    if let Some(first) = missing.first() {
        let first = first.display();
        bail!("{} of {} cases have no segmentation in {}, such as {first}", missing.len(), cases.len(), segs.display());
    }
    let next = AtomicUsize::new(0);
    let found: Mutex<BTreeMap<usize, anyhow::Result<CaseScore>>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some((index, case)) = Some(next.fetch_add(1, Ordering::Relaxed))
                    .and_then(|index| cases.get(index).map(|case| (index, case)))
                {
                    let score = score(case, segs);
                    if let Ok(mut found) = found.lock() {
                        found.insert(index, score);
                    }
                }
            });
        }
    });
    found.into_inner().map_err(|_| anyhow::anyhow!("scoring failed"))?.into_values().collect()
}

fn score(case: &Path, segs: &Path) -> anyhow::Result<CaseScore> {
    let limits = Limits::new();
    let truth = Truth::read(case, &limits)?;
    let name = case.file_name().unwrap_or_default();
    let path = segs.join(name);
    let (labels, shape) = read_segs(&path, &limits)?;
    if shape != truth.shape {
        bail!("{}: segs has shape {shape:?}, gts of the case {:?}", path.display(), truth.shape);
    }
    let scores = |convention| score_case(&truth.labels, &labels, &truth.shape, truth.spacing, convention);
    let (upstream, boundary) = (scores(Convention::Upstream), scores(Convention::Boundary));
    let nsd = |scores: &[LabelScore]| mean(scores.iter().map(|s| s.nsd));
    Ok(CaseScore {
        case: name.to_string_lossy().into_owned(),
        labels: boundary.len(),
        dsc: mean(boundary.iter().map(|s| s.dsc)),
        nsd_upstream: nsd(&upstream),
        nsd: nsd(&boundary),
    })
}

/// `2DBox_CT_0001.npz` is a 2D case of modality CT; other names are put under "other".
fn group(case: &str) -> (String, String) {
    let mut parts = case.split('_');
    match (parts.next(), parts.next()) {
        (Some(kind), Some(modality)) if kind.ends_with("DBox") => {
            (modality.into(), kind.trim_end_matches("Box").into())
        }
        _ => ("other".into(), "-".into()),
    }
}

/// One row a modality and dimension, and their mean, in which every row counts the same.
fn table(scores: &[CaseScore]) -> Vec<Row> {
    let mut groups: BTreeMap<(String, String), Vec<&CaseScore>> = BTreeMap::new();
    for score in scores {
        groups.entry(group(&score.case)).or_default().push(score);
    }
    let mut rows: Vec<Row> = groups
        .into_iter()
        .map(|((modality, dimensions), cases)| Row {
            modality,
            dimensions,
            cases: cases.len(),
            dsc: mean(cases.iter().map(|c| c.dsc)),
            nsd_upstream: mean(cases.iter().map(|c| c.nsd_upstream)),
            nsd: mean(cases.iter().map(|c| c.nsd)),
        })
        .collect();
    rows.push(Row {
        modality: "mean".into(),
        dimensions: String::new(),
        cases: scores.len(),
        dsc: mean(rows.iter().map(|r| r.dsc)),
        nsd_upstream: mean(rows.iter().map(|r| r.nsd_upstream)),
        nsd: mean(rows.iter().map(|r| r.nsd)),
    });
    rows
}

fn print(rows: &[Row]) {
    let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.2}", 100.0 * v));
    println!("{:<13} {:<2} {:>5} {:>8} {:>13} {:>8}", "modality", "", "cases", "DSC", "NSD upstream", "NSD");
    for r in rows {
        let (dsc, upstream, nsd) = (percent(r.dsc), percent(r.nsd_upstream), percent(r.nsd));
        println!("{:<13} {:<2} {:>5} {dsc:>8} {upstream:>13} {nsd:>8}", r.modality, r.dimensions, r.cases);
    }
    println!(
        "NSD upstream: the challenge's convention (in 2D nearly an area measure); NSD: true boundaries, 2 px or 2 mm"
    );
}

fn csv(scores: &[CaseScore]) -> String {
    let number = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
    let mut text = String::from("case,labels,dsc,nsd_upstream,nsd\n");
    for s in scores {
        let (dsc, upstream, nsd) = (number(s.dsc), number(s.nsd_upstream), number(s.nsd));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{},{},{dsc},{upstream},{nsd}", s.case, s.labels);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_grouped_by_their_names() {
        assert_eq!(group("2DBox_X-Ray_0053.npz"), ("X-Ray".into(), "2D".into()));
        assert_eq!(group("3DBox_CT_0566.npz"), ("CT".into(), "3D".into()));
        assert_eq!(group("scan.npz"), ("other".into(), "-".into()));
    }
}
