//! What was carried to the machine: numbered folders with weights, packed cases, and the state of a run.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use clap::Args;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use tch::{Device, Kind, Tensor};
use umedsam::outln;
use umedsam_train::config::{self, Config};
use umedsam_train::{cuda, memory};

use crate::{parts, planes};

/// Weights in f16, squeezed.
pub(crate) const WEIGHTS: &str = "weights.planes";
/// The state of a run, in parts.
pub(crate) const STATE: &str = "state";

/// What every command on the machine is told.
#[derive(Args, Debug)]
pub(crate) struct KitArguments {
    /// The folder that holds the numbered folders.
    #[arg(long, value_name = "DIR", default_value = ".gpu")]
    kit: PathBuf,
    /// Where things are unpacked and runs are kept; emptied at first. A folder of the system for temporary files if left
    /// out.
    #[arg(long, value_name = "DIR")]
    work: Option<PathBuf>,
    /// cpu, cuda or cuda:N. There is no falling back from one to the other.
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    device: String,
    /// Threads that libtorch may use on the CPU; as many as there are cores if left out.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Settings laid over every configuration, such as training.batch=16.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    settings: Vec<String>,
}

/// The carried folders, and a device.
pub(crate) struct Kit {
    folders: Vec<PathBuf>,
    work: PathBuf,
    pub(crate) device: Device,
    settings: Vec<String>,
}

impl Kit {
    pub(crate) fn open(arguments: &KitArguments) -> anyhow::Result<Self> {
        // First of all: libtorch decides once whether there is CUDA.
        let device = match arguments.device.split_once(':') {
            None if arguments.device == "cpu" => Device::Cpu,
            None if arguments.device == "cuda" => cuda::device(0)?,
            Some(("cuda", index)) => cuda::device(index.parse().context("--device")?)?,
            _ => bail!("--device {}: cpu, cuda or cuda:N expected", arguments.device),
        };
        memory::keep_freed();
        memory::silence_shortages();
        if let Some(threads) = arguments.threads {
            tch::set_num_threads(i32::from(threads));
        }
        let kit = &arguments.kit;
        let folders: Vec<PathBuf> = (1..).map(|i| kit.join(i.to_string())).take_while(|path| path.is_dir()).collect();
        ensure!(!folders.is_empty(), "{}: no folder 1, with weights and cases", kit.display());
        // A folder that a refused call left at home would be missed by nobody.
        let numbered =
            |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.parse::<u16>().is_ok());
        let all =
            fs::read_dir(kit)?.collect::<std::io::Result<Vec<_>>>()?.iter().filter(|entry| numbered(entry)).count();
        let (path, next) = (kit.display(), folders.len() + 1);
        ensure!(all == folders.len(), "{path}: {all} numbered folders, but no folder {next}");
        let work = arguments.work.clone().unwrap_or_else(|| std::env::temp_dir().join("umedsam-cuda-work"));
        if work.exists() {
            fs::remove_dir_all(&work).with_context(|| work.display().to_string())?;
        }
        fs::create_dir_all(&work).with_context(|| work.display().to_string())?;
        outln!("device: {}", describe(device));
        Ok(Self { folders, work, device, settings: arguments.settings.clone() })
    }

    /// A configuration for this machine: the preset, what the kit needs, `settings`, and those of the command line.
    pub(crate) fn config(&self, preset: &str, settings: &[&str]) -> anyhow::Result<Config> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        // One core for the thread that computes, one for libtorch's own.
        let workers = format!("training.workers={}", cores.saturating_sub(2).clamp(1, 32));
        // Packed cases are small and the device is fast: embeddings are made anew, not carried over the disk.
        let own = ["cache.kind=off", "training.checkpoint-steps=0", &workers];
        let all = own.iter().chain(settings).map(|s| (*s).to_string()).chain(self.settings.iter().cloned());
        Ok(config::resolve(preset, None, &all.collect::<Vec<_>>())?)
    }

    /// A place for what a run writes.
    pub(crate) fn place(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// The carried weights, in f32.
    pub(crate) fn weights(&self) -> anyhow::Result<PathBuf> {
        let path = self.place("weights.safetensors");
        if !path.exists() {
            Tensor::write_safetensors(&read_weights(&self.find(WEIGHTS)?)?, &path)?;
        }
        Ok(path)
    }

    /// The same as tensors on the CPU.
    pub(crate) fn origin(&self) -> anyhow::Result<HashMap<String, Tensor>> {
        Ok(read_weights(&self.find(WEIGHTS)?)?.into_iter().collect())
    }

    /// A few cases of every kind, which are read in no time.
    pub(crate) fn small(&self) -> anyhow::Result<PathBuf> {
        self.find("small")
    }

    /// Cases to validate on, if there are.
    pub(crate) fn validation(&self) -> Option<PathBuf> {
        self.find("validation").ok()
    }

    /// All packed cases, in one folder.
    pub(crate) fn cases(&self) -> anyhow::Result<PathBuf> {
        let cases = self.place("cases");
        if !cases.exists() {
            fs::create_dir(&cases)?;
            for folder in &self.folders {
                for entry in fs::read_dir(folder)? {
                    let path = fs::canonicalize(entry?.path())?;
                    if path.extension().is_some_and(|extension| extension == "pack") {
                        std::os::unix::fs::symlink(&path, cases.join(path.file_name().context("a name")?))?;
                    }
                }
            }
        }
        Ok(cases)
    }

    /// The compact state of a run that was carried, if one was.
    pub(crate) fn state(&self) -> anyhow::Result<Option<Vec<u8>>> {
        parts::read(&self.folders, STATE)
    }

    /// What PyTorch needs to take the same steps.
    pub(crate) fn peer(&self) -> anyhow::Result<PathBuf> {
        self.find("peer")
    }

    fn find(&self, name: &str) -> anyhow::Result<PathBuf> {
        let found = self.folders.iter().map(|folder| folder.join(name)).find(|path| path.exists());
        found.with_context(|| format!("{name} is in none of the kit's {} folders", self.folders.len()))
    }
}

