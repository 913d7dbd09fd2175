//! Tensors as plain row-major vectors, and how they are gathered out of a storage.

use std::fmt;

use super::error::{Error, ErrorKind};
use super::pickle::TensorRef;

/// Element types of PyTorch storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
#[non_exhaustive]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl DType {
    /// The type of a `torch` storage class such as `FloatStorage`.
    pub(crate) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "DoubleStorage" => Self::F64,
            "FloatStorage" => Self::F32,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::BF16,
            "LongStorage" => Self::I64,
            "IntStorage" => Self::I32,
            "ShortStorage" => Self::I16,
            "CharStorage" => Self::I8,
            "ByteStorage" => Self::U8,
            "BoolStorage" => Self::Bool,
            _ => return None,
        })
    }

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// The short name used in the table of tensors: `f32`, `i64`, ...
    pub fn name(self) -> &'static str {
        match self {
            Self::F64 => "f64",
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
            Self::I64 => "i64",
            Self::I32 => "i32",
            Self::I16 => "i16",
            Self::I8 => "i8",
            Self::U8 => "u8",
            Self::Bool => "bool",
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The elements of a tensor, row-major. Half-precision storages are widened to `f32`, which is exact.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Weights.
    F32(Vec<f32>),
    /// Counters (`num_batches_tracked`).
    I64(Vec<i64>),
}

/// A tensor: as many elements as its shape asks for. An empty shape is a scalar.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor of this shape.
    ///
    /// # Errors
    /// [`ErrorKind::ShapeMismatch`] unless `data` has as many elements as `shape`.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Self, Error> {
        Ok(Self::checked(shape, data)?)
    }

    pub(crate) fn checked(shape: Vec<usize>, data: TensorData) -> Result<Self, ErrorKind> {
        let elements = match &data {
            TensorData::F32(v) => v.len(),
            TensorData::I64(v) => v.len(),
        };
        if element_count(&shape) != Some(elements) {
            return Err(ErrorKind::ShapeMismatch { elements, shape });
        }
        Ok(Self { shape, data })
    }

    /// Lengths of the axes, slowest first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            TensorData::F32(v) => v.len(),
            TensorData::I64(v) => v.len(),
        }
    }

    /// Whether an axis has length zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// [`DType::F32`] or [`DType::I64`].
    pub fn dtype(&self) -> DType {
        match &self.data {
            TensorData::F32(_) => DType::F32,
            TensorData::I64(_) => DType::I64,
        }
    }

    /// Gathers `view` out of the bytes of its storage. Call [`check_view`] first.
    pub(crate) fn gather(name: &str, view: &TensorRef<'_>, storage: &[u8]) -> Result<Self, ErrorKind> {
        let data = match view.storage.dtype {
            DType::F32 => TensorData::F32(gather(view, storage, f32::from_le_bytes)),
            DType::F16 => TensorData::F32(gather(view, storage, |b| half::f16::from_le_bytes(b).to_f32())),
            DType::BF16 => TensorData::F32(gather(view, storage, |b| half::bf16::from_le_bytes(b).to_f32())),
            DType::I64 => TensorData::I64(gather(view, storage, i64::from_le_bytes)),
            dtype => return Err(ErrorKind::UnsupportedType { tensor: name.to_owned(), dtype: dtype.to_string() }),
        };
        Ok(Self { shape: view.shape.clone(), data })
    }
}

/// Product of a shape, unless it overflows.
pub(crate) fn element_count(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the tensor empty, whatever the other axes would overflow to.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d))
}

/// Number of elements of `view`, when all of them lie inside its storage.
pub(crate) fn check_view(name: &str, view: &TensorRef<'_>) -> Result<usize, ErrorKind> {
    let elements = view.storage.elements;
    let count = || {
        let count = element_count(&view.shape)?;
        if count == 0 {
            return (view.offset <= elements).then_some(0);
        }
        let last = view
            .shape
            .iter()
            .zip(&view.strides)
            .try_fold(view.offset, |at, (&d, &s)| at.checked_add((d - 1).checked_mul(s)?))?;
        (last < elements).then_some(count)
    };
    count().ok_or_else(|| ErrorKind::OutOfStorage {
        tensor: name.to_owned(),
        offset: view.offset,
        shape: view.shape.clone(),
        strides: view.strides.clone(),
        elements,
    })
}

