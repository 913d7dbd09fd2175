//! Reading a graph of our functions. Constants are computed that our export leaves to be (see [`Constant::compute`]);
//! whatever else a graph holds beside its calls is refused by name. Each block is built as soon as its call is read, and
//! what it was made from is dropped, so that weights are in memory once, packed.

pub(super) mod message;

use std::collections::HashMap;
use std::prelude::v1::*;
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use message::{Model, Node};

use super::calls::{Operand, Size};
use super::constant::{Constant, MAX_COMPUTED};
use super::functions::{DOMAIN, DOMAIN_VERSION, POSITION_ENCODING};
use super::ops::{Call, Settings};
use super::program::{Builder, Program};

/// The program of an ONNX model. `shapes` fixes the sizes of inputs, as in [`Graph::load`](super::Graph::load).
pub(super) fn read(onnx: &[u8], shapes: &[(usize, &[usize])], settings: Settings) -> Result<Program> {
    let Model { opsets, graph } = Model::read(onnx).context("not an ONNX model")?;
    ensure!(opsets.contains(&(DOMAIN, DOMAIN_VERSION)), "no functions of {DOMAIN} {DOMAIN_VERSION}");
    let mut values = Values::default();
    for tensor in &graph.initializers {
        let constant = Constant::read(tensor).with_context(|| format!("weight {}", tensor.name))?;
        values.name(tensor.name, Operand::Constant(Arc::new(constant)))?;
    }
    let mut inputs = Vec::new();
    // A weight may stand among the inputs, too.
    for input in &graph.inputs {
        if values.operands.contains_key(input.name) {
            continue;
        }
        let size = |size: &Option<i64>| match *size {
            Some(number) => Ok(Size::fixed(usize::try_from(number)?)),
            None => Ok(Size::BATCH),
        };
        let shape = input.shape.iter().map(size).collect::<Result<_>>();
        values.name(input.name, Operand::Input(inputs.len()))?;
        inputs.push(shape.with_context(|| format!("input {}", input.name))?);
    }
    for &(input, shape) in shapes {
        let known: &mut Vec<Size> = inputs.get_mut(input).with_context(|| format!("input {input} is missing"))?;
        *known = shape.iter().map(|&number| Size::fixed(number)).collect();
    }
    for name in graph.nodes.iter().flat_map(|node| &node.inputs) {
        *values.readers.entry(*name).or_default() += 1;
    }
    let mut builder = Builder::new(inputs, settings)?;
    for node in &graph.nodes {
        values.node(node, &mut builder).with_context(|| format!("node {} ({})", node.name, node.op))?;
    }
    let outputs = graph.outputs.iter().map(|name| match values.operands.get(name) {
        Some(Some(Operand::Call(call))) => Ok(*call),
        _ => bail!("no function computes the output {name}"),
    });
    Ok(builder.finish(outputs.collect::<Result<_>>()?))
}

/// The values of a graph by their names.
#[derive(Default)]
struct Values<'a> {
    /// None for a constant that nobody reads any more.
    operands: HashMap<&'a str, Option<Operand<'a>>>,
    /// How many times each is still to be read.
    readers: HashMap<&'a str, usize>,
    /// Elements of constants that were computed.
    computed: usize,
}

impl<'a> Values<'a> {
    fn name(&mut self, name: &'a str, value: Operand<'a>) -> Result<()> {
        ensure!(self.operands.insert(name, Some(value)).is_none(), "two values of the name {name}");
        Ok(())
    }

    /// The value, for one of its readers. A constant goes with the last of them.
    fn read(&mut self, name: &'a str) -> Result<Operand<'a>> {
        let left = self.readers.entry(name).or_default();
        *left = left.saturating_sub(1);
        let value = self.operands.get_mut(name);
        let found = value.and_then(|value| match value {
            Some(Operand::Constant(_)) if *left == 0 => value.take(),
            _ => value.clone(),
        });
        found.with_context(|| format!("nothing computes {name}"))
    }

    fn node(&mut self, node: &Node<'a>, builder: &mut Builder) -> Result<()> {
        let &[output] = &node.outputs[..] else { bail!("{} outputs", node.outputs.len()) };
        let operands: Vec<Operand<'a>> = node.inputs.iter().map(|name| self.read(name)).collect::<Result<_>>()?;
        let value = match node.domain {
            DOMAIN if node.op != POSITION_ENCODING.name => {
                Operand::Call(builder.push(Call::new(node.op, &node.attributes)?, &operands)?)
            }
            "" | DOMAIN => {
                let constant = |operand: &'_ Operand<'a>| match operand {
                    Operand::Constant(constant) => Ok(constant.clone()),
                    _ => bail!("its inputs are no constants; only functions of {DOMAIN} run on what is computed"),
                };
                let given: Vec<_> = operands.iter().map(constant).collect::<Result<_>>()?;
                let given: Vec<_> = given.iter().map(|c| &**c).collect();
                let constant = Constant::compute(node, &given)?;
                self.computed += constant.len();
                ensure!(self.computed <= MAX_COMPUTED, "more than {MAX_COMPUTED} elements of constants to compute");
                Operand::Constant(Arc::new(constant))
            }
            domain => bail!("functions of the domain {domain} are not known"),
        };
        self.name(output, value)
    }
}

#[cfg(test)]
mod tests {
    use prost::encoding::{bytes, encode_varint, int64, string};

