//! One ONNX graph, loaded and ready to run.

use std::prelude::v1::*;
use std::time::Duration;

use anyhow::Result;

use super::kernels::Kernels;
use super::onnx;
use super::ops::Settings;
use super::program::Program;
use super::run::Run;
use super::shared::Shared;
#[cfg(feature = "tract")]
use super::tract;
use super::workers::Workspace;
use crate::{Error, Precision};

/// Most threads of a graph: a greater number is an error of the caller, and a system cannot start them.
const MAX_THREADS: usize = 1024;

/// What runs a graph; [the module](super) says how the two ways differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Execution {
    /// Fused blocks where the graph can be built of them. Any other graph runs operator by operator in tract if the
    /// precision is f32, and [`Graph::fallback`] says why; in other precisions it is an error.
    #[default]
    Any,
    /// Fused blocks only. A graph that cannot be built of them is an error.
    Fused,
    /// Operator by operator in tract, with every call replaced by the function's body. Any precision but f32 is an
    /// error.
    Operators,
}

/// How a graph is run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct GraphOptions {
    /// Number of threads, 1 to 1024, the caller's own among them; 0 counts as 1.
    pub threads: usize,
    /// The precision that matrix products are computed in.
    pub precision: Precision,
    /// The kernels that compute them; [`Kernels::detect`] chooses if this is `None`.
    pub kernels: Option<Kernels>,
    /// What runs the graph.
    pub execution: Execution,
    /// Whether the memory that a block is about to write, and its scratch memory, is filled with NaN first. A block
    /// that reads what nothing wrote then shows it in its result. This is slow and meant for tests; it is on by default
    /// in builds with debug assertions.
    pub poisoned: bool,
}

impl Default for GraphOptions {
    fn default() -> Self {
        let poisoned = cfg!(debug_assertions);
        Self { threads: 1, precision: Precision::F32, kernels: None, execution: Execution::Any, poisoned }
    }
}

impl GraphOptions {
    /// Sets the number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Sets the precision.
    #[must_use]
    pub const fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Sets the kernels.
    #[must_use]
    pub const fn with_kernels(self, kernels: Kernels) -> Self {
        Self { kernels: Some(kernels), ..self }
    }

    /// Sets what runs the graph.
    #[must_use]
    pub const fn with_execution(self, execution: Execution) -> Self {
        Self { execution, ..self }
    }

    /// Fills memory with NaN before each block.
    #[must_use]
    pub const fn with_poisoned_memory(self) -> Self {
        Self { poisoned: true, ..self }
    }
}

/// A loaded graph with all the memory that it runs in.
#[derive(Debug)]
pub struct Graph {
    stage: Stage,
    workspace: Workspace,
}

/// A loaded graph that runs in a workspace of its session's.
#[derive(Debug)]
pub(crate) struct Stage {
    name: &'static str,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    /// Fused blocks.
    Fused(Run),
    /// tract's operators, and why they run although fused blocks were wanted.
    #[cfg(feature = "tract")]
    Plan { plan: tract::Plan, fallback: Option<Error> },
}

impl Graph {
    /// Loads an ONNX model from the bytes of its file. `name` stands in error messages. `shapes` gives the shapes of
    /// inputs by their positions; an input that is not among them has the shape, and the symbols, of the file.
    ///
    /// # Errors
    /// [`Error::Engine`] if the file cannot be read, if the graph cannot be run as `options` ask, or if the threads
    /// cannot be started.
    pub fn load(
        name: &'static str,
        onnx: &[u8],
        shapes: &[(usize, &[usize])],
        options: &GraphOptions,
    ) -> Result<Self, Error> {
        let shared = Shared::default();
        let stage = Stage::load(name, onnx, shapes, options, &shared)?;
        let workspace = Stage::workspace(&[&stage], options.threads, &shared)?;
        Ok(Self { stage, workspace })
    }

    /// Whether the graph runs in fused blocks.
    pub const fn is_fused(&self) -> bool {
        self.stage.run().is_some()
    }

    /// Why tract runs the graph although [`Execution::Any`] prefers fused blocks; `None` if it runs as it was asked to.
    pub const fn fallback(&self) -> Option<&Error> {
        self.stage.fallback()
    }

    /// Time spent so far in each function, in the order of their first calls; empty if the graph does not run fused.
    pub fn profile(&self) -> Vec<(String, Duration)> {
        self.stage.profile()
    }

    /// Runs the graph once. Each input is its shape and its values, row-major; the batch size is the greatest first
    /// size of all shapes.
    ///
    /// # Errors
    /// [`Error::Input`] if the number, a shape or the length of the inputs is not what the graph takes,
    /// [`Error::Engine`] if tract runs the graph and fails.
    pub fn run(&mut self, inputs: &[(&[usize], &[f32])]) -> Result<(), Error> {
        self.run_with(inputs, false)
    }

