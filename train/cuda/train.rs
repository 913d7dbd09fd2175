//! A training within a budget of time, whose state goes home in parts.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use umedsam::outln;
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Event, Folders, Observer, Origin, Trainer, Validation};

use crate::check::runs;
use crate::kit::{Kit, STATE};
use crate::state::MODEL;
use crate::{parts, state};

/// Time to write the state and its parts.
const WRITING: Duration = Duration::from_secs(15);

/// Files of an answer, the list of the parts and the report among them, and most bytes of each: those of the machine's
/// loan, less a little.
const FILES: usize = 8;
const BYTES: usize = 16_700_000;
/// Most bytes of an answer.
const ANSWER: u64 = 66_000_000;

/// What is trained, for how long.
pub(crate) struct Order<'a> {
    pub(crate) preset: &'a str,
    /// What this kit wants otherwise than the preset.
    pub(crate) settings: &'a [&'a str],
    pub(crate) until: Instant,
    pub(crate) out: &'a Path,
    /// Weights to begin with, if not the carried ones, which teach then.
    pub(crate) begin: Option<&'a Path>,
    /// Whether the weights alone go home, and no state to go on from.
    pub(crate) weights_only: bool,
}

/// The weights of a run in an answer, in f16.
const FINAL: &str = "final";

/// Trains, validates at the end, writes the state into `out` in parts.
pub(crate) fn train(kit: &Kit, order: &Order<'_>) -> anyhow::Result<()> {
    let start = Instant::now();
    let config = kit.config(order.preset, order.settings)?;
    let origin = kit.origin()?;
    let run = kit.place(&format!("run-{}", order.preset));
    let ranks = Ranks::alone();
    let mut teller = Teller::new();
    let mut trainer = match kit.state()? {
        Some(state) => {
            ensure!(order.begin.is_none(), "--begin: a state is carried, which the run goes on from");
            fs::create_dir_all(&run)?;
            state::expand(&state, &origin, &run.join("last.safetensors")).context("the carried state")?;
            relocate(kit, &run)?;
            outln!("goes on with the carried state, by its own configuration");
            Trainer::resume(&run, Some(u64::from(u32::MAX)), kit.device, &ranks, &mut teller)?
        }
        None => {
            outln!("first steps in f32, beside the CPU's:");
            runs::prove(kit, &config)?;
            let folders = Folders { data: kit.cases()?, validation: kit.validation() };
            let carried = kit.weights()?;
            let asks = config.loss.terms.iter().any(|term| term.asks_teacher());
            let origin = match order.begin {
                Some(weights) => Origin { weights, teacher: asks.then_some(carried.as_path()) },
                None => Origin::from(&carried),
            };
            Trainer::start(&config, &folders, origin, &run, kit.device, &ranks, &mut teller)?
        }
    };
    let left = order.until.saturating_duration_since(Instant::now());
    outln!("{:.0} s to get ready, {:.0} s left", start.elapsed().as_secs_f64(), left.as_secs_f64());
    trainer = trainer.with_deadline(Instant::now() + left - WRITING.min(left / 4));
    let ended = crate::caught(|| Ok(trainer.run()?));
    // A run that failed has the state of its last epoch, which may be worth the way home.
    let (state, ended_with) = (run.join("last.safetensors"), run.join("final.safetensors"));
    if order.weights_only {
        if ended_with.exists() {
            let carried = kit.place("final.planes");
            crate::kit::write_weights(&ended_with, &carried)?;
            answer(kit, FINAL, &fs::read(carried)?, &run, order.out)?;
        }
    } else if state.exists() {
        answer(kit, STATE, &state::compact(&state, &origin)?, &run, order.out)?;
    }
    ensure!(ended?.finished, "the run was stopped");
    Ok(())
}

/// A carried state remembers folders of another machine.
fn relocate(kit: &Kit, run: &Path) -> anyhow::Result<()> {
    let file = run.join("last.safetensors");
    let (tensors, text) = umedsam_train::store::read(&file)?;
    let mut state: serde_json::Value = serde_json::from_str(&text)?;
    state["folders"] = serde_json::to_value(Folders { data: kit.cases()?, validation: kit.validation() })?;
    Ok(umedsam_train::store::write(&file, &tensors.into_iter().collect::<Vec<_>>(), state.to_string())?)
}

/// A file in parts, of which the first go into `out`, and the run's metrics.
fn answer(kit: &Kit, name: &str, squeezed: &[u8], run: &Path, out: &Path) -> anyhow::Result<()> {
    let metrics = "metrics.jsonl";
    // A run that failed in its first epoch has none.
    let found = run.join(metrics).exists();
    let bytes = if found { fs::copy(run.join(metrics), out.join(metrics)).context(metrics)? } else { 0 };
    // The report is a file, too.
    let left = FILES - 2;
    let made = kit.place("parts");
    fs::create_dir_all(&made)?;
    let paths = parts::write(&made, name, squeezed, BYTES)?;
    outln!("{name}: {:.1} MB in {} parts", squeezed.len() as f64 / 1e6, paths.len() - 1);
    let rest = copy_parts(&paths, out, left, ANSWER - bytes)?;
    if let Some(first) = rest.first() {
        outln!(
            "{} parts did not fit; while the machine is held, another call fetches them: rest --from {}",
            rest.len(),
            first.display()
        );
    }
    Ok(())
}

/// Copies as many of the parts as an answer takes; the others.
fn copy_parts<'p>(paths: &'p [PathBuf], out: &Path, files: usize, bytes: u64) -> anyhow::Result<&'p [PathBuf]> {
    let mut left = bytes;
    for (i, path) in paths.iter().enumerate() {
        let size = fs::metadata(path)?.len();
        if i == files || size > left {
            return Ok(&paths[i..]);
        }
        left -= size;
        fs::copy(path, out.join(path.file_name().context("a name")?))?;
    }
    Ok(&[])
}

