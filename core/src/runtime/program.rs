//! A graph of fused blocks alone, with all the memory that it needs ([`runtime`](super) says how it comes about).

use std::prelude::v1::*;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::calls::{Calls, Fact, Node, Operand, Size};
use super::kernels::Buffer;
use super::ops::{Block, Settings, build};
use super::workers::Workers;

/// Blocks in the order in which they run, and the buffers that they hand on.
///
/// A buffer is used again as soon as nobody reads it any more. Nothing is allocated while a program runs with a batch
/// no greater than one that it ran with before.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    outputs: Vec<(usize, Size)>,
    /// The sizes of each input's axes.
    inputs: Vec<Vec<Size>>,
    batch: usize,
    /// Whether the last run came to its end.
    complete: bool,
    /// Whether each block finds its memory filled with NaN.
    poisoned: bool,
}

#[derive(Debug)]
struct Step {
    function: String,
    spent: Duration,
    /// Whether it depends on the first input only, of several: an image that many prompts follow.
    stable: bool,
    block: Box<dyn Block>,
    inputs: Vec<Value>,
    buffer: usize,
    len: Size,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Input(usize),
    Buffer(usize, Size),
}

impl Program {
    /// Builds the blocks of calls. What a call was made from is dropped once its block is built.
    pub(super) fn new(calls: Calls, settings: Settings, poisoned: bool) -> Result<Self> {
        let Calls { inputs, nodes, outputs } = calls;
        ensure!(inputs.len() <= 4, "{} inputs", inputs.len());
        let mut last_use = vec![0; nodes.len()];
        for (reader, node) in nodes.iter().enumerate() {
            for operand in &node.operands {
                if let Operand::Node(read) = *operand {
                    last_use[read] = reader;
                }
            }
        }
        outputs.iter().for_each(|&output| last_use[output] = usize::MAX);
        let shapes: Vec<Vec<Size>> = nodes.iter().map(|node| node.shape.clone()).collect();
        let (mut steps, mut free, mut count): (Vec<Step>, Vec<usize>, usize) = (Vec::new(), Vec::new(), 0);
        for (position, node) in nodes.into_iter().enumerate() {
            let Node { name, call, operands, shape } = node;
            let (given, weights) = operands.split_at(call.activations().min(operands.len()));
            for weight in weights {
                ensure!(matches!(weight, Operand::Constant(_)), "{name}: a weight that is no constant");
            }
            let read = given.iter().map(|operand| match *operand {
                Operand::Input(i) => Ok(Value::Input(i)),
                Operand::Node(i) => Ok(Value::Buffer(steps[i].buffer, steps[i].len)),
                Operand::Constant(_) => bail!("{name}: a constant where a computed value is expected"),
            });
            let read: Vec<Value> = read.collect::<Result<_>>()?;
            let facts: Vec<Fact<'_>> = operands.iter().map(|operand| operand.fact(&inputs, &shapes)).collect();
            let block = build(&call, &facts, settings).with_context(|| name.clone())?;
            let len = Size::product(&shape)?;
            let made_stable = |operand: &Operand| match *operand {
                Operand::Input(i) => i == 0,
                Operand::Node(i) => steps[i].stable,
                Operand::Constant(_) => true,
            };
            let stable = inputs.len() > 1 && !len.batched && given.iter().all(made_stable);
            let reused = if stable { None } else { free.pop() };
            let buffer = reused.unwrap_or_else(|| {
                count += 1;
                count - 1
            });
            for operand in given {
                if let Operand::Node(i) = *operand
                    && last_use[i] == position
                    && !steps[i].stable
                    && !free.contains(&steps[i].buffer)
                {
                    free.push(steps[i].buffer);
                }
            }
            steps.push(Step { function: call.name, spent: Duration::ZERO, stable, block, inputs: read, buffer, len });
        }
        let outputs = outputs.into_iter().map(|node| (steps[node].buffer, steps[node].len)).collect();
        let buffers = vec![Buffer::default(); count];
        Ok(Self { steps, buffers, outputs, inputs, batch: 0, complete: false, poisoned })
    }

    /// The batch of inputs of these shapes and values, or what is wrong with them.
    pub(crate) fn batch(&self, inputs: &[(&[usize], &[f32])]) -> Result<usize, String> {
        if inputs.len() != self.inputs.len() {
            return Err(format!("{} inputs given, {} expected", inputs.len(), self.inputs.len()));
        }
        let batch = inputs.iter().filter_map(|(shape, _)| shape.first()).max().copied().unwrap_or(1);
        for (i, ((shape, values), axes)) in inputs.iter().zip(&self.inputs).enumerate() {
            if shape.len() != axes.len() || shape.iter().zip(axes).any(|(&n, axis)| n != axis.at(batch)) {
                let expected: Vec<usize> = axes.iter().map(|axis| axis.at(batch)).collect();
                return Err(format!("input {i}: shape {shape:?} given, {expected:?} expected"));
            }
            if shape.iter().try_fold(1usize, |len, &n| len.checked_mul(n)) != Some(values.len()) {
                return Err(format!("input {i}: {} values given for shape {shape:?}", values.len()));
            }
        }
        if self.steps.iter().any(|step| step.len.one.checked_mul(batch).is_none()) {
            return Err(format!("a batch of {batch} is beyond all memory"));
        }
        Ok(batch)
    }

