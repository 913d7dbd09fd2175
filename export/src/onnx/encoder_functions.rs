//! Bodies of the image encoder's functions ([`umedsam::runtime::functions`] says what each computes). Between them activations are channels-last (B,H,W,C); the convolutions' bodies
//! turn to channels-first and back, which cancels where one follows another.

use tract_onnx::pb::{AttributeProto, FunctionProto};
use umedsam::runtime::functions::{
    LAYER_NORM_2D_EPS, LAYER_NORM_EPS, LOCAL_CONV, MB_CONV, MLP, NECK, PATCH_EMBED, PATCH_MERGING, STRIDES,
    WINDOW_ATTENTION,
};

use super::body::Body;
use super::proto;

/// All functions of the encoder, in each form.
pub(super) fn all() -> Vec<FunctionProto> {
    vec![
        patch_embed(),
        mb_conv(),
        patch_merging(),
        window_attention(false),
        window_attention(true),
        local_conv(),
        mlp(false),
        mlp(true),
        neck(false),
        neck(true),
    ]
}

fn patch_embed() -> FunctionProto {
    let mut b = Body::default();
    let x = b.conv("image", "w1", "b1");
    let x = b.gelu(&x);
    let x = b.conv(&x, "w2", "b2");
    let y = b.channels_last(&x);
    b.into_function(&PATCH_EMBED, false, &y)
}

/// Attributes of a depthwise 3x3 convolution; its number of groups is the call's.
fn depthwise(strides: Option<AttributeProto>) -> Vec<AttributeProto> {
    let fixed = [proto::int_of_call("group", "group"), proto::ints("pads", &[1, 1, 1, 1])];
    fixed.into_iter().chain(strides).collect()
}

fn mb_conv() -> FunctionProto {
    let mut b = Body::default();
    let input = b.channels_first("x");
    let x = b.conv(&input, "w1", "b1");
    let x = b.gelu(&x);
    let x = b.op("Conv", &[&x, "w2", "b2"], depthwise(None));
    let x = b.gelu(&x);
    let x = b.conv(&x, "w3", "b3");
    let x = b.add(&x, &input);
    let x = b.gelu(&x);
    let y = b.channels_last(&x);
    b.into_function(&MB_CONV, false, &y)
}

fn patch_merging() -> FunctionProto {
    let mut b = Body::default();
    let x = b.channels_first("x");
    let x = b.conv(&x, "w1", "b1");
    let x = b.gelu(&x);
    let x = b.op("Conv", &[&x, "w2", "b2"], depthwise(Some(proto::ints_of_call("strides", STRIDES))));
    let x = b.gelu(&x);
    let x = b.conv(&x, "w3", "b3");
    let y = b.channels_last(&x);
    b.into_function(&PATCH_MERGING, false, &y)
}

fn window_attention(int8: bool) -> FunctionProto {
    let mut b = Body::default();
    let pads = b.ints_of_call("pads");
    let x = b.op("Pad", &["x", &pads], vec![]);
    let x = b.reshape_by(&x, "partition");
    let x = b.transpose(&x, &[0, 1, 3, 2, 4, 5]);
    let x = b.reshape_by(&x, "windows");
    let x = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    let x = b.linear_in(int8, &x, "qkv_w", "qkv_b");
    let x = b.reshape_by(&x, "heads");
    let x = b.transpose(&x, &[2, 0, 3, 1, 4]);
    let [q, k, v] = [0, 1, 2].map(|i| {
        let index = b.index(i);
        b.op("Gather", &[&x, &index], vec![])
    });
    let k = b.transpose(&k, &[0, 1, 3, 2]);
    let scores = b.matmul(&q, &k);
    let scores = b.add(&scores, "bias");
    let weights = b.softmax(&scores);
    let x = b.matmul(&weights, &v);
    let x = b.transpose(&x, &[0, 2, 1, 3]);
    let x = b.reshape_by(&x, "windows");
    let x = b.linear_in(int8, &x, "proj_w", "proj_b");
    let x = b.reshape_by(&x, "reverse");
    let x = b.transpose(&x, &[0, 1, 3, 2, 4, 5]);
    let x = b.reshape_by(&x, "padded");
    let (starts, ends, axes) = (b.ints(&[0, 0]), b.ints_of_call("size"), b.ints(&[1, 2]));
    let x = b.op("Slice", &[&x, &starts, &ends, &axes], vec![]);
    let y = b.add("x", &x);
    b.into_function(&WINDOW_ATTENTION, int8, &y)
}

fn local_conv() -> FunctionProto {
    let mut b = Body::default();
    let x = b.channels_first("x");
    let x = b.op("Conv", &[&x, "w", "b"], depthwise(None));
    let y = b.channels_last(&x);
    b.into_function(&LOCAL_CONV, false, &y)
}

fn mlp(int8: bool) -> FunctionProto {
    let mut b = Body::default();
    let x = b.layer_norm("x", "norm_w", "norm_b", LAYER_NORM_EPS);
    let x = b.linear_in(int8, &x, "w1", "b1");
    let x = b.gelu(&x);
    let x = b.linear_in(int8, &x, "w2", "b2");
    let y = b.add("x", &x);
    b.into_function(&MLP, int8, &y)
}

fn neck(int8: bool) -> FunctionProto {
    let mut b = Body::default();
    let x = b.product(int8, "x", "w1");
    let x = b.layer_norm(&x, "norm1_w", "norm1_b", LAYER_NORM_2D_EPS);
    let x = b.channels_first(&x);
    let x = if int8 {
        b.conv3x3_int8(&x, "w2")
    } else {
        b.op("Conv", &[&x, "w2"], vec![proto::ints("pads", &[1, 1, 1, 1])])
    };
    let x = b.channels_last(&x);
    let x = b.layer_norm(&x, "norm2_w", "norm2_b", LAYER_NORM_2D_EPS);
    let y = b.channels_first(&x);
    b.into_function(&NECK, int8, &y)
}
