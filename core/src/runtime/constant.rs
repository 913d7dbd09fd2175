//! The constants of a graph: its weights, and what follows from them alone.

use std::borrow::Cow;
use std::prelude::v1::*;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use half::f16;

use super::functions::DOMAIN;
use super::onnx::message::{Node, Tensor};

/// A tensor that is known when the graph is loaded. Weights stay where the file has them, until a block is built of them.
#[derive(Debug)]
pub(super) struct Constant<'a> {
    pub(super) shape: Vec<usize>,
    values: Values<'a>,
}

/// The elements of a constant, the last axis running fastest.
#[derive(Clone, Debug)]
enum Values<'a> {
    /// As a file holds them: little-endian.
    F32(&'a [[u8; 4]]),
    F16(&'a [[u8; 2]]),
    I8(&'a [u8]),
    U8(&'a [u8]),
    I64(&'a [[u8; 8]]),
    /// Computed.
    Floats(Arc<Vec<f32>>),
    Indices(Vec<i64>),
    /// As tract holds them.
    #[cfg(feature = "tract")]
    Tract(Arc<tract_core::internal::Tensor>),
}

/// Floats that blocks share.
#[derive(Debug)]
pub(super) enum Shared {
    Floats(Arc<Vec<f32>>),
    #[cfg(feature = "tract")]
    Tract(Arc<tract_core::internal::Tensor>),
}

impl Shared {
    pub(super) fn values(&self) -> &[f32] {
        match self {
            Self::Floats(values) => values,
            // Checked when it was made.
            #[cfg(feature = "tract")]
            Self::Tract(tensor) => tensor.try_as_plain_ram().and_then(|t| t.as_slice()).unwrap_or_default(),
        }
    }
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F16(v) => v.len(),
            Self::I8(v) | Self::U8(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::Floats(v) => v.len(),
            Self::Indices(v) => v.len(),
            #[cfg(feature = "tract")]
            Self::Tract(tensor) => tensor.len(),
        }
    }
}

impl<'a> Constant<'a> {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    fn new(shape: Vec<usize>, values: Values<'a>) -> Result<Self> {
        // With an empty axis, sizes of the others would be unbounded.
        ensure!(!shape.contains(&0), "shape {shape:?} has an empty axis");
        let expected = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
        ensure!(expected == Some(values.len()), "{} elements for shape {shape:?}", values.len());
        Ok(Self { shape, values })
    }

    fn computed(shape: Vec<usize>, values: Vec<f32>) -> Result<Constant<'static>> {
        Constant::new(shape, Values::Floats(Arc::new(values)))
    }

    /// What tract holds.
    #[cfg(feature = "tract")]
    pub(super) fn of_tract(tensor: &Arc<tract_core::internal::Tensor>) -> Self {
        Self { shape: tensor.shape().to_vec(), values: Values::Tract(tensor.clone()) }
    }

    /// The weight that a file holds.
    pub(super) fn read(tensor: &Tensor<'a>) -> Result<Self> {
        let shape = tensor.shape.iter().map(|&side| Ok(usize::try_from(side)?)).collect::<Result<_>>()?;
        let raw = tensor.raw.context("its elements are not raw data")?;
        let values = match tensor.kind {
            1 => Values::F32(elements(raw)?),
            2 => Values::U8(raw),
            3 => Values::I8(raw),
            7 => Values::I64(elements(raw)?),
            10 => Values::F16(elements(raw)?),
            kind => bail!("elements of type {kind}"),
        };
        Self::new(shape, values)
    }

    /// The elements, which are floats; copied if they are a file's.
    pub(super) fn f32(&self) -> Result<Cow<'_, [f32]>> {
        match &self.values {
            Values::F32(raw) => Ok(raw.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()),
            Values::Floats(values) => Ok(Cow::Borrowed(values)),
            #[cfg(feature = "tract")]
            Values::Tract(tensor) => Ok(Cow::Borrowed(tensor.try_as_plain_ram()?.as_slice()?)),
            _ => bail!("elements are not f32"),
        }
    }

    /// The elements, which are floats, for longer than the file is there.
    pub(super) fn kept(&self) -> Result<Shared> {
        Ok(match &self.values {
            Values::Floats(values) => Shared::Floats(values.clone()),
            #[cfg(feature = "tract")]
            Values::Tract(tensor) => {
                self.f32()?;
                Shared::Tract(tensor.clone())
            }
            _ => Shared::Floats(Arc::new(self.f32()?.into_owned())),
        })
    }

    /// The elements, if they are integers of 8 bits; copied if they are a file's.
    pub(super) fn i8(&self) -> Option<Cow<'_, [i8]>> {
        match &self.values {
            Values::I8(raw) => Some(raw.iter().map(|&byte| byte.cast_signed()).collect()),
            #[cfg(feature = "tract")]
            Values::Tract(tensor) => tensor.try_as_plain_ram().and_then(|t| t.as_slice()).ok().map(Cow::Borrowed),
            _ => None,
        }
    }

    /// The elements, if they are indices.
    fn indices(&self) -> Option<Cow<'_, [i64]>> {
        match &self.values {
            Values::I64(raw) => Some(raw.iter().map(|&bytes| i64::from_le_bytes(bytes)).collect()),
            Values::Indices(indices) => Some(Cow::Borrowed(indices)),
            _ => None,
        }
    }

    /// What a node makes of constants: those operators that our export leaves to be done when a graph is loaded.
    pub(super) fn compute(node: &Node<'_>, inputs: &[&Self]) -> Result<Constant<'static>> {
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

    fn cast(&self, to: i64) -> Result<Constant<'static>> {
        match (&self.values, to) {
            (Values::F16(raw), 1) => {
                let values = raw.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect();
                Self::computed(self.shape.clone(), values)
            }
            (Values::U8(raw), 7) => {
                let indices = raw.iter().map(|&index| i64::from(index)).collect();
                Constant::new(self.shape.clone(), Values::Indices(indices))
            }
            _ => bail!("a cast to type {to}"),
        }
    }

    /// The position of an axis, which counts from the end if it is negative.
    fn axis(&self, axis: i64) -> Result<usize> {
        let rank = self.shape.len() as i64;
        ensure!((-rank..rank).contains(&axis), "axis {axis} of shape {:?}", self.shape);
        Ok(axis.rem_euclid(rank) as usize)
    }

    /// Integers times the scales of an axis.
    fn dequantized(&self, scale: &Self, axis: i64) -> Result<Constant<'static>> {
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
        Self::computed(self.shape.clone(), integers.iter().enumerate().map(value).collect())
    }

    /// Entries of an axis.
    fn gathered(&self, indices: &Self, axis: i64) -> Result<Constant<'static>> {
        let axis = self.axis(axis)?;
        let (values, chosen) = (self.f32()?, indices.indices().context("indices are not i64")?);
        let count = self.shape[axis];
        let chosen = chosen.iter().map(|&i| usize::try_from(i).ok().filter(|&i| i < count));
        let chosen = chosen.collect::<Option<Vec<_>>>().with_context(|| format!("an index beyond {count}"))?;
        let inner: usize = self.shape[axis + 1..].iter().product();
        let shape = [&self.shape[..axis], &indices.shape, &self.shape[axis + 1..]].concat();
        let rows = values.len() / (count * inner);
        bounded(&[rows, chosen.len(), inner])?;
        let values = &*values;
        let row = |row| chosen.iter().flat_map(move |i| &values[(row * count + i) * inner..][..inner]);
        Self::computed(shape, (0..rows).flat_map(row).copied().collect())
    }

    /// Fourier features of points (1, P, 2) with the frequencies (2, F): sines, then cosines, (1, P, 2F).
    fn position_encoding(points: &Self, gaussian: &Self) -> Result<Constant<'static>> {
        let (&[1, count, 2], &[2, frequencies]) = (&points.shape[..], &gaussian.shape[..]) else {
            bail!("points of shape {:?} with frequencies of shape {:?}", points.shape, gaussian.shape)
        };
        bounded(&[count, 2, frequencies])?;
        let (points, gaussian) = (points.f32()?, gaussian.f32()?);
        let (of_x, of_y) = gaussian.split_at(frequencies);
        let mut values = Vec::with_capacity(2 * count * frequencies);
        for &[x, y] in points.as_chunks::<2>().0 {
            let phases = of_x.iter().zip(of_y).map(|(a, b)| y.mul_add(*b, x * a) * std::f32::consts::TAU);
            values.extend(phases.clone().map(f32::sin));
            values.extend(phases.map(f32::cos));
        }
        Self::computed(vec![1, count, 2 * frequencies], values)
    }
}

/// Most elements of what is computed: a small file could ask for more than there is memory.
pub(super) const MAX_COMPUTED: usize = 1 << 26;

fn bounded(shape: &[usize]) -> Result<()> {
    let len = shape.iter().try_fold(1usize, |len, &side| len.checked_mul(side));
    ensure!(len.is_some_and(|len| len <= MAX_COMPUTED), "{shape:?} elements; at most {MAX_COMPUTED} are computed");
    Ok(())
}

fn elements<const N: usize>(raw: &[u8]) -> Result<&[[u8; N]]> {
    let (elements, rest) = raw.as_chunks::<N>();
    ensure!(rest.is_empty(), "{} bytes of elements of {N}", raw.len());
    Ok(elements)
}
