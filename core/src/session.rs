//! Encoding images and decoding boxes.

use std::prelude::v1::*;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::Recipe;
use crate::embedding::EMBEDDING_SHAPE;
use crate::postprocess::LOGITS_LEN;
use crate::preprocess::{INPUT_LEN, Preprocessor};
use crate::runtime::{Execution, GraphOptions, Kernels, Stage, Workspace};
use crate::stopwatch::Stopwatch;
use crate::{
    Embedding, EmbeddingCache, Error, Frame, ImageView, MODEL_SIDE, MaskLogits, Model, ModelBox, PixelBox, Precision,
};

/// Most boxes in a batch: memory for more is on no device.
const MAX_BATCH: usize = 1024;

const INPUT_SHAPE: [usize; 4] = [1, 3, MODEL_SIDE, MODEL_SIDE];

/// How a session runs the network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Number of threads that one encode or decode may use, at most 1024; 0 counts as 1.
    pub threads: usize,
    /// Number of boxes that are decoded in one batch; 0 counts as 1, and more than 1024 as 1024. A box takes about 9 MiB of
    /// memory while it is decoded, and batches of more than a few boxes are no faster.
    pub max_batch: usize,
    /// The precision that the network is computed in. `None` takes the one that belongs to the storage of the model's
    /// weights ([`Storage::precision`](crate::Storage::precision)): int8 for weights in int8, f32 for all others.
    pub precision: Option<Precision>,
    /// What runs the graphs. [`Execution::Any`] accepts that graphs which cannot run in fused blocks run slowly;
    /// [`Execution::Fused`] makes that an error.
    pub execution: Execution,
}

impl SessionOptions {
    /// One thread, batches of 4 boxes, the model's own precision, [`Execution::Any`].
    pub const fn new() -> Self {
        Self { threads: 1, max_batch: 4, precision: None, execution: Execution::Any }
    }

    /// Sets the number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// Sets the number of boxes in a batch; 0 counts as 1, and more than 1024 as 1024.
    #[must_use]
    pub fn with_max_batch(self, max_batch: usize) -> Self {
        Self { max_batch: max_batch.clamp(1, MAX_BATCH), ..self }
    }

    /// Sets the precision.
    #[must_use]
    pub const fn with_precision(self, precision: Precision) -> Self {
        Self { precision: Some(precision), ..self }
    }

    /// Sets what runs the graphs.
    #[must_use]
    pub const fn with_execution(self, execution: Execution) -> Self {
        Self { execution, ..self }
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a session has done so far, and how long that took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Number of images or slices encoded.
    pub encodes: usize,
    /// Number of images or slices whose embedding the cache had ([`Session::set_cache`]).
    pub cache_hits: usize,
    /// Number of boxes decoded.
    pub decodes: usize,
    /// Time spent resizing and normalising.
    pub preprocess: Duration,
    /// Time spent in the encoder.
    pub encode: Duration,
    /// Time spent on the cache: digests of images, reading, writing.
    pub cache: Duration,
    /// Time spent in the decoder.
    pub decode: Duration,
    /// Time spent painting the masks of images ([`Session::segment_image`]) and averaging
    /// ([`Session::segment_uncertain`]).
    pub postprocess: Duration,
}

/// Memory of a [`Session`], in bytes. Beside it there are the model's own bytes ([`Model::size_bytes`]), unless they are
/// part of the program, the embeddings and masks that the caller holds, an [`EmbeddingCache`], and the stacks of threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Memory {
    /// The packed weights, which all sessions of this model and precision share; held since the session was made.
    pub weights: usize,
    /// What passes from block to block, with the network's input: for the encoder and for
    /// [`max_batch`](SessionOptions::max_batch) boxes, which take the same memory one after the other. It is taken by the
    /// first encode, and by the first batch of boxes that needs more.
    pub buffers: usize,
    /// What blocks need while they run, for all threads; taken by the first encode.
    pub scratch: usize,
    /// What is kept from one image to the next to resize another of the same size, as of now.
    pub caches: usize,
}

impl Memory {
    /// All of it.
    pub const fn total(&self) -> usize {
        self.weights + self.buffers + self.scratch + self.caches
    }
}

/// One object's mask on the model's grid, and the network's estimate of its quality.
#[derive(Clone, Debug)]
pub struct Segmentation {
    logits: Vec<f32>,
    frame: Frame,
    predicted_iou: f32,
}

