//! Bodies of the prompt encoder's and the mask decoder's functions ([`umedsam::runtime::functions`] says what each
//! computes). Tokens are (N,7,256): IoU, four masks, two box corners; image
//! tokens are (1 or N,4096,256).

use tract_onnx::pb::FunctionProto;
use umedsam::runtime::functions::{
    BOX_TOKENS, FIRST_SELF_ATTENTION, IMAGE_TO_TOKEN, IMAGE_TOKENS, IOU_HEAD, LAYER_NORM_2D_EPS, LAYER_NORM_EPS,
    MASK_HEAD, POSITION_ENCODING, SELF_ATTENTION, TOKEN_MLP, TOKEN_TO_IMAGE,
};

use super::body::Body;
use super::proto;

/// All functions of the decoder, in each form.
pub(super) fn all() -> Vec<FunctionProto> {
    vec![
        position_encoding(),
        image_tokens(),
        box_tokens(),
        first_self_attention(),
        self_attention(),
        token_to_image(),
        token_mlp(),
        image_to_token(),
        mask_head(false),
        mask_head(true),
        iou_head(),
    ]
}

/// Random Fourier features of coordinates in -1..1: sin and cos of 2 pi times their product with `gaussian`.
fn fourier(b: &mut Body, coordinates: &str) -> String {
    let x = b.matmul(coordinates, "gaussian");
    let turn = b.scalar(std::f32::consts::TAU);
    let x = b.mul(&x, &turn);
    let (sin, cos) = (b.op("Sin", &[&x], vec![]), b.op("Cos", &[&x], vec![]));
    b.op("Concat", &[&sin, &cos], vec![proto::int("axis", -1)])
}

fn position_encoding() -> FunctionProto {
    let mut b = Body::default();
    let y = fourier(&mut b, "points");
    b.into_function(&POSITION_ENCODING, false, &y)
}

fn box_tokens() -> FunctionProto {
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
    b.into_function(&BOX_TOKENS, false, &y)
}

fn image_tokens() -> FunctionProto {
    let mut b = Body::default();
    let x = b.reshape("embedding", &[0, 256, 4096]);
    let x = b.transpose(&x, &[0, 2, 1]);
    let y = b.add(&x, "no_mask");
    b.into_function(&IMAGE_TOKENS, false, &y)
}

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

fn first_self_attention() -> FunctionProto {
    let mut b = Body::default();
    let x = attention(&mut b, "tokens", "tokens", "tokens");
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    b.into_function(&FIRST_SELF_ATTENTION, false, &y)
}

fn self_attention() -> FunctionProto {
    let mut b = Body::default();
    let placed = b.add("tokens", "positions");
    let x = attention(&mut b, &placed, &placed, "tokens");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    b.into_function(&SELF_ATTENTION, false, &y)
}

fn token_to_image() -> FunctionProto {
    let mut b = Body::default();
    let q = b.add("tokens", "positions");
    let k = b.add("image", "image_positions");
    let x = attention(&mut b, &q, &k, "image");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    b.into_function(&TOKEN_TO_IMAGE, false, &y)
}

fn image_to_token() -> FunctionProto {
    let mut b = Body::default();
    let q = b.add("image", "image_positions");
    let k = b.add("tokens", "positions");
    let x = attention(&mut b, &q, &k, "tokens");
    let x = b.add("image", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    b.into_function(&IMAGE_TO_TOKEN, false, &y)
}

fn token_mlp() -> FunctionProto {
    let mut b = Body::default();
    let x = b.linear("tokens", "w1", "b1");
    let x = b.relu(&x);
    let x = b.linear(&x, "w2", "b2");
    let x = b.add("tokens", &x);
    let y = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    b.into_function(&TOKEN_MLP, false, &y)
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

/// The transposed convolutions of stride 2 and kernel 2 have no overlap, so each is a linear layer from a token to its
/// four sub-pixels, and everything stays token-major; only the logits are put into image order, at the end.
fn mask_head(int8: bool) -> FunctionProto {
    let mut b = Body::default();
    let x = b.linear_in(int8, "image", "up1_w", "up1_b");
    let x = b.reshape(&x, &[0, 16384, 64]);
    let x = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_2D_EPS);
    let x = b.gelu(&x);
    let x = b.linear_in(int8, &x, "up2_w", "up2_b");
    let x = b.gelu(&x);
    let x = b.reshape(&x, &[0, 65536, 32]);
    let hyper = head(&mut b, 1, [["w1", "b1"], ["w2", "b2"], ["w3", "b3"]]);
    let hyper = b.transpose(&hyper, &[0, 2, 1]);
    let x = b.matmul(&x, &hyper);
    // (N, y, x, dy1, dx1, dy2, dx2) to (N, y, dy1, dy2, x, dx1, dx2).
    let x = b.reshape(&x, &[-1, 64, 64, 2, 2, 2, 2]);
    let x = b.transpose(&x, &[0, 1, 3, 5, 2, 4, 6]);
    let y = b.reshape(&x, &[-1, 256, 256]);
    b.into_function(&MASK_HEAD, int8, &y)
}

fn iou_head() -> FunctionProto {
    let mut b = Body::default();
    let x = head(&mut b, 0, [["w1", "b1"], ["w2", "b2"], ["w3", "b3"]]);
    let y = b.reshape(&x, &[-1]);
    b.into_function(&IOU_HEAD, false, &y)
}
