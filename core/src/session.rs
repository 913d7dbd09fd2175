//! Encoding images and decoding boxes.

use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::postprocess::LOGITS_LEN;
use crate::preprocess::{INPUT_LEN, Preprocessor};
use crate::runtime::{Graph, GraphOptions};
use crate::volume::{Propagation, SliceNetwork, VolumeSegmentation};
use crate::{Arithmetic, Error, Frame, ImageView, MODEL_SIDE, MaskLogits, Model, ModelBox, PixelBox, VoxelBox};

/// Bytes of an image's embedding: 256 channels of 64x64 in f32.
pub const EMBEDDING_BYTES: usize = 256 * 64 * 64 * 4;

const INPUT_SHAPE: [usize; 4] = [1, 3, MODEL_SIDE, MODEL_SIDE];
const EMBEDDING_SHAPE: [usize; 4] = [1, 256, 64, 64];

/// How a session runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Threads that one encode or decode may use.
    pub threads: usize,
    /// Boxes that go through the decoder together. A box costs about 9 MiB while it is decoded, and more than a few at
    /// once are no faster.
    pub max_batch: usize,
    /// How the network is computed. If left out, as the model was made: in int8 if its weights are, in f32
    /// otherwise, whatever its weights are kept in.
    pub arithmetic: Option<Arithmetic>,
}

impl SessionOptions {
    /// One thread, 4 boxes at a time, the model's own arithmetic.
    pub const fn new() -> Self {
        Self { threads: 1, max_batch: 4, arithmetic: None }
    }

    /// With this number of threads; 0 counts as 1.
    #[must_use]
    pub fn with_threads(self, threads: usize) -> Self {
        Self { threads: threads.max(1), ..self }
    }

    /// With this number of boxes decoded together; 0 counts as 1.
    #[must_use]
    pub fn with_max_batch(self, max_batch: usize) -> Self {
        Self { max_batch: max_batch.max(1), ..self }
    }

    /// Computed in this arithmetic.
    #[must_use]
    pub const fn with_arithmetic(self, arithmetic: Arithmetic) -> Self {
        Self { arithmetic: Some(arithmetic), ..self }
    }
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// How a volume is segmented.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// Bytes of embeddings kept for slices that are passed upwards by one object and downwards by another. A slice
    /// that finds no room is encoded twice.
    pub cache_bytes: usize,
}

impl VolumeOptions {
    /// 512 MiB of embeddings: 128 slices.
    pub const fn new() -> Self {
        Self { cache_bytes: 512 << 20 }
    }

    /// With this many bytes of embeddings kept.
    #[must_use]
    pub const fn with_cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes }
    }
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// What a session has done so far, and how long it took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Images or slices encoded.
    pub encodes: usize,
    /// Boxes decoded.
    pub decodes: usize,
    /// Time spent on resizing and normalising.
    pub preprocess: Duration,
    /// Time spent in the encoder.
    pub encode: Duration,
    /// Time spent in the decoder.
    pub decode: Duration,
    /// Time spent on painting the masks of images ([`Session::segment_image`]).
    pub postprocess: Duration,
}

/// An encoded image: decode as many boxes from it as you like.
///
/// It owns its values (a clone shares them) and knows the image's frame and the model that made it.
#[derive(Clone, Debug)]
pub struct Embedding {
    values: Arc<Vec<f32>>,
    frame: Frame,
    model: Arc<str>,
    number: u64,
}

/// Tells embeddings apart.
static ENCODED: AtomicU64 = AtomicU64::new(0);

impl Embedding {
    /// The frame of the image that was encoded.
    pub const fn frame(&self) -> Frame {
        self.frame
    }

    /// The values: 256 channels of 64x64.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

/// One object's mask, on the model's grid, and how sure the network is of it.
#[derive(Clone, Debug)]
pub struct Segmentation {
    logits: Vec<f32>,
    frame: Frame,
    predicted_iou: f32,
}

impl Segmentation {
    /// The logits, from which a mask of the image's size is made.
    pub fn logits(&self) -> MaskLogits<'_> {
        MaskLogits::new(&self.logits, self.frame)
    }

    /// The network's own estimate of the mask's intersection over union with the truth, 0 to 1 (uncalibrated).
    pub const fn predicted_iou(&self) -> f32 {
        self.predicted_iou
    }

