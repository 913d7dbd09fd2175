//! A graph of fused blocks alone, with all the memory that it needs ([`runtime`](super) says how it comes about).

use std::prelude::v1::*;
use std::time::{Duration, Instant};

use tract_core::internal::*;
use tract_core::ops::konst::Const;
use tract_core::ops::source::TypedSource;

use super::kernels::Buffer;
use super::ops::{Block, Call, Settings, build};
use super::workers::Workers;

/// Blocks in the order in which they run, and the buffers that they hand on.
///
/// A buffer is used again as soon as nobody reads it any more. Nothing is allocated while a program runs with a batch
/// no greater than one that it ran with before.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    outputs: Vec<(usize, Len)>,
    /// The sizes of each input's axes.
    inputs: Vec<Vec<Len>>,
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
    len: Len,
}

/// Where a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Input(usize),
    Buffer(usize, Len),
}

/// Number of a value's elements, or the size of one of its axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Len {
    one: usize,
    /// Whether it is that many for each item of the batch.
    batched: bool,
}

impl Len {
    /// The product of these sizes.
    fn of(sizes: &[TDim]) -> TractResult<Self> {
        let symbols: Vec<Symbol> = sizes.iter().flat_map(|d| d.symbols()).collect();
        let sized = |n: i64| -> TractResult<usize> {
            let values = symbols.iter().fold(SymbolValues::default(), |v, s| v.with(s, n));
            sizes.iter().try_fold(1usize, |all, d| {
                all.checked_mul(d.eval(&values).to_usize()?).context("a value beyond all memory")
            })
        };
        let (one, two) = (sized(1)?, sized(2)?);
        ensure!(one == two || Some(two) == one.checked_mul(2), "a size that is not in proportion to the batch");
        Ok(Self { one, batched: one != two })
    }

    const fn at(self, batch: usize) -> usize {
        if self.batched { self.one * batch } else { self.one }
    }
}

impl Program {
    /// Builds the blocks of a model of calls.
    pub(crate) fn new(model: &TypedModel, settings: Settings, poisoned: bool) -> TractResult<Self> {
        let mut values: HashMap<OutletId, Value> = HashMap::default();
        for (i, &outlet) in model.input_outlets()?.iter().enumerate() {
            values.insert(outlet, Value::Input(i));
        }
        let order = model.eval_order()?;
        let mut last_use: HashMap<OutletId, usize> = HashMap::default();
        for &id in &order {
            for &outlet in &model.node(id).inputs {
                last_use.insert(outlet, id);
            }
        }
        for &outlet in model.output_outlets()? {
            last_use.insert(outlet, usize::MAX);
        }
        let (mut steps, mut free, mut count): (Vec<Step>, Vec<usize>, usize) = (Vec::new(), Vec::new(), 0);
        let inputs_in_all = model.input_outlets()?.len();
        for id in order {
            let node = model.node(id);
            if node.op_is::<Const>() || node.op_is::<TypedSource>() {
                continue;
            }
            let call = node
                .op_as::<Call>()
                .with_context(|| format!("{} is {}, no call of a function that runs fused", node.name, node.op))?;
            let facts = model.node_input_facts(id)?;
            let block = build(call, &facts, settings).with_context(|| node.name.clone())?;
            let weights = facts.iter().skip(call.computed_inputs()).all(|fact| fact.konst.is_some());
            ensure!(weights, "{}: a weight that is no constant", node.name);
            let given = node.inputs.iter().take(call.computed_inputs());
            let inputs: Vec<Value> = given
                .map(|outlet| values.get(outlet).copied().with_context(|| format!("input of {}", node.name)))
                .collect::<TractResult<_>>()?;
            let len = Len::of(&node.outputs[0].fact.shape.to_tvec())?;
            let made_stable = |value: &Value| match *value {
                Value::Input(i) => i == 0,
                Value::Buffer(buffer, _) => steps.iter().any(|s| s.stable && s.buffer == buffer),
            };
            let stable = inputs_in_all > 1 && !len.batched && inputs.iter().all(made_stable);
            let buffer = match free.pop() {
                Some(buffer) if !stable => buffer,
                _ => {
                    count += 1;
                    count - 1
                }
            };
            for (outlet, value) in node.inputs.iter().filter_map(|o| values.get(o).map(|v| (o, *v))) {
                if let (Value::Buffer(read, _), Some(&last)) = (value, last_use.get(outlet))
                    && last == id
                    && !free.contains(&read)
                    && !steps.iter().any(|s| s.stable && s.buffer == read)
                {
                    free.push(read);
                }
            }
            values.insert(OutletId::new(id, 0), Value::Buffer(buffer, len));
            steps.push(Step { function: call.name.clone(), spent: Duration::ZERO, stable, block, inputs, buffer, len });
        }
        let outputs = model.output_outlets()?.iter().map(|outlet| match values.get(outlet) {
            Some(&Value::Buffer(buffer, len)) => Ok((buffer, len)),
            _ => bail!("an output that nothing computes"),
        });
        let outputs = outputs.collect::<TractResult<_>>()?;
        let axes = |outlet| model.outlet_fact(outlet)?.shape.iter().map(|d| Len::of(std::slice::from_ref(d))).collect();
        let inputs = model.input_outlets()?.iter().copied().map(axes).collect::<TractResult<Vec<Vec<Len>>>>()?;
        ensure!(inputs.len() <= 4, "{} inputs", inputs.len());
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
        let two = Len { one: 2, batched: false };
        let boxes = Len { one: 2, batched: true };
        let step = |stable, inputs, buffer, len| {
            let block = Box::new(Sum(panics.clone()));
            Step { function: "Sum".into(), spent: Duration::ZERO, stable, block, inputs, buffer, len }
        };
        let steps = vec![
            step(true, vec![Value::Input(0)], 0, two),
            step(false, vec![Value::Input(1), Value::Buffer(0, two)], 1, boxes),
        ];
        let inputs = vec![vec![two], vec![Len { one: 1, batched: true }, two]];
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
