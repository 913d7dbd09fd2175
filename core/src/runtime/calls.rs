//! What both readers of ONNX know of the calls that programs are built from.

use std::borrow::Cow;
use std::fmt;
use std::prelude::v1::*;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};

use super::constant::Constant;

/// What a call reads.
#[derive(Clone, Debug)]
pub(super) enum Operand<'a> {
    /// An input of the graph.
    Input(usize),
    /// The result of a call.
    Call(usize),
    /// A weight.
    Constant(Arc<Constant<'a>>),
}

/// The size of an axis, or of a whole value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) one: usize,
    /// Whether it is that many for each item of the batch.
    pub(super) batched: bool,
}

impl Size {
    pub(super) const fn fixed(one: usize) -> Self {
        Self { one, batched: false }
    }

    /// One for each item of the batch.
    pub(super) const BATCH: Self = Self { one: 1, batched: true };

    /// The number for a batch of this size.
    pub(super) const fn at(self, batch: usize) -> usize {
        if self.batched { self.one * batch } else { self.one }
    }

    /// That many times as much.
    pub(super) fn times(self, factor: usize) -> Result<Self> {
        let one = self.one.checked_mul(factor).context("a size beyond all memory")?;
        Ok(Self { one, ..self })
    }

    /// The number, of what doesn't depend on the batch.
    pub(super) fn number(self) -> Result<usize> {
        ensure!(!self.batched, "a size that depends on the batch");
        Ok(self.one)
    }

    /// The elements of a value of these sizes.
    pub(super) fn product(sizes: &[Self]) -> Result<Self> {
        let batched = sizes.iter().filter(|size| size.batched).count();
        ensure!(batched <= 1, "a size that is not in proportion to the batch");
        let one = sizes.iter().try_fold(1usize, |all, size| all.checked_mul(size.one));
        Ok(Self { one: one.context("a value beyond all memory")?, batched: batched == 1 })
    }
}

/// `N` stands for the batch.
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.batched, self.one) {
            (false, one) => write!(f, "{one}"),
            (true, 1) => write!(f, "N"),
            (true, one) => write!(f, "{one}N"),
        }
    }
}

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a call reads as its block is built: its shape, and the elements of a weight.
#[derive(Debug)]
pub(super) struct Fact<'a> {
    pub(super) shape: Cow<'a, [Size]>,
    pub(super) constant: Option<&'a Constant<'a>>,
}

impl AsRef<[Size]> for Fact<'_> {
    fn as_ref(&self) -> &[Size] {
        &self.shape
    }
}

impl Operand<'_> {
    /// What is known of it, where inputs and the calls' results are of these shapes.
    pub(super) fn fact<'a>(&'a self, inputs: &'a [Vec<Size>], calls: &'a [Vec<Size>]) -> Fact<'a> {
        match self {
            Self::Input(i) => Fact { shape: Cow::Borrowed(&inputs[*i]), constant: None },
            Self::Call(i) => Fact { shape: Cow::Borrowed(&calls[*i]), constant: None },
            Self::Constant(constant) => {
                Fact { shape: constant.shape.iter().map(|&side| Size::fixed(side)).collect(), constant: Some(constant) }
            }
        }
    }
}
