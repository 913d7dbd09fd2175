//! The rows of the table: what is trained, and how.

use std::fmt;
use std::path::Path;

use umedsam_train::config::{Config, ConfigError, resolve};

/// What is trained, and where the embeddings come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trained {
    /// The decoder, on embeddings from the disk.
    Cached,
    /// The decoder, on embeddings that each step computes.
    Uncached,
    /// Everything, with BatchNorm on the batch.
    Whole,
}

/// One row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) trained: Trained,
    pub(crate) sharp_min: bool,
}

/// All rows.
pub(crate) const SETTINGS: [Setting; 6] = [
    Setting { trained: Trained::Cached, sharp_min: false },
    Setting { trained: Trained::Cached, sharp_min: true },
    Setting { trained: Trained::Uncached, sharp_min: false },
    Setting { trained: Trained::Uncached, sharp_min: true },
    Setting { trained: Trained::Whole, sharp_min: false },
    Setting { trained: Trained::Whole, sharp_min: true },
];

impl Trained {
    /// The name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cached => "decoder, cached",
            Self::Uncached => "decoder, uncached",
            Self::Whole => "whole model",
        }
    }

    /// The name to the worker.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Uncached => "uncached",
            Self::Whole => "whole",
        }
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.trained.name(), if self.sharp_min { ", SharpMin" } else { "" })
    }
}

impl Setting {
    /// The run of one epoch of `samples`, with embeddings in `cache`.
    pub(crate) fn config(&self, samples: usize, batch: usize, cache: &Path) -> Result<Config, ConfigError> {
        let mut settings = vec![
            // A picture that is never flipped has one embedding.
            "data.flip=0".into(),
            format!("data.samples-per-epoch={samples}"),
            format!("data.default-cap={samples}"),
            format!("training.batch={batch}"),
            "training.epochs=1".into(),
            "training.checkpoint-steps=0".into(),
            // The clock is stopped after each step.
            "engine.read-every=1".into(),
            format!("cache.folder='{}'", cache.display()),
            format!("sharp-min.kind={}", if self.sharp_min { "sam" } else { "off" }),
        ];
        match self.trained {
            Trained::Cached => {}
            Trained::Uncached => settings.push("cache.kind=off".into()),
            Trained::Whole => settings.extend(["model.trained=['']".into(), "model.batch-norm=batch".into()]),
        }
        resolve("u-medsam", None, &settings)
    }
}
