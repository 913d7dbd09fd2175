//! Label maps, as a page asks for them.

use serde::Deserialize;

use super::{Output, Unfit};

/// What is written: a format, and objects by their runs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelsAsked {
    format: String,
    /// The first is label 1, and so on. Where they overlap, the later prevails.
    objects: Vec<Object>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Object {
    /// 1 to 64 characters of ASCII, for formats that have names.
    #[serde(default)]
    name: Option<String>,
    slices: Vec<Slice>,
}

/// Runs of a slice along axis 0: as many pixels without the object, then with it, and so on, row by row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Slice {
    slice: usize,
    runs: Vec<u32>,
}

/// The same, checked.
pub struct Labelled {
    /// What is written.
    pub output: Output,
    /// The names of the objects, for formats that have names.
    pub names: Vec<Option<String>>,
    /// The slices along axis 0 of each object, and the runs in them.
    pub objects: Vec<Vec<(usize, Vec<u32>)>>,
}

impl LabelsAsked {
    /// The same, checked as far as it does not depend on the image.
    ///
    /// # Errors
    /// If there is no such format, or are too many objects.
    pub fn read(self) -> Result<Labelled, Unfit> {
        let output = Output::named(&self.format)?;
        if self.objects.len() > usize::from(u16::MAX) {
            return Err(Unfit::asked("more than 65535 objects"));
        }
        let (names, objects) = self
            .objects
            .into_iter()
            .map(|o| (o.name, o.slices.into_iter().map(|s| (s.slice, s.runs)).collect()))
            .unzip();
        Ok(Labelled { output, names, objects })
    }
}
