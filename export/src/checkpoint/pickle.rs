//! A restricted unpickler: just enough of pickle protocol 2 to find the tensors of a PyTorch state dict.
//!
//! A pickle is a program for a stack machine whose `REDUCE` calls any Python function. This machine knows three
//! functions, all of PyTorch's own tensor plumbing, and the storage classes; every other global is refused by name
//! before anything is made of it. Values live in an arena and refer to each other by index: a cyclic or deeply nested
//! pickle costs no recursion, and shared values cost no copies, so that memory stays linear in the pickle's length.

use std::collections::HashSet;

use super::machine::{Id, Machine};
use super::tensor::DType;

/// Axes of a tensor. A bound, because each tensor keeps a copy of its shape.
const MAX_RANK: usize = 8;
/// Under these keys training programs put the state dict beside the optimizer's state and the epoch.
const WRAPPERS: [&str; 3] = ["model", "state_dict", "model_state_dict"];

/// Why a pickle was refused. Offsets are those of the opcode within the pickle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// The pickle ends in the middle of an opcode, or without a `STOP`.
    #[error("the pickle is cut off in the opcode at byte {offset}")]
    Truncated {
        /// Where.
        offset: usize,
    },
    /// An opcode that PyTorch does not write for a state dict.
    #[error("unsupported opcode {opcode:#04x} at byte {offset}")]
    Opcode {
        /// The opcode.
        opcode: u8,
        /// Where.
        offset: usize,
    },
    /// A pickle protocol other than 2, the one of `torch.save`.
    #[error("unsupported pickle protocol {version}")]
    Protocol {
        /// The protocol.
        version: u8,
    },
    /// A class or function that could run code, or that has no place in a state dict.
    #[error("refused global {name:?} at byte {offset}")]
    Global {
        /// Its dotted name.
        name: String,
        /// Where.
        offset: usize,
    },
    /// More than the machine holds.
    #[error("more than {limit} {what} at byte {offset}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        limit: usize,
        /// Where.
        offset: usize,
    },
    /// Operands that do not fit their opcode.
    #[error("{what} at byte {offset}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// Well-formed, but not a dict of tensors by name.
    #[error("not a state dict: {what} ({key:?})")]
    NotAStateDict {
        /// What is wrong.
        what: &'static str,
        /// The key of the entry at fault, or empty for the whole.
        key: String,
    },
}

pub(super) type Result<T> = std::result::Result<T, PickleError>;

/// A storage as the pickle describes it: member `data/<key>` of the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StorageRef<'a> {
    pub(crate) key: &'a str,
    pub(crate) dtype: DType,
    pub(crate) elements: usize,
}

/// A tensor as the pickle describes it. Nothing of it is checked against the storage yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TensorRef<'a> {
    pub(crate) storage: StorageRef<'a>,
    pub(crate) offset: usize,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
}

/// The named tensors of a pickled state dict, or of the one inside a training checkpoint.
pub(crate) fn state_dict(pickle: &[u8]) -> Result<Vec<(&str, TensorRef<'_>)>> {
    let mut machine = Machine::new(pickle);
    let root = machine.run()?;
    machine.select(root)
}

#[derive(Clone, Copy)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

impl Global {
    pub(super) fn named(module: &str, name: &str) -> Option<Self> {
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", class) => DType::of_storage(class).map(Self::Storage),
            _ => None,
        }
    }
}

/// A value in the machine's arena. Containers refer to their items by index.
pub(super) enum Node<'a> {
    /// `None`, a bool, a float or a list: legal in a checkpoint, but nothing here depends on its value.
    Opaque,
    Int(i64),
    Str(&'a str),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    List,
    Global(Global),
    Storage(StorageRef<'a>),
    Tensor(TensorRef<'a>),
}

/// What the values mean: persistent ids, calls and the state dict itself.
impl<'a> Machine<'a> {
    pub(super) fn persistent_id(&mut self) -> Result<()> {
        let id = self.pop()?;
        let storage = || {
            let [kind, class, key, _device, elements] = self.tuple(id)?.try_into().ok()?;
            match (self.node(kind), self.node(class), self.node(key)) {
                (Node::Str("storage"), &Node::Global(Global::Storage(dtype)), &Node::Str(key)) => {
                    Some(StorageRef { key, dtype, elements: self.size(elements)? })
                }
                _ => None,
            }
        };
        let storage = storage().ok_or_else(|| self.malformed("a persistent id that is no storage"))?;
        self.push(Node::Storage(storage))
    }

    pub(super) fn reduce(&mut self) -> Result<()> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let arguments = self.tuple(arguments).ok_or_else(|| self.malformed("a call without a tuple of arguments"))?;
        let result = match self.node(function) {
            Node::Global(Global::OrderedDict) => arguments.is_empty().then(|| Node::Dict(Vec::new())),
            Node::Global(Global::RebuildTensor) => self.rebuild_tensor(arguments).map(Node::Tensor),
            Node::Global(Global::RebuildParameter) => match arguments {
                &[data, _requires_grad, _hooks] => match self.node(data) {
                    Node::Tensor(tensor) => Some(Node::Tensor(tensor.clone())),
                    _ => None,
                },
                _ => None,
            },
            _ => return Err(self.malformed("a call of something that is no function")),
        };
        let result = result.ok_or_else(|| self.malformed("a call with unsupported arguments"))?;
        self.push(result)
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])`.
    fn rebuild_tensor(&self, arguments: &[Id]) -> Option<TensorRef<'a>> {
        let &[storage, offset, size, stride, _requires_grad, _hooks, ref metadata @ ..] = arguments else {
            return None;
        };
        let Node::Storage(storage) = *self.node(storage) else { return None };
        let sizes = |id| {
            let ids = self.tuple(id).filter(|ids| ids.len() <= MAX_RANK)?;
            ids.iter().map(|&id| self.size(id)).collect::<Option<Vec<_>>>()
        };
        let tensor = TensorRef { storage, offset: self.size(offset)?, shape: sizes(size)?, strides: sizes(stride)? };
        (metadata.len() <= 1 && tensor.shape.len() == tensor.strides.len()).then_some(tensor)
    }

    fn select(&self, root: Id) -> Result<Vec<(&'a str, TensorRef<'a>)>> {
        let error = |what, key: &str| PickleError::NotAStateDict { what, key: key.to_owned() };
        let Node::Dict(entries) = self.node(root) else { return Err(error("the root is no dict", "")) };
        let wrapped = entries.iter().find_map(|&(key, value)| match (self.node(key), self.node(value)) {
            (Node::Str(key), Node::Dict(inner)) if WRAPPERS.contains(key) => Some(inner),
            _ => None,
        });
        let entries = wrapped.unwrap_or(entries);
        let mut seen = HashSet::new();
        let entry = |&(key, value): &(Id, Id)| {
            let Node::Str(name) = *self.node(key) else { return Err(error("a key that is no string", "")) };
            match self.node(value) {
                Node::Tensor(tensor) if seen.insert(name) => Ok((name, tensor.clone())),
                Node::Tensor(_) => Err(error("a name that occurs twice", name)),
                _ => Err(error("an entry that is no tensor", name)),
            }
        };
        entries.iter().map(entry).collect()
    }

    fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match *self.node(id) {
            Node::Int(value) => usize::try_from(value).ok(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