/// Copies the parts from this one on: the answer to another call.
pub(crate) fn rest(from: &Path, out: &Path) -> anyhow::Result<()> {
    let folder = from.parent().context("a part's folder")?;
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<std::io::Result<_>>()?;
    paths.retain(|path| path.as_path() >= from && path.extension().is_some_and(|e| e != "json"));
    paths.sort();
    ensure!(!paths.is_empty(), "{}: no such part", from.display());
    if let Some(next) = copy_parts(&paths, out, FILES - 1, ANSWER)?.first() {
        outln!("once more: rest --from {}", next.display());
    }
    Ok(())
}

/// A folder of a run out of the parts that came home: its state, if that is what came, and the weights that it ended with.
pub(crate) fn join(parts_in: &[PathBuf], kit: &Path, out: &Path) -> anyhow::Result<()> {
    ensure!(!out.exists(), "{}: exists", out.display());
    if let Some(squeezed) = parts::read(parts_in, FINAL)? {
        fs::create_dir_all(out)?;
        let (carried, path) = (out.join("final.planes"), out.join("final.safetensors"));
        fs::write(&carried, squeezed)?;
        let weights = crate::kit::read_weights(&carried)?;
        fs::remove_file(&carried)?;
        tch::Tensor::write_safetensors(&weights, &path)?;
        outln!("{}: {} tensors, rounded to f16", path.display(), weights.len());
        return Ok(());
    }
    let squeezed = parts::read(parts_in, STATE)?
        .with_context(|| format!("neither {STATE}.json nor {FINAL}.json is in any of the folders"))?;
    fs::create_dir_all(out)?;
    let weights = crate::kit::read_weights(kit)?;
    let file = out.join("last.safetensors");
    let weights = weights.into_iter().collect();
    state::expand(&squeezed, &weights, &file)?;
    let (tensors, _) = umedsam_train::store::read(&file)?;
    let averaged = |name: &str| tensors.get(&format!("average.{name}"));
    let model = tensors.iter().filter_map(|(name, value)| Some((name.strip_prefix(MODEL)?, value)));
    let mut final_weights: Vec<(String, tch::Tensor)> =
        model.map(|(name, value)| (name.to_string(), averaged(name).unwrap_or(value).shallow_clone())).collect();
    // Counters of BatchNorm, which a state lacks.
    let counters = weights.iter().filter(|(name, _)| name.ends_with("num_batches_tracked"));
    let counted =
        |name: &str| tensors.contains_key(&format!("{MODEL}{}", name.replace("num_batches_tracked", "weight")));
    final_weights.extend(counters.filter(|(name, _)| counted(name)).map(|(name, t)| (name.clone(), t.shallow_clone())));
    final_weights.sort_by(|a, b| a.0.cmp(&b.0));
    let path = out.join("final.safetensors");
    tch::Tensor::write_safetensors(&final_weights, &path)?;
    outln!("{}: {} tensors", path.display(), final_weights.len());
    Ok(())
}

/// Prints what a run tells, a line now and then.
struct Teller {
    start: Instant,
    told: Instant,
}

impl Teller {
    fn new() -> Self {
        Self { start: Instant::now(), told: Instant::now() }
    }
}

impl Observer for Teller {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        let seconds = self.start.elapsed().as_secs_f64();
        match event {
            Event::Cases { folder, cases, skipped } => {
                outln!("{seconds:6.1} s  {}: {cases} cases, {} passed over", folder.display(), skipped.len());
            }
            Event::FreshEncoder { weights } => {
                outln!("{seconds:6.1} s  the encoder is none of {}: it begins with random weights", weights.display());
            }
            Event::Smaller { shortage, at_once } => {
                outln!("{seconds:6.1} s  {shortage}; goes on with {at_once} samples at once");
            }
            Event::Step(p) if self.told.elapsed() > Duration::from_secs(10) => {
                self.told = Instant::now();
                let losses: Vec<String> = p.losses.iter().map(|(name, v)| format!("{name} {v:.4}")).collect();
                let sigmas: Vec<String> = p.sigmas.iter().map(|s| format!("{s:.3}")).collect();
                outln!(
                    "{seconds:6.1} s  epoch {} step {}/{}: {:.4} ({}), sigma [{}], {:.1} images/s",
                    p.epoch,
                    p.step,
                    p.steps,
                    p.loss,
                    losses.join(", "),
                    sigmas.join(" "),
                    p.samples_per_second
                );
            }
            Event::Epoch { epoch, .. } => {
                let scores = |v: &Validation| {
                    let nsd = v.nsd.map(|nsd| format!(", NSD {:.2} %", 100.0 * nsd)).unwrap_or_default();
                    format!(", DSC {:.2} %{nsd}", 100.0 * v.dsc)
                };
                let dsc = epoch.validation.as_ref().map(scores).unwrap_or_default();
                let loss = epoch.loss.map(|loss| format!(" loss {loss:.4}")).unwrap_or_default();
                let waited = 100.0 * epoch.waited / epoch.seconds.max(1e-9);
                outln!(
                    "{seconds:6.1} s  epoch {}:{loss} {} samples, {:.1} images/s, waited for data {waited:.1} %{dsc}",
                    epoch.epoch,
                    epoch.samples,
                    epoch.throughput()
                );
                for (group, dsc) in epoch.validation.iter().flat_map(|v| &v.groups) {
                    outln!("          {group:<16} {:.2}", 100.0 * dsc);
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}
