//! A layer of weights and bias.

use std::prelude::v1::*;

use crate::Precision;
use crate::runtime::kernels::{Activation, Kernels, Matrix, Output, Prepare, Weights, Words};

/// `x W + b`, packed.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weights: Weights,
    pub(super) bias: Vec<f32>,
    pub(super) k: usize,
    pub(super) n: usize,
}

impl Linear {
    pub(super) const fn precision(&self) -> Precision {
        self.weights.precision()
    }

    /// The layer's output for these rows.
    pub(super) fn run(&self, kernels: Kernels, rows: &Matrix<'_>, out: Output<'_>) {
        kernels.product(rows, &self.weights.panels(), out.bias(&self.bias));
    }

    /// As [`run`](Self::run) for rows of f32, `ld` apart: converted in `words` if the layer is not one of f32.
    pub(super) fn run_f32(
        &self,
        kernels: Kernels,
        rows: &[f32],
        ld: usize,
        count: usize,
        words: &mut Words<'_>,
        out: Output<'_>,
    ) {
        if self.precision() == Precision::F32 {
            return self.run(kernels, &Matrix::f32(rows, ld, count, self.k), out);
        }
        kernels.rows(self.precision(), rows, ld, (count, self.k), Prepare::Nothing, words, 0);
        self.run(kernels, &words.matrix(kernels, self.precision(), count, self.k), out);
    }

    /// The layer's activated output as rows for a next layer of precision `next`: at once where that is possible, through
    /// `f32s` where int8 must see a whole row first.
    #[expect(clippy::too_many_arguments, reason = "two outputs, one of them for int8 only")]
    pub(super) fn run_into(
        &self,
        kernels: Kernels,
        rows: &Matrix<'_>,
        count: usize,
        activation: Activation,
        next: Precision,
        f32s: &mut [f32],
        words: &mut Words<'_>,
    ) {
        let ld = kernels.words(next, self.n);
        if next == Precision::Int8 {
            self.run(kernels, rows, Output::new(f32s, self.n).activation(activation));
            kernels.rows(next, f32s, self.n, (count, self.n), Prepare::Nothing, words, 0);
        } else {
            let out = Output::new(words.values(), ld).activation(activation).precision(next);
            self.run(kernels, rows, out);
        }
    }
}
