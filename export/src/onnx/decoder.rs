//! Prompt encoder and mask decoder for boxes, single-mask output.

use umedsam::Storage;
use umedsam::runtime::functions::{
    BOX_TOKENS, FIRST_SELF_ATTENTION, Function, IMAGE_TO_TOKEN, IMAGE_TOKENS, IOU_HEAD, MASK_HEAD, POSITION_ENCODING,
    SELF_ATTENTION, TOKEN_MLP, TOKEN_TO_IMAGE,
};

use super::OnnxError;
use super::decoder_functions as functions;
use super::graph::{Built, GraphBuilder};
use super::layout::{scaled, transposed};
use super::proto::{Size, ints, value_info};
use crate::checkpoint::Weights;

const DIM: usize = 256;
const HEADS: usize = 8;
const GRID: usize = 64;
const CELLS: usize = GRID * GRID;
/// Output tokens and corners of a box.
const TOKENS: usize = 7;
/// Name of the block whose output is the masks.
const LOGITS: &str = "logits";
const TRANSFORMER: &str = "mask_decoder.transformer";

/// `embedding` (1,256,64,64) and `boxes` (N,4) in pixels of the 256x256 input to `logits` (N,256,256) and `iou` (N).
pub(super) fn decoder(weights: &Weights, storage: Storage) -> Result<Built, OnnxError> {
    let (one, n) = (Size::Fixed(1), Size::Symbol("N"));
    let grid = Size::Fixed(GRID as i64);
    let inputs = vec![
        value_info("embedding", &[one, Size::Fixed(DIM as i64), grid, grid]),
        value_info("boxes", &[n, Size::Fixed(4)]),
    ];
    let mut d = Decoder { weights, graph: GraphBuilder::new("decoder", storage, weights.plan(), inputs) };

    let gaussian = d.raw("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", &[2, DIM / 2])?;
    let points = d.graph.constant("grid", &[1, GRID * GRID, 2], &grid_points());
    let positions = d.graph.call(&POSITION_ENCODING, "image_positions", &[&points, &gaussian], vec![], CELLS * DIM);
    let no_mask = d.raw("prompt_encoder.no_mask_embed.weight", &[1, DIM])?;
    let image = d.graph.call(&IMAGE_TOKENS, "image_tokens", &["embedding", &no_mask], vec![], 0);
    let corners =
        d.joined("corners", &["prompt_encoder.point_embeddings.2", "prompt_encoder.point_embeddings.3"], 1)?;
    let outputs = d.joined("outputs", &["mask_decoder.iou_token", "mask_decoder.mask_tokens"], 4)?;
    let prompt = d.graph.call(&BOX_TOKENS, "box_tokens", &["boxes", &gaussian, &corners, &outputs], vec![], 2 * DIM);

    let (tokens, image) = d.two_way_layer(0, &prompt, &prompt, &image, &positions)?;
    let (tokens, image) = d.two_way_layer(1, &tokens, &prompt, &image, &positions)?;
    let last = format!("{TRANSFORMER}.final_attn_token_to_image");
    let norm = format!("{TRANSFORMER}.norm_final_attn");
    let tokens = d.attention(&TOKEN_TO_IMAGE, &last, &norm, &[&tokens, &prompt, &image, &positions], DIM / 2)?;
    d.mask_head(&tokens, &image)?;
    d.iou_head(&tokens)?;

    let side = Size::Fixed(256);
    let outputs = vec![value_info(LOGITS, &[n, side, side]), value_info("iou", &[n])];
    Ok(d.graph.finish(outputs, functions::all()))
}

/// Centres of the grid's cells in -1..1, x before y, row by row.
fn grid_points() -> Vec<f32> {
    let centre = |i: usize| 2.0 * ((i as f32 + 0.5) / GRID as f32) - 1.0;
    (0..GRID * GRID).flat_map(|i| [centre(i % GRID), centre(i / GRID)]).collect()
}

struct Decoder<'a> {
    weights: &'a Weights,
    graph: GraphBuilder<'a>,
}

