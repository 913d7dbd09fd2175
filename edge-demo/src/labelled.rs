//! Files of labels of all kinds: pictures, NIfTI, DICOM.

use std::path::Path;

use umedsam_demo::labels::Labels;
use umedsam_demo::read::ReadOptions;

use crate::masks;
use umedsam_demo::kind::Kind;

/// Reads a file of labels.
pub(crate) fn read(path: &Path, options: &ReadOptions) -> anyhow::Result<Labels> {
    match Kind::by_name(path).map(|kind| kind.with_boxes(path, true)) {
        Some(Kind::Picture) => Ok(Labels::of(masks::read(path, options.memory)?, path)),
        _ => Ok(Labels::read(path, options)?),
    }
}