    /// The mask in the image's size, one byte a pixel: 1 for the object, 0 elsewhere.
    pub fn mask(&self) -> Vec<u8> {
        let mut mask = vec![0; self.frame.width() * self.frame.height()];
        self.logits().paint(1, &mut mask);
        mask
    }

    /// Number of the object's pixels in the image's size.
    pub fn area(&self) -> usize {
        self.logits().area()
    }
}

/// The two graphs of a model, loaded, and every buffer that they need outside tract.
#[derive(Debug)]
pub struct Session {
    encoder: Graph,
    decoder: Graph,
    preprocessor: Preprocessor,
    input: Vec<f32>,
    coordinates: Vec<f32>,
    max_batch: usize,
    model: Arc<str>,
    /// The embedding that was decoded last.
    decoded: Option<u64>,
    pub(crate) stats: Stats,
}

impl Session {
    pub(crate) fn new(model: &Model, options: &SessionOptions) -> Result<Self, Error> {
        let arithmetic = options.arithmetic.unwrap_or(model.manifest().precision.arithmetic());
        let graph = GraphOptions::default().with_threads(options.threads).with_arithmetic(arithmetic);
        Ok(Self {
            encoder: Graph::load("encoder", model.encoder_onnx(), &[(0, &INPUT_SHAPE)], &graph)?,
            decoder: Graph::load("decoder", model.decoder_onnx(), &[], &graph)?,
            preprocessor: Preprocessor::new(),
            input: vec![0.0; INPUT_LEN],
            coordinates: Vec::new(),
            max_batch: options.max_batch,
            model: model.manifest().encoder_sha256.as_str().into(),
            decoded: None,
            stats: Stats::default(),
        })
    }

    /// What this session has done so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Time spent so far in each function of the encoder and of the decoder, for finding out where it goes.
    pub fn profile(&self) -> Vec<(String, Duration)> {
        self.encoder.profile().into_iter().chain(self.decoder.profile()).collect()
    }

    /// Encodes an image or a slice: the expensive part, done once however many boxes follow.
    pub fn encode(&mut self, image: &ImageView<'_>) -> Result<Embedding, Error> {
        let mut embedding = self.blank();
        self.encode_into(image, &mut embedding)?;
        Ok(embedding)
    }

    /// As [`encode`](Self::encode), into an embedding whose memory is used again unless a clone shares it.
    pub fn encode_into(&mut self, image: &ImageView<'_>, embedding: &mut Embedding) -> Result<(), Error> {
        let start = Instant::now();
        let mut input = std::mem::take(&mut self.input);
        let frame = self.preprocessor.preprocess_into(image, &mut input);
        self.stats.preprocess += start.elapsed();
        let result = self.encode_input_into(&input, frame, embedding);
        self.input = input;
        result
    }

    /// Encodes an input that was prepared elsewhere: [`INPUT_LEN`] values as
    /// [`preprocess_into`](Preprocessor::preprocess_into) writes them, and the frame of the image that it shows.
    ///
    /// # Panics
    /// If `input` does not hold [`INPUT_LEN`] values.
    pub fn encode_input(&mut self, input: &[f32], frame: Frame) -> Result<Embedding, Error> {
        let mut embedding = self.blank();
        self.encode_input_into(input, frame, &mut embedding)?;
        Ok(embedding)
    }

    fn encode_input_into(&mut self, input: &[f32], frame: Frame, embedding: &mut Embedding) -> Result<(), Error> {
        assert_eq!(input.len(), INPUT_LEN, "length of the network's input");
        let start = Instant::now();
        self.encoder.run(&[(&INPUT_SHAPE, input)])?;
        let found = self.encoder.output(0)?;
        if Arc::get_mut(&mut embedding.values).is_none() {
            embedding.values = Arc::default();
        }
        if let Some(values) = Arc::get_mut(&mut embedding.values) {
            values.clear();
            values.extend_from_slice(found);
        }
        embedding.frame = frame;
        embedding.model = self.model.clone();
        embedding.number = ENCODED.fetch_add(1, Ordering::Relaxed);
        self.stats.encodes += 1;
        self.stats.encode += start.elapsed();
        Ok(())
    }

