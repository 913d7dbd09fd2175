//! The image encoder: TinyViT at 256x256.

use tract_onnx::pb::ValueInfoProto;
use umedsam::Storage;
use umedsam::runtime::functions::{
    Function, LOCAL_CONV, MB_CONV, MLP, NECK, PATCH_EMBED, PATCH_MERGING, STRIDES, WINDOW_ATTENTION,
};

use super::OnnxError;
use super::encoder_functions as functions;
use super::graph::{Built, GraphBuilder};
use super::layout::{folded_conv, rows, scaled, transposed};
use super::proto::{Size, int, ints, value_info};
use crate::checkpoint::Weights;

const PREFIX: &str = "image_encoder";

/// Name of the last block, whose output is the graph's.
const EMBEDDING: &str = "embedding";

/// One stage of windowed attention.
pub(crate) struct Stage {
    /// Index of the layer in the checkpoint.
    pub(crate) layer: usize,
    pub(crate) side: usize,
    pub(crate) channels: usize,
    pub(crate) depth: usize,
    pub(crate) heads: usize,
    pub(crate) window: usize,
    /// Channels and stride of the patch merging that follows.
    pub(crate) merge: Option<(usize, i64)>,
}

pub(crate) const STAGES: [Stage; 3] = [
    Stage { layer: 1, side: 128, channels: 128, depth: 2, heads: 4, window: 7, merge: Some((160, 2)) },
    Stage { layer: 2, side: 64, channels: 160, depth: 6, heads: 5, window: 14, merge: Some((320, 1)) },
    Stage { layer: 3, side: 64, channels: 320, depth: 2, heads: 10, window: 7, merge: None },
];

/// `image` (B,3,256,256), 0 to 1, to `embedding` (B,256,64,64).
pub(super) fn encoder(weights: &Weights, storage: Storage) -> Result<Built, OnnxError> {
    let batch = Size::Symbol("B");
    let shape = |c, s| [batch, Size::Fixed(c), Size::Fixed(s), Size::Fixed(s)];
    let image: ValueInfoProto = value_info("image", &shape(3, 256));
    let mut e = Encoder { weights, graph: GraphBuilder::new("encoder", storage, weights.plan(), vec![image]) };

    let patch = [e.conv(None, "patch_embed.seq.0", [32, 3, 1, 1])?, e.conv(None, "patch_embed.seq.2", [64, 32, 1, 1])?];
    let [[w1, b1], [w2, b2]] = &patch;
    let mut x =
        e.graph.call(&PATCH_EMBED, "patch_embed", &["image", w1, b1, w2, b2], vec![], 256 * 256 * (3 * 32 + 32 * 64));
    for block in 0..2 {
        let name = format!("layers.0.blocks.{block}");
        x = e.bottleneck(&MB_CONV, &x, &name, 256, [64, 256, 64], None)?;
    }
    x = e.bottleneck(&PATCH_MERGING, &x, "layers.0.downsample", 256, [64, 128, 128], Some(2))?;
    for stage in &STAGES {
        let index = e.bias_index(stage.window);
        for block in 0..stage.depth {
            x = e.block(&x, stage, block, &index)?;
        }
        if let Some((channels, stride)) = stage.merge {
            let name = format!("layers.{}.downsample", stage.layer);
            x = e.bottleneck(
                &PATCH_MERGING,
                &x,
                &name,
                stage.side,
                [stage.channels, channels, channels],
                Some(stride),
            )?;
        }
    }
    e.neck(&x)?;
    let output = value_info(EMBEDDING, &shape(256, 64));
    Ok(e.graph.finish(vec![output], functions::all()))
}

struct Encoder<'a> {
    weights: &'a Weights,
    graph: GraphBuilder<'a>,
}

