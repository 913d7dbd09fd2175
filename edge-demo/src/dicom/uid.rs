//! Unique identifiers.

use sha2::{Digest, Sha256};

/// Whether this is the text of a UID.
pub(super) fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// The UID that belongs to these parts: a UUID of version 8, made of their digest.
pub(super) fn derived<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        let part = part.as_ref();
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let digest = digest.finalize();
    let number = digest.iter().take(16).fold(0u128, |n, b| n << 8 | u128::from(*b));
    let number = number & !(0xf << 76) & !(0x3 << 62) | 0x8 << 76 | 0x2 << 62;
    format!("2.25.{number}")
}
