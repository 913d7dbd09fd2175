//! One ONNX graph, loaded and ready to run.

use std::prelude::v1::*;
use std::time::Duration;

#[cfg(feature = "tract")]
use anyhow::Context;
use anyhow::Result;

use super::kernels::Kernels;
use super::onnx;
use super::ops::Settings;
use super::program::Program;
#[cfg(feature = "tract")]
use super::tract;
use super::workers::Workers;
use crate::{Error, Precision};

/// Most threads of a graph: a greater number is an error of the caller, and a system cannot start them.
const MAX_THREADS: usize = 1024;

/// What runs a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Our fused blocks. A graph that does not consist of them runs operator by operator instead if it is computed in
    /// f32: about three times slower, in twice the memory. [`Graph::fallback`] says why.
    #[default]
    Any,
    /// Our fused blocks; a graph that does not consist of them is an error.
    Fused,
    /// Operator by operator in tract, the functions by their bodies; f32 only.
    Operators,
}

/// How a graph runs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GraphOptions {
    /// Threads, 1 to 1024; 1 is the caller's own, 0 counts as 1.
    pub threads: usize,
    /// How products are computed.
    pub precision: Precision,
    /// The kernels to compute them with, [`Kernels::detect`]ed if left out.
    pub kernels: Option<Kernels>,
    /// What runs it.
    pub execution: Execution,
    /// Fill the memory that a block is about to write, and its scratch memory, with NaN first, so that a result shows
    /// whether the block reads what nothing wrote. Slow: for tests. Builds with debug assertions always do it.
    pub poisoned: bool,
}

impl Default for GraphOptions {
    fn default() -> Self {
        let poisoned = cfg!(debug_assertions);
        Self { threads: 1, precision: Precision::F32, kernels: None, execution: Execution::Any, poisoned }
    }
}

impl GraphOptions {
    /// With this number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Computed in this precision.
    #[must_use]
    pub const fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Computed with these kernels.
    #[must_use]
    pub const fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels: Some(kernels), ..self }
    }

    /// Run by this.
    #[must_use]
    pub const fn with_execution(self, execution: Execution) -> Self {
        Self { execution, ..self }
    }

    /// With memory that is filled with NaN before each block.
    #[must_use]
    pub const fn with_poisoned_memory(self) -> Self {
        Self { poisoned: true, ..self }
    }
}

/// A loaded graph and all the memory that it runs in.
#[derive(Debug)]
pub struct Graph {
    name: &'static str,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// Our blocks.
    Fused { program: Program, workers: Workers },
    /// tract's operators, and why it is these if our blocks were wanted.
    #[cfg(feature = "tract")]
    Plan { plan: tract::Plan, fallback: Option<Error> },
}

impl Graph {
    /// Loads an ONNX model. `shapes` fixes the sizes of the inputs; an input that it doesn't name keeps the sizes, and
    /// the symbols, of the file.
    ///
    /// # Errors
    /// [`Error::Engine`] if the model cannot be read, or does not run as the options have it.
    pub fn load(
        name: &'static str,
        onnx: &[u8],
        shapes: &[(usize, &[usize])],
        options: &GraphOptions,
    ) -> Result<Self, Error> {
        let refusal = |message| Error::Engine { stage: format!("{name}: load"), message };
        let threads = options.threads.max(1);
        if threads > MAX_THREADS {
            return Err(refusal(format!("{threads} threads; at most {MAX_THREADS} are started")));
        }
        let f32 = options.precision == Precision::F32;
        let fallback = match options.execution {
            Execution::Operators if !f32 => {
                return Err(refusal(format!("single operators run in f32, not in {}", options.precision)));
            }
            Execution::Operators => None,
            Execution::Any | Execution::Fused => match fused(onnx, shapes, options) {
                Ok(program) => {
                    let workers = Workers::new(threads)?;
                    return Ok(Self { name, engine: Engine::Fused { program, workers } });
                }
                Err(error) if options.execution == Execution::Fused || !f32 => {
                    return Err(failure(name, "load", &error));
                }
                Err(error) => Some(failure(name, "not fused", &error)),
            },
        };
        #[cfg(feature = "tract")]
        return match tract::Plan::new(onnx, shapes, threads) {
            Ok(plan) => Ok(Self { name, engine: Engine::Plan { plan, fallback } }),
            Err(error) => Err(match fallback {
                None => failure(name, "load", &error),
                Some(fallback) => refusal(format!("{error:#}; {fallback}")),
            }),
        };
        #[cfg(not(feature = "tract"))]
        Err(fallback.unwrap_or_else(|| refusal("this library is built without tract, which runs operators".into())))
    }

