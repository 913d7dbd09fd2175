//! What the comparisons share: workers on pipes, pinned to cores, and the file of results.

#![forbid(unsafe_code)]

pub mod arguments;
pub mod cores;
pub mod machine;
pub mod python;
pub mod results;
pub mod worker;

use std::path::Path;

use umedsam::{Error, Model};

/// The bundle in `path`, or the built-in one.
pub fn load_model(path: Option<&Path>) -> Result<Model, Error> {
    path.map_or_else(Model::bundled, Model::load)
}