impl Segmentation {
    /// The logits on the model's grid, from which masks of the image's size are made.
    pub fn logits(&self) -> MaskLogits<'_> {
        MaskLogits::new(&self.logits, self.frame)
    }

    /// The network's own, uncalibrated estimate of the mask's intersection over union (IoU) with the truth, 0 to 1.
    pub const fn predicted_iou(&self) -> f32 {
        self.predicted_iou
    }

    /// The mask, (height,width) of the image, one byte a pixel: 1 for the object, 0 elsewhere.
    pub fn mask(&self) -> Vec<u8> {
        let mut mask = vec![0; self.frame.width() * self.frame.height()];
        self.logits().paint(1, &mut mask);
        mask
    }

    /// Number of the image's pixels that belong to the object.
    pub fn area(&self) -> usize {
        self.logits().area()
    }
}

/// The two graphs of a model, loaded, with all the memory that they run in. [`runtime`](crate::runtime) says what runs
/// them.
#[derive(Debug)]
pub struct Session {
    encoder: Stage,
    decoder: Stage,
    /// Both run in it, one after the other.
    workspace: Workspace,
    preprocessor: Preprocessor,
    input: Vec<f32>,
    coordinates: Vec<f32>,
    max_batch: usize,
    pub(crate) model: Arc<str>,
    /// The embedding that was decoded last.
    decoded: Option<u64>,
    precision: Precision,
    pub(crate) cache: Option<EmbeddingCache>,
    pub(crate) stats: Stats,
}

impl Session {
    pub(crate) fn new(model: &Model, options: &SessionOptions) -> Result<Self, Error> {
        let precision = options.precision.unwrap_or(model.manifest().storage.precision());
        let graph = GraphOptions::default()
            .with_threads(options.threads)
            .with_precision(precision)
            .with_execution(options.execution);
        let shared = &model.shared;
        let encoder = Stage::load("encoder", model.encoder_onnx(), &[(0, &INPUT_SHAPE)], &graph, shared)?;
        let decoder = Stage::load("decoder", model.decoder_onnx(), &[], &graph, shared)?;
        Ok(Self {
            workspace: Stage::workspace(&[&encoder, &decoder], options.threads, shared)?,
            encoder,
            decoder,
            preprocessor: Preprocessor::new(),
            input: vec![0.0; INPUT_LEN],
            coordinates: Vec::new(),
            max_batch: options.max_batch.clamp(1, MAX_BATCH),
            model: model.manifest().encoder_sha256.as_str().into(),
            decoded: None,
            precision,
            cache: None,
            stats: Stats::default(),
        })
    }

    /// What this session has done so far, and how long that took.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The memory that this session takes, at its most; `None` if tract runs a graph, whose memory is not known.
    pub fn memory(&self) -> Option<Memory> {
        let (encoder, decoder) = (self.encoder.run()?.program(), self.decoder.run()?.program());
        let arena = encoder.layout(1).len.max(decoder.layout(self.max_batch).len);
        let input = size_of::<f32>() * (INPUT_LEN + 4 * self.max_batch);
        Some(Memory {
            weights: encoder.bytes() + decoder.bytes(),
            buffers: Workspace::arena_bytes(arena) + input,
            scratch: self.workspace.scratch_bytes(encoder.scratch().max(decoder.scratch())),
            caches: self.preprocessor.capacity_bytes(),
        })
    }

    /// Why tract runs a graph although [`Execution::Any`] prefers fused blocks; `None` if both graphs run as they were
    /// asked to. Such a graph takes about three times as long and twice the memory.
    pub fn fallback(&self) -> Option<&Error> {
        self.encoder.fallback().or(self.decoder.fallback())
    }

    /// Time spent so far in each function of the encoder and of the decoder, for profiling.
    pub fn profile(&self) -> Vec<(String, Duration)> {
        self.encoder.profile().into_iter().chain(self.decoder.profile()).collect()
    }

    /// Encodes an image or a slice. This is the expensive part; it is done once, however many boxes follow, and not at all
    /// if a cache ([`set_cache`](Self::set_cache)) has the embedding.
    ///
    /// # Errors
    /// [`Error::Engine`] if the encoder fails.
    pub fn encode(&mut self, image: &ImageView<'_>) -> Result<Embedding, Error> {
        let mut embedding = self.blank();
        self.encode_into(image, &mut embedding)?;
        Ok(embedding)
    }

    /// As [`encode`](Self::encode), into an existing embedding, whose memory is reused unless a clone shares it.
    ///
    /// # Errors
    /// [`Error::Engine`] if the encoder fails.
    pub fn encode_into(&mut self, image: &ImageView<'_>, embedding: &mut Embedding) -> Result<(), Error> {
        match self.cache.clone() {
            Some(cache) => self.encode_through(&cache, image, embedding),
            None => self.encode_anew(image, embedding),
        }
    }

    /// Encodes an image without asking the cache.
    pub(crate) fn encode_anew(&mut self, image: &ImageView<'_>, embedding: &mut Embedding) -> Result<(), Error> {
        let start = Stopwatch::start();
        let mut input = std::mem::take(&mut self.input);
        let frame = self.preprocessor.preprocess_into(image, &mut input);
        self.stats.preprocess += start.elapsed();
        let result = self.encode_input_into(&input, frame, embedding);
        self.input = input;
        result
    }