    /// An embedding of nothing, to be filled.
    pub(crate) fn blank(&self) -> Embedding {
        Embedding { values: Arc::default(), frame: Frame::MODEL, model: self.model.clone(), number: u64::MAX }
    }

    /// Segments the objects in `boxes` (pixels of the encoded image), many boxes to one pass of the decoder.
    pub fn segment(&mut self, embedding: &Embedding, boxes: &[PixelBox]) -> Result<Vec<Segmentation>, Error> {
        let frame = embedding.frame;
        let prompts: Vec<ModelBox> =
            boxes.iter().enumerate().map(|(i, b)| frame.to_model(b, i)).collect::<Result<_, _>>()?;
        let mut found = Vec::with_capacity(boxes.len());
        self.decode(embedding, &prompts, |_, logits, predicted_iou| {
            found.push(Segmentation { logits: logits.values().to_vec(), frame, predicted_iou });
        })?;
        Ok(found)
    }

    /// Decodes boxes on the model's grid and hands each object's logits and predicted IoU to `take`, in order, without
    /// keeping them.
    pub fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        mut take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Error> {
        if embedding.model != self.model {
            return Err(Error::Embedding("made by another model than this session's".into()));
        }
        for (batch, first) in boxes.chunks(self.max_batch).zip((0..).step_by(self.max_batch)) {
            let start = Instant::now();
            self.coordinates.clear();
            self.coordinates.extend(batch.iter().flat_map(|b| b.to_array()));
            let prompts = (&[batch.len(), 4][..], self.coordinates.as_slice());
            // Known only once it went through: a run that failed must not leave another image's work behind as this one's.
            let again = self.decoded.take() == Some(embedding.number);
            self.decoder.run_with(&[(&EMBEDDING_SHAPE, &embedding.values), prompts], again)?;
            self.decoded = Some(embedding.number);
            self.stats.decodes += batch.len();
            self.stats.decode += start.elapsed();
            let objects = self.decoder.output(0)?.chunks_exact(LOGITS_LEN).zip(self.decoder.output(1)?);
            for ((logits, &iou), index) in objects.zip(first..) {
                // NaN anywhere before the heads reaches both; unnoticed it would look like an empty mask.
                if !iou.is_finite() {
                    return Err(Error::NotFinite { index });
                }
                take(index, MaskLogits::new(logits, embedding.frame), iou);
            }
        }
        Ok(())
    }

    /// Segments objects through a volume of slices given by `slice` (which is asked for slice `z`), and tells
    /// `progress` of the slices done and the slices in all.
    pub fn segment_volume<'a>(
        &mut self,
        (depth, height, width): (usize, usize, usize),
        slice: impl Fn(usize) -> Result<ImageView<'a>, Error>,
        boxes: &[VoxelBox],
        options: &VolumeOptions,
        progress: impl FnMut(usize, usize),
    ) -> Result<VolumeSegmentation, Error> {
        let propagation = Propagation::new(boxes, depth, width, height)?;
        let mut slices = Slices { session: self, slice, width, height };
        propagation.run(&mut slices, options.cache_bytes / EMBEDDING_BYTES, progress)
    }
}

/// A session and the slices of a volume.
struct Slices<'s, F> {
    session: &'s mut Session,
    slice: F,
    width: usize,
    height: usize,
}

impl<'a, F: Fn(usize) -> Result<ImageView<'a>, Error>> SliceNetwork for Slices<'_, F> {
    type Embedding = Embedding;
    type Error = Error;

    fn encode(&mut self, z: usize, spare: Option<Embedding>) -> Result<Embedding, Error> {
        let image = (self.slice)(z)?;
        let (width, height) = (image.width(), image.height());
        if (width, height) != (self.width, self.height) {
            let (expected_width, expected_height) = (self.width, self.height);
            return Err(Error::SliceSize { z, width, height, expected_width, expected_height });
        }
        let mut embedding = spare.unwrap_or_else(|| self.session.blank());
        self.session.encode_into(&image, &mut embedding)?;
        Ok(embedding)
    }

    fn decode(
        &mut self,
        embedding: &Embedding,
        boxes: &[ModelBox],
        take: impl FnMut(usize, MaskLogits<'_>, f32),
    ) -> Result<(), Error> {
        self.session.decode(embedding, boxes, take)
    }
}
