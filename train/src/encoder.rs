//! The encoder where it is frozen: embeddings of pictures, from the disk or fresh.
//!
//! On a CPU in f32 core's fused graph computes them, three times as fast as libtorch; elsewhere libtorch does. Both are
//! within f32's rounding of each other, and each has a cache of its own.
//!
//! So have embeddings in 8 bits. Core makes them with the floats that this CPU is fastest in, whatever
//! `quantization.floats` says, which is for libtorch; it cannot keep layers of the encoder out, so that where there
//! are such, libtorch encodes.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tch::{Device, Kind, Tensor, nn};
use umedsam::runtime::Kernels;
use umedsam::{Model, Precision, Session, SessionOptions};
use umedsam_export::bundle::{self, MakeError};
use umedsam_export::checkpoint::{self, Provenance, TensorData, Weights};

use crate::autocast;
use crate::config::{Arithmetic, CacheConfig, Floats, QuantizationConfig};
use crate::data::{Picture, images};
use crate::embeddings::{EmbeddingCache, Stored};
use crate::hex;
use crate::model::LiteMedSam;

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
    Torch { bf16: bool },
}

impl FrozenEncoder {
    /// The encoder in `variables`, as its parameters are now.
    ///
    /// # Errors
    /// If the cache cannot be opened, or core cannot load the encoder.
    pub fn new(variables: &nn::VarStore, arithmetic: Arithmetic, cache: &CacheConfig) -> Result<Self, EncoderError> {
        Self::quantized(variables, arithmetic, &QuantizationConfig::default(), cache)
    }

    /// As [`new`](Self::new), in 8 bits if the configuration wants it: then the network that [`embed`](Self::embed) is
    /// given must be one that is quantized alike.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn quantized(
        variables: &nn::VarStore,
        arithmetic: Arithmetic,
        quantization: &QuantizationConfig,
        cache: &CacheConfig,
    ) -> Result<Self, EncoderError> {
        let device = variables.device();
        let reaches = |name: &String| name.starts_with(PREFIX) || PREFIX.starts_with(name.as_str());
        let whole = !quantization.enabled || !quantization.keep.iter().any(reaches);
        let (engine, name) = if device == Device::Cpu && arithmetic == Arithmetic::F32 && whole {
            let (precision, name) = match quantization.enabled {
                true => (Precision::Int8, format!("core-int8-{}", Kernels::detect().name())),
                false => (Precision::F32, "core".into()),
            };
            (Engine::Core(Box::new(session(variables, precision)?)), name)
        } else {
            let name = if quantization.enabled { torch_name(quantization) } else { "torch".into() };
            (Engine::Torch { bf16: arithmetic == Arithmetic::Bf16 }, name)
        };
        let cache = EmbeddingCache::open(cache, variables, &name)?.map(Arc::new);
        Ok(Self { engine, device, cache, encoded: 0 })
    }

    /// Where embeddings are looked for.
    pub const fn cache(&self) -> Option<&Arc<EmbeddingCache>> {
        self.cache.as_ref()
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
            Engine::Torch { bf16 } => {
                let _autocast = bf16.then(|| autocast::bf16(self.device));
                let input = images(&[picture], self.device)?;
                tch::no_grad(|| model.encode(&input, false)).to_kind(Kind::Float)
            }
        };
        self.encoded += 1;
        Ok(match &self.cache {
            Some(cache) => cache.put(picture, &fresh)?.to_tensor(self.device),
            None => fresh,
        })
    }

    /// As [`Self::embed`], of many pictures: (N,256,64,64). `stored` holds those that were read from the cache already.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub fn embed_all<'p>(
        &mut self,
        model: &LiteMedSam,
        pictures: impl IntoIterator<Item = (&'p Picture, Option<&'p Stored>)>,
    ) -> Result<Tensor, EncoderError> {
        let of = |(picture, stored): (&Picture, Option<&Stored>)| match stored {
            Some(stored) => Ok(stored.to_tensor(self.device)),
            None => self.embed(model, picture),
        };
        let all: Vec<Tensor> = pictures.into_iter().map(of).collect::<Result<_, _>>()?;
        Ok(Tensor::cat(&all, 0))
    }
}

/// What tells embeddings in 8 bits that libtorch makes from others.
fn torch_name(quantization: &QuantizationConfig) -> String {
    let floats = if quantization.floats == Floats::Bf16 { "bf16" } else { "f32" };
    let mut kept = quantization.keep.clone();
    kept.sort();
    let digest = Sha256::digest(kept.join("\n"));
    format!("torch-int8-{floats}-{}", hex(&digest[..4]))
}

/// A session of core on the network's weights, on as many threads as libtorch may use.
fn session(variables: &nn::VarStore, precision: Precision) -> Result<Session, EncoderError> {
    let mut tensors = BTreeMap::new();
    for (name, value) in crate::model::published(variables) {
        let shape = value.size().iter().map(|&side| side as usize).collect();
        let flat = value.view(-1);
        let data = match value.kind() {
            Kind::Int64 => TensorData::I64(Vec::try_from(flat).expect("a list of i64")),
            _ => TensorData::F32(Vec::try_from(flat).expect("a list of f32")),
        };
        tensors.insert(name, checkpoint::Tensor::new(shape, data)?);
    }
    let weights = Weights::new(tensors, Provenance::default())?;
    let (bundle, _) = bundle::build(&weights, precision, "frozen encoder")?;
    let threads = usize::try_from(tch::get_num_threads()).unwrap_or(1);
    Ok(Model::from_bytes(bundle)?.session(&SessionOptions::new().with_threads(threads))?)
}
