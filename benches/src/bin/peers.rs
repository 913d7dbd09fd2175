//! Our session and other runtimes on the same graphs and inputs, alternating.
//!
//! Every runtime is a process of its own that answers requests over a pipe, so that peak memory is its own; requests go
//! round, one runtime after the other, so that a slow moment of the machine falls on all. Only ratios within one run
//! mean anything. onnxruntime needs a Python with benches/peers/requirements.txt installed.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Parser;
use serde::Serialize;
use umedsam::preprocess::INPUT_LEN;
use umedsam::{Frame, Model, ModelBox, SessionOptions};

const STAGES: [&str; 3] = ["encode", "decode1", "decode16"];

/// Time our session beside other runtimes.
#[derive(Debug, Parser)]
struct Arguments {
    /// Encodes of each runtime; decodes are twice and a half as many.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Numbers of threads, separated by commas.
    #[arg(long, default_value = "1,2", value_delimiter = ',')]
    threads: Vec<usize>,
    /// Also write the figures as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Model bundle; the built-in one if left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// A Python that has onnxruntime; without one only our session is timed.
    #[arg(long, value_name = "PYTHON")]
    python: Option<PathBuf>,
    /// Answer requests on standard input (used by this program itself).
    #[arg(long, hide = true, value_name = "THREADS")]
    worker: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.worker {
        Some(threads) => work(arguments.model.as_deref(), threads),
        None => compare(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(path: Option<&Path>) -> anyhow::Result<Model> {
    Ok(match path {
        Some(path) => Model::load(path)?,
        None => Model::bundled()?,
    })
}

/// Our side of the pipe.
fn work(model: Option<&Path>, threads: usize) -> anyhow::Result<()> {
    let mut session = load(model)?.session(&SessionOptions::new().with_threads(threads))?;
    let value = |i: u64| (((i * 2_654_435_761) >> 13) % 256) as f32 / 255.0;
    let input: Vec<f32> = (0..INPUT_LEN as u64).map(value).collect();
    let frame = Frame::new(256, 256)?;
    let embedding = session.encode_input(&input, frame)?;
    let boxes: Vec<ModelBox> =
        (0u8..16).map(|i| f32::from(i) * 8.0).map(|x| ModelBox { x0: x, y0: 40.0, x1: x + 100.0, y1: 180.0 }).collect();
    println!("ready");
    for line in std::io::stdin().lines() {
        let start = Instant::now();
        match line?.as_str() {
            "encode" => drop(session.encode_input(&input, frame)?),
            "decode1" => session.decode(&embedding, &boxes[..1], |_, _, _| {})?,
            "decode16" => session.decode(&embedding, &boxes, |_, _, _| {})?,
            "rss" => {
                println!("{}", peak_megabytes()?);
                continue;
            }
            other => bail!("unknown request {other}"),
        }
        println!("{}", start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}

/// The kernel's account of this process's peak memory.
fn peak_megabytes() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}

/// A runtime at the other end of a pipe.
struct Peer {
    runtime: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    fn start(runtime: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{runtime}: start"))?;
        let requests = child.stdin.take().context("standard input of a worker")?;
        let answers = BufReader::new(child.stdout.take().context("standard output of a worker")?);
        let mut peer = Self { runtime, child, requests, answers };
        match peer.answer()?.as_str() {
            "ready" => Ok(peer),
            other => bail!("{runtime}: '{other}' instead of 'ready'"),
        }
    }

    fn ask(&mut self, request: &str) -> anyhow::Result<f64> {
        writeln!(self.requests, "{request}").with_context(|| format!("{}: {request}", self.runtime))?;
        let answer = self.answer()?;
        answer.parse().with_context(|| format!("{}: answer '{answer}'", self.runtime))
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).with_context(|| format!("{}: answer", self.runtime))?;
        Ok(line.trim().into())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One figure.
#[derive(Debug, Serialize)]
struct Row {
    runtime: &'static str,
    precision: &'static str,
    stage: &'static str,
    threads: usize,
    min_ms: f64,
    median_ms: f64,
    rss_mb: f64,
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let model = load(arguments.model.as_deref())?;
    let (encoder, decoder) = (folder.path().join("encoder.onnx"), folder.path().join("decoder.onnx"));
    fs::write(&encoder, model.encoder_onnx())?;
    fs::write(&decoder, model.decoder_onnx())?;
    drop(model);
    let mut rows = Vec::new();
    for &threads in &arguments.threads {
        let mut ours = Command::new(std::env::current_exe()?);
        ours.args(["--worker", &threads.to_string()]);
        if let Some(model) = &arguments.model {
            ours.arg("--model").arg(model);
        }
        let mut peers = vec![Peer::start("umedsam", &mut ours)?];
        if let Some(python) = &arguments.python {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/onnxruntime_worker.py");
            let mut command = Command::new(python);
            command.arg(script).args([&encoder, &decoder]).arg(threads.to_string());
            peers.push(Peer::start("onnxruntime", &mut command)?);
        }
        let times = alternate(&mut peers, arguments.rounds)?;
        for (peer, stages) in peers.iter_mut().zip(times) {
            let rss_mb = peer.ask("rss")?;
            for (stage, mut ms) in STAGES.into_iter().zip(stages) {
                ms.sort_unstable_by(f64::total_cmp);
                let (min_ms, median_ms) = (ms[0], ms[ms.len() / 2]);
                rows.push(Row { runtime: peer.runtime, precision: "f32", stage, threads, min_ms, median_ms, rss_mb });
            }
        }
    }
    print(&rows);
    if let Some(path) = &arguments.json {
        let json = serde_json::to_vec_pretty(&rows)?;
        umedsam::files::write_atomically(path, |file| file.write_all(&json))
            .with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// For each peer and stage the milliseconds of every request.
fn alternate(peers: &mut [Peer], rounds: usize) -> anyhow::Result<Vec<[Vec<f64>; 3]>> {
    let mut times: Vec<[Vec<f64>; 3]> = peers.iter().map(|_| Default::default()).collect();
    for (stage, name) in STAGES.into_iter().enumerate() {
        let requests = if stage == 0 { rounds } else { rounds * 5 / 2 };
        for _ in 0..requests.max(1) {
            for (peer, times) in peers.iter_mut().zip(&mut times) {
                times[stage].push(peer.ask(name)?);
            }
        }
    }
    Ok(times)
}

fn print(rows: &[Row]) {
    println!("| stage | threads | runtime | min ms | median ms | ratio to onnxruntime (min) | peak MB |");
    println!("|---|---|---|---|---|---|---|");
    for r in rows {
        let same = |o: &&Row| o.runtime == "onnxruntime" && o.stage == r.stage && o.threads == r.threads;
        let ratio = rows.iter().find(same).map_or("-".into(), |o| format!("{:.2}", r.min_ms / o.min_ms));
        let (min, median, rss) = (r.min_ms, r.median_ms, r.rss_mb);
        println!("| {} | {} | {} | {min:.1} | {median:.1} | {ratio} | {rss:.0} |", r.stage, r.threads, r.runtime);
    }
}
