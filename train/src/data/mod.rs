//! From folders of NPZ cases, or packs of them, to batches: cases, what an epoch draws of them, one sample, many in time.
//!
//! Everything random is a function of the seed, the epoch and the position of the sample in it, never of time or
//! threads: a run that is resumed draws what it would have drawn.

mod batch;
mod case;
mod crop;
mod dataset;
mod loader;
mod modality;
pub mod pack;
mod packed;
mod plan;
mod sample;
mod tone;
mod view;
mod written;

pub use batch::{Batch, Staged, images};
pub use case::{CaseProblem, Picture};
pub use dataset::{Dataset, DatasetError, Entry, Extent, Skipped, source};
pub use loader::{Loader, Task};
pub use modality::Modality;
pub use plan::plan;
pub use sample::{Around, Drawing, Sample};
pub use tone::Tone;
pub use view::View;
pub use written::{WriteError, write_batches};

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The random numbers that belong to a name.
pub(crate) fn named_random(seed: u64, name: &str) -> ChaCha8Rng {
    let mut hash = Sha256::new();
    hash.update(seed.to_le_bytes());
    hash.update(name);
    ChaCha8Rng::from_seed(hash.finalize().into())
}

/// The random numbers of one purpose: `words` tell it apart from every other of the same seed.
fn random(seed: u64, words: [u64; 3]) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, word) in key.chunks_exact_mut(8).zip([seed, words[0], words[1], words[2]]) {
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}
