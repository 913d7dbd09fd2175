//! Encoding images and decoding boxes.

use core::ops::ControlFlow;
use std::prelude::v1::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::postprocess::LOGITS_LEN;
use crate::preprocess::{INPUT_LEN, Preprocessor};
use crate::runtime::{Execution, Graph, GraphOptions};
use crate::volume::{Propagation, SliceNetwork, Slices, VolumeSegmentation, slice_size};
use crate::{
    Arithmetic, Error, Frame, ImageView, MODEL_SIDE, MaskLogits, Model, ModelBox, PixelBox, VolumeSize, VoxelBox,
};

/// Bytes of an image's embedding: 256 channels of 64x64 in f32.
pub const EMBEDDING_BYTES: usize = 256 * 64 * 64 * 4;

const INPUT_SHAPE: [usize; 4] = [1, 3, MODEL_SIDE, MODEL_SIDE];
const EMBEDDING_SHAPE: [usize; 4] = [1, 256, 64, 64];

/// How a session runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionOptions {
    /// Threads that one encode or decode may use; 0 counts as 1.
    pub threads: usize,
    /// Boxes that go through the decoder together; 0 counts as 1. A box costs about 9 MiB while it is decoded, and more
    /// than a few at once are no faster.
    pub max_batch: usize,
    /// How the network is computed. If left out, as the model was made: in int8 if its weights are, in f32
    /// otherwise, whatever its weights are kept in.
    pub arithmetic: Option<Arithmetic>,
    /// What runs the graphs. [`Execution::Fused`] forbids the slow way, which [`Execution::Any`] takes for graphs that
    /// do not run fused.
    pub execution: Execution,
}

impl SessionOptions {
    /// One thread, 4 boxes at a time, the model's own arithmetic, [`Execution::Any`].
    pub const fn new() -> Self {
        Self { threads: 1, max_batch: 4, arithmetic: None, execution: Execution::Any }
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

    /// Run by this.
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

/// How a volume is segmented.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VolumeOptions {
    /// Bytes of embeddings kept for slices that are passed upwards by one object and downwards by another, 4 MiB each. A
    /// slice that finds no room is encoded twice.
    pub cache_bytes: usize,
    /// Boxes are carried from slice to slice as the published LiteMedSAM does it, to the voxel
    /// ([`Propagation::with_upstream_rounding`]). They are not cut to the object's own box then, and its mask depends on
    /// its place in the list.
    pub upstream_rounding: bool,
}

impl VolumeOptions {
    /// 64 MiB of embeddings, which is 16 slices, and masks that do not depend on their place in the list.
    pub const fn new() -> Self {
        Self { cache_bytes: 64 << 20, upstream_rounding: false }
    }

    /// With this many bytes of embeddings kept.
    #[must_use]
    pub const fn with_cache_bytes(self, cache_bytes: usize) -> Self {
        Self { cache_bytes, ..self }
    }

    /// With boxes carried on as the published LiteMedSAM does it.
    #[must_use]
    pub const fn with_upstream_rounding(self) -> Self {
        Self { upstream_rounding: true, ..self }
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
        let graph = GraphOptions::default()
            .with_threads(options.threads)
            .with_arithmetic(arithmetic)
            .with_execution(options.execution);
        Ok(Self {
            encoder: Graph::load("encoder", model.encoder_onnx(), &[(0, &INPUT_SHAPE)], &graph)?,
            decoder: Graph::load("decoder", model.decoder_onnx(), &[], &graph)?,
            preprocessor: Preprocessor::new(),
            input: vec![0.0; INPUT_LEN],
            coordinates: Vec::new(),
            max_batch: options.max_batch.max(1),
            model: model.manifest().encoder_sha256.as_str().into(),
            decoded: None,
            stats: Stats::default(),
        })
    }

    /// What this session has done so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Why a graph does not run fused although [`Execution::Any`] would have it so, or nothing if both run as they were
    /// asked to. Such a graph takes about three times as long and twice the memory.
    pub fn fallback(&self) -> Option<&Error> {
        self.encoder.fallback().or(self.decoder.fallback())
    }

