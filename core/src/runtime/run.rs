//! One session's runs of a program.

use core::ops::Range;
use std::prelude::v1::*;
use std::sync::Arc;
use std::time::Duration;

use super::kernels::poison;
use super::layout::Layout;
use super::program::{Program, Source};
use super::workers::{Workers, Workspace};
use crate::stopwatch::Stopwatch;

/// A program at work. Its results stay in the workspace until the next run there, be it of this program or another.
///
/// Nothing is allocated while it runs with a batch no greater than one that it ran with before.
#[derive(Debug)]
pub(crate) struct Run {
    program: Arc<Program>,
    layout: Layout,
    batch: usize,
    /// The run whose results are this program's, if it came to its end.
    complete: Option<u64>,
    /// Time that each step took so far.
    spent: Vec<Duration>,
}

impl Run {
    pub(crate) fn new(program: Arc<Program>) -> Self {
        let (layout, spent) = (program.layout(1), vec![Duration::ZERO; program.steps.len()]);
        Self { program, layout, batch: 0, complete: None, spent }
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// Runs the blocks on inputs whose [`batch`](Program::batch) is this; without those that depend on the first of
    /// several inputs only if that is `unchanged` since the last run, and the results of that are still there.
    pub(crate) fn run(&mut self, inputs: &[&[f32]], batch: usize, unchanged: bool, workspace: &mut Workspace) {
        let Self { program, layout, spent, .. } = self;
        let complete = self.complete.take();
        let mut unchanged = unchanged && complete.is_some_and(|run| workspace.holds(run));
        if batch > layout.batch {
            *layout = program.layout(batch);
            unchanged = false;
        }
        let run = workspace.begin(layout.len, program.scratch());
        workspace.enter(|arena, scratch| {
            for (i, step) in program.steps.iter().enumerate().filter(|(_, s)| !(unchanged && s.stable)) {
                let start = Stopwatch::start();
                let place =
                    |step: usize| layout.results[step]..layout.results[step] + program.steps[step].len.at(batch);
                let Parts { out, shared, rest } = Parts::new(arena, place(i), layout.shared[i].clone());
                let mut workers = Workers::new(scratch, shared);
                if program.poisoned {
                    poison(out);
                    workers.poison();
                }
                let mut given: [&[f32]; 4] = [&[]; 4];
                for (given, source) in given.iter_mut().zip(&step.inputs) {
                    *given = match *source {
                        Source::Input(input) => inputs[input],
                        Source::Step(other) => rest.read(place(other)),
                    };
                }
                step.block.run(&given[..step.inputs.len()], out, &mut workers);
                spent[i] += start.elapsed();
            }
        });
        self.batch = batch;
        self.complete = Some(run);
    }

    /// An output of the last run, if that came to its end and no other followed in the workspace.
    pub(crate) fn output<'w>(&self, index: usize, workspace: &'w Workspace) -> Option<&'w [f32]> {
        let step = *self.program.outputs.get(index)?;
        let values = workspace.results(self.complete?)?.get(self.layout.results[step]..)?;
        values.get(..self.program.steps[step].len.at(self.batch))
    }

    /// Time spent in each function so far, in the order of their first calls.
    pub(crate) fn profile(&self) -> Vec<(String, Duration)> {
        let mut profile: Vec<(String, Duration)> = Vec::new();
        for (step, &spent) in self.program.steps.iter().zip(&self.spent) {
            match profile.iter_mut().find(|(function, _)| *function == step.function) {
                Some((_, sum)) => *sum += spent,
                None => profile.push((step.function.clone(), spent)),
            }
        }
        profile
    }
}

/// Memory in parts: what a step writes, and what is left for it to read.
struct Parts<'a> {
    out: &'a mut [f32],
    shared: &'a mut [f32],
    rest: Rest<'a>,
}

/// Memory that is read, in pieces, each with its place.
struct Rest<'a>([(usize, &'a [f32]); 3]);

impl<'a> Parts<'a> {
    fn new(arena: &'a mut [f32], out: Range<usize>, shared: Range<usize>) -> Self {
        let turned = (shared.start, shared.end) < (out.start, out.end);
        let (low, high) = if turned { (&shared, &out) } else { (&out, &shared) };
        let (before, tail) = arena.split_at_mut(low.start);
        let (first, tail) = tail.split_at_mut(low.len());
        let (between, tail) = tail.split_at_mut(high.start - low.end);
        let (second, after) = tail.split_at_mut(high.len());
        let rest = Rest([(0, before), (low.end, between), (high.end, after)]);
        let (out, shared) = if turned { (second, first) } else { (first, second) };
        Self { out, shared, rest }
    }
}

impl<'a> Rest<'a> {
    fn read(&self, place: Range<usize>) -> &'a [f32] {
        let piece = self.0.iter().rev().find(|(start, _)| *start <= place.start);
        let (start, values) = piece.unwrap_or(&self.0[0]);
        &values[place.start - start..place.end - start]
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::runtime::calls::Size;
    use crate::runtime::ops::Block;
    use crate::runtime::program::Step;
    use crate::runtime::shared::Shared;