fn describe(device: Device) -> String {
    match device {
        Device::Cpu => format!("CPU, {} threads", tch::get_num_threads()),
        Device::Cuda(index) => format!("CUDA {index} of {}", tch::Cuda::device_count()),
        other => format!("{other:?}"),
    }
}

/// Writes weights in f16, squeezed: what [`Kit::weights`] reads.
pub(crate) fn write_weights(weights: &Path, out: &Path) -> anyhow::Result<()> {
    let halved = |(name, value): (String, Tensor)| {
        let value = if value.kind() == Kind::Float { value.to_kind(Kind::Half) } else { value };
        (name, value)
    };
    let tensors: Vec<_> = Tensor::read_safetensors(weights)?.into_iter().map(halved).collect();
    if let Some((name, _)) = tensors.iter().find(|(_, t)| t.isfinite().all().int64_value(&[]) == 0) {
        bail!("{}: tensor {name} has values beyond f16's range", weights.display());
    }
    let halves = out.with_extension("f16.safetensors");
    Tensor::write_safetensors(&tensors, &halves)?;
    let squeezed = planes::squeeze(&fs::read(&halves)?)?;
    fs::remove_file(&halves)?;
    umedsam::files::write_atomically(out, |file| file.write_all(&squeezed)).with_context(|| out.display().to_string())
}

/// Carried weights in a file, in f32.
pub(crate) fn read_weights(carried: &Path) -> anyhow::Result<Vec<(String, Tensor)>> {
    let read = || -> anyhow::Result<Vec<(String, Tensor)>> {
        let file = planes::unsqueeze(&fs::read(carried)?)?;
        let tensors = SafeTensors::deserialize(&file)?;
        let widened = |(name, view): (&str, TensorView<'_>)| {
            let shape: Vec<i64> = view.shape().iter().map(|&side| side as i64).collect();
            let (kind, wide) = match view.dtype() {
                Dtype::F16 => (Kind::Half, Kind::Float),
                Dtype::F32 => (Kind::Float, Kind::Float),
                Dtype::I64 => (Kind::Int64, Kind::Int64),
                other => bail!("tensor {name} is of type {other:?}"),
            };
            Ok((name.to_string(), Tensor::f_from_data_size(view.data(), &shape, kind)?.to_kind(wide)))
        };
        tensors.iter().map(widened).collect()
    };
    read().with_context(|| carried.display().to_string())
}
