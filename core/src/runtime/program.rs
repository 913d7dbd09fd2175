//! A graph whose every node is one of our blocks, with all the memory that it needs.

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
/// A buffer is used again as soon as nobody reads it any more. Nothing is allocated while a program runs with a batch no
/// greater than one that it ran with before.
#[derive(Debug)]
pub(crate) struct Program {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    outputs: Vec<(usize, Len)>,
    inputs: Vec<Len>,
    batch: usize,
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

/// Number of a value's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Len {
    one: usize,
    /// Whether it is that many for each item of the batch.
    batched: bool,
}

impl Len {
    fn of(fact: &TypedFact) -> TractResult<Self> {
        let symbols: Vec<Symbol> = fact.shape.iter().flat_map(|d| d.symbols()).collect();
        let sized = |n: i64| -> TractResult<usize> {
            let values = symbols.iter().fold(SymbolValues::default(), |v, s| v.with(s, n));
            let sizes = fact.shape.iter().map(|d| d.eval(&values).to_usize());
            Ok(sizes.product::<Result<usize, _>>()?)
        };
        let (one, two) = (sized(1)?, sized(2)?);
        ensure!(one == two || two == 2 * one, "a size that is not in proportion to the batch");
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
            let call =
                node.op_as::<Call>().with_context(|| format!("{} is {}, no block of ours", node.name, node.op))?;
            let facts = model.node_input_facts(id)?;
            let block = build(call, &facts, settings).with_context(|| node.name.clone())?;
            let weights = facts.iter().skip(call.computed_inputs()).all(|fact| fact.konst.is_some());
            ensure!(weights, "{}: a weight that is no constant", node.name);
            let given = node.inputs.iter().take(call.computed_inputs());
            let inputs: Vec<Value> = given
                .map(|outlet| values.get(outlet).copied().with_context(|| format!("input of {}", node.name)))
                .collect::<TractResult<_>>()?;
            let len = Len::of(&node.outputs[0].fact)?;
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
            steps.push(Step {
                function: call.function.clone(),
                spent: Duration::ZERO,
                stable,
                block,
                inputs,
                buffer,
                len,
            });
        }
        let outputs = model.output_outlets()?.iter().map(|outlet| match values.get(outlet) {
            Some(&Value::Buffer(buffer, len)) => Ok((buffer, len)),
            _ => bail!("an output that nothing computes"),
        });
        let outputs = outputs.collect::<TractResult<_>>()?;
        let inputs = model.input_outlets()?.iter().map(|&outlet| Len::of(model.outlet_fact(outlet)?));
        let inputs = inputs.collect::<TractResult<Vec<Len>>>()?;
        ensure!(inputs.len() <= 4, "{} inputs", inputs.len());
        Ok(Self { steps, buffers: vec![Buffer::default(); count], outputs, inputs, batch: 0, poisoned })
    }

    /// Whether inputs of these lengths are those of a batch of `batch`.
    pub(crate) fn accepts(&self, lengths: impl ExactSizeIterator<Item = usize>, batch: usize) -> bool {
        lengths.len() == self.inputs.len() && lengths.zip(&self.inputs).all(|(n, input)| n == input.at(batch))
    }

    /// Runs the blocks on inputs for a batch of `batch`; without those that depend on the first of several inputs only if
    /// that is `unchanged` since the last run.
    pub(crate) fn run(&mut self, inputs: &[&[f32]], batch: usize, unchanged: bool, workers: &mut Workers) {
        assert!(self.accepts(inputs.iter().map(|i| i.len()), batch), "inputs of a program");
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
    }

    /// An output of the last run.
    pub(crate) fn output(&self, index: usize) -> Option<&[f32]> {
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