    /// Adds its inputs in the threads; panics there while it is told to.
    #[derive(Debug)]
    struct Sum(Arc<AtomicBool>);

    impl Block for Sum {
        fn bytes(&self) -> usize {
            0
        }

        fn scratch(&self) -> usize {
            16
        }

        fn run(&self, inputs: &[&[f32]], out: &mut [f32], workers: &mut Workers<'_>) {
            workers.team().each(|_| assert!(!self.0.load(Ordering::Relaxed), "provoked"));
            for (i, out) in out.iter_mut().enumerate() {
                *out = inputs.iter().map(|input| input[i % input.len()]).sum();
            }
        }
    }

    /// An image of two values, then each box plus the image.
    fn program(panics: &Arc<AtomicBool>) -> Arc<Program> {
        let two = Size { one: 2, batched: false };
        let boxes = Size { one: 2, batched: true };
        let step = |stable, inputs, len, last_use| {
            let block = Box::new(Sum(panics.clone()));
            Step { function: "Sum".into(), stable, block, inputs, len, last_use }
        };
        let steps = vec![
            step(true, vec![Source::Input(0)], two, 1),
            step(false, vec![Source::Input(1), Source::Step(0)], boxes, usize::MAX),
        ];
        let inputs = vec![vec![two], vec![Size { one: 1, batched: true }, two]];
        Arc::new(Program { steps, outputs: vec![1], inputs, poisoned: true })
    }

    fn workspace(threads: usize) -> Workspace {
        Workspace::new(Shared::default().pool(threads).unwrap())
    }

    #[test]
    fn nothing_is_taken_from_a_run_that_panicked() {
        let panics = Arc::new(AtomicBool::new(false));
        for threads in [1, 2] {
            let (mut run, mut workspace) = (Run::new(program(&panics)), workspace(threads));
            // Nothing to go on from yet, whatever is promised.
            run.run(&[&[10.0, 20.0], &[1.0, 2.0]], 1, true, &mut workspace);
            assert_eq!(run.output(0, &workspace), Some(&[11.0, 22.0][..]));
            panics.store(true, Ordering::Relaxed);
            let provoked = || run.run(&[&[30.0, 40.0], &[1.0, 2.0]], 1, false, &mut workspace);
            assert!(catch_unwind(AssertUnwindSafe(provoked)).is_err());
            panics.store(false, Ordering::Relaxed);
            assert_eq!(run.output(0, &workspace), None);
            run.run(&[&[30.0, 40.0], &[1.0, 2.0, 3.0, 4.0]], 2, true, &mut workspace);
            assert_eq!(run.output(0, &workspace), Some(&[31.0, 42.0, 33.0, 44.0][..]));
        }
    }

    #[test]
    fn nothing_is_taken_from_memory_that_another_ran_in() {
        let program = program(&Arc::default());
        let (mut first, mut second, mut workspace) = (Run::new(program.clone()), Run::new(program), workspace(1));
        let boxes: [&[f32]; 3] = [&[1.0, 2.0], &[3.0, 4.0], &[0.0; 40]];
        first.run(&[&[10.0, 20.0], boxes[0]], 1, false, &mut workspace);
        // What is promised to be unchanged is not computed again, here against the truth.
        first.run(&[&[0.0, 0.0], boxes[1]], 1, true, &mut workspace);
        assert_eq!(first.output(0, &workspace), Some(&[13.0, 24.0][..]));
        second.run(&[&[70.0, 80.0], boxes[0]], 1, false, &mut workspace);
        assert_eq!(first.output(0, &workspace), None);
        first.run(&[&[10.0, 20.0], boxes[1]], 1, true, &mut workspace);
        assert_eq!(first.output(0, &workspace), Some(&[13.0, 24.0][..]));
        // Greater than what there was room for: all is somewhere else.
        first.run(&[&[10.0, 20.0], boxes[2]], 20, true, &mut workspace);
        assert_eq!(first.output(0, &workspace), Some(&[10.0, 20.0].repeat(20)[..]));
    }

    #[test]
    fn two_runs_share_a_program_and_its_threads() {
        let (program, shared) = (program(&Arc::default()), Shared::default());
        let pools: Vec<_> = (0..3).map(|_| shared.pool(2).unwrap()).collect();
        std::thread::scope(|scope| {
            for (number, pool) in pools.into_iter().enumerate() {
                let program = program.clone();
                scope.spawn(move || {
                    let (mut run, mut workspace) = (Run::new(program), Workspace::new(pool));
                    for i in 0..200 {
                        let image = [number as f32, i as f32];
                        run.run(&[&image, &[1.0, 2.0]], 1, false, &mut workspace);
                        assert_eq!(run.output(0, &workspace), Some(&[image[0] + 1.0, image[1] + 2.0][..]));
                    }
                });
            }
        });
    }
}
