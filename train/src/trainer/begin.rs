//! How a run begins, or goes on.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tch::{Device, nn};

use super::network::Network;
use super::observer::{Event, Observer};
use super::state::{self, Folders, State};
use super::step::Objective;
use super::validate::Validator;
use super::{Pace, TrainError, Trainer};
use crate::config::{Config, DataConfig, EncoderSize, QuantizationConfig, Watch};
use crate::cuda;
use crate::data::{Dataset, Entry, Modality, Task};
use crate::loss::Term;
use crate::model::{self, LiteMedSam};
use crate::optim::{Average, Mode, Plateau, PlateauOptions};
use crate::ranks::Ranks;

/// What a run begins from: files of weights with the published names, as `umedsam-export checkpoint` writes them. A path
/// alone is the weights'.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Of the network that is trained.
    pub weights: &'a Path,
    /// Of the network that teaches it, where a loss asks for one; the same if left out.
    pub teacher: Option<&'a Path>,
}

impl<'a, P: AsRef<Path> + ?Sized> From<&'a P> for Origin<'a> {
    fn from(weights: &'a P) -> Self {
        Self { weights: weights.as_ref(), teacher: None }
    }
}

impl<'a> Trainer<'a> {
    /// A new run in `folder`.
    ///
    /// # Errors
    /// [`TrainError`], which names what cannot be used; `folder` is not made then.
    pub fn start<'p>(
        config: &Config,
        folders: &Folders,
        origin: impl Into<Origin<'p>>,
        folder: &Path,
        device: Device,
        ranks: &'a Ranks,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        config.check()?;
        cuda::configure(device, config)?;
        if [state::FILE, state::BEST, state::FINAL, state::CURRENT].iter().any(|name| folder.join(name).exists()) {
            return Err(TrainError::Exists { folder: folder.into() });
        }
        if config.schedule.watch == Watch::Validation && folders.validation.is_none() {
            return Err(TrainError::NothingWatched);
        }
        let asks_teacher = config.loss.terms.iter().any(|term| term.asks_teacher());
        let Origin { weights, teacher } = origin.into();
        if let Some(path) = teacher.filter(|_| !asks_teacher) {
            return Err(TrainError::TeacherUnasked { path: path.into() });
        }
        // No rank writes into the folder before all have looked into it.
        ranks.barrier()?;
        let size = config.model.encoder;
        let (variables, network) = blank(device, size, &config.quantization);
        match model::encoder_size(weights)? {
            found if found == size => model::load(&variables, weights)?,
            found => {
                // An encoder of another size is learnt from nothing, if it is learnt at all.
                let learnt = variables.variables().into_keys().filter(|name| name.starts_with("image_encoder."));
                if !learnt.into_iter().all(|name| name.contains(".running_") || config.model.trains(&name)) {
                    return Err(TrainError::EncoderSize { weights: weights.into(), found, wanted: size });
                }
                model::load_around_stages(&variables, weights)?;
                let _ = observer.observe(Event::FreshEncoder { weights });
            }
        }
        let mut network = Network::new(variables, network, config)?;
        if asks_teacher {
            let teacher = teacher.unwrap_or(weights);
            let blank = blank(device, model::encoder_size(teacher)?, &QuantizationConfig::default());
            model::load(&blank.0, teacher)?;
            network.learn_from(blank, config)?;
        }
        let cases = read(config, &folders.data, observer)?;
        let plateau = plateau(config);
        check_caps(&config.data, &cases, observer)?;
        let mut state = State::new(config, folders, cases.digest(), ranks.size(), plateau);
        let objective = Objective::new(config, &network)?;
        let average = average(config, &network);
        let validator = validator(config, folders, &mut network, observer)?;
        state.validation = validator.as_ref().map(|validator| validator.dataset().digest());
        let task = task(config, cases, &network);
        let folder = folder.to_path_buf();
        let pace = Pace::new(config.training.batch);
        let trainer = Self { folder, state, ranks, observer, network, objective, average, task, validator, pace };
        trainer.steps()?;
        if trainer.ranks.is_first() {
            trainer.describe()?;
        }
        Ok(trainer)
    }

    /// Goes on with the run in `folder`. Its own configuration counts; `epochs` may set another end.
    ///
    /// # Errors
    /// [`TrainError`] if there is no run, its state is damaged, or the cases are no longer those that it began with.
    pub fn resume(
        folder: &Path,
        epochs: Option<u64>,
        device: Device,
        ranks: &'a Ranks,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let path = folder.join(state::FILE);
        let (mut state, tensors) = State::read(folder)?;
        if let Some(epochs) = epochs {
            state.config.training.epochs = epochs;
        }
        let config = state.config.clone();
        cuda::configure(device, &config)?;
        let fits = |problem: String| TrainError::State { path: path.clone(), problem };
        if state.ranks != ranks.size() {
            return Err(fits(format!("a run of {} ranks, not of {}", state.ranks, ranks.size())));
        }
        let (variables, network) = blank(device, config.model.encoder, &config.quantization);
        state::fill(&variables, "model.", &tensors, folder)?;
        let mut network = Network::new(variables, network, &config)?;
        if config.loss.terms.iter().any(|term| term.asks_teacher()) {
            // Of its size tells which blocks it has.
            let size = if tensors.contains_key("teacher.image_encoder.layers.2.blocks.5.attn.qkv.weight") {
                EncoderSize::Lite
            } else {
                EncoderSize::Small
            };
            let blank = blank(device, size, &QuantizationConfig::default());
            state::fill(&blank.0, "teacher.", &tensors, folder)?;
            network.learn_from(blank, &config)?;
        }
        let cases = read(&config, &state.folders.data, observer)?;
        if cases.digest() != state.data {
            return Err(fits(format!("the cases in {} are not those it began with", state.folders.data.display())));
        }
        let validator = validator(&config, &state.folders.clone(), &mut network, observer)?;
        if validator.as_ref().map(|validator| validator.dataset().digest()) != state.validation {
            let folder = state.folders.validation.as_deref().unwrap_or(Path::new("")).display();
            return Err(fits(format!("the validation cases in {folder} are not those it began with")));
        }
        let mut objective = Objective::new(&config, &network)?;
        state::fill(&objective.uncertainties, "uncertainty.", &tensors, folder)?;
        let own = |(name, tensor): (&String, &tch::Tensor)| {
            name.strip_prefix("optimizer.").map(|name| (name.to_string(), tensor.shallow_clone()))
        };
        let optimizer = tensors.iter().filter_map(own).collect();
        objective
            .optimizer
            .restore(&optimizer)
            .map_err(|source| TrainError::Optimizer { path: path.clone(), source })?;
        objective.optimizer.set_learning_rate(state.learning_rate);
        let mut average = average(&config, &network);
        if let Some(average) = &mut average {
            let saved = |name: &str| tensors.get(&format!("average.{name}")).map(tch::Tensor::shallow_clone);
            let missing = |name| fits(format!("tensor average.{name} is missing or of another shape"));
            average.restore(state.averaged, saved).map_err(missing)?;
        }
        let task = task(&config, cases, &network);
        Ok(Self {
            folder: folder.into(),
            state,
            ranks,
            observer,
            network,
            objective,
            average,
            task,
            validator,
            pace: Pace::new(config.training.batch),
        })
    }
}

