//! Processes that answer requests over a pipe, one line each.
//!
//! A worker loads its model, writes `ready`, and then answers every line of its standard input by one line of standard
//! output; it ends with its input. Being a process of its own, its peak memory is its own too.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

/// A process at the other end of a pipe. Dropping it ends it.
#[derive(Debug)]
pub struct Worker {
    name: String,
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Worker {
    /// Starts a worker and waits until it is ready. `name` is for messages.
    pub fn start(name: impl Into<String>, command: &mut Command) -> anyhow::Result<Self> {
        let name = name.into();
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let program = command.get_program().to_string_lossy();
        let mut child = child.with_context(|| format!("{name}: start {program}"))?;
        let requests = child.stdin.take().context("standard input of a worker")?;
        let answers = BufReader::new(child.stdout.take().context("standard output of a worker")?);
        let mut worker = Self { name, child, requests, answers };
        match worker.answer()?.as_str() {
            "ready" => Ok(worker),
            other => bail!("{}: '{other}' instead of 'ready'", worker.name),
        }
    }

    /// The answer to a request.
    pub fn ask(&mut self, request: &str) -> anyhow::Result<String> {
        writeln!(self.requests, "{request}").with_context(|| format!("{}: {request}", self.name))?;
        self.answer().with_context(|| format!("request '{request}'"))
    }

    /// The answer to a request for a number.
    pub fn ask_number(&mut self, request: &str) -> anyhow::Result<f64> {
        let answer = self.ask(request)?;
        answer.parse().with_context(|| format!("{}: answer '{answer}' to {request}", self.name))
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).with_context(|| format!("{}: answer", self.name))?;
        if line.is_empty() {
            bail!("{}: ended without an answer; what it said is above", self.name);
        }
        Ok(line.trim().into())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A worker's side of the pipe: says that it is ready and answers each request until there are no more.
pub fn serve(mut answer: impl FnMut(&str) -> anyhow::Result<String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let mut say = |line: &str| writeln!(out, "{line}").and_then(|()| out.flush());
    say("ready")?;
    for line in std::io::stdin().lines() {
        say(&answer(&line?)?)?;
    }
    Ok(())
}

/// Peak memory of this process so far, in MB, by the kernel's account.
pub fn peak_megabytes() -> anyhow::Result<f64> {
    let status = fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