    /// Whether the graph runs fused.
    pub const fn is_fused(&self) -> bool {
        matches!(self.engine, Engine::Fused { .. })
    }

    /// Why the graph does not run fused although [`Execution::Any`] would have it so.
    pub const fn fallback(&self) -> Option<&Error> {
        match &self.engine {
            Engine::Fused { .. } => None,
            #[cfg(feature = "tract")]
            Engine::Plan { fallback, .. } => fallback.as_ref(),
        }
    }

    /// Time spent in each function so far, in the order of their first calls; nothing if the graph isn't fused.
    pub fn profile(&self) -> Vec<(String, Duration)> {
        match &self.engine {
            Engine::Fused { program, .. } => program.profile(),
            #[cfg(feature = "tract")]
            Engine::Plan { .. } => Vec::new(),
        }
    }

    /// Bytes of the buffers that the blocks hand on, once the graph has run.
    pub fn buffer_bytes(&self) -> usize {
        match &self.engine {
            Engine::Fused { program, .. } => program.bytes(),
            #[cfg(feature = "tract")]
            Engine::Plan { .. } => 0,
        }
    }

    /// Runs the graph once on inputs of these shapes; the batch is the greatest of their first sizes.
    ///
    /// # Errors
    /// [`Error::Input`] if the inputs are not of the graph's shapes, [`Error::Engine`] if tract refuses or fails.
    pub fn run(&mut self, inputs: &[(&[usize], &[f32])]) -> Result<(), Error> {
        self.run_with(inputs, false)
    }

    /// As [`run`](Self::run); `unchanged` promises that the first of several inputs is what it was in the last run, so
    /// that what depends on it alone is not computed again.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_with(&mut self, inputs: &[(&[usize], &[f32])], unchanged: bool) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Fused { program, workers } => {
                let refusal = |message| Error::Input { graph: self.name, message };
                let batch = program.batch(inputs).map_err(refusal)?;
                let mut values: [&[f32]; 4] = [&[]; 4];
                values.iter_mut().zip(inputs).for_each(|(to, (_, v))| *to = v);
                program.run(&values[..inputs.len()], batch, unchanged, workers);
            }
            #[cfg(feature = "tract")]
            Engine::Plan { plan, .. } => plan.run(inputs).map_err(|e| failure(self.name, "run", &e))?,
        }
        Ok(())
    }

    /// The values of an output of the last run.
    ///
    /// # Errors
    /// [`Error::Engine`] if the graph has no such output, or has not run.
    pub fn output(&self, index: usize) -> Result<&[f32], Error> {
        let found = match &self.engine {
            Engine::Fused { program, .. } => program.output(index),
            #[cfg(feature = "tract")]
            Engine::Plan { plan, .. } => plan.output(index),
        };
        found.ok_or_else(|| Error::Engine {
            stage: format!("{}: read", self.name),
            message: format!("no output {index}"),
        })
    }
}

/// The program of a graph of our functions.
fn fused(onnx: &[u8], shapes: &[(usize, &[usize])], options: &GraphOptions) -> Result<Program> {
    let calls = onnx::read(onnx, shapes);
    // tract also types and folds what else may stand between our functions.
    #[cfg(feature = "tract")]
    let calls = calls.or_else(|refusal| tract::calls(onnx, shapes).with_context(|| format!("{refusal:#}")));
    let kernels = options.kernels.unwrap_or_else(Kernels::detect);
    Program::new(calls?, Settings::new(kernels, options.precision), options.poisoned)
}

fn failure(graph: &str, step: &str, error: &anyhow::Error) -> Error {
    Error::Engine { stage: format!("{graph}: {step}"), message: format!("{error:#}") }
}
