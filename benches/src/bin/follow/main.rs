//! Where objects end that are followed from a box in one slice, and what the masks are worth beside those of a 3D box.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin follow -- VAL/3D*.npz > judged.csv
//! cargo run --release -p umedsam-benches --bin follow -- --evidence TRAIN/3D*.npz > evidence.csv
//! python3 benches/src/bin/follow/fit.py evidence.csv
//! ```
//!
//! Every object of a labelled volume is followed from the middle of its slices and from the one with its largest
//! section, with the exact box of that section and with one that is moved out on all sides. A line for each says how many
//! slices were added and missed, the DSC of what was followed, of the same masks cut to the true slices, and of the 3D box
//! that holds the object. `--evidence` prints a line for each slice up to five beyond the true ends instead, from which
//! `fit.py` fits the weights in `core/src/volume/evidence.rs`.

#![forbid(unsafe_code)]

mod object;
mod walk;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use umedsam::npz::{Labelled, Limits, Truth};
use umedsam::{CacheOptions, EmbeddingCache, SessionOptions, outln};
use umedsam_benches::{arguments::exit, load_model};

use crate::object::Object;
use crate::walk::Volume;

/// Measure where objects end that are followed from a box in one slice.
#[derive(Debug, Parser)]
struct Arguments {
    /// Labelled volumes.
    #[arg(required = true, value_name = "CASE")]
    cases: Vec<PathBuf>,
    /// Print what each slice tells, instead of what was found.
    #[arg(long)]
    evidence: bool,
    /// How far loose boxes are moved out on each side, as shares of the section's width and height.
    #[arg(long, value_name = "SHARE,...", value_delimiter = ',', default_values_t = [0.0, 0.05])]
    loose: Vec<f64>,
    /// Take every n-th slice of a volume.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    every: u16,
    /// Model bundle; the built-in one if left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Threads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Folder in which encoded slices are kept.
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

fn main() -> ExitCode {
    exit("follow", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = load_model(arguments.model.as_deref())?;
    let mut session = model.session(&SessionOptions::new().with_threads(arguments.threads))?;
    let options = CacheOptions::new().with_memory_bytes(1 << 30);
    let options = match &arguments.cache {
        Some(folder) => options.with_memory_bytes(0).with_folder(folder, 16 << 30).with_half(),
        None => options,
    };
    session.set_cache(Some(EmbeddingCache::new(&options)?));
    outln!("{}", if arguments.evidence { walk::EVIDENCE } else { walk::JUDGED });
    for path in &arguments.cases {
        let (case, truth) = (Labelled::read(path, &Limits::new())?, Truth::read(path, &Limits::new())?);
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let volume = Volume::new(&case, truth.spacing, usize::from(arguments.every));
        let objects = Object::all(&volume);
        anyhow::ensure!(!objects.is_empty(), "{}: no object", path.display());
        for object in &objects {
            for (from, start) in [("middle", object.middle()), ("largest", object.largest())] {
                for &loose in &arguments.loose {
                    let head = format!("{name},{},{from},{loose}", object.label);
                    let walk = walk::Walk { volume: &volume, object, start, loose };
                    let lines =
                        if arguments.evidence { walk.evidence(&mut session)? } else { vec![walk.judge(&mut session)?] };
                    lines.iter().for_each(|line| outln!("{head},{line}"));
                }
            }
        }
    }
    Ok(())
}
