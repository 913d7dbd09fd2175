//! The boxes of a case, in either way that the challenges store them.

use std::prelude::v1::*;

use super::pickle::{Dictionary, dictionaries};
use super::{Array, Problem};
use crate::{PixelBox, VoxelBox};

/// The boxes of a case.
#[derive(Clone, Debug, PartialEq)]
pub enum Boxes {
    /// Boxes in an image.
    Plane(Vec<PixelBox>),
    /// Boxes in a volume.
    Volume(Vec<VoxelBox>),
}

impl Boxes {
    /// Number of boxes.
    pub fn len(&self) -> usize {
        match self {
            Self::Plane(boxes) => boxes.len(),
            Self::Volume(boxes) => boxes.len(),
        }
    }

    /// Whether there is no box.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Boxes in rows of numbers.
pub(super) fn rows(array: &Array) -> Result<Boxes, Problem> {
    let [count, columns] = array.shape[..] else {
        return Err(Problem::Shape { found: array.shape.clone(), expected: "(N,4) or (N,6)".into() });
    };
    if count == 0 {
        return Err(Problem::Shape { found: array.shape.clone(), expected: "at least one box".into() });
    }
    let values = array.values.to_f64();
    Ok(match columns {
        4 => Boxes::Plane(values.chunks_exact(4).map(|b| PixelBox::new(b[0], b[1], b[2], b[3])).collect()),
        6 => Boxes::Volume(values.chunks_exact(6).map(|b| VoxelBox::new(b[0], b[1], b[2], b[3], b[4], b[5])).collect()),
        _ => return Err(Problem::Shape { found: array.shape.clone(), expected: "(N,4) or (N,6)".into() }),
    })
}

/// Boxes in dictionaries, which an array of this shape holds as a pickle.
pub(super) fn pickled(pickle: &[u8], shape: &[usize]) -> Result<Boxes, Problem> {
    let found = dictionaries(pickle)?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if found.is_empty() || count != Some(found.len()) {
        let expected = format!("one of {} boxes, which is what it holds, and at least one,", found.len());
        return Err(Problem::Shape { found: shape.into(), expected });
    }
    let volume: Result<Vec<VoxelBox>, Problem> = found.iter().zip(1..).map(|(d, n)| in_slice(d, n)).collect();
    volume.map(Boxes::Volume)
}

/// The box of a dictionary: x and y in the slice `z_mid`, and the slices that the object is in.
fn in_slice(dictionary: &Dictionary<'_>, number: usize) -> Result<VoxelBox, Problem> {
    const KEYS: [&str; 7] = ["z_mid_x_min", "z_mid_y_min", "z_mid_x_max", "z_mid_y_max", "z_min", "z_mid", "z_max"];
    let wrong = |reason: String| Problem::Box { number, reason };
    if let Some((key, _)) = dictionary.iter().find(|(key, _)| !KEYS.contains(key)) {
        return Err(wrong(format!("unknown key '{key}'")));
    }
    let mut values = [0.0; 7];
    for (value, key) in values.iter_mut().zip(KEYS) {
        // As Python has it, the last of several counts.
        let found = dictionary.iter().rev().find(|(name, _)| *name == key);
        *value = found.ok_or_else(|| wrong(format!("no '{key}'")))?.1;
    }
    let [x0, y0, x1, y1, z0, z, z1] = values;
    if !(z >= z0 && z <= z1 && z >= 0.0 && z == libm::trunc(z)) {
        return Err(wrong(format!("z_mid is {z}; a whole number from z_min, {z0}, to z_max, {z1}, expected")));
    }
    Ok(VoxelBox::new(x0, y0, z0, x1, y1, z1).with_slice(z as usize))
}
