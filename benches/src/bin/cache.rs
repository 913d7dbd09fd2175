//! What a cache of embeddings is worth: the time of a hit beside that of an encode, and what f16 does to masks.
//!
//! ```sh
//! cargo run --release -p umedsam-benches --bin cache -- VAL
//! ```
//!
//! The folder holds labelled NPZ cases, of which the images are taken and the volumes are not. Masks of embeddings that are
//! kept in f16 are compared with those of embeddings in f32, object by object, and both with the truth. One thread.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::Parser;
use umedsam::metrics::dice;
use umedsam::npz::{self, Boxes, Case, Limits, Truth, own_labels};
use umedsam::{CacheOptions, EmbeddingCache, Precision, Session, SessionOptions};
use umedsam_benches::{arguments::exit, load_model, machine, results};

/// Measure what a cache of embeddings is worth.
#[derive(Debug, Parser)]
struct Arguments {
    /// Folder of labelled cases.
    cases: PathBuf,
    /// Model bundle; the built-in one if left out.
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Precision to compute in; the model's own if left out.
    #[arg(long, value_name = "P")]
    precision: Option<Precision>,
    /// Write the tables into this file; benches/RESULTS.md if no file is named.
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    results: Option<Option<PathBuf>>,
}

/// A labelled image.
struct Image {
    case: Case,
    truth: Vec<u16>,
    /// The label of each box, where the truth has one for each.
    own: Option<Vec<u16>>,
}

/// An object's masks: how alike they are, and how good each of them is.
struct Object {
    between: f64,
    /// DSC with the truth of the mask in f32 and of that in f16, where the truth is known.
    of_truth: Option<(f64, f64)>,
    /// Pixels that differ.
    changed: usize,
}

/// Times of one way to keep embeddings.
struct Times {
    name: &'static str,
    /// What an embedding that is not kept takes more than an encode.
    miss: Spent,
    hit: Spent,
}

/// The least and the median of some times.
#[derive(Clone, Copy)]
struct Spent {
    least: Duration,
    median: Duration,
}

impl Spent {
    fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { least: times[0], median: times[times.len() / 2] }
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [least, median] = [self.least, self.median].map(|time| time.as_secs_f64() * 1e3);
        write!(f, "{least:.2} / {median:.2}")
    }
}

