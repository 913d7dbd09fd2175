//! The part of ONNX's protobuf messages that our graphs use, read in place: names and weights stay where the file has them.

use std::prelude::v1::*;

use anyhow::{Context, Result, bail, ensure};
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

/// Most entries of a graph's lists, and of all others: what is kept of an entry takes more memory than its few bytes in the
/// file.
const MAX_ENTRIES: usize = 100_000;
const MAX_SHORT: usize = 64;

/// A model.
#[derive(Debug, Default)]
pub(in super::super) struct Model<'a> {
    /// Domain and version.
    pub(in super::super) opsets: Vec<(&'a str, i64)>,
    pub(in super::super) graph: Graph<'a>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Graph<'a> {
    pub(in super::super) nodes: Vec<Node<'a>>,
    pub(in super::super) initializers: Vec<Tensor<'a>>,
    pub(in super::super) inputs: Vec<Input<'a>>,
    /// The names of the outputs.
    pub(in super::super) outputs: Vec<&'a str>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Node<'a> {
    pub(in super::super) name: &'a str,
    pub(in super::super) op: &'a str,
    pub(in super::super) domain: &'a str,
    pub(in super::super) inputs: Vec<&'a str>,
    pub(in super::super) outputs: Vec<&'a str>,
    pub(in super::super) attributes: Vec<Attribute<'a>>,
}

/// An attribute: an integer, or a list of them.
#[derive(Debug, Default)]
pub(in super::super) struct Attribute<'a> {
    pub(in super::super) name: &'a str,
    /// `AttributeProto.AttributeType`.
    pub(in super::super) kind: u64,
    pub(in super::super) int: i64,
    pub(in super::super) ints: Vec<i64>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Tensor<'a> {
    pub(in super::super) name: &'a str,
    /// `TensorProto.DataType`.
    pub(in super::super) kind: u64,
    pub(in super::super) shape: Vec<i64>,
    /// Little-endian elements.
    pub(in super::super) raw: Option<&'a [u8]>,
}

#[derive(Debug, Default)]
pub(in super::super) struct Input<'a> {
    pub(in super::super) name: &'a str,
    /// Sizes of the axes; none for one that has a name, or nothing.
    pub(in super::super) shape: Vec<Option<i64>>,
}

/// The fields of a message.
struct Fields<'a>(&'a [u8]);

/// A field's value; those of other wire types are passed over.
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
}

impl<'a> Fields<'a> {
    /// The next field that is a number or bytes.
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>> {
        while !self.0.is_empty() {
            let (field, wire) = decode_key(&mut self.0)?;
            match wire {
                WireType::Varint => return Ok(Some((field, Value::Varint(decode_varint(&mut self.0)?)))),
                WireType::LengthDelimited => {
                    let length = decode_varint(&mut self.0)?;
                    let bytes = usize::try_from(length).ok().and_then(|length| self.0.split_at_checked(length));
                    let (bytes, rest) = bytes.with_context(|| format!("field {field} is cut off"))?;
                    self.0 = rest;
                    return Ok(Some((field, Value::Bytes(bytes))));
                }
                _ => skip_field(wire, field, &mut self.0, DecodeContext::default())?,
            }
        }
        Ok(None)
    }
}

/// Hands each field to `take`.
fn each<'a>(message: &'a [u8], mut take: impl FnMut(u32, Value<'a>) -> Result<()>) -> Result<()> {
    let mut fields = Fields(message);
    while let Some((field, value)) = fields.next()? {
        take(field, value).with_context(|| format!("field {field}"))?;
    }
    Ok(())
}

impl<'a> Value<'a> {
    fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Varint(_) => bail!("a number where bytes are expected"),
        }
    }

    fn text(self) -> Result<&'a str> {
        Ok(str::from_utf8(self.bytes()?)?)
    }

    fn int(self) -> Result<u64> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Bytes(_) => bail!("bytes where a number is expected"),
        }
    }

    /// Appends the numbers of a repeated field, which stand alone or together.
    fn ints(self, out: &mut Vec<i64>) -> Result<()> {
        match self {
            Self::Varint(value) => push(out, value as i64),
            Self::Bytes(mut bytes) => {
                while !bytes.is_empty() {
                    push(out, decode_varint(&mut bytes)? as i64)?;
                }
                Ok(())
            }
        }
    }
}

fn push<T>(to: &mut Vec<T>, value: T) -> Result<()> {
    push_within(MAX_SHORT, to, value)
}

fn push_within<T>(most: usize, to: &mut Vec<T>, value: T) -> Result<()> {
    ensure!(to.len() < most, "more than {most} entries");
    to.push(value);
    Ok(())
}