impl Encoder<'_> {
    /// A convolution; its weights are in 8 bits where the model is if a block is given whose plan allows it.
    fn conv(&mut self, block: Option<&str>, name: &str, shape: [usize; 4]) -> Result<[String; 2], OnnxError> {
        let conv = folded_conv(self.weights, &format!("{PREFIX}.{name}"), shape)?;
        let weight = format!("{name}.weight");
        let weight = match block {
            Some(block) => self.graph.float_matrix(block, &weight, &conv.shape, 0, &conv.weight)?,
            None => self.graph.weight(&weight, &conv.shape, &conv.weight)?,
        };
        let bias = self.graph.weight(&format!("{name}.bias"), &[shape[0]], &conv.bias)?;
        Ok([weight, bias])
    }

    /// A pair `weight`, `bias` of a norm, or the like.
    fn norm(&mut self, name: &str, channels: usize) -> Result<[String; 2], OnnxError> {
        let mut part = |part: &str| {
            let name = format!("{name}.{part}");
            let values = self.weights.f32(&format!("{PREFIX}.{name}"), &[channels])?;
            self.graph.weight(&name, &[channels], values)
        };
        Ok([part("weight")?, part("bias")?])
    }

    /// The inputs of a linear layer: weights in the form of the model, then bias.
    fn linear(&mut self, block: &str, name: &str, inputs: usize, outputs: usize) -> Result<Vec<String>, OnnxError> {
        let weight = self.weights.f32(&format!("{PREFIX}.{name}.weight"), &[outputs, inputs])?;
        let bias = self.weights.f32(&format!("{PREFIX}.{name}.bias"), &[outputs])?;
        self.layer(block, name, &transposed(weight, outputs, inputs), bias)
    }

    /// The inputs of a layer of these weights (k, n) and bias (n).
    fn layer(&mut self, block: &str, name: &str, weight: &[f32], bias: &[f32]) -> Result<Vec<String>, OnnxError> {
        let n = bias.len();
        let shape = [weight.len() / n, n];
        let mut inputs = self.graph.matrix(block, &format!("{name}.weight"), &shape, weight, n, |i| i % n)?;
        inputs.push(self.graph.weight(&format!("{name}.bias"), &[n], bias)?);
        Ok(inputs)
    }

    fn bottleneck(
        &mut self,
        function: &Function,
        x: &str,
        name: &str,
        side: usize,
        [input, hidden, output]: [usize; 3],
        stride: Option<i64>,
    ) -> Result<String, OnnxError> {
        let mut inputs = vec![x.into()];
        let mut convolution = |part: &str, shape: [usize; 4]| {
            let name_of_part = format!("{name}.{part}");
            // The later ones are large enough to be worth 8 bits, and late enough to bear them.
            let block = (stride.is_some() && shape[2] == 1).then_some(name);
            self.conv(block, &name_of_part, shape)
        };
        inputs.extend(convolution("conv1", [hidden, input, 1, 1])?);
        inputs.extend(convolution("conv2", [hidden, 1, 3, 3])?);
        inputs.extend(convolution("conv3", [output, hidden, 1, 1])?);
        let mut attributes = vec![int("group", hidden as i64)];
        attributes.extend(stride.map(|s| ints(STRIDES, &[s, s])));
        let out = side.div_ceil(stride.unwrap_or(1) as usize);
        let products = side * side * input * hidden + out * out * hidden * (9 + output);
        Ok(self.graph.call(function, name, &refs(&inputs), attributes, products))
    }

    /// For each pair of positions in a window, the entry of the bias table: one for each distinct distance (|dy|,|dx|),
    /// numbered as they first occur.
    fn bias_index(&mut self, window: usize) -> String {
        let name = format!("bias_index.{window}");
        if self.graph.has(&name) {
            return name;
        }
        let tokens = window * window;
        let offset =
            |a: usize, b: usize| (a / window).abs_diff(b / window) * window + (a % window).abs_diff(b % window);
        // Seen from the first position the distances occur in row order, so the number is the distance itself.
        let index: Vec<u8> = (0..tokens * tokens).map(|i| offset(i / tokens, i % tokens) as u8).collect();
        self.graph.indices(&name, &[tokens, tokens], &index)
    }

    fn block(&mut self, x: &str, stage: &Stage, block: usize, index: &str) -> Result<String, OnnxError> {
        let Stage { layer, side, channels: c, heads, window, .. } = *stage;
        let name = format!("layers.{layer}.blocks.{block}");
        let attn = format!("{name}.attn");
        let tokens = window * window;

        let mut inputs = vec![x.into()];
        inputs.extend(self.norm(&format!("{attn}.norm"), c)?);
        inputs.extend(self.qkv(&attn, c, heads)?);
        let table_name = format!("{attn}.attention_biases");
        let table = self.weights.f32(&format!("{PREFIX}.{table_name}"), &[heads, tokens])?;
        let table = self.graph.weight(&table_name, &[heads, tokens], table)?;
        // Expanded when the graph is loaded: for a window of 14 the table is 196 times smaller than what it stands for.
        inputs.push(self.graph.op("Gather", &format!("{attn}.bias"), &[&table, index], vec![int("axis", 1)]));
        inputs.extend(self.linear(&attn, &format!("{attn}.proj"), c, c)?);

        let windows = side.div_ceil(window);
        let products = (windows * window).pow(2) * c * (4 * c + 2 * tokens);
        let (side, padded, c, w, n) = (side as i64, (windows * window) as i64, c as i64, window as i64, windows as i64);
        let pad = padded - side;
        let attributes = vec![
            int("window", w),
            int("num_heads", heads as i64),
            ints("pads", &[0, 0, 0, 0, 0, pad, pad, 0]),
            ints("partition", &[0, n, w, n, w, c]),
            ints("windows", &[-1, w * w, c]),
            ints("heads", &[-1, w * w, 3, heads as i64, c / heads as i64]),
            ints("reverse", &[-1, n, n, w, w, c]),
            ints("padded", &[-1, padded, padded, c]),
            ints("size", &[side, side]),
        ];
        let x = self.graph.call(&WINDOW_ATTENTION, &attn, &refs(&inputs), attributes, products);

        let pixels = stage.side.pow(2);
        let local = format!("{name}.local_conv");
        let [w, b] = self.conv(None, &local, [stage.channels, 1, 3, 3])?;
        let x = self.graph.call(&LOCAL_CONV, &local, &[&x, &w, &b], vec![int("group", c)], 9 * pixels * stage.channels);

        let mlp = format!("{name}.mlp");
        let mut inputs = vec![x];
        inputs.extend(self.norm(&format!("{mlp}.norm"), stage.channels)?);
        inputs.extend(self.linear(&mlp, &format!("{mlp}.fc1"), stage.channels, 4 * stage.channels)?);
        inputs.extend(self.linear(&mlp, &format!("{mlp}.fc2"), 4 * stage.channels, stage.channels)?);
        Ok(self.graph.call(&MLP, &mlp, &refs(&inputs), vec![], 8 * pixels * stage.channels.pow(2)))
    }

    /// The checkpoint holds q, k and v head by head; the graph wants all of q, then k, then v, with q scaled.
    fn qkv(&mut self, block: &str, c: usize, heads: usize) -> Result<Vec<String>, OnnxError> {
        let name = &format!("{block}.qkv");
        let weight = self.weights.f32(&format!("{PREFIX}.{name}.weight"), &[3 * c, c])?;
        let bias = self.weights.f32(&format!("{PREFIX}.{name}.bias"), &[3 * c])?;
        let head = c / heads;
        let order = || (0..3 * c).map(|i| (i % c) / head * 3 * head + i / c * head + i % head);
        let scale = (head as f64).powf(-0.5);
        let prepare = |values: &[f32], width: usize| {
            let mut sorted = rows(values, width, order());
            let q = scaled(&sorted[..c * width], scale);
            sorted[..c * width].copy_from_slice(&q);
            sorted
        };
        self.layer(block, name, &transposed(&prepare(weight, c), 3 * c, c), &prepare(bias, 1))
    }

    fn neck(&mut self, x: &str) -> Result<String, OnnxError> {
        let mut inputs = vec![x.into()];
        let first = self.weights.f32(&format!("{PREFIX}.neck.0.weight"), &[256, 320, 1, 1])?;
        let first = transposed(first, 256, 320);
        inputs.extend(self.graph.matrix(EMBEDDING, "neck.0.weight", &[320, 256], &first, 256, |i| i % 256)?);
        inputs.extend(self.norm("neck.1", 256)?);
        let shape = [256, 256, 3, 3];
        let second = self.weights.f32(&format!("{PREFIX}.neck.2.weight"), &shape)?;
        inputs.extend(self.graph.matrix(EMBEDDING, "neck.2.weight", &shape, second, 256, |i| i / (9 * 256))?);
        inputs.extend(self.norm("neck.3", 256)?);
        let products = 64 * 64 * 256 * (320 + 9 * 256);
        Ok(self.graph.call(&NECK, EMBEDDING, &refs(&inputs), vec![], products))
    }
}

fn refs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}
