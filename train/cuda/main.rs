//! The command `umedsam-cuda`: checks, times and trains on a CUDA machine that is lent for minutes, out of what was
//! carried there, and prepares what is carried.

#![forbid(unsafe_code)]
#![warn(clippy::print_stdout, clippy::print_stderr, reason = "umedsam::terminal prints")]

mod check;
mod kit;
mod loader;
mod pack;
mod parts;
mod planes;
mod state;
mod time;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use kit::{Kit, KitArguments};
use train::Order;
use umedsam::{errln, outln, terminal};

/// Check, time and train on a CUDA machine that is lent for minutes.
#[derive(Debug, Parser)]
#[command(name = "umedsam-cuda", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the device with the CPU: values, gradients, steps, runs.
    Check(KitArguments),
    /// Time steps in every form, beside PyTorch's.
    Time(TimeArguments),
    /// Time the threads that make batches alone, with a network of one layer.
    Loader(TimeArguments),
    /// Train, after two steps beside the CPU's.
    Train(TrainArguments),
    /// Train the small encoder to say what the carried network's says.
    Distill(BudgetArguments),
    /// Train for 8 bits.
    Qat(BudgetArguments),
    /// Check, then time in a quarter of what is left, then train in the rest.
    All(TrainArguments),
    /// Copy parts that an answer had no room for.
    Rest {
        /// The first of them, as the command that made them said.
        #[arg(long, value_name = "PART")]
        from: PathBuf,
        /// Where the answer is gathered.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// At home: make a run's folder out of the parts that came back.
    Join {
        /// Folders with parts.
        #[arg(required = true, value_name = "DIR")]
        parts: Vec<PathBuf>,
        /// The weights that the run began with, as they were carried.
        #[arg(long, value_name = "FILE")]
        weights: PathBuf,
        /// The folder to make.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// At home: pack what training reads of a folder of cases into few files of given sizes.
    Pack(pack::PackArguments),
    /// At home: write weights as they are carried.
    Weights {
        /// Weights with the published names.
        weights: PathBuf,
        /// The file to write.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Args, Debug)]
struct TimeArguments {
    /// Seconds that this may take.
    #[arg(long, value_name = "N", default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    kit: KitArguments,
}

#[derive(Args, Debug)]
struct BudgetArguments {
    /// Seconds that all of it may take, the writing of the answer counted.
    #[arg(long, value_name = "N", default_value_t = 540)]
    seconds: u64,
    /// Where the answer goes: the state in parts, and metrics.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    kit: KitArguments,
}

#[derive(Args, Debug)]
struct TrainArguments {
    /// paper, u-medsam, edge or another preset of umedsam-train.
    #[arg(default_value = "edge")]
    preset: String,
    /// Weights to begin with, such as those of a run before; the carried ones, which still teach, if left out.
    #[arg(long, value_name = "FILE")]
    begin: Option<PathBuf>,
    /// Bring the weights alone, in f16, a third of a state that a run can go on from.
    #[arg(long)]
    weights_only: bool,
    #[command(flatten)]
    budget: BudgetArguments,
}

impl TrainArguments {
    fn order(&self, until: Instant) -> Order<'_> {
        let Self { preset, begin, weights_only, budget } = self;
        let (begin, weights_only) = (begin.as_deref(), *weights_only);
        Order { preset, settings: &TRAIN, until, out: &budget.out, begin, weights_only }
    }
}

/// What a CUDA device takes beside a preset: all of its time, and batches for its width.
const TRAIN: [&str; 5] = [
    "training.epochs=1000000",
    "training.batch=32",
    "model.precision=bf16",
    "validation.every=1000000",
    "engine.read-every=20",
];

const DISTILL: [&str; 4] =
    ["training.epochs=1000000", "training.batch=32", "validation.every=1000000", "data.samples-per-epoch=3200"];

/// Quantization has a precision of its own.
const QAT: [&str; 6] = [
    "training.epochs=1000000",
    "training.batch=16",
    "validation.every=1000000",
    "data.samples-per-epoch=3200",
    "model.trained=['image_encoder.']",
    "optimizer.average=0.99",
];

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("umedsam-cuda: {}", terminal::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    let start = Instant::now();
    let until = |seconds: u64| start + Duration::from_secs(seconds);
    let budgeted = |arguments: &BudgetArguments, preset: &str, settings: &[&str]| {
        let until = until(arguments.seconds);
        let order = Order { preset, settings, until, out: &arguments.out, begin: None, weights_only: false };
        train::train(&Kit::open(&arguments.kit)?, &order)
    };
    match command {
        Command::Check(arguments) => check::check(&Kit::open(&arguments)?),
        Command::Time(arguments) => time::time(&Kit::open(&arguments.kit)?, until(arguments.seconds)),
        Command::Loader(arguments) => loader::measure(&Kit::open(&arguments.kit)?, until(arguments.seconds)),
        Command::Train(arguments) => {
            train::train(&Kit::open(&arguments.budget.kit)?, &arguments.order(until(arguments.budget.seconds)))
        }
        Command::Distill(arguments) => budgeted(&arguments, "distill", &DISTILL),
        Command::Qat(arguments) => budgeted(&arguments, "qat", &QAT),
        Command::All(arguments) => all(&arguments, until(arguments.budget.seconds)),
        Command::Rest { from, out } => train::rest(&from, &out),
        Command::Join { parts, weights, out } => train::join(&parts, &weights, &out),
        Command::Pack(arguments) => pack::pack(&arguments),
        Command::Weights { weights, out } => kit::write_weights(&weights, &out),
    }
}

/// The result of `body`; a panic, which is how `tch` tells of libtorch's errors, is one, too.
pub(crate) fn caught<T>(body: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        // libtorch's stack follows the first line.
        let text = text.unwrap_or("a panic").split("\\n").next().unwrap_or_default();
        Err(anyhow::anyhow!("{text}"))
    })
}

/// One after the other. What goes wrong is told at the end, too: minutes of such a machine are rare, and what the others
/// give can be judged at home.
fn all(arguments: &TrainArguments, until: Instant) -> anyhow::Result<()> {
    let kit = Kit::open(&arguments.budget.kit)?;
    let mut failures = Vec::new();
    let mut part = |what: &str, body: &dyn Fn() -> anyhow::Result<()>| {
        outln!("## {what}");
        if let Err(error) = caught(body) {
            outln!("{what} FAILED: {error:#}");
            failures.push(what.to_string());
        }
    };
    part("check", &|| check::check(&kit));
    let left = until.saturating_duration_since(Instant::now());
    part("time", &|| time::time(&kit, Instant::now() + left / 4));
    part("train", &|| train::train(&kit, &arguments.order(until)));
    anyhow::ensure!(failures.is_empty(), "failed: {}", failures.join(", "));
    Ok(())
}