fn gather<const N: usize, T>(view: &TensorRef<'_>, storage: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (storage, _) = storage.as_chunks::<N>();
    let count = element_count(&view.shape).unwrap_or(0);
    if count == 0 {
        return Vec::new();
    }
    if is_contiguous(view) {
        return storage[view.offset..view.offset + count].iter().map(|&b| decode(b)).collect();
    }
    let mut out = Vec::with_capacity(count);
    let mut index = vec![0; view.shape.len()];
    let mut at = view.offset;
    loop {
        out.push(decode(storage[at]));
        // Odometer: step the fastest axis, and on wrapping go back to its start and carry.
        let mut axis = view.shape.len();
        loop {
            if axis == 0 {
                return out;
            }
            axis -= 1;
            index[axis] += 1;
            if index[axis] < view.shape[axis] {
                at += view.strides[axis];
                break;
            }
            at -= (view.shape[axis] - 1) * view.strides[axis];
            index[axis] = 0;
        }
    }
}

fn is_contiguous(view: &TensorRef<'_>) -> bool {
    let mut expected = 1;
    view.shape.iter().zip(&view.strides).rev().all(|(&d, &s)| {
        // The stride of an axis of length one is never used and may be anything.
        let fits = d == 1 || s == expected;
        expected *= d;
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::pickle::StorageRef;

    fn view(offset: usize, shape: &[usize], strides: &[usize], elements: usize) -> TensorRef<'static> {
        let storage = StorageRef { key: "0", dtype: DType::F32, elements };
        TensorRef { storage, offset, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    #[test]
    fn bounds_are_exact() {
        for (v, ok) in [
            (view(0, &[], &[], 1), true),
            (view(1, &[], &[], 1), false),
            (view(1, &[2, 3], &[3, 1], 7), true),
            (view(2, &[2, 3], &[3, 1], 7), false),
            (view(7, &[0, 3], &[3, 1], 7), true),
            (view(8, &[0], &[1], 7), false),
            (view(0, &[2, 2], &[1, usize::MAX], 7), false),
            (view(usize::MAX, &[2], &[1], 7), false),
            (view(0, &[usize::MAX, 2], &[0, 0], 7), false),
        ] {
            assert_eq!(check_view("t", &v).is_ok(), ok, "{v:?}");
        }
    }

    #[test]
    fn strides_are_followed() {
        let storage: Vec<u8> = (0..12_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let get = |v: &TensorRef<'_>| match Tensor::gather("t", v, &storage).unwrap().data {
            TensorData::F32(v) => v,
            TensorData::I64(_) => unreachable!(),
        };
        assert_eq!(get(&view(4, &[], &[], 12)), [4.]);
        assert_eq!(get(&view(1, &[2, 3], &[3, 1], 12)), [1., 2., 3., 4., 5., 6.]);
        assert_eq!(get(&view(0, &[3, 2], &[1, 6], 12)), [0., 6., 1., 7., 2., 8.]);
        assert_eq!(get(&view(5, &[2, 2], &[0, 0], 12)), [5., 5., 5., 5.]);
        assert_eq!(get(&view(3, &[1, 2], &[99, 1], 12)), [3., 4.]);
        assert!(get(&view(0, &[2, 0], &[1, 1], 12)).is_empty());
    }

    #[test]
    fn a_tensor_fills_its_shape() {
        assert!(Tensor::new(vec![2, 2], TensorData::I64(vec![1, 2, 3])).is_err());
        assert!(Tensor::new(vec![], TensorData::I64(vec![1])).is_ok());
        assert!(Tensor::new(vec![usize::MAX, 3], TensorData::F32(vec![])).is_err());
    }
}