    /// Encodes an input that was preprocessed elsewhere; a cache is not asked. `input` is (3,256,256) as
    /// [`preprocess_into`](Preprocessor::preprocess_into) writes it, and `frame` is that of the image.
    ///
    /// # Errors
    /// [`Error::BufferSize`] if `input` does not hold [`INPUT_LEN`] values, [`Error::Engine`] if the encoder fails.
    pub fn encode_input(&mut self, input: &[f32], frame: Frame) -> Result<Embedding, Error> {
        let mut embedding = self.blank();
        self.encode_input_into(input, frame, &mut embedding)?;
        Ok(embedding)
    }

    fn encode_input_into(&mut self, input: &[f32], frame: Frame, embedding: &mut Embedding) -> Result<(), Error> {
        if input.len() != INPUT_LEN {
            return Err(Error::BufferSize { expected: INPUT_LEN, actual: input.len() });
        }
        let start = Stopwatch::start();
        self.encoder.run_with(&[(&INPUT_SHAPE, input)], false, &mut self.workspace)?;
        embedding.fill(self.encoder.output(0, &self.workspace)?, frame, &self.model);
        self.stats.encodes += 1;
        self.stats.encode += start.elapsed();
        Ok(())
    }

    /// What its embeddings depend on beside the image.
    pub(crate) fn recipe(&self) -> Recipe<'_> {
        let kernels = Kernels::detect();
        Recipe {
            encoder: &self.model,
            precision: self.precision,
            kernels: kernels.name(),
            floats: kernels.fast_float(),
            fused: self.encoder.run().is_some(),
        }
    }

    /// An embedding of nothing, to be filled.
    pub(crate) fn blank(&self) -> Embedding {
        Embedding::blank(&self.model)
    }

    /// Segments the objects in `boxes`, which are in pixels of the encoded image, in batches of
    /// [`max_batch`](SessionOptions::max_batch) boxes. Returns one segmentation for each box, in order.
    ///
    /// # Errors
    /// [`Error::BoxNotFinite`], [`Error::BoxReversed`] or [`Error::BoxOutside`] for a box, and those of
    /// [`decode`](Self::decode).
    pub fn segment(&mut self, embedding: &Embedding, boxes: &[PixelBox]) -> Result<Vec<Segmentation>, Error> {
        let frame = embedding.frame();
        let prompts: Vec<ModelBox> =
            boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect::<Result<_, _>>()?;
        let mut found = Vec::with_capacity(boxes.len());
        self.decode(embedding, &prompts, |_, logits, predicted_iou| {
            found.push(Segmentation { logits: logits.values().to_vec(), frame, predicted_iou });
        })?;
        Ok(found)
    }

    /// Decodes boxes on the model's grid. `take` is called with each box's position in `boxes`, its logits and its
    /// predicted IoU, in order; nothing is kept.
    ///
    /// # Errors
    /// [`Error::Embedding`] if another model made the embedding, [`Error::NotFinite`] if the network answers a box with
    /// NaN or infinity, [`Error::Engine`] if the decoder fails. Boxes before the one that failed have been taken.
    pub fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        mut take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Error> {
        if embedding.model() != &*self.model {
            return Err(Error::Embedding("made by another model than this session's".into()));
        }
        for (batch, first) in boxes.chunks(self.max_batch).zip((0..).step_by(self.max_batch)) {
            let start = Stopwatch::start();
            self.coordinates.clear();
            self.coordinates.extend(batch.iter().flat_map(|b| b.to_array()));
            let prompts = (&[batch.len(), 4][..], self.coordinates.as_slice());
            // Known only once it went through: a run that failed must not leave another image's work behind as this one's.
            let again = self.decoded.take() == Some(embedding.number());
            self.decoder.run_with(&[(&EMBEDDING_SHAPE, embedding.values()), prompts], again, &mut self.workspace)?;
            self.decoded = Some(embedding.number());
            self.stats.decodes += batch.len();
            self.stats.decode += start.elapsed();
            let [logits, ious] = [0, 1].map(|i| self.decoder.output(i, &self.workspace));
            let objects = logits?.chunks_exact(LOGITS_LEN).zip(ious?);
            for ((logits, &iou), index) in objects.zip(first..) {
                // Unnoticed, NaN would look like an empty mask.
                let logits = MaskLogits::new(logits, embedding.frame());
                if !iou.is_finite() || !logits.is_finite() {
                    return Err(Error::NotFinite { index });
                }
                take(index, logits, iou);
            }
        }
        Ok(())
    }
}