/// A network on the device, its weights to be filled.
fn blank(device: Device, size: EncoderSize, quantization: &QuantizationConfig) -> (nn::VarStore, LiteMedSam) {
    let variables = nn::VarStore::new(device);
    let network = LiteMedSam::sized(&variables.root(), size, quantization);
    (variables, network)
}

fn average(config: &Config, network: &Network) -> Option<Average> {
    let decay = config.optimizer.average;
    // Each step's parameters with the statistics of BatchNorm that belong to them.
    let averaged = network.parameters().into_iter().chain(network.named_statistics());
    (decay > 0.0).then(|| Average::new(decay, averaged.collect()))
}

fn plateau(config: &Config) -> Plateau {
    let schedule = &config.schedule;
    Plateau::new(PlateauOptions {
        mode: match schedule.watch {
            Watch::Training => Mode::Min,
            Watch::Validation => Mode::Max,
        },
        factor: schedule.factor,
        patience: schedule.patience,
        cooldown: schedule.cooldown,
        min_lr: schedule.min_learning_rate,
        ..PlateauOptions::default()
    })
}

/// The cases of a folder; those that cannot be used are told.
fn read(config: &Config, folder: &Path, observer: &mut dyn Observer) -> Result<Arc<Dataset>, TrainError> {
    let shared = Mutex::new(&mut *observer);
    let progress = |done, total| {
        let mut observer = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = observer.observe(Event::Reading { done, total });
    };
    let dataset = Dataset::read(folder, &config.data, progress)?;
    let _ = observer.observe(Event::Cases { folder, cases: dataset.entries().len(), skipped: dataset.skipped() });
    Ok(Arc::new(dataset))
}

/// Caps must be of modalities that there are; those that have none are told.
fn check_caps(config: &DataConfig, cases: &Dataset, observer: &mut dyn Observer) -> Result<(), TrainError> {
    let there: BTreeSet<Modality> = cases.entries().iter().map(Entry::modality).collect();
    let known = DataConfig::default().caps;
    let is = |name: &str, modality: &Modality| Modality::new(name) == *modality;
    let unknown = config
        .caps
        .keys()
        .find(|name| !known.keys().any(|k| is(k, &Modality::new(name))) && !there.contains(&Modality::new(name)));
    if let Some(name) = unknown {
        let known = known.keys().map(String::as_str).chain(there.iter().map(Modality::name));
        let known: BTreeSet<&str> = known.collect();
        let known = known.into_iter().collect::<Vec<_>>().join(", ");
        return Err(TrainError::UnknownModality { name: name.clone(), known });
    }
    let uncapped: Vec<&str> =
        there.iter().filter(|m| !config.caps.keys().any(|name| is(name, m))).map(Modality::name).collect();
    if !uncapped.is_empty() {
        let _ = observer.observe(Event::Uncapped { modalities: &uncapped, cap: config.default_cap });
    }
    Ok(())
}

fn validator(
    config: &Config,
    folders: &Folders,
    network: &mut Network,
    observer: &mut dyn Observer,
) -> Result<Option<Validator>, TrainError> {
    let Some(folder) = &folders.validation else { return Ok(None) };
    let mut config = config.clone();
    config.data.without.clear();
    let cases = read(&config, folder, observer)?;
    Ok(Some(Validator::new(&cases, &config.validation, network)))
}

fn task(config: &Config, dataset: Arc<Dataset>, network: &Network) -> Task {
    let shape = config.loss.terms.contains(&Term::ShapeDistance);
    Task {
        dataset,
        cache: network.cache(),
        min_area: config.data.min_area,
        shape,
        images: network.takes_images(),
        share: false,
        device: network.device(),
    }
}