    /// As [`run`](Self::run). If `unchanged` is true, the caller promises that the first of several inputs has the
    /// values of the last run; what depends on this input alone is then not computed again.
    ///
    /// # Errors
    /// Those of [`run`](Self::run).
    pub fn run_with(&mut self, inputs: &[(&[usize], &[f32])], unchanged: bool) -> Result<(), Error> {
        self.stage.run_with(inputs, unchanged, &mut self.workspace)
    }

    /// The values of an output of the last run, row-major.
    ///
    /// # Errors
    /// [`Error::Engine`] if the graph has no output of this index, has not run, or its last run did not complete.
    pub fn output(&self, index: usize) -> Result<&[f32], Error> {
        self.stage.output(index, &self.workspace)
    }
}

impl Stage {
    /// As [`Graph::load`], with the program that is `shared` if there is one.
    pub(crate) fn load(
        name: &'static str,
        onnx: &[u8],
        shapes: &[(usize, &[usize])],
        options: &GraphOptions,
        shared: &Shared,
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
            Execution::Any | Execution::Fused => {
                match shared.program(name, options.precision, || fused(onnx, shapes, options)) {
                    Ok(program) => return Ok(Self { name, engine: Engine::Fused(Run::new(program)) }),
                    Err(error) if options.execution == Execution::Fused || !f32 => {
                        return Err(failure(name, "load", &error));
                    }
                    Err(error) => Some(failure(name, "not fused", &error)),
                }
            }
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

    /// What these run in, with so many threads. tract has threads of its own.
    pub(crate) fn workspace(stages: &[&Self], threads: usize, shared: &Shared) -> Result<Workspace, Error> {
        let fused = stages.iter().any(|stage| stage.run().is_some());
        Ok(Workspace::new(if fused { shared.pool(threads)? } else { None }))
    }

    /// The runs of its fused blocks, if there are any.
    pub(crate) const fn run(&self) -> Option<&Run> {
        match &self.engine {
            Engine::Fused(run) => Some(run),
            #[cfg(feature = "tract")]
            Engine::Plan { .. } => None,
        }
    }

    /// As [`Graph::fallback`].
    pub(crate) const fn fallback(&self) -> Option<&Error> {
        match &self.engine {
            Engine::Fused(_) => None,
            #[cfg(feature = "tract")]
            Engine::Plan { fallback, .. } => fallback.as_ref(),
        }
    }

    /// As [`Graph::profile`].
    pub(crate) fn profile(&self) -> Vec<(String, Duration)> {
        self.run().map_or_else(Vec::new, Run::profile)
    }

    /// As [`Graph::run_with`].
    pub(crate) fn run_with(
        &mut self,
        inputs: &[(&[usize], &[f32])],
        unchanged: bool,
        workspace: &mut Workspace,
    ) -> Result<(), Error> {
        match &mut self.engine {
            Engine::Fused(run) => {
                let refusal = |message| Error::Input { graph: self.name, message };
                let batch = run.program().batch(inputs).map_err(refusal)?;
                let mut values: [&[f32]; 4] = [&[]; 4];
                values.iter_mut().zip(inputs).for_each(|(to, (_, v))| *to = v);
                run.run(&values[..inputs.len()], batch, unchanged, workspace);
            }
            #[cfg(feature = "tract")]
            Engine::Plan { plan, .. } => plan.run(inputs).map_err(|e| failure(self.name, "run", &e))?,
        }
        Ok(())
    }

    /// As [`Graph::output`], until anything else ran in the workspace.
    pub(crate) fn output<'w>(&'w self, index: usize, workspace: &'w Workspace) -> Result<&'w [f32], Error> {
        let found = match &self.engine {
            Engine::Fused(run) => run.output(index, workspace),
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
    let kernels = options.kernels.unwrap_or_else(Kernels::detect);
    let settings = Settings::new(kernels, options.precision, options.poisoned);
    let program = onnx::read(onnx, shapes, settings);
    // tract also types and folds what else may stand between our functions.
    #[cfg(feature = "tract")]
    let program = program.or_else(|refusal| {
        // Where both say the same, once is enough.
        tract::program(onnx, shapes, settings).map_err(|error| match (format!("{refusal:#}"), format!("{error:#}")) {
            (one, other) if one == other => error,
            (one, _) => error.context(one),
        })
    });
    program
}

fn failure(graph: &str, step: &str, error: &anyhow::Error) -> Error {
    Error::Engine { stage: format!("{graph}: {step}"), message: format!("{error:#}") }
}
