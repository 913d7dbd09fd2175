//! `umedsam segment`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use umedsam::{Model, Precision, Session, SessionOptions, ValidationStatus, errln, outln, terminal};
use umedsam_demo::pages;

use crate::case::segment_case;
use crate::html::{self, Run, Sections};
use crate::input::files;
use crate::interrupt::{self, Interrupted};
use crate::output::{Outputs, Wanted, check_tables, is_result, plan};
use crate::plane::{PlaneOptions, segment_file};
use crate::report::print;
use crate::scans::segment_scan;
use crate::{ModelArguments, SegmentArguments, cache, table};
use umedsam_demo::kind::Kind;

/// What is told of a failure of the page's temporary file.
const SECTIONS: &str = "--report: temporary file";

/// Segments every input; a failing one is reported and does not stop the others.
pub(crate) fn run(arguments: &SegmentArguments) -> anyhow::Result<()> {
    let mut files = files(&arguments.inputs)?;
    let prompts = arguments.prompts.read()?;
    for (path, kind) in &mut files {
        *kind = kind.with_boxes(path, prompts.are_of_scans());
    }
    for (path, kind) in &files {
        prompts.check(path, *kind)?;
    }
    let (zoom, uncertainty) = (arguments.zoom.options(), arguments.uncertainty.options());
    if zoom.is_some() && uncertainty.is_some() {
        bail!("--uncertainty is for whole images, and does not go with --zoom auto");
    }
    if arguments.mask.has_idle_spacing() {
        bail!("--spacing is for --stats, --csv and --report, and none is asked for");
    }
    let options = PlaneOptions { zoom, uncertainty, mask: &arguments.mask };
    let wanted = Wanted {
        overlay: arguments.overlay,
        uncertainty: uncertainty.is_some(),
        force: arguments.force,
        formats: &arguments.format.formats,
    };
    let outputs = plan(&files, &arguments.out, wanted)?;
    let tables = [(&arguments.mask.csv, table::HEADER), (&arguments.mask.report, html::BEGIN)];
    let tables: Vec<(&Path, &str)> =
        tables.iter().filter_map(|(path, begin)| Some((path.as_deref()?, *begin))).collect();
    check_tables(&tables, outputs.iter().flat_map(Outputs::paths), arguments.force)?;
    let only_of_scans = prompts.are_of_scans() || arguments.scan.is_given();
    if only_of_scans && !files.iter().any(|(_, kind)| *kind == Kind::Scan) {
        bail!(
            "--box3d, --slice, --window, --series and --gaps are for DICOM, NIfTI and the like, and no input is any of them"
        );
    }
    let paged = |path: &Path, kind: Kind| match kind {
        Kind::Npz => false,
        Kind::Scan => true,
        Kind::Picture => pages::count(path) > 0,
    };
    if arguments.scan.frame.is_some() && !files.iter().any(|(path, kind)| paged(path, *kind)) {
        bail!("--frame is for TIFF, DICOM, NIfTI and the like, and no input is any of them");
    }
    let todo = todo(files, outputs, arguments);
    interrupt::listen().context("signals")?;
    let mut session = open(&arguments.model)?;
    session.set_cache(arguments.cache.open()?);
    let progress = bar(todo.len() as u64, "files");
    let (mut failed, mut reports, mut interrupted) = (Vec::new(), Vec::new(), None);
    let sections = arguments.mask.report.as_ref().map(|_| Sections::new());
    let mut sections = sections.transpose().context(SECTIONS)?;
    for (path, kind, outputs) in &todo {
        if interrupt::is_asked() {
            interrupted = Some(String::new());
            break;
        }
        progress.set_message(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let result = match kind {
            Kind::Npz => segment_case(&mut session, path, outputs, arguments, &options),
            Kind::Picture => segment_file(&mut session, path, outputs, arguments, &prompts.plane, &options),
            Kind::Scan => segment_scan(&mut session, path, outputs, arguments, &prompts, &options),
        };
        progress.suspend(|| cache::print_notes(&session));
        if let Some(umedsam::Error::Cancelled { done, total }) = result.as_ref().err().and_then(|e| e.downcast_ref()) {
            interrupted = Some(format!("{} is dropped after {done} of {total} slices; ", path.display()));
            break;
        }
        progress.suspend(|| match result {
            Ok(mut report) => {
                if arguments.json {
                    outln!("{}", serde_json::json!(report));
                } else {
                    print(&report);
                }
                let kept = sections.as_mut().map_or(Ok(()), |sections| sections.add(&mut report)).context(SECTIONS);
                reports.push(report);
                kept
            }
            Err(error) => {
                failed.push(path.clone());
                let error = terminal::chain(error.as_ref());
                if arguments.json {
                    outln!("{}", serde_json::json!({ "input": path.display().to_string(), "error": error }));
                }
                errln!("umedsam: {error}");
                Ok(())
            }
        })?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    if let Some(path) = &arguments.mask.csv {
        table::write(path, &reports)?;
    }
    if let Some((path, sections)) = arguments.mask.report.as_ref().zip(sections) {
        let (model, done) = (model_facts(&arguments.model)?, reports.len());
        Run { model: &model, done, failed: &failed, of: todo.len() }.write(sections, path)?;
    }
    if let Some(dropped) = interrupted {
        let others = if failed.is_empty() { String::new() } else { format!(", {} failed", failed.len()) };
        let message = format!("{dropped}of {} inputs {} are done{others}", todo.len(), reports.len());
        return Err(Interrupted { message }.into());
    }
    if !failed.is_empty() {
        bail!("{} of {} inputs failed", failed.len(), todo.len());
    }
    Ok(())
}

/// What is to be done of the inputs: this run's share, without what is done already, which is told.
fn todo(
    files: Vec<(PathBuf, Kind)>,
    outputs: Vec<Outputs>,
    arguments: &SegmentArguments,
) -> Vec<(PathBuf, Kind, Outputs)> {
    let all = files.into_iter().zip(outputs).map(|((path, kind), outputs)| (path, kind, outputs)).collect();
    let mut share: Vec<(PathBuf, Kind, Outputs)> = arguments.batch.share(all);
    let before = share.len();
    share.retain(|(path, _, outputs)| {
        !arguments.batch.is_done(&[path], outputs.paths().map(PathBuf::as_path), is_result)
    });
    if arguments.batch.resume && share.len() < before {
        errln!("umedsam: {} of {before} inputs are done already", before - share.len());
    }
    share
}

fn load(arguments: &ModelArguments) -> anyhow::Result<Model> {
    Ok(match &arguments.model {
        Some(path) => Model::load(path)?,
        None => Model::bundled()?,
    })
}

/// The model in words, for a page: its name, what it is computed in, and what the accuracy gate says of it.
fn model_facts(arguments: &ModelArguments) -> anyhow::Result<String> {
    let model = load(arguments)?;
    let precision = arguments.precision.map_or_else(String::new, |p| format!(", computed in {p}"));
    let note = note(&model, arguments.precision).unwrap_or_else(|| "passed its accuracy gate".into());
    Ok(format!("{}{precision}: {note}", model.manifest().name))
}

/// A session on the model that the arguments name, or on the built-in one.
pub(crate) fn open(arguments: &ModelArguments) -> anyhow::Result<Session> {
    let model = load(arguments)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or(cores, usize::from);
    let mut options = SessionOptions::new().with_threads(threads);
    options.precision = arguments.precision;
    if let Some(note) = note(&model, arguments.precision) {
        errln!("umedsam: validation: {note}");
    }
    let session = model.session(&options)?;
    if let Some(reason) = session.fallback() {
        errln!("umedsam: not fused, about three times slower: {reason}");
    }
    Ok(session)
}

/// What a person should know of the model's accuracy before using it: nothing if it passed the gate as it is computed.
fn note(model: &Model, precision: Option<Precision>) -> Option<String> {
    match (model.validation(), precision) {
        (ValidationStatus::Passed(report), Some(other)) if other != report.model.precision => {
            Some(format!("none in {other}: this model passed the accuracy gate in {}", report.model.precision))
        }
        (ValidationStatus::Passed(_), _) => None,
        (status, _) => Some(status.to_string()),
    }
}

/// A progress bar on standard error, drawn only where that is a terminal.
pub(crate) fn bar(length: u64, unit: &str) -> ProgressBar {
    let bar = ProgressBar::new(length);
    if let Ok(style) =
        ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {unit} {{msg}} ({{eta}} left)"))
    {
        bar.set_style(style);
    }
    bar
}
