//! Functions of the prompt encoder and the mask decoder. Tokens are (N,7,256): IoU, four masks, two box corners; image
//! tokens are (1 or N,4096,256).

use tract_onnx::pb::FunctionProto;

use super::body::{Body, Form, LAYER_NORM_2D_EPS, LAYER_NORM_EPS};
use super::proto;

/// Random Fourier features of coordinates in -1..1: sin and cos of 2 pi times their product with `gaussian`.
fn fourier(b: &mut Body, coordinates: &str) -> String {
    let x = b.matmul(coordinates, "gaussian");
    let turn = b.scalar(std::f32::consts::TAU);
    let x = b.mul(&x, &turn);
    let (sin, cos) = (b.op("Sin", &[&x], vec![]), b.op("Cos", &[&x], vec![]));
    b.op("Concat", &[&sin, &cos], vec![proto::int("axis", -1)])
}

/// Positional encoding of a grid of points in -1..1.
pub(super) fn position_encoding() -> FunctionProto {
    let mut b = Body::default();
    let y = fourier(&mut b, "points");
    b.into_function("PositionEncoding", "Fourier features", &["points", "gaussian"], &[], &y)
}

/// The tokens of boxes (N,4) in pixels of the 256x256 input: learned output tokens, then the corners' encodings.
pub(super) fn box_tokens() -> FunctionProto {
    let mut b = Body::default();
    let half = b.scalar(0.5);
    let x = b.add("boxes", &half);
    let x = b.reshape(&x, &[-1, 2, 2]);
    let side = b.scalar(256.0);
    let x = b.op("Div", &[&x, &side], vec![]);
    let two = b.scalar(2.0);
    let x = b.mul(&x, &two);
    let one = b.scalar(1.0);
    let x = b.op("Sub", &[&x, &one], vec![]);
    let x = fourier(&mut b, &x);
    let corners = b.add(&x, "corners");
    // One copy of the output tokens a box, without asking for the number of boxes.
    let (starts, ends, axes) = (b.ints(&[0]), b.ints(&[1]), b.ints(&[1]));
    let x = b.op("Slice", &["boxes", &starts, &ends, &axes], vec![]);
    let x = b.reshape(&x, &[-1, 1, 1]);
    let zero = b.scalar(0.0);
    let x = b.mul(&x, &zero);
    let outputs = b.add(&x, "outputs");
    let y = b.op("Concat", &[&outputs, &corners], vec![proto::int("axis", 1)]);
    let doc = "output tokens and encoded box corners";
    b.into_function("BoxTokens", doc, &["boxes", "gaussian", "corners", "outputs"], &[], &y)
}

/// The embedding as tokens, with the embedding of "no mask given" added.
pub(super) fn image_tokens() -> FunctionProto {
    let mut b = Body::default();
    let x = b.reshape("embedding", &[0, 256, 4096]);
    let x = b.transpose(&x, &[0, 2, 1]);
    let y = b.add(&x, "no_mask");
    b.into_function("ImageTokens", "flatten, channels last, add", &["embedding", "no_mask"], &[], &y)
}

const PROJECTIONS: [&str; 8] = ["q_w", "q_b", "k_w", "k_b", "v_w", "v_b", "out_w", "out_b"];

/// Multi-head attention over projected inputs; the query's weights carry the scale. `split` is the shape with heads.
fn attention(b: &mut Body, q: &str, k: &str, v: &str) -> String {
    let q = b.linear(q, "q_w", "q_b");
    let k = b.linear(k, "k_w", "k_b");
    let v = b.linear(v, "v_w", "v_b");
    let [q, k, v] = [q, k, v].map(|x| b.reshape_by(&x, "split"));
    let q = b.transpose(&q, &[0, 2, 1, 3]);
    let k = b.transpose(&k, &[0, 2, 3, 1]);
    let v = b.transpose(&v, &[0, 2, 1, 3]);
    let scores = b.matmul(&q, &k);
    let weights = b.softmax(&scores);
    let x = b.matmul(&weights, &v);
    let x = b.transpose(&x, &[0, 2, 1, 3]);
    let x = b.reshape_by(&x, "merge");
    b.linear(&x, "out_w", "out_b")
}

fn attention_function(b: Body, name: &str, doc: &str, inputs: &[&str], value: &str) -> FunctionProto {
    let inputs: Vec<&str> = inputs.iter().copied().chain(PROJECTIONS).chain(["norm_w", "norm_b"]).collect();
    b.into_function(name, doc, &inputs, &["split", "merge"], value)
}

/// Self-attention of the first layer: no positions, no residual, LayerNorm after.
pub(super) fn first_self_attention() -> FunctionProto {
    let mut b = Body::default();
    let x = attention(&mut b, "tokens", "tokens", "tokens");
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    attention_function(b, "FirstSelfAttention", "attention, LayerNorm", &["tokens"], &y)
}

