//! Activations that reach the layers, gathered from real images.

use std::collections::HashMap;

use ndarray::Array2;
use prost::Message;
use tract_onnx::pb::{ModelProto, ValueInfoProto};
use umedsam::Storage;
use umedsam::runtime::{Execution, Graph, GraphOptions, inline_functions};

use super::QuantizeError;
use super::probes::Probe;
use crate::checkpoint::Weights;
use crate::layers::{Input, Layer};
use crate::onnx;

/// Positions of an image at which each layer is looked at: enough for the correlations of 1280 channels from some
/// dozens of images, and little enough to keep.
const POSITIONS: usize = 96;
/// Boxes of an image with which the decoder is looked at.
const BOXES: usize = 2;

type Gathered = (Vec<f32>, Vec<Option<[f32; 2]>>);

const INPUT: [usize; 4] = [1, 3, 256, 256];
const EMBEDDING: [usize; 4] = [1, 256, 64, 64];

/// What reaches one layer.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// Positions of all images, and the k values of each.
    pub(super) rows: Array2<f32>,
    /// For each position, the least and the greatest value of what is rounded together with it, 0 among them; none where
    /// nothing is.
    pub(super) ranges: Vec<Option<[f32; 2]>>,
}

/// Runs the f32 network, in which nothing is rounded, on `probes` and gathers what reaches each of `layers`.
///
/// `progress` is told of the images done.
pub(super) fn gather(
    weights: &Weights,
    layers: &[Layer],
    probes: &[Probe],
    mut progress: impl FnMut(usize, usize),
) -> Result<Vec<Samples>, QuantizeError> {
    let graphs = onnx::build(&weights.clone().with_plan(weights.plan().clone().without_blocks()), Storage::F32)?;
    let (encoder_layers, decoder_layers): (Vec<&Layer>, Vec<&Layer>) = layers.iter().partition(|l| l.encoder);
    let mut encoder = tapped("encoder", &graphs.encoder, &encoder_layers, &[(0, &INPUT)])?;
    let mut decoder = tapped("decoder", &graphs.decoder, &decoder_layers, &[])?;
    let mut gathered: HashMap<&str, Gathered> = HashMap::new();
    for (done, probe) in probes.iter().enumerate() {
        progress(done, probes.len());
        encoder.run(&[(&INPUT, &probe.input)])?;
        for (output, layer) in (1..).zip(&encoder_layers) {
            take(layer, encoder.output(output)?, gathered.entry(&layer.name).or_default());
        }
        let boxes: Vec<f32> = probe.boxes.iter().take(BOXES).flat_map(|b| b.to_array()).collect();
        decoder.run(&[(&EMBEDDING, encoder.output(0)?), (&[boxes.len() / 4, 4], &boxes)])?;
        for (output, layer) in (1..).zip(&decoder_layers) {
            take(layer, decoder.output(output)?, gathered.entry(&layer.name).or_default());
        }
    }
    progress(probes.len(), probes.len());
    let samples = layers.iter().map(|layer| {
        let (rows, ranges) = gathered.remove(layer.name.as_str()).unwrap_or_default();
        let rows = Array2::from_shape_vec((ranges.len(), layer.k), rows).expect("k values a position");
        Samples { rows, ranges }
    });
    Ok(samples.collect())
}

/// The graph of standard operators with the inputs of `layers` as outputs behind its first.
fn tapped(
    name: &'static str,
    onnx: &[u8],
    layers: &[&Layer],
    shapes: &[(usize, &[usize])],
) -> Result<Graph, QuantizeError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut model = ModelProto::decode(&*inline_functions(onnx)?)?;
    let graph = model.graph.as_mut().ok_or(umedsam::runtime::InlineError::NoGraph)?;
    graph.output.truncate(1);
    for layer in layers {
        let product = graph.node.iter().find(|node| node.input.get(1) == Some(&layer.value));
        let product = product.ok_or_else(|| QuantizeError::NoLayer { layer: layer.name.clone() })?;
        graph.output.push(ValueInfoProto { name: product.input[0].clone(), ..Default::default() });
    }
    let options = GraphOptions::default().with_execution(Execution::Operators).with_threads(threads);
    Ok(Graph::load(name, &model.encode_to_vec(), shapes, &options)?)
}

