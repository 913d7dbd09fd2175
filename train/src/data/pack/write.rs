use std::io;
use std::path::Path;

use sha2::{Digest, Sha256};
use umedsam::files::write_atomically;
use umedsam::preprocess::PREPROCESSING_VERSION;

use super::{DIGEST, HEADER, Index, Item, MAGIC, VERSION};

/// A slice as a pack holds it.
#[derive(Clone, Debug)]
pub struct Encoded {
    item: Item,
    picture: Vec<u8>,
    labels: Vec<u8>,
}

impl Encoded {
    pub(super) fn new(item: Item, picture: Vec<u8>, labels: Vec<u8>) -> Self {
        Self { item, picture, labels }
    }

    /// Name of the case's file.
    pub fn case(&self) -> &str {
        &self.item.case
    }

    /// Bytes of the picture.
    pub fn picture_bytes(&self) -> usize {
        self.picture.len()
    }

    /// Bytes of the labels.
    pub fn label_bytes(&self) -> usize {
        self.labels.len()
    }

    /// Bytes that a pack grows by, with the item's comma in the index.
    fn bytes(&self) -> usize {
        self.picture.len() + self.labels.len() + json(&self.item).len() + 1
    }
}

/// A pack that is filled.
#[derive(Debug)]
pub struct Shard {
    min_area: usize,
    slices: Vec<Encoded>,
    bytes: usize,
}

impl Shard {
    /// Without slices yet; their labels are those of more than `min_area` pixels.
    pub fn new(min_area: usize) -> Self {
        let empty = Index { preprocessing: PREPROCESSING_VERSION, min_area, slices: Vec::new() };
        Self { min_area, slices: Vec::new(), bytes: HEADER + json(&empty).len() + DIGEST }
    }

    /// Most bytes that the file would have with one more slice: one more than it has.
    pub fn bytes_with(&self, slice: &Encoded) -> usize {
        self.bytes + slice.bytes()
    }

    /// Adds a slice.
    pub fn push(&mut self, slice: Encoded) {
        self.bytes += slice.bytes();
        self.slices.push(slice);
    }

    /// The slices, in the order in which they came.
    pub fn slices(&self) -> &[Encoded] {
        &self.slices
    }

    /// Writes the file, so that nobody ever sees half of it.
    ///
    /// # Errors
    /// What the system says.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let items = self.slices.iter().map(|slice| slice.item.clone()).collect();
        let index = json(&Index { preprocessing: PREPROCESSING_VERSION, min_area: self.min_area, slices: items });
        let length = u32::try_from(index.len()).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(self.bytes);
        bytes.extend(MAGIC);
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(index);
        for slice in &self.slices {
            bytes.extend(&slice.picture);
            bytes.extend(&slice.labels);
        }
        bytes.extend(Sha256::digest(&bytes));
        write_atomically(path, |file| file.write_all(&bytes))
    }
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("names and numbers are JSON")
}