impl Decoder<'_> {
    /// A tensor as it is, in f32: what positions and prompts are made of.
    fn raw(&mut self, name: &str, shape: &[usize]) -> Result<String, OnnxError> {
        let values = self.weights.f32(name, shape)?;
        Ok(self.graph.constant(name, shape, values))
    }

    /// Embeddings stacked to (1, rows, 256); all but the last hold one row, the last `last_rows`.
    fn joined(&mut self, name: &str, parts: &[&str], last_rows: usize) -> Result<String, OnnxError> {
        let mut values = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let rows = if i + 1 == parts.len() { last_rows } else { 1 };
            values.extend_from_slice(self.weights.f32(&format!("{part}.weight"), &[rows, DIM])?);
        }
        let shape = [1, values.len() / DIM, DIM];
        Ok(self.graph.constant(name, &shape, &values))
    }

    fn vector(&mut self, name: &str, length: usize) -> Result<String, OnnxError> {
        let values = self.weights.f32(name, &[length])?;
        self.graph.weight(name, &[length], values)
    }

    fn norm(&mut self, name: &str, length: usize) -> Result<[String; 2], OnnxError> {
        Ok([self.vector(&format!("{name}.weight"), length)?, self.vector(&format!("{name}.bias"), length)?])
    }

    fn linear(
        &mut self,
        block: &str,
        name: &str,
        [inputs, outputs]: [usize; 2],
        scale: f64,
    ) -> Result<[String; 2], OnnxError> {
        let (weight_name, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
        let weight = scaled(self.weights.f32(&weight_name, &[outputs, inputs])?, scale);
        let bias = scaled(self.weights.f32(&bias_name, &[outputs])?, scale);
        let weight = transposed(&weight, outputs, inputs);
        let weight = self.graph.float_matrix(block, &weight_name, &[inputs, outputs], 1, &weight)?;
        Ok([weight, self.graph.weight(&bias_name, &[outputs], &bias)?])
    }

    fn two_way_layer(
        &mut self,
        index: usize,
        tokens: &str,
        prompt: &str,
        image: &str,
        positions: &str,
    ) -> Result<(String, String), OnnxError> {
        let layer = format!("{TRANSFORMER}.layers.{index}");
        let part = |name: &str| format!("{layer}.{name}");
        let (own, norm) = (part("self_attn"), part("norm1"));
        let tokens = if index == 0 {
            self.attention(&FIRST_SELF_ATTENTION, &own, &norm, &[tokens], DIM)?
        } else {
            self.attention(&SELF_ATTENTION, &own, &norm, &[tokens, prompt], DIM)?
        };
        let (cross, norm) = (part("cross_attn_token_to_image"), part("norm2"));
        let tokens = self.attention(&TOKEN_TO_IMAGE, &cross, &norm, &[&tokens, prompt, image, positions], DIM / 2)?;
        let tokens = self.token_mlp(&part("mlp"), &part("norm3"), &tokens)?;
        let (cross, norm) = (part("cross_attn_image_to_token"), part("norm4"));
        let image = self.attention(&IMAGE_TO_TOKEN, &cross, &norm, &[&tokens, prompt, image, positions], DIM / 2)?;
        Ok((tokens, image))
    }

    /// A call of one of the attention functions; the query's projection carries the scale.
    fn attention(
        &mut self,
        function: &Function,
        name: &str,
        norm: &str,
        values: &[&str],
        inner: usize,
    ) -> Result<String, OnnxError> {
        let head = inner / HEADS;
        let scale = (head as f64).powf(-0.5);
        let projections = [
            self.linear(name, &format!("{name}.q_proj"), [DIM, inner], scale)?,
            self.linear(name, &format!("{name}.k_proj"), [DIM, inner], 1.0)?,
            self.linear(name, &format!("{name}.v_proj"), [DIM, inner], 1.0)?,
            self.linear(name, &format!("{name}.out_proj"), [inner, DIM], 1.0)?,
            self.norm(norm, DIM)?,
        ];
        let inputs: Vec<&str> =
            values.iter().copied().chain(projections.iter().flatten().map(String::as_str)).collect();
        let (heads, head, inner) = (HEADS as i64, head as i64, inner as i64);
        let attributes = vec![ints("split", &[0, 0, heads, head]), ints("merge", &[0, 0, inner])];
        // A fused block projects the tokens, not the image: every cell meets each token once a head, coming and going.
        let products = match function.name {
            "TokenToImage" | "ImageToToken" => 2 * CELLS * DIM * TOKENS * HEADS,
            _ => 4 * TOKENS * DIM * DIM,
        };
        Ok(self.graph.call(function, name, &inputs, attributes, products))
    }

    fn token_mlp(&mut self, name: &str, norm: &str, tokens: &str) -> Result<String, OnnxError> {
        let [w1, b1] = self.linear(name, &format!("{name}.lin1"), [DIM, 2048], 1.0)?;
        let [w2, b2] = self.linear(name, &format!("{name}.lin2"), [2048, DIM], 1.0)?;
        let [norm_w, norm_b] = self.norm(norm, DIM)?;
        let products = 2 * TOKENS * DIM * 2048;
        Ok(self.graph.call(&TOKEN_MLP, name, &[tokens, &w1, &b1, &w2, &b2, &norm_w, &norm_b], vec![], products))
    }

    /// Three linear layers; the last keeps its first `outputs` of `all` rows.
    fn head_layers(&mut self, block: &str, name: &str, outputs: usize, all: usize) -> Result<[String; 6], OnnxError> {
        let [w1, b1] = self.linear(block, &format!("{name}.layers.0"), [DIM, DIM], 1.0)?;
        let [w2, b2] = self.linear(block, &format!("{name}.layers.1"), [DIM, DIM], 1.0)?;
        let (weight_name, bias_name) = (format!("{name}.layers.2.weight"), format!("{name}.layers.2.bias"));
        let weight = &self.weights.f32(&weight_name, &[all, DIM])?[..outputs * DIM];
        let bias = &self.weights.f32(&bias_name, &[all])?[..outputs];
        let weight = transposed(weight, outputs, DIM);
        let w3 = self.graph.float_matrix(block, &weight_name, &[DIM, outputs], 1, &weight)?;
        let b3 = self.graph.weight(&bias_name, &[outputs], bias)?;
        Ok([w1, b1, w2, b2, w3, b3])
    }

    fn mask_head(&mut self, tokens: &str, image: &str) -> Result<String, OnnxError> {
        let up = "mask_decoder.output_upscaling";
        let mut inputs = vec![tokens.into(), image.into()];
        inputs.extend(self.sub_pixels(&format!("{up}.0"), DIM, 64)?);
        inputs.extend(self.norm(&format!("{up}.1"), 64)?);
        inputs.extend(self.sub_pixels(&format!("{up}.3"), 64, 32)?);
        inputs.extend(self.head_layers(LOGITS, "mask_decoder.output_hypernetworks_mlps.0", 32, 32)?);
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let products = CELLS * (DIM * 256 + 4 * 64 * 128 + 16 * 32);
        Ok(self.graph.call(&MASK_HEAD, LOGITS, &inputs, vec![], products))
    }

    /// A transposed convolution (in, out, 2, 2) of stride 2 as a linear layer to the four sub-pixels: (in, dy dx out).
    fn sub_pixels(&mut self, name: &str, inputs: usize, outputs: usize) -> Result<Vec<String>, OnnxError> {
        let (weight_name, bias_name) = (format!("{name}.weight"), format!("{name}.bias"));
        let weight = self.weights.f32(&weight_name, &[inputs, outputs, 2, 2])?;
        let matrix: Vec<f32> =
            weight.chunks_exact(outputs * 4).flat_map(|block| transposed(block, outputs, 4)).collect();
        let bias = self.weights.f32(&bias_name, &[outputs])?.repeat(4);
        let n = 4 * outputs;
        let mut names = self.graph.matrix(LOGITS, &weight_name, &[inputs, n], &matrix, n, |i| i % n)?;
        names.push(self.graph.weight(&bias_name, &[n], &bias)?);
        Ok(names)
    }

    fn iou_head(&mut self, tokens: &str) -> Result<String, OnnxError> {
        let layers = self.head_layers("iou", "mask_decoder.iou_prediction_head", 1, 4)?;
        let inputs: Vec<&str> = [tokens].into_iter().chain(layers.iter().map(String::as_str)).collect();
        Ok(self.graph.call(&IOU_HEAD, "iou", &inputs, vec![], 2 * DIM * DIM))
    }
}
