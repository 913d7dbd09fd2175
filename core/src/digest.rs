//! Digests of contents, and of everything that a result was made of.

use std::fmt::Write as _;
use std::prelude::v1::*;

use sha2::{Digest, Sha256};

/// A key over all inputs and options that a result depends on. A result that is kept under its key is taken again only
/// where the same would be made.
///
/// Every part is named, and its length goes before it, so that no two lists of parts are digested alike.
#[derive(Clone, Debug, Default)]
pub struct ContentKey(Sha256);

impl ContentKey {
    /// The key of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an input or an option.
    #[must_use]
    pub fn with(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        self.with_pieces(name, std::iter::once(content.as_ref()))
    }

    /// With an input that is not in one piece. How it is cut makes no difference.
    #[must_use]
    pub fn with_pieces<'a>(mut self, name: &str, pieces: impl Iterator<Item = &'a [u8]> + Clone) -> Self {
        self.add_length(name.len());
        self.0.update(name);
        self.add_length(pieces.clone().map(<[u8]>::len).sum());
        pieces.for_each(|piece| self.0.update(piece));
        self
    }

    fn add_length(&mut self, length: usize) {
        self.0.update((length as u64).to_le_bytes());
    }

    /// The key: 64 digits in lower-case hexadecimal.
    pub fn hex(self) -> String {
        hex(&self.0.finalize())
    }
}

/// SHA-256 of these bytes, in lower-case hexadecimal.
pub fn hex_digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_counts_with_its_name_and_its_length() {
        let parts =
            |parts: &[(&str, &str)]| parts.iter().fold(ContentKey::new(), |key, (name, p)| key.with(name, p)).hex();
        let keys = [
            parts(&[]),
            parts(&[("a", "bc")]),
            parts(&[("ab", "c")]),
            parts(&[("a", "b"), ("c", "")]),
            parts(&[("c", ""), ("a", "b")]),
        ];
        for (i, key) in keys.iter().enumerate() {
            assert!(key.len() == 64 && !keys[..i].contains(key), "{i}: {key}");
        }
        let cut = [&b"b"[..], b"", b"c"];
        assert_eq!(ContentKey::new().with_pieces("a", cut.into_iter()).hex(), keys[1]);
        assert_eq!(hex_digest(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
