//! Small cases and random weights to train on.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tch::{Device, Kind, Tensor, nn};
use umedsam_train::config::{Config, resolve};
use umedsam_train::model::save;
use umedsam_train::ranks::Ranks;
use umedsam_train::trainer::{Folders, Observer, Summary, TrainError, Trainer};

use super::{network, write_case};

/// Six cases of a square at another place, weights, and room for runs.
pub(crate) struct Bench {
    root: PathBuf,
}

impl Bench {
    pub(crate) fn new(root: &Path) -> Self {
        let bench = Self { root: root.into() };
        fs::create_dir(bench.path("cases")).unwrap();
        for i in 0..6usize {
            let mut labels = vec![0u8; 64 * 64];
            for y in 8 * i..8 * i + 20 {
                labels[y * 64 + 10..y * 64 + 40].fill(1);
            }
            let modality = ["CT", "US"][i % 2];
            write_case(&bench.path(&format!("cases/2DBox_{modality}_{i}.npz")), &labels, &[64, 64]);
        }
        let (variables, _) = network();
        fill(&variables);
        save(&variables, &bench.path("weights.safetensors")).unwrap();
        bench
    }

    /// What [`Bench::new`] made.
    pub(crate) fn at(root: &Path) -> Self {
        Self { root: root.into() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The default configuration with these settings.
    pub(crate) fn config(&self, settings: &[&str]) -> Config {
        let cache = format!("cache.folder={}/embeddings", env!("CARGO_TARGET_TMPDIR"));
        let base = ["data.flip=0", "data.samples-per-epoch=6", "training.epochs=2", &cache];
        let settings: Vec<String> = base.iter().chain(settings).map(|s| (*s).to_string()).collect();
        resolve("u-medsam", None, &settings).unwrap()
    }

    /// A run in the folder `run`, without validation.
    pub(crate) fn start<'a>(
        &self,
        ranks: &'a Ranks,
        config: &Config,
        run: &str,
        observer: &'a mut dyn Observer,
    ) -> Result<Trainer<'a>, TrainError> {
        let folders = Folders { data: self.path("cases"), validation: None };
        let weights = self.path("weights.safetensors");
        Trainer::start(config, &folders, &weights, &self.path(run), Device::Cpu, ranks, observer)
    }

    /// The same, to its end.
    pub(crate) fn train(&self, ranks: &Ranks, config: &Config, run: &str) -> Summary {
        self.start(ranks, config, run, &mut ()).unwrap().run().unwrap()
    }

    pub(crate) fn tensors(&self, file: &str) -> BTreeMap<String, Tensor> {
        Tensor::read_safetensors(self.path(file)).unwrap().into_iter().collect()
    }
}

/// The same weights in all tests, so that embeddings are computed once: libtorch's generator is shared by all threads.
fn fill(variables: &nn::VarStore) {
    let mut variables: Vec<(String, Tensor)> = variables.variables().into_iter().collect();
    variables.sort_by(|a, b| a.0.cmp(&b.0));
    tch::no_grad(|| {
        for (number, (name, mut variable)) in (0i64..).zip(variables) {
            let size = variable.size();
            if let [outputs, inputs @ ..] = &size[..]
                && !inputs.is_empty()
            {
                // Tokens and frequencies are of the order of 1, weights of what they sum up.
                let scale = if *outputs <= 4 { 1.0 } else { (inputs.iter().product::<i64>() as f64).powf(-0.5) };
                let noise = (Tensor::arange(variable.numel() as i64, (Kind::Double, Device::Cpu)) * 12.9898 + number)
                    .sin()
                    * 43758.5453;
                let uniform = (&noise - noise.floor()) * (2.0 * scale) - scale;
                variable.copy_(&uniform.view(&size[..]));
            } else if name.ends_with("bias") {
                let _ = variable.zero_();
            }
        }
    });
}

/// The greatest difference of any value.
pub(crate) fn largest(a: &BTreeMap<String, Tensor>, b: &BTreeMap<String, Tensor>) -> f64 {
    let double = |t: &Tensor| t.to_kind(Kind::Double);
    let difference =
        |(name, value): (&String, &Tensor)| (double(value) - double(&b[name])).abs().max().double_value(&[]);
    a.iter().map(difference).fold(0.0, f64::max)
}
