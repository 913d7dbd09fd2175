//! Functions of the image encoder. Between them activations are channels-last (B,H,W,C); the convolutions' bodies
//! turn to channels-first and back, which cancels where one follows another.

use tract_onnx::pb::{AttributeProto, FunctionProto};

use super::body::{Body, Form, LAYER_NORM_2D_EPS, LAYER_NORM_EPS};
use super::proto;

/// Patch embedding: two 1x1 convolutions with a GELU between. `image` is channels-first.
pub(super) fn patch_embed() -> FunctionProto {
    let mut b = Body::default();
    let x = b.conv("image", "w1", "b1");
    let x = b.gelu(&x);
    let x = b.conv(&x, "w2", "b2");
    let y = b.channels_last(&x);
    b.into_function("PatchEmbed", "conv1x1, GELU, conv1x1", &["image", "w1", "b1", "w2", "b2"], &[], &y)
}

/// Attributes of a depthwise 3x3 convolution; its number of groups is the call's.
fn depthwise(strides: Option<AttributeProto>) -> Vec<AttributeProto> {
    let fixed = [proto::int_of_call("group", "group"), proto::ints("pads", &[1, 1, 1, 1])];
    fixed.into_iter().chain(strides).collect()
}

const MBCONV: [&str; 7] = ["x", "w1", "b1", "w2", "b2", "w3", "b3"];

/// Inverted bottleneck with a residual: conv1x1, GELU, depthwise 3x3, GELU, conv1x1, + x, GELU.
pub(super) fn mb_conv() -> FunctionProto {
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
    b.into_function("MbConv", "conv1x1, GELU, depthwise 3x3, GELU, conv1x1, residual, GELU", &MBCONV, &["group"], &y)
}

/// Between stages: conv1x1, GELU, depthwise 3x3 with a stride, GELU, conv1x1.
pub(super) fn patch_merging() -> FunctionProto {
    let mut b = Body::default();
    let x = b.channels_first("x");
    let x = b.conv(&x, "w1", "b1");
    let x = b.gelu(&x);
    let x = b.op("Conv", &[&x, "w2", "b2"], depthwise(Some(proto::ints_of_call("strides", "strides"))));
    let x = b.gelu(&x);
    let x = b.conv(&x, "w3", "b3");
    let y = b.channels_last(&x);
    let doc = "conv1x1, GELU, depthwise 3x3 with a stride, GELU, conv1x1";
    b.into_function("PatchMerging", doc, &MBCONV, &["group", "strides"], &y)
}

/// Attention within windows, with LayerNorm before and the residual after.
///
/// The image is padded with zeros to whole windows **before** the LayerNorm, so that padded tokens become the norm's
/// bias and take part as keys: the network was trained so. The query's weights carry the scale.
pub(super) fn window_attention(form: Form) -> FunctionProto {
    let mut b = Body::default();
    let pads = b.ints_of_call("pads");
    let x = b.op("Pad", &["x", &pads], vec![]);
    let x = b.reshape_by(&x, "partition");
    let x = b.transpose(&x, &[0, 1, 3, 2, 4, 5]);
    let x = b.reshape_by(&x, "windows");
    let x = b.layer_norm(&x, "norm_w", "norm_b", LAYER_NORM_EPS);
    let x = b.linear_in(form, &x, "qkv_w", "qkv_b");
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
    let x = b.linear_in(form, &x, "proj_w", "proj_b");
    let x = b.reshape_by(&x, "reverse");
    let x = b.transpose(&x, &[0, 1, 3, 2, 4, 5]);
    let x = b.reshape_by(&x, "padded");
    let (starts, ends, axes) = (b.ints(&[0, 0]), b.ints_of_call("size"), b.ints(&[1, 2]));
    let x = b.op("Slice", &[&x, &starts, &ends, &axes], vec![]);
    let y = b.add("x", &x);
    let inputs = ["x", "norm_w", "norm_b", "qkv_w", "qkv_b", "bias", "proj_w", "proj_b"];
    b.into_function(
        &form.name("WindowAttention"),
        "pad to whole windows, LayerNorm, multi-head attention with a bias table per head, projection, residual",
        &form.inputs(&inputs, &["qkv_w", "proj_w"]),
        &["window", "num_heads", "pads", "partition", "windows", "heads", "reverse", "padded", "size"],
        &y,
    )
}

/// Depthwise 3x3 convolution.
pub(super) fn local_conv() -> FunctionProto {
    let mut b = Body::default();
    let x = b.channels_first("x");
    let x = b.op("Conv", &[&x, "w", "b"], depthwise(None));
    let y = b.channels_last(&x);
    b.into_function("LocalConv", "depthwise 3x3", &["x", "w", "b"], &["group"], &y)
}

/// LayerNorm, linear, GELU, linear, residual.
pub(super) fn mlp(form: Form) -> FunctionProto {
    let mut b = Body::default();
    let x = b.layer_norm("x", "norm_w", "norm_b", LAYER_NORM_EPS);
    let x = b.linear_in(form, &x, "w1", "b1");
    let x = b.gelu(&x);
    let x = b.linear_in(form, &x, "w2", "b2");
    let y = b.add("x", &x);
    let inputs = form.inputs(&["x", "norm_w", "norm_b", "w1", "b1", "w2", "b2"], &["w1", "w2"]);
    b.into_function(&form.name("Mlp"), "LayerNorm, linear, GELU, linear, residual", &inputs, &[], &y)
}

/// Linear, LayerNorm, conv 3x3, LayerNorm over the channels; the output is channels-first.
pub(super) fn neck(form: Form) -> FunctionProto {
    let mut b = Body::default();
    let x = b.product(form, "x", "w1");
    let x = b.layer_norm(&x, "norm1_w", "norm1_b", LAYER_NORM_2D_EPS);
    let x = b.channels_first(&x);
    let x = match form {
        Form::Float => b.op("Conv", &[&x, "w2"], vec![proto::ints("pads", &[1, 1, 1, 1])]),
        Form::Int8 => b.conv3x3_int8(&x, "w2"),
    };
    let x = b.channels_last(&x);
    let x = b.layer_norm(&x, "norm2_w", "norm2_b", LAYER_NORM_2D_EPS);
    let y = b.channels_first(&x);
    let inputs = ["x", "w1", "norm1_w", "norm1_b", "w2", "norm2_w", "norm2_b"];
    let inputs = form.inputs(&inputs, &["w1", "w2"]);
    b.into_function(&form.name("Neck"), "linear, LayerNorm, conv3x3, LayerNorm, to channels-first", &inputs, &[], &y)
}
