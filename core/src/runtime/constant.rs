//! The constants of a graph: its weights, and what follows from them alone.

use std::prelude::v1::*;

use anyhow::{Context, Result, bail, ensure};
use half::f16;

use super::functions::DOMAIN;
use super::onnx::message::{Node, Tensor};

/// A tensor that is known when the graph is loaded.
#[derive(Debug)]
pub(super) struct Constant {
    pub(super) shape: Vec<usize>,
    values: Values,
}

/// The elements of a constant, the last axis running fastest.
#[derive(Debug)]
enum Values {
    F32(Vec<f32>),
    F16(Vec<f16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    I64(Vec<i64>),
    /// As tract holds them.
    #[cfg(feature = "tract")]
    Tract(std::sync::Arc<tract_core::internal::Tensor>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I8(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::I64(v) => v.len(),
            #[cfg(feature = "tract")]
            Self::Tract(tensor) => tensor.len(),
        }
    }
}

impl Constant {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn new(shape: Vec<usize>, values: Values) -> Result<Self> {
        // With an empty axis, sizes of the others would be unbounded.
        ensure!(!shape.contains(&0), "shape {shape:?} has an empty axis");
        let expected = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        ensure!(expected == Some(values.len()), "{} elements for shape {shape:?}", values.len());
        Ok(Self { shape, values })
    }

    /// What tract holds.
    #[cfg(feature = "tract")]
    pub(super) fn of_tract(tensor: &std::sync::Arc<tract_core::internal::Tensor>) -> Self {
        Self { shape: tensor.shape().to_vec(), values: Values::Tract(tensor.clone()) }
    }

    /// The weight that a file holds.
    pub(super) fn read(tensor: &Tensor<'_>) -> Result<Self> {
        let shape = tensor.shape.iter().map(|&side| Ok(usize::try_from(side)?)).collect::<Result<_>>()?;
        let raw = tensor.raw.context("its elements are not raw data")?;
        let values = match tensor.kind {
            1 => Values::F32(elements(raw, f32::from_le_bytes)?),
            2 => Values::U8(raw.to_vec()),
            3 => Values::I8(elements(raw, i8::from_le_bytes)?),
            7 => Values::I64(elements(raw, i64::from_le_bytes)?),
            10 => Values::F16(elements(raw, f16::from_le_bytes)?),
            kind => bail!("elements of type {kind}"),
        };
        Self::new(shape, values)
    }

    pub(super) fn f32(&self) -> Result<&[f32]> {
        match &self.values {
            Values::F32(values) => Ok(values),
            #[cfg(feature = "tract")]
            Values::Tract(tensor) => tensor.try_as_plain_ram()?.as_slice(),
            _ => bail!("elements are not f32"),
        }
    }

    /// The elements, if they are integers of 8 bits.
    pub(super) fn i8(&self) -> Option<&[i8]> {
        match &self.values {
            Values::I8(values) => Some(values),
            #[cfg(feature = "tract")]
            Values::Tract(tensor) => tensor.try_as_plain_ram().and_then(|t| t.as_slice()).ok(),
            _ => None,
        }
    }

    /// What a node makes of constants: those operators that our export leaves to be done when a graph is loaded.
    pub(super) fn compute(node: &Node<'_>, inputs: &[&Self]) -> Result<Self> {
        let int = |name: &str| {
            let found = node.attributes.iter().find(|a| a.name == name);
            found.map(|a| a.int().with_context(|| format!("attribute {name}"))).transpose()
        };
        match (node.domain, node.op, inputs) {
            ("", "Cast", [x]) => x.cast(int("to")?.context("attribute to is missing")?),
            ("", "DequantizeLinear", [x, scale]) => x.dequantized(scale, int("axis")?.unwrap_or(1)),
            ("", "Gather", [x, indices]) => x.gathered(indices, int("axis")?.unwrap_or(0)),
            (DOMAIN, "PositionEncoding", [points, gaussian]) => Self::position_encoding(points, gaussian),
            _ => bail!("an operator that is not known, or not of {} constants", inputs.len()),
        }
    }

