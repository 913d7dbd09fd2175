//! A graph of fused blocks alone ([`runtime`](super) says how it comes about), which any number of sessions run at once.

use std::prelude::v1::*;

use anyhow::{Result, bail, ensure};

use super::calls::{Fact, Operand, Size};
use super::layout::Layout;
use super::ops::{Block, Call, Settings, build};

/// Blocks in the order in which they run.
#[derive(Debug)]
pub(crate) struct Program {
    pub(super) steps: Vec<Step>,
    /// The steps whose results are the outputs.
    pub(super) outputs: Vec<usize>,
    /// The sizes of each input's axes.
    pub(super) inputs: Vec<Vec<Size>>,
    /// Whether each block finds its memory filled with NaN.
    pub(super) poisoned: bool,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) function: String,
    /// Whether it depends on the first input only, of several: an image that many prompts follow.
    pub(super) stable: bool,
    pub(super) block: Box<dyn Block>,
    pub(super) inputs: Vec<Source>,
    pub(super) len: Size,
    /// The last step that reads its result.
    pub(super) last_use: usize,
}

/// Where a block reads a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Input(usize),
    Step(usize),
}

/// A program whose calls come one by one.
#[derive(Debug)]
pub(super) struct Builder {
    inputs: Vec<Vec<Size>>,
    /// The shapes of the steps' results.
    shapes: Vec<Vec<Size>>,
    steps: Vec<Step>,
    settings: Settings,
}

impl Builder {
    /// For inputs of these shapes.
    pub(super) fn new(inputs: Vec<Vec<Size>>, settings: Settings) -> Result<Self> {
        ensure!(inputs.len() <= 4, "{} inputs", inputs.len());
        Ok(Self { inputs, shapes: Vec::new(), steps: Vec::new(), settings })
    }

    /// Builds the block of a call that follows what it reads. Returns its position.
    pub(super) fn push(&mut self, call: Call, operands: &[Operand<'_>]) -> Result<usize> {
        let facts: Vec<Fact<'_>> = operands.iter().map(|o| o.fact(&self.inputs, &self.shapes)).collect();
        let shape = call.shape(&facts)?;
        let (given, weights) = operands.split_at(call.activations().min(operands.len()));
        ensure!(weights.iter().all(|w| matches!(w, Operand::Constant(_))), "a weight that is no constant");
        let read = given.iter().map(|operand| match *operand {
            Operand::Input(i) => Ok(Source::Input(i)),
            Operand::Call(i) => Ok(Source::Step(i)),
            Operand::Constant(_) => bail!("a constant where a computed value is expected"),
        });
        let read: Vec<Source> = read.collect::<Result<_>>()?;
        let block = build(&call, &facts, self.settings)?;
        let len = Size::product(&shape)?;
        let position = self.steps.len();
        let made_stable = |source: &Source| match *source {
            Source::Input(i) => i == 0,
            Source::Step(i) => self.steps[i].stable,
        };
        let stable = self.inputs.len() > 1 && !len.batched && read.iter().all(made_stable);
        for source in &read {
            if let Source::Step(i) = *source {
                self.steps[i].last_use = position;
            }
        }
        self.shapes.push(shape);
        self.steps.push(Step { function: call.name, stable, block, inputs: read, len, last_use: position });
        Ok(position)
    }

    /// The program; `outputs` are the positions of the calls that compute its results.
    pub(super) fn finish(mut self, outputs: Vec<usize>) -> Program {
        outputs.iter().for_each(|&output| self.steps[output].last_use = usize::MAX);
        let Self { inputs, steps, settings, .. } = self;
        Program { steps, outputs, inputs, poisoned: settings.poisoned }
    }
}

impl Program {
    /// The batch of inputs of these shapes and values, or what is wrong with them.
    pub(super) fn batch(&self, inputs: &[(&[usize], &[f32])]) -> Result<usize, String> {
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

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        let mut shared: Vec<&[f32]> = Vec::new();
        for step in &self.steps {
            let weights = step.block.shared_weights();
            if !shared.iter().any(|known| known.as_ptr() == weights.as_ptr()) {
                shared.push(weights);
            }
        }
        let own: usize = self.steps.iter().map(|step| step.block.bytes()).sum();
        own + shared.iter().map(|weights| size_of_val(*weights)).sum::<usize>()
    }

    /// f32 of scratch memory that each thread needs.
    pub(crate) fn scratch(&self) -> usize {
        self.steps.iter().map(|step| step.block.scratch()).max().unwrap_or(0)
    }

    /// Where the values of a run lie.
    pub(crate) fn layout(&self, batch: usize) -> Layout {
        Layout::new(&self.steps, batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Precision;
    use crate::runtime::kernels::Kernels;

    #[test]
    fn inputs_of_other_shapes_are_refused() {
        let settings = Settings::new(Kernels::detect(), Precision::F32, true);
        let two = Size::fixed(2);
        let inputs = vec![vec![two], vec![Size::BATCH, two]];
        let program = Builder::new(inputs, settings).unwrap().finish(vec![]);
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