    /// Runs the blocks on inputs whose [`batch`](Self::batch) is this; without those that depend on the first of
    /// several inputs only if that is `unchanged` since the last run, and that run came to its end.
    pub(crate) fn run(&mut self, inputs: &[&[f32]], batch: usize, unchanged: bool, workers: &mut Workers) {
        let unchanged = std::mem::take(&mut self.complete) && unchanged;
        for step in &self.steps {
            self.buffers[step.buffer].reserve(step.len.at(batch));
        }
        let scratch = self.steps.iter().map(|s| s.block.scratch()).max().unwrap_or(0);
        let shared = self.steps.iter().map(|s| s.block.shared(batch)).max().unwrap_or(0);
        workers.reserve(scratch, shared);
        self.batch = batch;
        workers.enter(|workers| {
            for step in self.steps.iter_mut().filter(|s| !(unchanged && s.stable)) {
                let start = Instant::now();
                let mut out = std::mem::take(&mut self.buffers[step.buffer]);
                if self.poisoned {
                    workers.poison();
                    out.poison();
                }
                let mut given: [&[f32]; 4] = [&[]; 4];
                for (given, value) in given.iter_mut().zip(&step.inputs) {
                    *given = match *value {
                        Value::Input(i) => inputs[i],
                        Value::Buffer(buffer, len) => &self.buffers[buffer][..len.at(batch)],
                    };
                }
                step.block.run(&given[..step.inputs.len()], &mut out[..step.len.at(batch)], workers);
                self.buffers[step.buffer] = out;
                step.spent += start.elapsed();
            }
        });
        self.complete = true;
    }

    /// An output of the last run, if that came to its end.
    pub(crate) fn output(&self, index: usize) -> Option<&[f32]> {
        if !self.complete {
            return None;
        }
        let &(buffer, len) = self.outputs.get(index)?;
        self.buffers[buffer].get(..len.at(self.batch))
    }

    /// Time spent in each function so far, in the order of their first calls.
    pub(crate) fn profile(&self) -> Vec<(String, Duration)> {
        let mut profile: Vec<(String, Duration)> = Vec::new();
        for step in &self.steps {
            match profile.iter_mut().find(|(function, _)| *function == step.function) {
                Some((_, spent)) => *spent += step.spent,
                None => profile.push((step.function.clone(), step.spent)),
            }
        }
        profile
    }

    /// Bytes of the buffers.
    pub(crate) fn bytes(&self) -> usize {
        4 * self.buffers.iter().map(|b| b.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Adds its inputs in the threads; panics there while it is told to.
    #[derive(Debug)]
    struct Sum(Arc<AtomicBool>);

    impl Block for Sum {
        fn scratch(&self) -> usize {
            16
        }

        fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers) {
            workers.team().each(|_| assert!(!self.0.load(Ordering::Relaxed), "provoked"));
            for (i, out) in out.iter_mut().enumerate() {
                *out = inputs.iter().map(|input| input[i % input.len()]).sum();
            }
        }
    }

    /// An image of two values, then each box plus the image.
    fn program(panics: &Arc<AtomicBool>) -> Program {
        let two = Size { one: 2, batched: false };
        let boxes = Size { one: 2, batched: true };
        let step = |stable, inputs, buffer, len| {
            let block = Box::new(Sum(panics.clone()));
            Step { function: "Sum".into(), spent: Duration::ZERO, stable, block, inputs, buffer, len }
        };
        let steps = vec![
            step(true, vec![Value::Input(0)], 0, two),
            step(false, vec![Value::Input(1), Value::Buffer(0, two)], 1, boxes),
        ];
        let inputs = vec![vec![two], vec![Size { one: 1, batched: true }, two]];
        let buffers = vec![Buffer::default(); 2];
        Program { steps, buffers, outputs: vec![(1, boxes)], inputs, batch: 0, complete: false, poisoned: true }
    }

    #[test]
    fn nothing_is_taken_from_a_run_that_panicked() {
        let panics = Arc::new(AtomicBool::new(false));
        for threads in [1, 2] {
            let (mut program, mut workers) = (program(&panics), Workers::new(threads).unwrap());
            // Nothing to go on from yet, whatever is promised.
            program.run(&[&[10.0, 20.0], &[1.0, 2.0]], 1, true, &mut workers);
            assert_eq!(program.output(0), Some(&[11.0, 22.0][..]));
            panics.store(true, Ordering::Relaxed);
            let run = || program.run(&[&[30.0, 40.0], &[1.0, 2.0]], 1, false, &mut workers);
            assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
            panics.store(false, Ordering::Relaxed);
            assert_eq!(program.output(0), None);
            program.run(&[&[30.0, 40.0], &[1.0, 2.0, 3.0, 4.0]], 2, true, &mut workers);
            assert_eq!(program.output(0), Some(&[31.0, 42.0, 33.0, 44.0][..]));
        }
    }

    #[test]
    fn inputs_of_other_shapes_are_refused() {
        let program = program(&Arc::default());
        let (image, boxes) = ([0.0; 2], [0.0; 6]);
        assert_eq!(program.batch(&[(&[2], &image), (&[3, 2], &boxes)]), Ok(3));
        type Given<'a> = (&'a [usize], &'a [f32]);
        let refusals: [(&[Given<'_>], &str); 6] = [
            (&[(&[2], &image)], "1 inputs given, 2 expected"),
            (&[(&[2], &image), (&[], &boxes)], "input 1: shape [] given, [2, 2] expected"),
            (&[(&[2], &image), (&[2, 3], &boxes)], "input 1: shape [2, 3] given, [2, 2] expected"),
            (&[(&[2], &image), (&[3, 2], &boxes[1..])], "input 1: 5 values given for shape [3, 2]"),
            (&[(&[2], &image), (&[0, 2], &[])], "input 1: shape [0, 2] given, [2, 2] expected"),
            (&[(&[2], &image), (&[usize::MAX, 2], &boxes)], "input 1: 6 values given for shape"),
        ];
        for (inputs, message) in refusals {
            let error = program.batch(inputs).unwrap_err();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