    /// Time spent so far in each function of the encoder and of the decoder, for finding out where it goes.
    pub fn profile(&self) -> Vec<(String, Duration)> {
        self.encoder.profile().into_iter().chain(self.decoder.profile()).collect()
    }

    /// Encodes an image or a slice: the expensive part, done once however many boxes follow.
    ///
    /// # Errors
    /// [`Error::Engine`] if the encoder fails.
    pub fn encode(&mut self, image: &ImageView<'_>) -> Result<Embedding, Error> {
        let mut embedding = self.blank();
        self.encode_into(image, &mut embedding)?;
        Ok(embedding)
    }

    /// As [`encode`](Self::encode), into an embedding whose memory is used again unless a clone shares it.
    ///
    /// # Errors
    /// [`Error::Engine`] if the encoder fails.
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
    ///
    /// # Errors
    /// [`Error::BoxNotFinite`], [`Error::BoxReversed`] or [`Error::BoxOutside`] for a box, and those of
    /// [`decode`](Self::decode).
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
                // Unnoticed, NaN would look like an empty mask.
                let logits = MaskLogits::new(logits, embedding.frame);
                if !iou.is_finite() || !logits.is_finite() {
                    return Err(Error::NotFinite { index });
                }
                take(index, logits, iou);
            }
        }
        Ok(())
    }

    /// Segments objects through a volume: `slices` are lent one after another ([`from_fn`](crate::volume::from_fn) makes
    /// them of a volume in memory), and `progress` is told of the slices done and the slices in all after each.
    /// [`ControlFlow::Break`] from it ends the work there.
    ///
    /// ```no_run
    /// # use umedsam::{Error, ImageView, Session, VolumeOptions, VolumeSize, VoxelBox, volume};
    /// use std::ops::ControlFlow;
    ///
    /// # fn segment(session: &mut Session) -> Result<(), Error> {
    /// let size = VolumeSize { depth: 90, height: 512, width: 512 };
    /// let voxels = vec![0u8; 90 * 512 * 512];
    /// let slices = volume::from_fn(|z| ImageView::gray8(&voxels[z * 512 * 512..], 512, 512));
    /// let boxes = [VoxelBox::new(100.0, 120.0, 10.0, 230.0, 260.0, 40.0)];
    /// let found = session.segment_volume(slices, size, &boxes, &VolumeOptions::new(), |done, total| {
    ///     println!("{done} of {total} slices");
    ///     ControlFlow::Continue(())
    /// })?;
    /// println!("predicted IoU {:.2}", found.predicted_iou[0]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Those of `slices`, of [`Propagation::new`], [`encode`](Self::encode) and [`decode`](Self::decode);
    /// [`Error::SliceSize`] if a slice is not of the volume's size; [`Error::Cancelled`] if `progress` ended the work.
    pub fn segment_volume<S: Slices>(
        &mut self,
        slices: S,
        size: VolumeSize,
        boxes: &[VoxelBox],
        options: &VolumeOptions,
        progress: impl FnMut(usize, usize) -> ControlFlow<()>,
    ) -> Result<VolumeSegmentation, S::Error> {
        let mut propagation = Propagation::new(boxes, size)?;
        if options.upstream_rounding {
            propagation = propagation.with_upstream_rounding();
        }
        let frame = Frame::new(size.width, size.height)?;
        let mut network = VolumeNetwork { session: self, slices, frame };
        propagation.run(&mut network, options.cache_bytes / EMBEDDING_BYTES, progress)
    }
}

/// A session and the slices of a volume.
struct VolumeNetwork<'s, S> {
    session: &'s mut Session,
    slices: S,
    /// Of the volume's slices.
    frame: Frame,
}

impl<S: Slices> SliceNetwork for VolumeNetwork<'_, S> {
    type Embedding = Embedding;
    type Error = S::Error;

    fn encode(&mut self, z: usize, spare: Option<Embedding>) -> Result<Embedding, S::Error> {
        let image = self.slices.slice(z)?;
        if image.frame() != self.frame {
            return Err(slice_size(z, &image.frame(), &self.frame).into());
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
    ) -> Result<(), S::Error> {
        Ok(self.session.decode(embedding, boxes, take)?)
    }
}