    use super::*;
    use crate::Precision;
    use crate::runtime::kernels::Kernels;

    fn message(tag: u32, content: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        bytes::encode(tag, &content, &mut out);
        out
    }

    fn text(tag: u32, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        string::encode(tag, &text.to_owned(), &mut out);
        out
    }

    fn int(tag: u32, value: i64) -> Vec<u8> {
        let mut out = Vec::new();
        int64::encode(tag, &value, &mut out);
        out
    }

    fn node(domain: &str, op: &str, inputs: &[&str], attributes: &[(&str, i64)]) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = inputs.iter().map(|name| text(1, name)).collect();
        parts.extend([text(2, "y"), text(3, "n"), text(4, op), text(7, domain)]);
        parts.extend(attributes.iter().map(|(name, v)| message(5, [text(1, name), int(3, *v), int(20, 2)].concat())));
        message(1, parts.concat())
    }

    fn tensor(name: &str, kind: i64, shape: &[i64], raw: &[u8]) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = shape.iter().map(|&side| int(1, side)).collect();
        parts.extend([int(2, kind), text(8, name), message(9, raw.to_vec())]);
        message(5, parts.concat())
    }

    /// A graph with a weight of f16, one of f32, one of indices and an input of one axis, the batch.
    fn model(nodes: &[Vec<u8>]) -> Vec<u8> {
        let axis = message(2, message(1, message(2, message(1, text(2, "N")))));
        let half = [0x00, 0x3c, 0x00, 0xc0];
        let graph = [
            nodes.concat(),
            tensor("half", 10, &[2], &half),
            tensor("table", 1, &[1, 2], &[0, 0, 0x80, 0x3f, 0, 0, 0, 0x40]),
            tensor("indices", 2, &[3], &[1, 0, 1]),
            tensor("int8", 3, &[1, 2], &[3, 0xfd]),
            message(11, [text(1, "x"), axis].concat()),
            message(12, text(1, "y")),
        ];
        [message(8, [text(1, DOMAIN), int(2, DOMAIN_VERSION)].concat()), message(7, graph.concat())].concat()
    }

    fn refusal(nodes: &[Vec<u8>]) -> String {
        format!("{:#}", program(&model(nodes)).unwrap_err())
    }

    #[test]
    fn what_is_no_function_of_ours_is_refused_by_name() {
        assert_eq!(
            refusal(&[node("", "Relu", &["x"], &[])]),
            "node n (Relu): its inputs are no constants; only functions of umedsam run on what is computed"
        );
        for (nodes, expected) in [
            (node("", "Relu", &["half"], &[]), "node n (Relu): an operator that is not known"),
            (node("other", "Mlp", &["x"], &[]), "node n (Mlp): functions of the domain other are not known"),
            (node(DOMAIN, "Mlp2", &["x"], &[]), "node n (Mlp2): function Mlp2 is not known"),
            (node(DOMAIN, "Mlp", &["x"], &[]), "node n (Mlp): Mlp: 1 inputs, 7 expected"),
            (
                node(DOMAIN, "ImageTokens", &["x", "half"], &[]),
                "node n (ImageTokens): ImageTokens: input 0 (embedding)",
            ),
            (node("", "Cast", &["half"], &[("to", 7)]), "node n (Cast): a cast to type 7"),
            (node("", "Cast", &["half"], &[]), "node n (Cast): attribute to is missing"),
            (node(DOMAIN, "Cast", &["half"], &[("to", 1)]), "node n (Cast): function Cast is not known"),
            (
                node("", "PositionEncoding", &["table", "table"], &[]),
                "node n (PositionEncoding): an operator that is not",
            ),
            (node("", "Cast", &["gone"], &[("to", 1)]), "node n (Cast): nothing computes gone"),
            (node("", "Cast", &["half"], &[("to", 1)]), "no function computes the output y"),
            (node("", "Gather", &["table", "half"], &[]), "node n (Gather): indices are not i64"),
            (
                node("", "DequantizeLinear", &["int8", "table"], &[]),
                "node n (DequantizeLinear): scales of shape [1, 2]",
            ),
        ] {
            let message = refusal(&[nodes]);
            assert!(message.starts_with(expected), "{message}");
        }
        assert!(refusal(&[]).starts_with("no function computes the output y"));
    }

    #[test]
    fn constants_are_computed() {
        let nodes = [
            node("", "Cast", &["half"], &[("to", 1)]),
            node("", "Cast", &["indices"], &[("to", 7)]),
            node("", "Gather", &["table", "indices"], &[("axis", -1)]),
            node("", "DequantizeLinear", &["int8", "half"], &[("axis", -1)]),
        ];
        let onnx = model(&nodes);
        let graph = Model::read(&onnx).unwrap().graph;
        let [half, table, indices, int8] = [0, 1, 2, 3].map(|i| Constant::read(&graph.initializers[i]).unwrap());
        let parsed = graph.nodes;
        let half = Constant::compute(&parsed[0], &[&half]).unwrap();
        assert_eq!(half.f32().unwrap()[..], [1.0, -2.0]);
        let indices = Constant::compute(&parsed[1], &[&indices]).unwrap();
        let gathered = Constant::compute(&parsed[2], &[&table, &indices]).unwrap();
        assert_eq!((&gathered.shape[..], &gathered.f32().unwrap()[..]), (&[1, 3][..], &[2.0, 1.0, 2.0][..]));
        let floats = Constant::compute(&parsed[3], &[&int8, &half]).unwrap();
        assert_eq!((&floats.shape[..], &floats.f32().unwrap()[..]), (&[1, 2][..], &[3.0, 6.0][..]));
    }

    /// A graph that is read: a weight is widened, and added to the image that comes in.
    fn sound() -> Vec<u8> {
        let side = |number| message(1, int(1, number));
        let shape = [message(1, text(2, "N")), side(16), side(2), side(2)].concat();
        let graph = [
            message(
                1,
                [
                    text(1, "half"),
                    text(2, "w"),
                    text(4, "Cast"),
                    message(5, [text(1, "to"), int(3, 1), int(20, 2)].concat()),
                ]
                .concat(),
            ),
            node(DOMAIN, "ImageTokens", &["x", "w"], &[("exact", 1)]),
            tensor("half", 10, &[1, 16], &[0x3c; 32]),
            message(11, [text(1, "x"), message(2, message(1, message(2, shape)))].concat()),
            message(12, text(1, "y")),
        ];
        [message(8, [text(1, DOMAIN), int(2, DOMAIN_VERSION)].concat()), message(7, graph.concat())].concat()
    }

    fn program(onnx: &[u8]) -> Result<Program> {
        read(onnx, &[], Settings::new(Kernels::detect(), Precision::F32, true))
    }

    #[test]
    fn a_damaged_file_is_an_error_or_another_graph() {
        let whole = sound();
        assert!(program(&whole).is_ok());
        for cut in 0..whole.len() {
            assert!(program(&whole[..cut]).is_err(), "{cut}");
        }
        let flipped = (0..whole.len()).flat_map(|place| (0..8).map(move |bit| (place, 1 << bit)));
        let read = flipped.filter(|&(place, flip)| {
            let mut damaged = whole.clone();
            damaged[place] ^= flip;
            program(&damaged).is_ok()
        });
        // Weights and names may be others; most of the file is structure.
        let share = read.count() as f64 / (8 * whole.len()) as f64;
        assert!(share < 0.5, "{share}");
        // Lengths beyond the file, and beyond all memory.
        for length in [9, u64::MAX] {
            let mut onnx = vec![0x3a];
            encode_varint(length, &mut onnx);
            assert!(program(&onnx).is_err());
        }
    }

    #[test]
    fn what_would_take_memory_without_bound_is_refused() {
        let huge = 1 << 40;
        let refused = |part: Vec<u8>| format!("{:#}", program(&[sound(), message(7, part)].concat()).unwrap_err());
        for shape in [&[0, huge, huge][..], &[huge, huge, 0], &[-1], &[huge, huge, huge]] {
            let onnx = message(7, tensor("t", 1, shape, &[]));
            let model = Model::read(&onnx).unwrap();
            assert!(Constant::read(&model.graph.initializers[0]).is_err(), "{shape:?}");
        }
        let many = vec![1; 64 + 1];
        assert!(refused(tensor("t", 1, &many, &[])).contains("more than 64 entries"));
        let names = vec!["x"; 64 + 1];
        assert!(refused(node("", "Cast", &names, &[])).contains("more than 64 entries"));
    }
}