    fn cast(&self, to: i64) -> Result<Self> {
        let values = match (&self.values, to) {
            (Values::F16(values), 1) => Values::F32(values.iter().map(|v| v.to_f32()).collect()),
            (Values::U8(values), 7) => Values::I64(values.iter().map(|&v| i64::from(v)).collect()),
            _ => bail!("a cast to type {to}"),
        };
        Self::new(self.shape.clone(), values)
    }

    /// The position of an axis, which counts from the end if it is negative.
    fn axis(&self, axis: i64) -> Result<usize> {
        let rank = self.shape.len() as i64;
        ensure!((-rank..rank).contains(&axis), "axis {axis} of shape {:?}", self.shape);
        Ok(axis.rem_euclid(rank) as usize)
    }

    /// Integers times the scales of an axis.
    fn dequantized(&self, scale: &Self, axis: i64) -> Result<Self> {
        let axis = self.axis(axis)?;
        let integers = self.i8().context("integers of 8 bits are expected")?;
        let scales = scale.f32()?;
        ensure!(
            scale.shape == [self.shape[axis]],
            "scales of shape {:?} for axis {axis} of {:?}",
            scale.shape,
            self.shape
        );
        let inner: usize = self.shape[axis + 1..].iter().product();
        let value = |(i, &v): (usize, &i8)| f32::from(v) * scales[i / inner % scales.len()];
        Self::new(self.shape.clone(), Values::F32(integers.iter().enumerate().map(value).collect()))
    }

    /// Entries of an axis.
    fn gathered(&self, indices: &Self, axis: i64) -> Result<Self> {
        let axis = self.axis(axis)?;
        let (values, Values::I64(chosen)) = (self.f32()?, &indices.values) else { bail!("indices are not i64") };
        let count = self.shape[axis];
        let chosen = chosen.iter().map(|&i| usize::try_from(i).ok().filter(|&i| i < count));
        let chosen = chosen.collect::<Option<Vec<_>>>().with_context(|| format!("an index beyond {count}"))?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let shape = [&self.shape[..axis], &indices.shape, &self.shape[axis + 1..]].concat();
        let rows = values.len() / (count * inner);
        bounded(&[rows, chosen.len(), inner])?;
        let row = |row| chosen.iter().flat_map(move |i| &values[(row * count + i) * inner..][..inner]);
        Self::new(shape, Values::F32((0..rows).flat_map(row).copied().collect()))
    }

    /// Fourier features of points (1, P, 2) with the frequencies (2, F): sines, then cosines, (1, P, 2F).
    fn position_encoding(points: &Self, gaussian: &Self) -> Result<Self> {
        let (&[1, count, 2], &[2, frequencies]) = (&points.shape[..], &gaussian.shape[..]) else {
            bail!("points of shape {:?} with frequencies of shape {:?}", points.shape, gaussian.shape)
        };
        bounded(&[count, 2, frequencies])?;
        let (of_x, of_y) = gaussian.f32()?.split_at(frequencies);
        let mut values = Vec::with_capacity(2 * count * frequencies);
        for &[x, y] in points.f32()?.as_chunks::<2>().0 {
            let phases = of_x.iter().zip(of_y).map(|(a, b)| y.mul_add(*b, x * a) * std::f32::consts::TAU);
            values.extend(phases.clone().map(f32::sin));
            values.extend(phases.map(f32::cos));
        }
        Self::new(vec![1, count, 2 * frequencies], Values::F32(values))
    }
}

/// Most elements of what is computed: a small file could ask for more than there is memory.
pub(super) const MAX_COMPUTED: usize = 1 << 26;

fn bounded(shape: &[usize]) -> Result<()> {
    let len = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
    ensure!(len.is_some_and(|len| len <= MAX_COMPUTED), "{shape:?} elements; at most {MAX_COMPUTED} are computed");
    Ok(())
}

fn elements<const N: usize, T>(raw: &[u8], read: impl Fn([u8; N]) -> T) -> Result<Vec<T>> {
    let (elements, rest) = raw.as_chunks::<N>();
    ensure!(rest.is_empty(), "{} bytes of elements of {N}", raw.len());
    Ok(elements.iter().map(|&bytes| read(bytes)).collect())
}