/// Self-attention of the tokens with their positions, residual, LayerNorm.
pub(super) fn self_attention() -> FunctionProto {
    let mut b = Body::default();
    let placed = b.add("tokens", "positions");
    let x = attention(&mut b, &placed, &placed, "tokens");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    attention_function(b, "SelfAttention", "attention, residual, LayerNorm", &["tokens", "positions"], &y)
}

const BOTH: [&str; 4] = ["tokens", "positions", "image", "image_positions"];

/// Tokens attend to the image: attention, residual, LayerNorm.
pub(super) fn token_to_image() -> FunctionProto {
    let mut b = Body::default();
    let q = b.add("tokens", "positions");
    let k = b.add("image", "image_positions");
    let x = attention(&mut b, &q, &k, "image");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    attention_function(b, "TokenToImage", "attention, residual, LayerNorm", &BOTH, &y)
}

/// The image attends to the tokens: attention, residual, LayerNorm.
pub(super) fn image_to_token() -> FunctionProto {
    let mut b = Body::default();
    let q = b.add("image", "image_positions");
    let k = b.add("tokens", "positions");
    let x = attention(&mut b, &q, &k, "tokens");
    let x = b.add("image", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    attention_function(b, "ImageToToken", "attention, residual, LayerNorm", &BOTH, &y)
}

/// Linear, ReLU, linear, residual, LayerNorm.
pub(super) fn token_mlp() -> FunctionProto {
    let mut b = Body::default();
    let x = b.linear("tokens", "w1", "b1");
    let x = b.relu(&x);
    let x = b.linear(&x, "w2", "b2");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    let inputs = ["tokens", "w1", "b1", "w2", "b2", "norm_w", "norm_b"];
    b.into_function("TokenMlp", "linear, ReLU, linear, residual, LayerNorm", &inputs, &[], &y)
}

/// Three linear layers with ReLU between, on the token at `index`.
fn head(b: &mut Body, index: i64, layers: [[&str; 2]; 3]) -> String {
    // Gather with the index in a list keeps the axis: (N,1,256).
    let index = b.ints(&[index]);
    let x = b.op("Gather", &["tokens", &index], vec![proto::int("axis", 1)]);
    let [first, second, third] = layers;
    let x = b.linear(&x, first[0], first[1]);
    let x = b.relu(&x);
    let x = b.linear(&x, second[0], second[1]);
    let x = b.relu(&x);
    b.linear(&x, third[0], third[1])
}

/// Logits (N,256,256) of the single-mask token.
///
/// The transposed convolutions of stride 2 and kernel 2 have no overlap, so each is a linear layer from a token to its
/// four sub-pixels, and everything stays token-major; only the logits are put into image order, at the end.
pub(super) fn mask_head(form: Form) -> FunctionProto {
    let mut b = Body::default();
    let x = b.linear_in(form, "image", "up1_w", "up1_b");
    let x = b.reshape(&x, &[0, 16384, 64]);
    let x = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_2D_EPS);
    let x = b.gelu(&x);
    let x = b.linear_in(form, &x, "up2_w", "up2_b");
    let x = b.gelu(&x);
    let x = b.reshape(&x, &[0, 65536, 32]);
    let hyper = head(&mut b, 1, [["w1", "b1"], ["w2", "b2"], ["w3", "b3"]]);
    let hyper = b.transpose(&hyper, &[0, 2, 1]);
    let x = b.matmul(&x, &hyper);
    // (N, y, x, dy1, dx1, dy2, dx2) to (N, y, dy1, dy2, x, dx1, dx2).
    let x = b.reshape(&x, &[-1, 64, 64, 2, 2, 2, 2]);
    let x = b.transpose(&x, &[0, 1, 3, 5, 2, 4, 6]);
    let y = b.reshape(&x, &[-1, 256, 256]);
    let inputs =
        ["tokens", "image", "up1_w", "up1_b", "norm_w", "norm_b", "up2_w", "up2_b", "w1", "b1", "w2", "b2", "w3", "b3"];
    let inputs = form.inputs(&inputs, &["up1_w", "up2_w"]);
    b.into_function(&form.name("MaskHead"), "upscaling, hypernetwork, product", &inputs, &[], &y)
}

/// Predicted IoU (N) of the single-mask output.
pub(super) fn iou_head() -> FunctionProto {
    let mut b = Body::default();
    let x = head(&mut b, 0, [["w1", "b1"], ["w2", "b2"], ["w3", "b3"]]);
    let y = b.reshape(&x, &[-1]);
    let inputs = ["tokens", "w1", "b1", "w2", "b2", "w3", "b3"];
    b.into_function("IouHead", "three linear layers with ReLU between", &inputs, &[], &y)
}
