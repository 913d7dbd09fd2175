//! The encoder: Python programs that turn pictures into lossless JPEG XL.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use umedsam_train::data::Picture;

/// Longest answer that makes sense: no picture of the network's grid is larger.
const MAX_ANSWER: usize = 1 << 20;

/// One of them.
#[derive(Debug)]
struct Worker {
    child: Child,
    /// Nothing once it is to end.
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Worker {
    fn start(python: &OsStr) -> anyhow::Result<Self> {
        let mut command = Command::new(python);
        command.args(["-c", include_str!("../encode.py")]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe is missing")?;
        Ok(Self { child, input, output })
    }

    fn encode(&mut self, picture: &Picture) -> anyhow::Result<Vec<u8>> {
        let mut talk = || -> std::io::Result<Vec<u8>> {
            let input = self.input.as_mut().ok_or(std::io::ErrorKind::BrokenPipe)?;
            for number in [picture.width, picture.height, picture.channels] {
                input.write_all(&(number as u32).to_le_bytes())?;
            }
            input.write_all(&picture.pixels)?;
            input.flush()?;
            let mut length = [0; 4];
            self.output.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length) as usize;
            if length > MAX_ANSWER {
                return Err(std::io::Error::other(format!("an answer of {length} bytes")));
            }
            let mut bytes = vec![0; length];
            self.output.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        talk().context("the encoder has ended; it needs Python with imagecodecs")
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Without input the program ends by itself.
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Some of them, of which threads take one each.
#[derive(Debug)]
pub(super) struct Workers {
    idle: Mutex<Vec<Worker>>,
}

impl Workers {
    pub(super) fn start(python: &OsStr, count: usize) -> anyhow::Result<Self> {
        let idle = (0..count).map(|_| Worker::start(python)).collect::<anyhow::Result<_>>()?;
        Ok(Self { idle: Mutex::new(idle) })
    }

    /// Encodes on one that is idle; there must be as many as threads that call.
    pub(super) fn encode(&self, picture: &Picture) -> anyhow::Result<Vec<u8>> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let worker = idle().pop();
        let mut worker = worker.context("more threads than encoders")?;
        let encoded = worker.encode(picture);
        idle().push(worker);
        encoded
    }
}
