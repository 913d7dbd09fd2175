//! The command `umedsam-train`: trains U-MedSAM, shows configurations, scores weights.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "umedsam::terminal prints")]

mod console;
mod stop;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use console::Console;
use tch::{Device, nn};
use umedsam::files::{check_output, write_atomically};
use umedsam::{errln, outln, terminal};
use umedsam_train::config::{self, CacheConfig, CacheKind, PRESETS, Precision, QuantizationConfig};
use umedsam_train::cuda;
use umedsam_train::encoder::FrozenEncoder;
use umedsam_train::evaluate::{EvaluateOptions, Evaluation};
use umedsam_train::memory;
use umedsam_train::model::{self, LiteMedSam};
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Folders, Observer, Origin, Summary, Trainer};

/// Train U-MedSAM: LiteMedSAM with uncertainty-weighted losses and sharpness-aware minimisation.
#[derive(Debug, Parser)]
#[command(name = "umedsam-train", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train, and write weights, metrics and curves into a folder.
    Train(TrainArguments),
    /// Go on with a run that was stopped or killed.
    Resume(ResumeArguments),
    /// Score weights on cases with `gts`, by the procedure of devices: DSC and NSD by modality.
    Evaluate(EvaluateArguments),
    /// Fit the predicted IoU to the truth by a straight line, on cases of known truth, and write it into the weights.
    Calibrate(CalibrateArguments),
    /// Write the weighted mean of weights: of several runs, or of a run and what it began from.
    Average(AverageArguments),
    /// Print a configuration: a preset with a file and settings over it.
    Config(ConfigArguments),
}

