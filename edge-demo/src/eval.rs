//! `umedsam eval`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use umedsam::files::{same, write_atomically};
use umedsam::metrics::{CaseScore, Report, on_all_cores};
use umedsam::npz::{self, Limits, Truth, read_affine, read_segs};
use umedsam::{VolumeSize, errln, outln};
use umedsam_demo::labels::{Grid, LabelMap, Labels, Selection};
use umedsam_demo::read::ReadOptions;
use umedsam_demo::scan::Affine;

use crate::EvalArguments;
use crate::labelled;
use crate::output::check_tables;
use crate::pairing::Maps;

/// Scores every case that can be scored, and fails if one cannot.
pub(crate) fn run(arguments: &EvalArguments) -> anyhow::Result<()> {
    let segs = &arguments.segs;
    if segs.is_file() && !arguments.cases.is_file() {
        bail!("{}: a file of segmentations is for one case; of a folder, name the folder", segs.display());
    }
    if let Some(path) = &arguments.csv {
        let header = Report::new(Vec::new()).csv();
        check_tables(&[(path, &header)], std::iter::empty(), arguments.force)?;
    }
    let pairs = pairs(&arguments.cases, segs)?;
    // On all cores, in the order of the cases.
    let scores = on_all_cores(&pairs, |(case, segs)| {
        let score =
            segs.as_ref().map_err(|error| anyhow::anyhow!("{error}")).and_then(|segs| score(case, segs, arguments));
        score.map_err(|error| (case, error))
    });
    let (mut scored, mut failures) = (Vec::new(), Vec::new());
    for score in scores {
        match score {
            Ok((score, notes)) => {
                notes.iter().for_each(|note| errln!("umedsam: {}: {note}", score.case));
                scored.push(score);
            }
            Err((case, error)) => failures.push((case.display().to_string(), format!("{error:#}"))),
        }
    }
    for (_, error) in &failures {
        errln!("umedsam: {error}");
    }
    if scored.is_empty() {
        bail!("none of {} cases could be scored", pairs.len());
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
        bail!("{} of {} cases could not be scored; they are in no row", failures.len(), pairs.len());
    }
    Ok(())
}

type Pair = (PathBuf, Result<PathBuf, String>);

/// Each case with its segmentation, or with why it has none. A folder's cases are its NPZ files; where there are none, its
/// label maps.
fn pairs(cases: &Path, segs: &Path) -> anyhow::Result<Vec<Pair>> {
    let own = match npz::cases(cases) {
        Err(error) if matches!(error.problem, npz::Problem::NoCases) => {
            let maps = Maps::list(cases)?;
            let found: Vec<PathBuf> = maps.unused().cloned().collect();
            if found.is_empty() {
                bail!("{}: no NPZ file and no label map in this folder", cases.display());
            }
            found
        }
        found => found?,
    };
    if segs.is_file() {
        return Ok(own.into_iter().map(|case| (case, Ok(segs.into()))).collect());
    }
    let mut maps = Maps::list(segs)?;
    let of = |case: PathBuf| {
        let namesake = segs.join(case.file_name().unwrap_or_default());
        let found = if namesake.is_file() { Ok(Some(namesake)) } else { maps.find(&case) };
        let found = found.map_err(|error| error.to_string()).and_then(|found| {
            found.ok_or_else(|| format!("{}: no segmentation in {}", case.display(), segs.display()))
        });
        (case, found)
    };
    Ok(own.into_iter().map(of).collect())
}

fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case("npz"))
}

/// The score of a case, and what was done to compare it.
fn score(case: &Path, segs: &Path, arguments: &EvalArguments) -> anyhow::Result<(CaseScore, Vec<String>)> {
    let options = ReadOptions::new();
    let name = case.file_name().unwrap_or_default().to_string_lossy();
    if !is_npz(case) {
        return score_map(case, segs, arguments, &name, &options);
    }
    if arguments.labels != Selection::all() {
        bail!("{}: --labels is for label maps; umedsam convert chooses those of cases", case.display());
    }
    let limits = Limits::new();
    let truth = Truth::read(case, &limits)?;
    let (labels, notes) = if is_npz(segs) {
        let (labels, shape) = read_segs(segs, &limits)?;
        if shape != truth.shape {
            bail!("{}: segs has shape {shape:?}, gts of the case {:?}", segs.display(), truth.shape);
        }
        (labels, Vec::new())
    } else {
        let (depth, height, width) = match truth.shape[..] {
            [h, w] => (1, h, w),
            [d, h, w] => (d, h, w),
            _ => bail!("{}: gts has shape {:?}", case.display(), truth.shape),
        };
        let affine = read_affine(case, &limits)?.map(Affine);
        if let Some(affine) = affine.filter(|affine| !affine.is_regular()) {
            bail!("{}: array 'affine': {:?} spans no volume", case.display(), affine.0);
        }
        let grid = Grid::new(VolumeSize { depth, height, width }, affine);
        on(&labelled::read(segs, &options)?, &grid)?
    };
    truth.of_segs(&labels)?;
    Ok((CaseScore::new(name, &truth.labels, &labels, &truth.shape, truth.spacing), notes))
}

fn on(labels: &Labels, grid: &Grid) -> anyhow::Result<(Vec<u16>, Vec<String>)> {
    let map = labels.on(grid, None, &Selection::all())?;
    Ok((map.labels, map.applied.iter().map(ToString::to_string).collect()))
}

/// Scores against a label map.
fn score_map(
    case: &Path,
    segs: &Path,
    arguments: &EvalArguments,
    name: &str,
    options: &ReadOptions,
) -> anyhow::Result<(CaseScore, Vec<String>)> {
    if same(case, segs) {
        bail!("{}: a label map is not compared with itself", case.display());
    }
    let truth = labelled::read(case, options)?;
    let found = if is_npz(segs) {
        let (labels, shape) = read_segs(segs, &Limits::new())?;
        let (depth, height, width) = match shape[..] {
            [d, h, w] => (d, h, w),
            _ => (1, shape[0], shape[1]),
        };
        Labels::of(LabelMap::new(labels, Grid::new(VolumeSize { depth, height, width }, None))?, segs)
    } else {
        labelled::read(segs, options)?
    };
    let grid = truth.grid(&found, options)?;
    let LabelMap { labels: expected, from, .. } = truth.on(&grid, None, &arguments.labels)?;
    let (labels, notes) = on(&found, &grid)?;
    let VolumeSize { depth, height, width } = grid.size;
    let shape = if depth == 1 { vec![height, width] } else { vec![depth, height, width] };
    if from.is_empty() {
        bail!("{}: none of the labels is there", case.display());
    }
    let truth = Truth::new(case, expected, shape, grid.spacing);
    truth.of_segs(&labels)?;
    Ok((CaseScore::new(name, &truth.labels, &labels, &truth.shape, truth.spacing), notes))
}
