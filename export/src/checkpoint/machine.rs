//! The stack machine under the unpickler: opcodes, stack, marks, memo, and the bounds on all of them.

use std::collections::HashMap;

use super::pickle::{Global, Node, PickleError, Result};

/// Values in the arena, on the stack or in the memo. The checkpoint of LiteMedSAM makes under 10,000.
pub(super) const MAX_VALUES: usize = 1 << 18;
/// Bytes of a module's or a function's name.
pub(super) const MAX_GLOBAL: usize = 256;

/// Index of a value in the arena.
pub(super) type Id = usize;

#[derive(Default)]
pub(super) struct Machine<'a> {
    pickle: &'a [u8],
    /// Next byte to read.
    at: usize,
    /// The opcode being executed, for errors.
    op_at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack at each open `MARK`.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(pickle: &'a [u8]) -> Self {
        Self { pickle, ..Self::default() }
    }

    /// Runs the pickle to its `STOP` and returns the value that it leaves.
    pub(super) fn run(&mut self) -> Result<Id> {
        loop {
            self.op_at = self.at;
            let [opcode] = self.array()?;
            match opcode {
                0x80 => match self.array()? {
                    [2] => {}
                    [version] => return Err(PickleError::Protocol { version }),
                },
                b'.' => break,
                b'c' => self.global()?,
                b'q' => {
                    let [slot] = self.array()?;
                    self.memoize(slot.into())?;
                }
                b'r' => {
                    let slot = self.array().map(u32::from_le_bytes)?;
                    self.memoize(slot)?;
                }
                b'h' => {
                    let [slot] = self.array()?;
                    self.recall(slot.into())?;
                }
                b'j' => {
                    let slot = self.array().map(u32::from_le_bytes)?;
                    self.recall(slot)?;
                }
                b'(' => {
                    // Marks come off only in pairs with values, so they need a bound of their own.
                    self.bound(self.marks.len(), "marks")?;
                    self.marks.push(self.stack.len());
                }
                b')' => self.push(Node::Tuple(Vec::new()))?,
                b'}' => self.push(Node::Dict(Vec::new()))?,
                b']' => self.push(Node::List)?,
                b'N' | 0x88 | 0x89 => self.push(Node::Opaque)?,
                b'G' => {
                    self.take(8)?;
                    self.push(Node::Opaque)?;
                }
                b'K' => {
                    let [value] = self.array()?;
                    self.push(Node::Int(value.into()))?;
                }
                b'M' => {
                    let value = self.array().map(u16::from_le_bytes)?;
                    self.push(Node::Int(value.into()))?;
                }
                b'J' => {
                    let value = self.array().map(i32::from_le_bytes)?;
                    self.push(Node::Int(value.into()))?;
                }
                0x8a => self.long()?,
                b'X' => {
                    let length = self.array().map(u32::from_le_bytes)?;
                    let bytes = self.take(usize::try_from(length).unwrap_or(usize::MAX))?;
                    let text = str::from_utf8(bytes).map_err(|_| self.malformed("a string that is not UTF-8"))?;
                    self.push(Node::Str(text))?;
                }
                b't' => {
                    let items = self.pop_mark()?;
                    self.push(Node::Tuple(items))?;
                }
                0x85..=0x87 => {
                    let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
                    items.reverse();
                    self.push(Node::Tuple(items))?;
                }
                b's' => {
                    let value = self.pop()?;
                    let key = self.pop()?;
                    self.set_items(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_mark()?;
                    self.set_items(&items)?;
                }
                b'a' => {
                    self.pop()?;
                    self.expect_list()?;
                }
                b'e' => {
                    self.pop_mark()?;
                    self.expect_list()?;
                }
                b'b' => self.build()?,
                b'Q' => self.persistent_id()?,
                b'R' => self.reduce()?,
                opcode => return Err(PickleError::Opcode { opcode, offset: self.op_at }),
            }
        }
        let root = self.pop()?;
        if !self.stack.is_empty() || !self.marks.is_empty() || self.at != self.pickle.len() {
            return Err(self.malformed("values or bytes left over at the end"));
        }
        Ok(root)
    }

    fn global(&mut self) -> Result<()> {
        let module = self.line()?;
        let name = self.line()?;
        let global = Global::named(module, name)
            .ok_or_else(|| PickleError::Global { name: format!("{module}.{name}"), offset: self.op_at })?;
        self.push(Node::Global(global))
    }

    /// `LONG1`: little-endian two's complement of any length; eight bytes hold every size there is.
    fn long(&mut self) -> Result<()> {
        let [length] = self.array()?;
        let bytes = self.take(length.into())?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut wide = [if negative { 0xff } else { 0 }; 8];
        wide.get_mut(..bytes.len()).ok_or_else(|| self.malformed("an integer over 64 bits"))?.copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    /// The state of an `OrderedDict` is its `_metadata`, the modules' versions: popped and left alone.
    fn build(&mut self) -> Result<()> {
        self.pop()?;
        match self.top()? {
            Node::Dict(_) => Ok(()),
            _ => Err(self.malformed("a state set on something other than a dict")),
        }
    }

    pub(super) fn malformed(&self, what: &'static str) -> PickleError {
        PickleError::Malformed { what, offset: self.op_at }
    }

    fn bound(&self, held: usize, what: &'static str) -> Result<()> {
        if held < MAX_VALUES {
            return Ok(());
        }
        Err(PickleError::Limit { what, limit: MAX_VALUES, offset: self.op_at })
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let rest = &self.pickle[self.at..];
        let bytes = rest.get(..length).ok_or(PickleError::Truncated { offset: self.op_at })?;
        self.at += length;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| PickleError::Truncated { offset: self.op_at })
    }

    fn line(&mut self) -> Result<&'a str> {
        let rest = &self.pickle[self.at..];
        let window = &rest[..rest.len().min(MAX_GLOBAL + 1)];
        let Some(length) = window.iter().position(|&b| b == b'\n') else {
            return Err(match window.len() > MAX_GLOBAL {
                true => self.malformed("an overlong name of a global"),
                false => PickleError::Truncated { offset: self.op_at },
            });
        };
        self.at += length + 1;
        str::from_utf8(&window[..length]).map_err(|_| self.malformed("a name of a global that is not UTF-8"))
    }

    pub(super) fn push(&mut self, node: Node<'a>) -> Result<()> {
        self.bound(self.nodes.len(), "values")?;
        self.nodes.push(node);
        self.push_id(self.nodes.len() - 1)
    }

    fn push_id(&mut self, id: Id) -> Result<()> {
        self.bound(self.stack.len(), "values on the stack")?;
        self.stack.push(id);
        Ok(())
    }

    /// Values below the innermost mark are out of reach, as in Python.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Id> {
        if self.stack.len() > self.floor()
            && let Some(id) = self.stack.pop()
        {
            return Ok(id);
        }
        Err(self.malformed("an operand missing on the stack"))
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>> {
        let floor = self.marks.pop().ok_or_else(|| self.malformed("no mark on the stack"))?;
        Ok(self.stack.split_off(floor))
    }

    fn top_id(&self) -> Result<Id> {
        let reachable = &self.stack[self.floor()..];
        reachable.last().copied().ok_or_else(|| self.malformed("an operand missing on the stack"))
    }

    fn top(&self) -> Result<&Node<'a>> {
        self.top_id().map(|id| &self.nodes[id])
    }

    fn expect_list(&self) -> Result<()> {
        match self.top()? {
            Node::List => Ok(()),
            _ => Err(self.malformed("items appended to something other than a list")),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<()> {
        let id = self.top_id()?;
        match &mut self.nodes[id] {
            Node::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(self.malformed("items set on something other than a dict, or without their values")),
        }
    }

    fn memoize(&mut self, slot: u32) -> Result<()> {
        self.bound(self.memo.len(), "memo slots")?;
        let id = self.top_id()?;
        self.memo.insert(slot, id);
        Ok(())
    }

    fn recall(&mut self, slot: u32) -> Result<()> {
        let id = *self.memo.get(&slot).ok_or_else(|| self.malformed("an empty memo slot"))?;
        self.push_id(id)
    }

    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id]
    }
}
