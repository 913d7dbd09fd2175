//! `umedsam-export validate`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use umedsam::{Precision, Verdict, outln};
use umedsam_export::validate::verdict::Bounds;
use umedsam_export::validate::{Report, ValidateOptions, refuse_shared, validate};

/// Exit status for a model that was refused; one that could not be judged gives 2.
const REFUSED: u8 = 1;

/// Judge a compressed model by a reference on labelled cases.
///
/// Exit status 0 if it passed, 1 if it was refused, 2 if it could not be judged; the bundle is left as it was then.
#[derive(Args, Debug)]
pub(crate) struct Validate {
    /// The bundle to judge.
    model: PathBuf,
    /// The bundle to judge it by, such as one of the same weights in f32.
    #[arg(long, value_name = "FILE")]
    against: PathBuf,
    /// Labelled cases in the challenge's NPZ format: a folder, or one file.
    #[arg(long, value_name = "DIR")]
    cases: PathBuf,
    /// Cases that the model was calibrated on: none of them may be among --cases.
    #[arg(long, value_name = "DIR")]
    calibration: Option<PathBuf>,
    #[command(flatten)]
    gate: Gate,
    /// Folder for report.json and report.html; FILE.validation beside the model if left out.
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Folder in which each case's result is kept, for going on after a stop; within the report's if left out.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// Leave the bundle as it is, without the report's summary.
    #[arg(long)]
    no_stamp: bool,
}

/// How a model is judged.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Gate {
    /// DSC that the mean of the rows may lose, in points of 100; a row four times as much, and NSD twice. The lower end of
    /// each difference's 95 % interval counts.
    #[arg(long, value_name = "POINTS", default_value_t = Bounds::default().tolerance_points, allow_hyphen_values = true)]
    tolerance: f64,
    /// Share of the objects, 0 to 1, whose DSC may fall by more than 20 points or by half.
    #[arg(long, value_name = "SHARE", default_value_t = Bounds::default().collapse_rate, allow_hyphen_values = true)]
    collapse_rate: f64,
    /// Least agreement of the two models' masks, as DSC, 0 to 1, in the mean of the rows.
    #[arg(long, value_name = "DSC", default_value_t = Bounds::default().agreement, allow_hyphen_values = true)]
    agreement: f64,
    /// Patients that a row must have to be judged, 2 at least.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().least_patients)]
    least_patients: usize,
    /// Rows that must be judged for a verdict.
    #[arg(long, value_name = "N", default_value_t = Bounds::default().least_rows)]
    least_rows: usize,
    /// Precision of the reference: f32, f16, bf16 or int8. The model is computed in its own.
    #[arg(long, value_name = "P", default_value_t = Precision::F32)]
    reference_precision: Precision,
    /// Threads; as many as the machine has cores if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
}

impl Gate {
    /// Lays what was given over `options`.
    pub(crate) fn over(self, options: ValidateOptions) -> ValidateOptions {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let bounds = Bounds {
            tolerance_points: self.tolerance,
            collapse_rate: self.collapse_rate,
            agreement: self.agreement,
            least_patients: self.least_patients,
            least_rows: self.least_rows,
            ..Bounds::default()
        };
        options
            .with_bounds(bounds)
            .with_reference_precision(self.reference_precision)
            .with_threads(self.threads.map_or(cores, usize::from))
    }
}

impl Validate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        if let Some(calibration) = &self.calibration {
            refuse_shared(calibration, &self.cases)?;
        }
        let options = ValidateOptions::new(self.model, self.against, self.cases).with_stamp(!self.no_stamp);
        let mut options = self.gate.over(options);
        if let Some(report) = self.report {
            options = options.with_report(report);
        }
        if let Some(work) = self.work {
            options = options.with_work(work);
        }
        judge(&options)
    }
}

/// Judges a model and prints what was found.
pub(crate) fn judge(options: &ValidateOptions) -> anyhow::Result<ExitCode> {
    let bar = super::bar();
    let mut show = super::show(&bar);
    let result = validate(options, |done, total, case| show(case, done, total));
    bar.finish_and_clear();
    let report = result?;
    print(&report);
    outln!("report         {}", options.report.join("report.html").display());
    Ok(match report.validation.verdict {
        Verdict::Passed => ExitCode::SUCCESS,
        Verdict::Refused => ExitCode::from(REFUSED),
    })
}

fn print(report: &Report) {
    let v = &report.validation;
    outln!("{report}");
    outln!("verdict        {}", v.verdict);
    for reason in &v.reasons {
        outln!("               {reason}");
    }
}
