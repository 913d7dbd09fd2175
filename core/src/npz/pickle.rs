//! The one kind of Python object that cases hold: an array of dictionaries from names to numbers, as numpy pickles it.
//!
//! A pickle is a program for a stack machine that can call any function of Python. This machine knows the four of numpy
//! that make arrays and numbers, as data; all others are refused by name. Values lie in an arena and refer to each
//! other by index, so that shared or cyclic ones take no more memory than the pickle is long, and no recursion.

use std::collections::BTreeMap;
use std::prelude::v1::*;

use super::Problem;

/// What dictionaries hold: names in the order of the pickle, and their numbers.
pub(super) type Dictionary<'a> = Vec<(&'a str, f64)>;

/// The dictionaries of an array.
pub(super) fn dictionaries(pickle: &[u8]) -> Result<Vec<Dictionary<'_>>, Problem> {
    Machine { pickle, at: 0, arena: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: BTreeMap::new() }.run()
}

/// A value's place in the arena.
type Id = usize;

#[derive(Debug)]
enum Value<'a> {
    /// None and truth values, whose value nothing depends on.
    Opaque,
    Number(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Function(Function),
    /// A number type in numpy's letters, and whether its high bytes come first.
    Type(&'a str, bool),
    /// An array, and the list of its items, which comes after it.
    Array(Option<Id>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Array,
    Reconstruct,
    Scalar,
    Type,
}

impl Function {
    fn of(module: &str, name: &str) -> Option<Self> {
        // numpy 2 has moved what was in numpy.core.
        let multiarray = matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray");
        match name {
            "_reconstruct" if multiarray => Some(Self::Reconstruct),
            "scalar" if multiarray => Some(Self::Scalar),
            "ndarray" if module == "numpy" => Some(Self::Array),
            "dtype" if module == "numpy" => Some(Self::Type),
            _ => None,
        }
    }
}

struct Machine<'a> {
    pickle: &'a [u8],
    /// Where the next opcode is.
    at: usize,
    arena: Vec<Value<'a>>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn run(mut self) -> Result<Vec<Dictionary<'a>>, Problem> {
        loop {
            match self.take(1)?[0] {
                0x80 => {
                    let version = self.take(1)?[0];
                    if !(3..=5).contains(&version) {
                        return Err(self.refuse(format!("pickle protocol {version}")));
                    }
                }
                // A frame's length tells a reader how much to load.
                0x95 => drop(self.take(8)?),
                b'.' => return self.result(),
                b'(' => self.marks.push(self.stack.len()),
                b'N' | 0x88 | 0x89 => self.push(Value::Opaque),
                b'J' => self.number(4)?,
                b'K' => self.whole(1)?,
                b'M' => self.whole(2)?,
                0x8a => {
                    let length = usize::from(self.take(1)?[0]);
                    self.number(length)?;
                }
                b'G' => {
                    let bytes = self.array()?;
                    self.push(Value::Number(f64::from_be_bytes(bytes)));
                }
                0x8c => self.text(1)?,
                b'X' => self.text(4)?,
                b'C' => self.bytes(1)?,
                b'B' => self.bytes(4)?,
                b')' => self.push(Value::Tuple(Vec::new())),
                0x85 => self.tuple(1)?,
                0x86 => self.tuple(2)?,
                0x87 => self.tuple(3)?,
                b't' => {
                    let items = self.marked()?;
                    self.push(Value::Tuple(items));
                }
                b']' => self.push(Value::List(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.extend(vec![item])?;
                }
                b'e' | b'u' => {
                    let items = self.marked()?;
                    self.extend(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.extend(vec![key, value])?;
                }
                0x94 => self.store(self.memo.len() as u32)?,
                b'q' => {
                    let place = u32::from(self.take(1)?[0]);
                    self.store(place)?;
                }
                b'r' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.store(place)?;
                }
                b'h' => {
                    let place = u32::from(self.take(1)?[0]);
                    self.fetch(place)?;
                }
                b'j' => {
                    let place = u32::from_le_bytes(self.array()?);
                    self.fetch(place)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.function(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (Value::Text(module), Value::Text(name)) = (&self.arena[module], &self.arena[name]) else {
                        return Err(self.refuse("a global without a name".into()));
                    };
                    self.function(module, name)?;
                }
                b'R' => self.call()?,
                b'b' => self.build()?,
                opcode => return Err(self.refuse(format!("opcode {opcode:#04x}"))),
            }
        }
    }

    fn refuse(&self, reason: String) -> Problem {
        Problem::Pickle { offset: self.at, reason }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let bytes = self.pickle.get(self.at..).and_then(|rest| rest.get(..count));
        let bytes = bytes.ok_or_else(|| self.refuse("the end of the pickle, which is cut".into()))?;
        self.at += count;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N)?);
        Ok(bytes)
    }

    /// A number of so many bytes, the low ones first.
    fn length(&mut self, width: usize) -> Result<usize, Problem> {
        Ok(self.take(width)?.iter().rev().fold(0, |n, &byte| n << 8 | usize::from(byte)))
    }

    fn line(&mut self) -> Result<&'a str, Problem> {
        let rest = &self.pickle[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
        let line = self.take(end)?;
        self.take(1)?;
        core::str::from_utf8(line).map_err(|_| self.refuse("a name that is no text".into()))
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(self.arena.len());
        self.arena.push(value);
    }

    fn pop(&mut self) -> Result<Id, Problem> {
        let lowest = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= lowest {
            return Err(self.refuse("an opcode without its operands".into()));
        }
        self.stack.pop().ok_or_else(|| self.refuse("an opcode without its operands".into()))
    }

    /// What lies above the last mark.
    fn marked(&mut self) -> Result<Vec<Id>, Problem> {
        let mark = self.marks.pop().ok_or_else(|| self.refuse("an opcode without its mark".into()))?;
        Ok(self.stack.split_off(mark))
    }

    /// A signed number of at most 8 bytes.
    fn number(&mut self, width: usize) -> Result<(), Problem> {
        if width > 8 {
            return Err(self.refuse(format!("a number of {width} bytes")));
        }
        let value = signed(self.take(width)?);
        self.push(Value::Number(value as f64));
        Ok(())
    }

    fn whole(&mut self, width: usize) -> Result<(), Problem> {
        let value = self.length(width)?;
        self.push(Value::Number(value as f64));
        Ok(())
    }

    fn bytes(&mut self, width: usize) -> Result<(), Problem> {
        let length = self.length(width)?;
        let bytes = self.take(length)?;
        self.push(Value::Bytes(bytes));
        Ok(())
    }

    fn text(&mut self, width: usize) -> Result<(), Problem> {
        let length = self.length(width)?;
        let bytes = self.take(length)?;
        let text = core::str::from_utf8(bytes).map_err(|_| self.refuse("a text that is not UTF-8".into()))?;
        self.push(Value::Text(text));
        Ok(())
    }

    fn tuple(&mut self, count: usize) -> Result<(), Problem> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<Id>, _>>()?;
        items.reverse();
        self.push(Value::Tuple(items));
        Ok(())
    }

    /// Adds items to the list or the dictionary on top.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), Problem> {
        let top = self.pop()?;
        match &mut self.arena[top] {
            Value::List(list) => list.extend(items),
            Value::Dict(dict) if items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err(self.refuse("items of what holds none".into())),
        }
        self.stack.push(top);
        Ok(())
    }

    fn store(&mut self, place: u32) -> Result<(), Problem> {
        let top = self.pop()?;
        self.stack.push(top);
        self.memo.insert(place, top);
        Ok(())
    }

    fn fetch(&mut self, place: u32) -> Result<(), Problem> {
        let id = *self.memo.get(&place).ok_or_else(|| self.refuse(format!("no value {place}")))?;
        self.stack.push(id);
        Ok(())
    }

    fn function(&mut self, module: &str, name: &str) -> Result<(), Problem> {
        let found = Function::of(module, name);
        let function = found.ok_or_else(|| self.refuse(format!("{module}.{name}, which is not called")))?;
        self.push(Value::Function(function));
        Ok(())
    }

    fn call(&mut self) -> Result<(), Problem> {
        let (arguments, function) = (self.pop()?, self.pop()?);
        let wrong = "a call that numpy does not make";
        let (Value::Function(function), Value::Tuple(arguments)) = (&self.arena[function], &self.arena[arguments])
        else {
            return Err(self.refuse(wrong.into()));
        };
        let made = match (function, arguments[..].first_chunk::<2>().map(|two| two.map(|id| &self.arena[id]))) {
            (Function::Reconstruct, Some([Value::Function(Function::Array), _])) => Some(Value::Array(None)),
            (Function::Type, Some([Value::Text(kind), _])) => Some(Value::Type(kind, false)),
            (Function::Scalar, Some([Value::Type(kind, big), Value::Bytes(bytes)])) => {
                scalar(kind, bytes, *big).map(Value::Number)
            }
            _ => None,
        };
        let made = made.ok_or_else(|| self.refuse(wrong.into()))?;
        self.push(made);
        Ok(())
    }

    /// The state of an array or of a number type.
    fn build(&mut self) -> Result<(), Problem> {
        let (state, object) = (self.pop()?, self.pop()?);
        let wrong = "a state that numpy does not write";
        let Value::Tuple(state) = &self.arena[state] else { return Err(self.refuse(wrong.into())) };
        let built = match (&self.arena[object], &state[..]) {
            (Value::Type(kind, _), &[_, order, ..]) => match &self.arena[order] {
                Value::Text(order) => Some(Value::Type(kind, *order == ">")),
                _ => None,
            },
            (Value::Array(_), &[_version, _shape, kind, _order, items]) => {
                match (&self.arena[kind], &self.arena[items]) {
                    (Value::Type(kind, _), Value::List(_)) if kind.starts_with('O') => Some(Value::Array(Some(items))),
                    _ => None,
                }
            }
            _ => None,
        };
        self.arena[object] = built.ok_or_else(|| self.refuse(wrong.into()))?;
        self.stack.push(object);
        Ok(())
    }

    fn result(mut self) -> Result<Vec<Dictionary<'a>>, Problem> {
        let top = self.pop()?;
        let Value::Array(Some(items)) = &self.arena[top] else {
            return Err(self.refuse("no array".into()));
        };
        let Value::List(items) = &self.arena[*items] else {
            return Err(self.refuse("no array".into()));
        };
        let entry = |&(key, value): &(Id, Id)| match (&self.arena[key], &self.arena[value]) {
            (&Value::Text(key), &Value::Number(value)) => Some((key, value)),
            _ => None,
        };
        // What many items refer to is read for each: not more in all than the pickle can tell.
        let mut left = self.pickle.len();
        let mut found = Vec::new();
        for &item in items {
            let dictionary = match &self.arena[item] {
                Value::Dict(entries) => entries.iter().map(entry).collect::<Option<Dictionary<'_>>>(),
                _ => None,
            };
            let dictionary =
                dictionary.ok_or_else(|| self.refuse("an item that is no dictionary of names and numbers".into()))?;
            left = left.checked_sub(dictionary.len()).ok_or_else(|| self.refuse("too many shared items".into()))?;
            found.push(dictionary);
        }
        Ok(found)
    }
}

