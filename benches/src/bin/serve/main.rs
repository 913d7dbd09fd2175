//! What `umedsam serve` stands: clients on loopback that drag boxes and segment volumes, that leave early and misbehave.
//!
//! ```sh
//! cargo build --release && cargo run --release -p umedsam-benches --bin serve -- target/release/umedsam
//! ```
//!
//! Of 32 clients 12 drag boxes, 6 follow objects through volumes, 8 leave in the middle and 6 send what nobody should. It fails
//! where a request that was sent whole got no whole answer (503 with Retry-After is one), where a drag's masks took too
//! long, where memory was not bounded, or where anything of the clients is left in the server at the end.

#![forbid(unsafe_code)]

mod clients;
mod http;
mod volume;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Parser;
use serde_json::Value;
use umedsam_benches::{arguments::exit, machine};

use clients::{Client, Measured};
use http::{Connection, Lost};

/// Measure what the server stands.
#[derive(Debug, Parser)]
struct Arguments {
    /// The command umedsam.
    program: PathBuf,
    /// How long the clients are there.
    #[arg(long, value_name = "S", default_value_t = 300)]
    seconds: u64,
    /// Clients in all.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(4..))]
    clients: u64,
    /// What 95 % of a drag's masks may take at most.
    #[arg(long, value_name = "MS", default_value_t = 300)]
    drag_ms: u64,
    /// Memory that the server may take: its model, 768 MiB of embeddings at most, and the images.
    #[arg(long, value_name = "MIB", default_value_t = 1536)]
    memory_mib: u64,
}

fn main() -> ExitCode {
    exit("serve", run(&Arguments::parse()))
}

/// The server, which ends with this.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut command = Command::new(&arguments.program);
    command.args(["serve", "--port", "0"]).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = Server(command.spawn().with_context(|| arguments.program.display().to_string())?);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().context("its output")?).read_line(&mut line)?;
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).context("an address")?;

    let measured = Mutex::new(Measured::default());
    let (start, length) = (Instant::now(), Duration::from_secs(arguments.seconds));
    let resident = thread::scope(|scope| {
        let mut running = Vec::new();
        for number in 0..arguments.clients as usize {
            let client = Client { number, address, until: start + length, measured: &measured };
            running.push(scope.spawn(move || match number % 16 {
                0..6 => client.drags(),
                6..9 => client.volumes(),
                9..13 => client.leaves(),
                _ => client.hostile(),
            }));
        }
        let mut resident = Vec::new();
        while running.iter().any(|client| !client.is_finished()) {
            resident.push(resident_mib(server.0.id())?);
            thread::sleep(Duration::from_secs(1));
        }
        for client in running {
            client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??;
        }
        Ok::<_, anyhow::Error>(resident)
    })?;

    let measured = measured.into_inner().context("a client panicked")?;
    print!("{}", machine::description(&[]));
    println!("- {} clients, {} s\n", arguments.clients, start.elapsed().as_secs());
    report(&measured);
    let [early, late] = memory(&resident)?;
    println!("| memory, MiB | {early} in the second third, {late} in the last |");
    let state = rest(address)?;

    let slowest = percentile(&sorted(measured.drags.iter().map(|d| d.1)), 0.95);
    ensure!(measured.lost.is_empty(), "{} requests were lost:\n{}", measured.lost.len(), measured.lost.join("\n"));
    ensure!(!measured.drags.is_empty() && !measured.volumes.is_empty(), "nothing was measured");
    ensure!(slowest * 1e3 <= arguments.drag_ms as f64, "95 % of a drag's masks took {:.0} ms", slowest * 1e3);
    let most = arguments.memory_mib;
    ensure!(early.max(late) <= most, "memory rose to {} MiB, beyond {most}", early.max(late));
    ensure!(state["memory"]["used"] == 0 && state["sessions"] == 0, "something is left: {state}");
    ensure!(server.0.try_wait()?.is_none(), "the server ended");
    Ok(())
}

fn report(measured: &Measured) {
    println!("| | count | median, ms | 95 % | 99 % | greatest |\n|---|---|---|---|---|---|");
    let row = |name: &str, times: Vec<f64>| {
        let at = |part| format!("{:.0}", percentile(&times, part) * 1e3);
        println!("| {name} | {} | {} | {} | {} | {} |", times.len(), at(0.5), at(0.95), at(0.99), at(1.0));
    };
    row("mask while dragging", sorted(measured.drags.iter().map(|d| d.1)));
    row("first mask of a slice", sorted(measured.firsts.iter().copied()));
    row("opening an image", sorted(measured.opens.iter().copied()));
    row("object through 12 slices", sorted(measured.volumes.iter().map(|d| d.1)));
    row("its first word", sorted(measured.first_words.iter().copied()));
    println!("\n| | |\n|---|---|");
    for (name, all) in [("masks", &measured.drags), ("volumes", &measured.volumes)] {
        let mut counts = std::collections::BTreeMap::<usize, usize>::new();
        all.iter().for_each(|(client, _)| *counts.entry(*client).or_default() += 1);
        let (least, most) = (counts.values().min().unwrap_or(&0), counts.values().max().unwrap_or(&0));
        println!("| {name} of a client | {least} to {most} |");
    }
    println!("| refused with 503 | {} |", measured.refused);
    println!("| lost | {} |", measured.lost.len());
    println!("| left in the middle | {} |", measured.left);
    println!("| hostile | {} |", measured.hostile);
}

fn sorted(times: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut times: Vec<f64> = times.collect();
    times.sort_by(f64::total_cmp);
    times
}

fn percentile(times: &[f64], part: f64) -> f64 {
    times.get(((times.len() as f64 - 1.0) * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The greatest memory of the second and of the last third: caches fill in the first.
fn memory(resident: &[u64]) -> anyhow::Result<[u64; 2]> {
    let third = resident.len() / 3;
    ensure!(third > 0, "the run was too short to see how memory goes");
    let most = |part: &[u64]| part.iter().copied().max().unwrap_or(0);
    Ok([most(&resident[third..2 * third]), most(&resident[2 * third..])])
}

fn resident_mib(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).context("the server ended")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<u64>()? >> 10)
}

/// The server's state when it has come to rest.
fn rest(address: &str) -> anyhow::Result<Value> {
    let start = Instant::now();
    loop {
        let answer = Connection::new(address).ask("GET", "/api/v1/health", b"", |_| {});
        let state: Value = serde_json::from_slice(&answer.map_err(|Lost(error)| error)?.body)?;
        if state["running"] == 0 && state["waiting"] == 0 {
            return Ok(state);
        }
        if start.elapsed() > Duration::from_secs(30) {
            bail!("the server does not come to rest: {state}");
        }
        thread::sleep(Duration::from_millis(50));
    }
}