impl<'a> Model<'a> {
    /// Reads a model.
    pub(in super::super) fn read(message: &'a [u8]) -> Result<Self> {
        let mut model = Self::default();
        let mut graphs = 0;
        each(message, |field, value| {
            match field {
                7 => {
                    graphs += 1;
                    model.graph = Graph::read(value.bytes()?)?;
                }
                8 => push(&mut model.opsets, opset(value.bytes()?)?)?,
                _ => {}
            }
            Ok(())
        })?;
        ensure!(graphs == 1, "{graphs} graphs; a model has one");
        Ok(model)
    }
}

fn opset(message: &[u8]) -> Result<(&str, i64)> {
    let (mut domain, mut version) = ("", 0);
    each(message, |field, value| {
        match field {
            1 => domain = value.text()?,
            2 => version = value.int()? as i64,
            _ => {}
        }
        Ok(())
    })?;
    Ok((domain, version))
}

impl<'a> Graph<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut graph = Self::default();
        each(message, |field, value| match field {
            1 => push_within(MAX_ENTRIES, &mut graph.nodes, Node::read(value.bytes()?)?),
            5 => push_within(MAX_ENTRIES, &mut graph.initializers, Tensor::read(value.bytes()?)?),
            11 => push(&mut graph.inputs, Input::read(value.bytes()?)?),
            12 => push(&mut graph.outputs, Input::read(value.bytes()?)?.name),
            _ => Ok(()),
        })?;
        Ok(graph)
    }
}

impl<'a> Node<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut node = Self::default();
        each(message, |field, value| {
            match field {
                1 => push(&mut node.inputs, value.text()?)?,
                2 => push(&mut node.outputs, value.text()?)?,
                3 => node.name = value.text()?,
                4 => node.op = value.text()?,
                5 => push(&mut node.attributes, Attribute::read(value.bytes()?)?)?,
                7 => node.domain = value.text()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(node)
    }
}

impl<'a> Attribute<'a> {
    /// The integers, one or a list, or the name of another type.
    pub(in super::super) fn integers(&self) -> Result<Vec<i64>, &'static str> {
        const TYPES: [&str; 11] = [
            "UNDEFINED",
            "FLOAT",
            "INT",
            "STRING",
            "TENSOR",
            "GRAPH",
            "FLOATS",
            "INTS",
            "STRINGS",
            "TENSORS",
            "GRAPHS",
        ];
        match usize::try_from(self.kind).ok().and_then(|kind| TYPES.get(kind)).copied() {
            Some("INT") => Ok(vec![self.int]),
            Some("INTS") => Ok(self.ints.clone()),
            other => Err(other.unwrap_or("unknown")),
        }
    }

    /// The integer.
    pub(in super::super) fn int(&self) -> Result<i64> {
        match self.integers().as_deref() {
            Ok(&[int]) => Ok(int),
            _ => bail!("an integer is expected"),
        }
    }

    fn read(message: &'a [u8]) -> Result<Self> {
        let mut attribute = Self::default();
        each(message, |field, value| {
            match field {
                1 => attribute.name = value.text()?,
                3 => attribute.int = value.int()? as i64,
                8 => value.ints(&mut attribute.ints)?,
                20 => attribute.kind = value.int()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(attribute)
    }
}

impl<'a> Tensor<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut tensor = Self::default();
        each(message, |field, value| {
            match field {
                1 => value.ints(&mut tensor.shape)?,
                2 => tensor.kind = value.int()?,
                8 => tensor.name = value.text()?,
                9 => tensor.raw = Some(value.bytes()?),
                _ => {}
            }
            Ok(())
        })?;
        Ok(tensor)
    }
}

impl<'a> Input<'a> {
    fn read(message: &'a [u8]) -> Result<Self> {
        let mut input = Self::default();
        // TypeProto, its tensor type, its shape.
        each(message, |field, value| {
            match field {
                1 => input.name = value.text()?,
                2 => each(value.bytes()?, |field, value| match field {
                    1 => each(value.bytes()?, |field, value| match field {
                        2 => each(value.bytes()?, |field, value| match field {
                            1 => push(&mut input.shape, size(value.bytes()?)?),
                            _ => Ok(()),
                        }),
                        _ => Ok(()),
                    }),
                    _ => Ok(()),
                })?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(input)
    }
}

/// The size of an axis.
fn size(message: &[u8]) -> Result<Option<i64>> {
    let mut size = None;
    each(message, |field, value| {
        if field == 1 {
            size = Some(value.int()? as i64);
        }
        Ok(())
    })?;
    Ok(size)
}