/// Takes some positions of an image's activations.
fn take(layer: &Layer, values: &[f32], (rows, ranges): &mut Gathered) {
    let range = |values: &[f32]| values.iter().fold([0.0f32; 2], |[a, b], &v| [a.min(v), b.max(v)]);
    let channels = layer.k / layer.taps();
    let pixels = values.len() / channels;
    let whole = (layer.input == Input::Patches).then(|| range(values));
    for position in spaced(pixels) {
        match layer.input {
            Input::Tokens => {
                let row = &values[position * channels..][..channels];
                rows.extend_from_slice(row);
                ranges.push(Some(range(row)));
            }
            Input::Patches => {
                rows.extend(patch(values, channels, pixels.isqrt(), position));
                ranges.push(whole);
            }
            Input::Pixels => {
                rows.extend((0..channels).map(|channel| values[channel * pixels + position]));
                ranges.push(None);
            }
        }
    }
}

/// Some of `count` positions, spread by a step without a common factor with the sides of windows and images.
fn spaced(count: usize) -> impl Iterator<Item = usize> {
    let step = (count as f64 * 0.618_033_988_75) as usize | 1;
    (0..POSITIONS.min(count)).map(move |i| i * step % count)
}

/// The 3x3 neighbourhood of a pixel of a channels-first image, zeros beyond it: channels, then taps.
fn patch(values: &[f32], channels: usize, side: usize, position: usize) -> Vec<f32> {
    let (y, x) = (position / side, position % side);
    let at = |i: usize| {
        let (row, column) = ((y + i % 9 / 3).checked_sub(1)?, (x + i % 3).checked_sub(1)?);
        (row < side && column < side).then(|| values[(i / 9 * side + row) * side + column])
    };
    (0..9 * channels).map(|i| at(i).unwrap_or(0.0)).collect()
}

impl Samples {
    /// The rows as they are after rounding to 8 bits.
    pub(super) fn rounded(&self) -> Array2<f32> {
        let mut rounded = self.rows.clone();
        for (mut row, &range) in rounded.rows_mut().into_iter().zip(&self.ranges) {
            if let Some(range) = range {
                row.mapv_inplace(Steps::new(range).round());
            }
        }
        rounded
    }

    /// With every channel divided by its factor; `taps` values in a row are of one channel.
    pub(super) fn divided(&self, factors: &[f32], taps: usize) -> Self {
        let mut rows = self.rows.clone();
        for mut row in rows.rows_mut() {
            row.iter_mut().enumerate().for_each(|(i, v)| *v /= factors[i / taps]);
        }
        let range =
            |values: &mut dyn Iterator<Item = &f32>| values.fold([0.0f32; 2], |[a, b], &v| [a.min(v), b.max(v)]);
        let ranges = if taps == 1 {
            rows.rows().into_iter().map(|row| Some(range(&mut row.iter()))).collect()
        } else {
            // What was seen of the images stands for each.
            vec![Some(range(&mut rows.iter())); rows.nrows()]
        };
        Self { rows, ranges }
    }

    /// The greatest magnitude of each channel.
    pub(super) fn magnitudes(&self, taps: usize) -> Vec<f32> {
        let mut greatest = vec![0.0f32; self.rows.ncols() / taps];
        for row in self.rows.rows() {
            row.iter().enumerate().for_each(|(i, v)| greatest[i / taps] = greatest[i / taps].max(v.abs()));
        }
        greatest
    }
}

/// The 256 steps between a least and a greatest value, of which 0 is one: the 8-bit form's rounding of activations.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    step: f32,
    zero: f32,
}

impl Steps {
    /// Steps for a range that holds 0.
    pub(super) fn new([least, greatest]: [f32; 2]) -> Self {
        let step = (greatest - least) / 255.0;
        let step = if step > 0.0 { step } else { 1.0 };
        Self { step, zero: (-least / step).round_ties_even() }
    }

    /// What a value becomes.
    pub(super) fn round(self) -> impl Fn(f32) -> f32 {
        move |v| ((v / self.step + self.zero).round_ties_even().clamp(0.0, 255.0) - self.zero) * self.step
    }
}
