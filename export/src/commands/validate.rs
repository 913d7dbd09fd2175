//! `umedsam-export validate`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use umedsam::files::write_atomically;
use umedsam::{Arithmetic, Model};
use umedsam_export::validate::{Options, Report, cases, page, stamped, validate};

use super::Refused;

/// Let a model stand in for another only if it loses no more than is allowed; the verdict goes into its bundle.
///
/// Exit status: 0 passed, 1 refused, 2 no verdict.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// The bundle to judge.
    model: PathBuf,
    /// The bundle whose place it is to take, run in f32.
    #[arg(long, value_name = "FILE")]
    against: PathBuf,
    /// Folder of cases with known truth (the challenge's NPZ format).
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    #[command(flatten)]
    bounds: Bounds,
    /// Arithmetic of the model: f32, bf16, f16 or int8; its own if left out.
    #[arg(long, value_name = "P")]
    arithmetic: Option<Arithmetic>,
    /// Folder for report.json, report.html and what is kept of each case, so that a run that was stopped goes on; beside
    /// the model if left out.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Leave the bundle as it is.
    #[arg(long)]
    no_stamp: bool,
}

/// What is allowed.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Bounds {
    /// Points of DSC that the mean of the rows may lose; a single row (a modality, in 2D or 3D) may lose twice as much.
    #[arg(long, default_value_t = 0.5)]
    tolerance: f64,
    /// Share of the objects (0 to 1) that may lose more than 20 points.
    #[arg(long, default_value_t = 0.0)]
    collapse_rate: f64,
    /// Threads; one for each core if left out.
    #[arg(long)]
    threads: Option<usize>,
}

impl Bounds {
    pub(crate) fn options(self) -> anyhow::Result<Options> {
        let Self { tolerance, collapse_rate, threads } = self;
        anyhow::ensure!((0.0..=100.0).contains(&tolerance), "--tolerance {tolerance}: 0 to 100 points");
        anyhow::ensure!((0.0..=1.0).contains(&collapse_rate), "--collapse-rate {collapse_rate}: 0 to 1");
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let options = Options::new().with_tolerance(tolerance / 100.0).with_collapse_rate(collapse_rate);
        Ok(options.with_threads(threads.unwrap_or(cores)))
    }
}

impl Validate {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let options = self.bounds.options()?.with_arithmetic(self.arithmetic);
        let folder = self.report.unwrap_or_else(|| self.model.with_extension("validation"));
        let stamp = (!self.no_stamp).then_some(self.model.as_path());
        judge(&self.model, &self.against, &cases(&self.cases)?, &options, &folder, stamp)
    }
}

/// Judges a bundle, writes the reports into `folder`, and the verdict into the bundle `stamp`.
pub(crate) fn judge(
    model: &Path,
    against: &Path,
    cases: &[PathBuf],
    options: &Options,
    folder: &Path,
    stamp: Option<&Path>,
) -> anyhow::Result<()> {
    let (model, reference) = (Model::load(model)?, Model::load(against)?);
    let bar = super::bar();
    let mut show = super::show(&bar);
    let report = validate(&model, &reference, cases, options, Some(folder), |done, all| show("cases", done, all))?;
    bar.finish_and_clear();
    write(&folder.join("report.json"), &serde_json::to_vec_pretty(&report)?)?;
    write(&folder.join("report.html"), page(&report).as_bytes())?;
    if let Some(path) = stamp {
        write(path, &stamped(&model, &report.validation)?)?;
    }
    print(&report);
    println!("{}", folder.join("report.html").display());
    if report.validation.passed { Ok(()) } else { Err(Refused(report.validation.reasons).into()) }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomically(path, |file| file.write_all(bytes)).with_context(|| path.display().to_string())
}

fn print(report: &Report) {
    let v = &report.validation;
    println!("{:<16} {:>5} {:>24} {:>24} {:>9}", "", "cases", "DSC [95 %]", "NSD [95 %]", "agreement");
    for r in &v.rows {
        let points = |d: [f64; 3]| {
            let [mean, low, high] = d.map(|d| 100.0 * d);
            format!("{mean:+.2} [{low:+.2}, {high:+.2}]")
        };
        let (dsc, nsd) = (points(r.dsc_difference), points(r.nsd_difference));
        println!("{:<16} {:>5} {dsc:>24} {nsd:>24} {:>9.4}", r.row, r.cases, r.agreement);
    }
    let [reference, model] = &report.contenders;
    let speed = report.speed;
    println!("{} objects, {} collapsed", v.objects, v.collapsed);
    println!("{} bytes for {}", model.bytes, reference.bytes);
    println!(
        "time beside the reference, median of the cases: encoder {:.2}, all {:.2}",
        speed.encode_ratio[1], speed.ratio[1]
    );
    println!("{}", if v.passed { "passed" } else { "refused" });
}