/// Bytes as a signed number, the low ones first.
fn signed(bytes: &[u8]) -> i64 {
    let fill = if bytes.last().is_some_and(|byte| byte & 128 != 0) { 0xff } else { 0 };
    let mut wide = [fill; 8];
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// A number of numpy's.
fn scalar(kind: &str, bytes: &[u8], big: bool) -> Option<f64> {
    let mut bytes = bytes.to_vec();
    if big {
        bytes.reverse();
    }
    match (kind, bytes.len()) {
        ("i1", 1) | ("i2", 2) | ("i4", 4) | ("i8", 8) => Some(signed(&bytes) as f64),
        ("u1", 1) | ("u2", 2) | ("u4", 4) | ("u8", 8) => {
            Some(bytes.iter().rev().fold(0u64, |n, &byte| n << 8 | u64::from(byte)) as f64)
        }
        ("f4", 4) => Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
        ("f8", 8) => Some(f64::from_le_bytes(bytes.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(name: &str) -> Vec<u8> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
        std::fs::read(folder.join(name)).unwrap()
    }

    fn refused(pickle: &[u8]) -> String {
        dictionaries(pickle).unwrap_err().to_string()
    }

    /// As tests/golden/npz_boxes.py writes them.
    #[test]
    fn the_protocols_of_numpy_are_read() {
        for name in ["later-3.pickle", "later-5.pickle"] {
            let pickle = made(name);
            let found = dictionaries(&pickle).unwrap();
            assert_eq!(found.len(), 2, "{name}");
            assert_eq!((&found[0], found[0][3], found[0][4]), (&found[1], ("z_mid_x_min", 1.5), ("z_mid_y_min", -1.0)));
        }
        assert!(refused(&made("later-2.pickle")).contains("pickle protocol 2"));
    }

    #[test]
    fn pickles_that_are_cut_are_refused() {
        for name in ["later-3.pickle", "later-5.pickle"] {
            let whole = made(name);
            for cut in 0..whole.len() {
                assert!(refused(&whole[..cut]).contains("which is cut"), "{name} of {cut} bytes");
            }
        }
    }

    #[test]
    fn hostile_pickles_are_refused() {
        // Calls of anything else, by either opcode.
        assert!(refused(b"\x80\x04cos\nsystem\n\x8c\x02id\x85R.").contains("os.system, which is not called"));
        assert!(refused(b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.").contains("builtins.eval, which is not called"));
        assert!(refused(b"\x80\x04cnumpy\nload\n.").contains("numpy.load, which is not called"));
        // numpy's own with what they are never given.
        let reconstruct = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n";
        assert!(refused(&[&reconstruct[..], b"\x8c\x01xN\x86R."].concat()).contains("a call that numpy does not make"));
        assert!(refused(b"\x80\x04cnumpy\nndarray\nK\xff\x85R.").contains("a call that numpy does not make"));
        assert!(refused(b"\x80\x04}K\x01b.").contains("a state that numpy does not write"));
        // Opcodes that make objects of classes, or persistent ones.
        for opcode in [b'i', b'o', b'P', b'Q', 0x81, 0x82, 0x92, b'2', b'0', b'V', b'S'] {
            assert!(refused(&[0x80, 4, opcode]).contains("opcode"), "{opcode:#04x}");
        }
        // Lengths and places beyond all.
        for text in [&b"X\xff\xff\xff\xff"[..], b"B\xff\xff\xff\x7f", b"\x8c\xff", b"C\xff", b"\x95\xff"] {
            assert!(refused(&[&b"\x80\x04"[..], text].concat()).contains("which is cut"));
        }
        assert!(refused(b"\x80\x04\x8a\xff").contains("a number of 255 bytes"));
        assert!(refused(b"\x80\x04j\xff\xff\xff\xff.").contains("no value 4294967295"));
        // Operands below the bottom of the stack, or below a mark.
        for code in [&b"."[..], b"a", b"e", b"t", b"\x87", b"R", b"b", b"\x94", b"]K\x01(a", b"K\x01(."] {
            assert!(refused(&[&b"\x80\x04"[..], code].concat()).contains("without its"), "{code:?}");
        }
        assert!(refused(b"\x80\x04]]a.").contains("no array"));
    }

    /// The same list of the same lists, and so on: 2^40 items to whom counts them.
    #[test]
    fn shared_and_cyclic_values_take_no_memory() {
        let start = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nN\x86R(K\x01)cnumpy\ndtype\n\x8c\x02O8N\x86RN";
        let laughs: Vec<u8> = (0..40u8).flat_map(|i| [b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e']).collect();
        let bomb = [&start[..], b"]q\0", &laughs, b"tb."].concat();
        assert!(refused(&bomb).contains("a state that numpy does not write"), "more than five in the state");
        let nested = [&start[..], b"]q\0(h\0h\0etb."].concat();
        assert!(refused(&nested).contains("no dictionary of names and numbers"), "a list of itself");
        // One dictionary of 60 entries, 2000 times.
        let entries: Vec<u8> = b"\x8c\x01aK\x01".repeat(60);
        let shared = [&start[..], b"](}(", &entries, b"uq\0", &b"h\0".repeat(2000), b"etb."].concat();
        assert!(refused(&shared).contains("too many shared items"));
    }
}