fn main() -> ExitCode {
    exit("cache", run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let model = load_model(arguments.model.as_deref())?;
    let mut with = SessionOptions::new();
    with.precision = arguments.precision;
    let mut session = model.session(&with)?;
    let cases = images(&arguments.cases)?;
    let (objects, encode) = compare(&mut session, &cases)?;
    let times = times(&mut session, &cases)?;
    let precision = arguments.precision.unwrap_or(model.manifest().storage.precision());
    let text = markdown(&format!("{} in {precision}", model.manifest().name), &cases, &objects, encode, &times);
    println!("{text}");
    if let Some(path) = &arguments.results {
        results::write_section(&path.clone().unwrap_or_else(results::default_path), "cache", &text)?;
    }
    Ok(())
}

/// The images of a folder, each with its truth.
fn images(folder: &Path) -> anyhow::Result<Vec<Image>> {
    let mut images = Vec::new();
    for path in npz::cases(folder)? {
        let case = Case::read(&path, &Limits::new())?;
        if case.shape.depth.is_none() {
            let truth = Truth::read(&path, &Limits::new())?;
            let own = own_labels(&truth.labels, &truth.shape, &case.boxes);
            images.push(Image { case, truth: truth.labels, own });
        }
    }
    ensure!(!images.is_empty(), "{}: no image", folder.display());
    Ok(images)
}

/// The masks of embeddings kept in f32 and in f16, and the times of an encode.
fn compare(session: &mut Session, cases: &[Image]) -> anyhow::Result<(Vec<Object>, Spent)> {
    let half = EmbeddingCache::new(&CacheOptions::new().with_half())?;
    let (mut objects, mut times) = (Vec::new(), Vec::new());
    for Image { case, truth, own } in cases {
        let Boxes::Plane(boxes) = &case.boxes else { continue };
        let mut masks = Vec::new();
        for cache in [None, Some(half.clone())] {
            session.set_cache(cache);
            let before = session.stats();
            let embedding = session.encode(&case.slice(0)?)?;
            let after = session.stats();
            // An image that is there twice is encoded once.
            times.extend((after.encodes > before.encodes).then(|| after.encode - before.encode));
            masks.push(session.segment(&embedding, boxes)?.iter().map(|s| s.mask()).collect::<Vec<_>>());
        }
        for (i, (f32, f16)) in masks[0].iter().zip(&masks[1]).enumerate() {
            let of_truth = own.as_ref().map(|own| {
                let object: Vec<u8> = truth.iter().map(|&label| u8::from(label == own[i])).collect();
                (dsc(f32, &object), dsc(f16, &object))
            });
            let changed = f32.iter().zip(f16).filter(|(a, b)| a != b).count();
            objects.push(Object { between: dsc(f32, f16), of_truth, changed });
        }
    }
    ensure!(!objects.is_empty(), "no object");
    Ok((objects, Spent::new(times)))
}

/// DSC of two masks; 1 where both are empty.
fn dsc(a: &[u8], b: &[u8]) -> f64 {
    let count = |mask: &[u8]| mask.iter().filter(|&&m| m == 1).count();
    let both = a.iter().zip(b).filter(|&(&a, &b)| a == 1 && b == 1).count();
    dice(both, count(a), count(b)).unwrap_or(1.0)
}

/// The times of at most 20 images, each asked for twice.
fn times(session: &mut Session, cases: &[Image]) -> anyhow::Result<Vec<Times>> {
    let room = CacheOptions::new().with_memory_bytes(usize::MAX);
    let mut found = Vec::new();
    for (name, half, on_disk) in [
        ("memory, f32", false, false),
        ("memory, f16", true, false),
        ("folder, f32", false, true),
        ("folder, f16", true, true),
    ] {
        let folder = tempfile::tempdir()?;
        let mut options = room.clone();
        options.half = half;
        if on_disk {
            options = options.with_memory_bytes(0).with_folder(folder.path(), u64::MAX);
        }
        session.set_cache(Some(EmbeddingCache::new(&options)?));
        let mut rounds = [Vec::new(), Vec::new()];
        for round in &mut rounds {
            for Image { case, .. } in cases.iter().take(20) {
                let (before, start) = (session.stats(), Instant::now());
                session.encode(&case.slice(0)?)?;
                let after = session.stats();
                let work = after.preprocess - before.preprocess + after.encode - before.encode;
                round.push(start.elapsed() - work);
            }
        }
        let [miss, hit] = rounds.map(Spent::new);
        found.push(Times { name, miss, hit });
    }
    session.set_cache(None);
    Ok(found)
}

fn markdown(model: &str, cases: &[Image], objects: &[Object], encode: Spent, times: &[Times]) -> String {
    let mean = objects.iter().map(|o| o.between).sum::<f64>() / objects.len() as f64;
    let least = objects.iter().map(|o| o.between).fold(1.0, f64::min);
    let same = objects.iter().filter(|o| o.changed == 0).count();
    let known: Vec<(f64, f64)> = objects.iter().filter_map(|o| o.of_truth).collect();
    let change = known.iter().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let mean_of = |value: fn(&(f64, f64)) -> f64| known.iter().map(value).sum::<f64>() / known.len() as f64;
    let mut text = format!("## A cache of embeddings (`cache`)\n\n{}", machine::description(&[]));
    let _ = writeln!(
        text,
        "- {model}, 1 thread; {} images, {} objects\n\n\
         Masks of embeddings kept in f16 against f32: DSC {mean:.6} on average, {least:.6} at least; {same} of {} masks are the \
         same to the pixel. DSC with the truth, known of {} objects: {:.5} in f32, {:.5} in f16; none changes by more than \
         {change:.5}.\n\n\
         An encode takes {encode} ms (minimum / median). What the cache takes beside it, in ms:\n\n\
         | kept in | not found, put in | found |\n|---|---|---|",
        cases.len(),
        objects.len(),
        objects.len(),
        known.len(),
        mean_of(|o| o.0),
        mean_of(|o| o.1)
    );
    for Times { name, miss, hit } in times {
        let _ = writeln!(text, "| {name} | {miss} | {hit} |");
    }
    text
}
