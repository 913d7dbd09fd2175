//! The encoder where it is frozen: embeddings of pictures, from the disk or fresh.
//!
//! On a CPU in f32 core's fused graph computes them, three times as fast as libtorch; elsewhere libtorch does. Both are
//! within f32's rounding of each other, and each has a cache of its own.
//!
//! So have embeddings in 8 bits. Core makes them in the floating-point precision that is the fastest on this CPU, whatever
//! `quantization.precision` says, which is for libtorch; it cannot keep layers of the encoder out, so that where there
//! are such, libtorch encodes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn};
use umedsam::runtime::Kernels;
use umedsam::{Model, Session, SessionOptions, Storage};
use umedsam_export::bundle::{self, MakeError};
use umedsam_export::checkpoint::{self, Provenance, TensorData, Weights};

use crate::autocast;
use crate::config::{CacheConfig, EncoderSize, EngineConfig, Precision, QuantizationConfig};
use crate::data::{Batch, Picture, Staged, images};
use crate::embeddings::{EmbeddingCache, Stored};
use crate::hex;
use crate::model::{self, LiteMedSam};

/// Beginning of the encoder's names.
const PREFIX: &str = "image_encoder.";

/// Shape of an embedding.
const SHAPE: [i64; 4] = [1, 256, 64, 64];