#[derive(Args, Debug)]
struct ConfigArguments {
    /// What to begin with: u-medsam, paper, authors-code, edge, broad, qat, or a row of the paper's ablation; edge if left out,
    /// or qat with --qat.
    #[arg(long, value_name = "NAME", value_parser = PRESETS.map(|(name, _)| name))]
    preset: Option<String>,
    /// Train for 8 bits: the same as --set quantization.enabled=true.
    #[arg(long)]
    qat: bool,
    /// A TOML file laid over the preset.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A setting laid over both, such as optimizer.learning-rate=1e-4; may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

#[derive(Args, Debug)]
struct DeviceArguments {
    /// cpu, cuda or cuda:N. If left out, a CUDA device where there is one; with ranks, one each.
    #[arg(long, value_name = "DEVICE", value_parser = parse_device)]
    device: Option<Choice>,
    /// Threads that libtorch may use on a CPU; as many as there are cores if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
}

#[derive(Args, Debug)]
struct TrainArguments {
    /// Folder of NPZ cases with `imgs` and `gts`, or of packs.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of cases, or packs, that progress is judged on.
    #[arg(long, value_name = "DIR")]
    validation: Option<PathBuf>,
    /// Weights to begin with, as `umedsam-export checkpoint` writes them.
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    /// Weights of the network that teaches, which a loss must ask for; those to begin with if left out.
    #[arg(long, value_name = "FILE")]
    teacher: Option<PathBuf>,
    /// Folder of the run; made if absent.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    config: ConfigArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Args, Debug)]
struct LengthArguments {
    /// End after so many minutes, if not before: the last epoch is cut short, validated and written as a last epoch is.
    #[arg(long, value_name = "MINUTES", value_parser = parse_minutes)]
    minutes: Option<Duration>,
}

#[derive(Args, Debug)]
struct ResumeArguments {
    /// Folder of the run.
    run: PathBuf,
    /// Train to the end of this epoch, instead of that in the run's configuration.
    #[arg(long, value_name = "N")]
    epochs: Option<u64>,
    #[command(flatten)]
    length: LengthArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Args, Debug)]
struct EvaluateArguments {
    /// Weights, as a run writes them.
    weights: PathBuf,
    /// Folder of NPZ cases with `imgs`, `boxes` and `gts`.
    cases: PathBuf,
    /// Also write one line for each case.
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    evaluation: EvaluationArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

#[derive(Args, Debug)]
struct CalibrateArguments {
    /// Weights, as a run writes them.
    weights: PathBuf,
    /// Folder of NPZ cases with `imgs`, `boxes` and `gts`.
    cases: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    evaluation: EvaluationArguments,
    #[command(flatten)]
    device: DeviceArguments,
}

/// What is evaluated.
#[derive(Args, Debug)]
struct EvaluationArguments {
    /// Boxes as a hasty person draws them: each side moved outwards by 0 to 10 % of the box, by this seed.
    #[arg(long, value_name = "SEED")]
    loose: Option<u64>,
    /// Take embeddings from the cache of training runs, in f16, and add to it.
    #[arg(long)]
    cached: bool,
    /// Pass over cases that cannot be used, instead of ending.
    #[arg(long)]
    skip: bool,
}

#[derive(Args, Debug)]
struct AverageArguments {
    /// Weights of the same form.
    #[arg(required = true, value_name = "WEIGHTS")]
    files: Vec<PathBuf>,
    /// Share of each file, such as 0.3,0.7; equal shares if left out.
    #[arg(long, value_name = "S1,S2,...", value_delimiter = ',', allow_hyphen_values = true)]
    shares: Vec<f64>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug)]
enum Choice {
    Cpu,
    Cuda(Option<usize>),
}

fn parse_device(text: &str) -> Result<Choice, String> {
    match text.split_once(':') {
        None if text == "cpu" => Ok(Choice::Cpu),
        None if text == "cuda" => Ok(Choice::Cuda(None)),
        Some(("cuda", index)) => {
            index.parse().map(|i| Choice::Cuda(Some(i))).map_err(|_| format!("'{index}' is no number of a device"))
        }
        _ => Err("cpu, cuda or cuda:N expected".into()),
    }
}

fn parse_minutes(text: &str) -> Result<Duration, String> {
    let minutes: f64 = text.parse().map_err(|_| format!("'{text}' is no number"))?;
    if minutes > 0.0 && minutes <= 1e6 {
        Ok(Duration::from_secs_f64(60.0 * minutes))
    } else {
        Err("more than 0 and at most 1000000 expected".into())
    }
}

impl DeviceArguments {
    fn open(&self, ranks: &Ranks) -> anyhow::Result<Device> {
        // Before anything else asks libtorch, which would settle that there is no CUDA.
        let device = match self.device {
            Some(Choice::Cpu) => Device::Cpu,
            Some(Choice::Cuda(index)) => cuda::device(index.unwrap_or(ranks.local_rank()))?,
            None => cuda::device(ranks.local_rank()).unwrap_or_else(|error| {
                errln!("no CUDA device, so the CPU trains: {error}");
                Device::Cpu
            }),
        };
        if let Some(threads) = self.threads {
            tch::set_num_threads(i32::from(threads));
        }
        Ok(device)
    }
}

fn main() -> ExitCode {
    memory::keep_freed();
    memory::silence_shortages();
    let result = match Arguments::parse().command {
        Command::Train(arguments) => train(&arguments),
        Command::Resume(arguments) => resume(&arguments),
        Command::Evaluate(arguments) => evaluate(&arguments),
        Command::Calibrate(arguments) => calibrate(&arguments),
        Command::Average(arguments) => average(&arguments),
        Command::Config(arguments) => show(&arguments),
    };
    match result {
        Ok(()) if terminal::lost() => ExitCode::FAILURE,
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("umedsam-train: {}", terminal::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

impl ConfigArguments {
    fn resolve(&self) -> anyhow::Result<config::Config> {
        let preset = self.preset.as_deref().unwrap_or(if self.qat { "qat" } else { "edge" });
        let mut settings = self.settings.clone();
        settings.extend(self.qat.then(|| "quantization.enabled=true".into()));
        Ok(config::resolve(preset, self.config.as_deref(), &settings)?)
    }
}

fn average(arguments: &AverageArguments) -> anyhow::Result<()> {
    let inputs: Vec<&Path> = arguments.files.iter().map(PathBuf::as_path).collect();
    check_output(&arguments.out, &inputs)?;
    let equal = vec![1.0 / arguments.files.len() as f64; arguments.files.len()];
    let shares = if arguments.shares.is_empty() { &equal } else { &arguments.shares };
    Ok(umedsam_train::soup::average(&arguments.files, shares, &arguments.out)?)
}

fn show(arguments: &ConfigArguments) -> anyhow::Result<()> {
    outln!("{}", toml::to_string_pretty(&arguments.resolve()?).context("write the configuration")?.trim_end());
    Ok(())
}

/// Weights on a device, and what was found on cases.
fn measure(
    weights: &Path,
    cases: &Path,
    arguments: &EvaluationArguments,
    device: &DeviceArguments,
) -> anyhow::Result<(nn::VarStore, Evaluation)> {
    let device = device.open(&Ranks::alone())?;
    let variables = nn::VarStore::new(device);
    let size = model::encoder_size(weights)?;
    let model = LiteMedSam::sized(&variables.root(), size, &QuantizationConfig::default());
    model::load(&variables, weights)?;
    let cases = umedsam::npz::cases(cases)?;
    let options = EvaluateOptions::new().with_skip_failing(arguments.skip).with_loose(arguments.loose);
    let kind = if arguments.cached { CacheKind::F16 } else { CacheKind::Off };
    let cache = CacheConfig { kind, ..CacheConfig::default() };
    let mut encoder = FrozenEncoder::new(&variables, Precision::F32, &cache)?;
    let mut console = Console::new(device, 1);
    let found = umedsam_train::evaluate::evaluate(&model, &mut encoder, &cases, &options, |done, total| {
        console.bar("evaluation", done, total, String::new());
    })?;
    console.end();
    for failure in &found.failures {
        errln!("passed over: {failure}");
    }
    Ok((variables, found))
}

fn calibrate(arguments: &CalibrateArguments) -> anyhow::Result<()> {
    let CalibrateArguments { weights, cases, out, evaluation, device } = arguments;
    check_output(out, &[weights])?;
    let (variables, found) = measure(weights, cases, evaluation, device)?;
    let Some(before) = found.calibration() else { bail!("{}: no object to calibrate on", cases.display()) };
    umedsam_train::calibrate::fold(&variables, before.line);
    model::save(&variables, out)?;
    outln!("before, {before}");
    // Masks are the same, and the line is folded into the head: what it says now is known without a second look.
    if let Some(after) = found.calibration_by(before.line) {
        outln!("after, {after}");
    }
    Ok(())
}

fn evaluate(arguments: &EvaluateArguments) -> anyhow::Result<()> {
    let (_, found) = measure(&arguments.weights, &arguments.cases, &arguments.evaluation, &arguments.device)?;
    if let Some(path) = &arguments.csv {
        let csv = found.report.csv();
        write_atomically(path, |file| file.write_all(csv.as_bytes())).with_context(|| path.display().to_string())?;
    }
    let calibration = found.calibration();
    if arguments.json {
        let mut json = serde_json::to_value(&found.report)?;
        json["calibration"] = serde_json::to_value(calibration)?;
        outln!("{json}");
    } else {
        outln!("{}", found.report);
        if let Some(calibration) = calibration {
            outln!("{calibration}");
        }
    }
    Ok(())
}

fn train(arguments: &TrainArguments) -> anyhow::Result<()> {
    let config = arguments.config.resolve()?;
    let ranks = Ranks::new()?;
    let device = arguments.device.open(&ranks)?;
    let validation = arguments.validation.as_deref().map(absolute).transpose()?;
    let folders = Folders { data: absolute(&arguments.data)?, validation };
    let mut observer = observer(&ranks, device);
    let origin = Origin { weights: &arguments.weights, teacher: arguments.teacher.as_deref() };
    let out = &arguments.out;
    let trainer = Trainer::start(&config, &folders, origin, out, device, &ranks, &mut *observer)?;
    run(trainer, &arguments.length, &ranks, out)
}

fn resume(arguments: &ResumeArguments) -> anyhow::Result<()> {
    let ranks = Ranks::new()?;
    let device = arguments.device.open(&ranks)?;
    let mut observer = observer(&ranks, device);
    let trainer = Trainer::resume(&arguments.run, arguments.epochs, device, &ranks, &mut *observer)?;
    run(trainer, &arguments.length, &ranks, &arguments.run)
}

/// A run remembers where its cases are, from wherever it is resumed.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    std::path::absolute(path).with_context(|| path.display().to_string())
}

/// One rank speaks for all.
fn observer(ranks: &Ranks, device: Device) -> Box<dyn Observer> {
    if ranks.is_first() { Box::new(Console::new(device, ranks.size())) } else { Box::new(stop::Quiet) }
}

fn run(mut trainer: Trainer<'_>, length: &LengthArguments, ranks: &Ranks, out: &Path) -> anyhow::Result<()> {
    if let Some(time) = length.minutes {
        trainer = trainer.with_deadline(Instant::now() + time);
    }
    stop::listen()?;
    let summary = trainer.run()?;
    if !summary.finished {
        bail!(
            "stopped; `umedsam-train resume {0}` goes on, {0}/current.safetensors has the weights so far",
            out.display()
        );
    }
    if ranks.is_first() {
        outln!("{} epochs, in {}{}", summary.epochs.len().saturating_sub(1), out.display(), ending(&summary));
    }
    Ok(())
}

/// What the validation says of the run.
fn ending(summary: &Summary) -> String {
    let percent = |dsc: f64| format!("{:.2} %", 100.0 * dsc);
    let before = summary.epochs.first().and_then(|epoch| epoch.validation.as_ref()).map(|v| v.dsc);
    match (summary.best, before) {
        (None, _) => String::new(),
        (Some(best), Some(before)) if before >= best => format!(
            "; best validation DSC {}, no better than the {} of the weights that it began with",
            percent(best),
            percent(before)
        ),
        (Some(best), _) => format!("; best validation DSC {}", percent(best)),
    }
}
