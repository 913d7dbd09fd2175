//! The longer commands, one a file.

pub(crate) mod quantize;