/// Why a picture has no embedding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncoderError {
    /// A picture whose fields don't fit each other, or core's runtime failed.
    #[error(transparent)]
    Core(#[from] umedsam::Error),
    /// Weights of which no graph can be made: one that is not finite.
    #[error("encoder: {0}")]
    Weights(#[from] checkpoint::Error),
    /// The graph of the weights could not be made.
    #[error("encoder: {0}")]
    Graph(#[from] MakeError),
    /// The folder of embeddings cannot be used.
    #[error("cache of embeddings: {0}")]
    Cache(#[from] io::Error),
}

/// A frozen encoder and the embeddings that it made before.
#[derive(Debug)]
pub struct FrozenEncoder {
    engine: Engine,
    device: Device,
    cache: Option<Arc<EmbeddingCache>>,
    encoded: u64,
}

#[derive(Debug)]
enum Engine {
    Core(Box<Session>),
    Torch { bf16: bool, channels_last: bool },
}

impl FrozenEncoder {
    /// The encoder in `variables`, as its parameters are now.
    ///
    /// # Errors
    /// If the cache cannot be opened, or core cannot load the encoder.
    pub fn new(variables: &nn::VarStore, precision: Precision, cache: &CacheConfig) -> Result<Self, EncoderError> {
        let plain = QuantizationConfig::default();
        Self::quantized(variables, precision, &EngineConfig::default(), &plain, cache)
    }

    /// As [`new`](Self::new), in 8 bits if the configuration wants it: then the network that [`embed`](Self::embed) is
    /// given must be one that is quantized alike.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn quantized(
        variables: &nn::VarStore,
        precision: Precision,
        engine: &EngineConfig,
        quantization: &QuantizationConfig,
        cache: &CacheConfig,
    ) -> Result<Self, EncoderError> {
        let device = variables.device();
        let reaches = |name: &String| name.starts_with(PREFIX) || PREFIX.starts_with(name.as_str());
        let whole = !quantization.enabled || !quantization.keep.iter().any(reaches);
        let known = model::size_of(variables) == EncoderSize::Lite;
        let (engine, name) = if device == Device::Cpu && precision == Precision::F32 && whole && known {
            let (storage, name) = match quantization.enabled {
                true => (Storage::Int8, format!("core-int8-{}", Kernels::detect().name())),
                false => (Storage::F32, "core".into()),
            };
            (Engine::Core(Box::new(session(variables, storage)?)), name)
        } else {
            let name = if quantization.enabled { int8_name(quantization) } else { torch_name(precision).into() };
            let channels_last = engine.on(device).channels_last;
            (Engine::Torch { bf16: precision == Precision::Bf16, channels_last }, name)
        };
        let cache = EmbeddingCache::open(cache, variables, &name)?.map(Arc::new);
        Ok(Self { engine, device, cache, encoded: 0 })
    }

    /// Where embeddings are looked for.
    pub const fn cache(&self) -> Option<&Arc<EmbeddingCache>> {
        self.cache.as_ref()
    }

    /// Whether [`embed_all`](Self::embed_all) takes the network's inputs and not the pictures.
    pub const fn takes_images(&self) -> bool {
        matches!(self.engine, Engine::Torch { .. })
    }

    /// Images encoded since the last call.
    pub fn take_encoded(&mut self) -> u64 {
        std::mem::take(&mut self.encoded)
    }

    /// The embedding (1,256,64,64) of a picture, on the network's device, without gradients and with BatchNorm's running
    /// statistics. `model` is the network of the variables that this encoder was made of.
    ///
    /// # Errors
    /// [`EncoderError`] if the picture is none, or a fresh embedding cannot be stored.
    pub fn embed(&mut self, model: &LiteMedSam, picture: &Picture) -> Result<Tensor, EncoderError> {
        if let Some(stored) = self.cache.as_ref().and_then(|cache| cache.get(picture)) {
            return Ok(stored.to_tensor(self.device));
        }
        let fresh = match &mut self.engine {
            Engine::Core(session) => {
                let embedding = session.encode(&picture.view()?)?;
                Tensor::from_slice(embedding.values()).view(SHAPE)
            }
            Engine::Torch { bf16, channels_last } => {
                let input = images(std::slice::from_ref(picture))?.to_device(self.device);
                encode(model, &input, *bf16, *channels_last)
            }
        };
        self.encoded += 1;
        Ok(match &self.cache {
            Some(cache) => cache.put(picture, &fresh)?.to_tensor(self.device),
            None => fresh,
        })
    }

    /// As [`Self::embed`], of the pictures of a batch: (P,256,64,64). At most `at_once` images go through libtorch
    /// together. `found` says that the batch's stored embeddings are this encoder's.
    ///
    /// # Errors
    /// As [`Self::embed`].
    ///
    /// # Panics
    /// If the batch has no images, and this encoder [takes](Self::takes_images) them.
    pub fn embed_all(
        &mut self,
        model: &LiteMedSam,
        (staged, batch): (&Staged, &Batch),
        at_once: usize,
        found: bool,
    ) -> Result<Tensor, EncoderError> {
        let pictures = &staged.pictures;
        let Engine::Torch { bf16, channels_last } = self.engine else {
            let of = |(picture, stored): (&Picture, &Option<Stored>)| match stored.as_ref().filter(|_| found) {
                Some(stored) => Ok(stored.to_tensor(self.device)),
                None => self.embed(model, picture),
            };
            let all: Vec<Tensor> = pictures.iter().zip(&staged.stored).map(of).collect::<Result<_, _>>()?;
            return Ok(Tensor::cat(&all, 0));
        };
        let stored = |i: usize| match &staged.stored[i] {
            Some(stored) if found => Some(stored.to_tensor(self.device)),
            _ => self.cache.as_ref().and_then(|cache| cache.get(&pictures[i])).map(|s| s.to_tensor(self.device)),
        };
        let mut all: Vec<Option<Tensor>> = (0..pictures.len()).map(stored).collect();
        let missing: Vec<i64> = (0i64..).zip(&all).filter(|(_, known)| known.is_none()).map(|(i, _)| i).collect();
        let images = batch.images.as_ref().expect("the network's inputs");
        let mut fresh = Vec::new();
        for rows in missing.chunks(at_once.max(1)) {
            let input = match rows.len() == pictures.len() {
                true => images.shallow_clone(),
                false => images.index_select(0, &Tensor::from_slice(rows).to_device(self.device)),
            };
            fresh.push(encode(model, &input, bf16, channels_last));
        }
        self.encoded += missing.len() as u64;
        let Some(cache) = self.cache.as_ref().filter(|_| !missing.is_empty()) else {
            return Ok(match all.into_iter().collect::<Option<Vec<Tensor>>>() {
                Some(known) => Tensor::cat(&known, 0),
                None => Tensor::cat(&fresh, 0),
            });
        };
        let fresh = Tensor::cat(&fresh, 0);
        for (row, &i) in (0i64..).zip(&missing) {
            let i = i as usize;
            all[i] = Some(cache.put(&pictures[i], &fresh.narrow(0, row, 1))?.to_tensor(self.device));
        }
        Ok(Tensor::cat(&all.into_iter().flatten().collect::<Vec<_>>(), 0))
    }
}

/// Embeddings of images that are on the network's device, in f32.
fn encode(model: &LiteMedSam, images: &Tensor, bf16: bool, channels_last: bool) -> Tensor {
    let _autocast = bf16.then(|| autocast::bf16(images.device()));
    tch::no_grad(|| {
        let images = if channels_last { model::channels_last(images) } else { images.shallow_clone() };
        model.encode(&images, false).to_kind(Kind::Float).contiguous()
    })
}

/// What tells embeddings of libtorch from others: a cache holds one arithmetic's only.
const fn torch_name(precision: Precision) -> &'static str {
    match precision {
        Precision::F32 => "torch-f32",
        Precision::Tf32 => "torch-tf32",
        Precision::Bf16 => "torch-bf16",
    }
}

/// What tells embeddings in 8 bits that libtorch makes from others.
fn int8_name(quantization: &QuantizationConfig) -> String {
    let precision = if quantization.precision == Precision::Bf16 { "bf16" } else { "f32" };
    let mut kept = quantization.keep.clone();
    kept.sort();
    let digest = Sha256::digest(kept.join("\n"));
    format!("torch-int8-{precision}-{}", hex(&digest[..4]))
}

/// A session of core on the network's weights, on as many threads as libtorch may use.
fn session(variables: &nn::VarStore, storage: Storage) -> Result<Session, EncoderError> {
    let mut tensors = BTreeMap::new();
    for (name, value) in model::published(variables) {
        let shape = value.size().iter().map(|&side| side as usize).collect();
        let flat = value.view(-1);
        let data = match value.kind() {
            Kind::Int64 => TensorData::I64(Vec::try_from(flat).expect("a list of i64")),
            _ => TensorData::F32(Vec::try_from(flat).expect("a list of f32")),
        };
        tensors.insert(name, checkpoint::Tensor::new(shape, data)?);
    }
    let weights = Weights::new(tensors, Provenance::default())?;
    let (bundle, _) = bundle::build(&weights, storage, "frozen encoder")?;
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    Ok(Model::from_bytes(bundle)?.session(&SessionOptions::new().with_threads(threads))?)
}
