//! Constructors for the few ONNX messages that the graphs need.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension};
use tract_onnx::pb::{AttributeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};

/// One size of a graph's input or output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Size {
    Fixed(i64),
    Symbol(&'static str),
}

pub(super) fn value_info(name: &str, shape: &[Size]) -> ValueInfoProto {
    let dim = shape.iter().map(|size| Dimension {
        value: Some(match size {
            Size::Fixed(n) => dimension::Value::DimValue(*n),
            Size::Symbol(s) => dimension::Value::DimParam((*s).into()),
        }),
        ..Default::default()
    });
    let tensor =
        type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim: dim.collect() }) };
    let r#type = Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..Default::default() });
    ValueInfoProto { name: name.into(), r#type, ..Default::default() }
}

fn tensor(name: &str, shape: &[usize], data_type: DataType, raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.into(),
        dims: shape.iter().map(|&d| d as i64).collect(),
        data_type: data_type as i32,
        raw_data,
        ..Default::default()
    }
}

pub(super) fn tensor_f32(name: &str, shape: &[usize], values: &[f32]) -> TensorProto {
    tensor(name, shape, DataType::Float, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

pub(super) fn tensor_f16(name: &str, shape: &[usize], values: &[half::f16]) -> TensorProto {
    tensor(name, shape, DataType::Float16, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

pub(super) fn tensor_i8(name: &str, shape: &[usize], values: &[i8]) -> TensorProto {
    tensor(name, shape, DataType::Int8, values.iter().map(|v| v.cast_unsigned()).collect())
}

pub(super) fn tensor_u8(name: &str, shape: &[usize], values: &[u8]) -> TensorProto {
    tensor(name, shape, DataType::Uint8, values.to_vec())
}

pub(super) fn tensor_i64(name: &str, shape: &[usize], values: &[i64]) -> TensorProto {
    tensor(name, shape, DataType::Int64, values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: kind as i32, ..Default::default() }
}

/// A value of 0 would not be written (proto3), and some readers then miss it: none of our attributes is 0.
pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    assert_ne!(i, 0, "attribute {name}");
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

/// An attribute of 0, of which proto3 writes the type only: for operators whose readers take that for 0.
pub(super) fn no(name: &str) -> AttributeProto {
    attribute(name, AttributeType::Int)
}

pub(super) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::Float) }
}

pub(super) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.into(), ..attribute(name, AttributeType::Ints) }
}

pub(super) fn value(t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t), ..attribute("value", AttributeType::Tensor) }
}

/// An attribute that takes the value of the calling node's attribute `of`.
pub(super) fn int_of_call(name: &str, of: &str) -> AttributeProto {
    AttributeProto { ref_attr_name: of.into(), ..attribute(name, AttributeType::Int) }
}

/// As [`int_of_call`], for a list.
pub(super) fn ints_of_call(name: &str, of: &str) -> AttributeProto {
    AttributeProto { ref_attr_name: of.into(), ..attribute(name, AttributeType::Ints) }
}
