//! Pickles written by hand. Those of PyTorch itself are in `tests/checkpoint.rs`.

use super::super::machine::{MAX_GLOBAL, MAX_VALUES};
use super::*;

fn error(pickle: impl AsRef<[u8]>) -> PickleError {
    state_dict(pickle.as_ref()).expect_err("the pickle is refused")
}

fn concat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// `X`: a string.
fn text(s: &str) -> Vec<u8> {
    [b"X", &(s.len() as u32).to_le_bytes()[..], s.as_bytes()].concat()
}

/// A tensor of 4 f32 in storage 7, with the size, the stride and the offset given as pickle code.
fn tensor(offset: &[u8], size: &[u8], stride: &[u8]) -> Vec<u8> {
    let storage = concat(&[b"(", &text("storage"), b"ctorch\nFloatStorage\n", &text("7"), &text("cpu"), b"K\x04tQ"]);
    concat(&[b"ctorch._utils\n_rebuild_tensor_v2\n(", &storage, offset, size, stride, b"\x89N", b"tR"])
}

/// A dict of one entry.
fn dict(key: &[u8], value: &[u8]) -> Vec<u8> {
    concat(&[b"\x80\x02}", key, value, b"s."])
}

#[test]
fn a_dict_of_one_tensor() {
    let pickle = dict(&text("w"), &tensor(b"K\x01", b"K\x03\x85", b"K\x01\x85"));
    let storage = StorageRef { key: "7", dtype: DType::F32, elements: 4 };
    let expected = TensorRef { storage, offset: 1, shape: vec![3], strides: vec![1] };
    assert_eq!(state_dict(&pickle), Ok(vec![("w", expected)]));
}

#[test]
fn integers_of_every_width() {
    for (code, value) in [
        (&b"K\xff"[..], Some(255)),
        (b"M\x00\x01", Some(256)),
        (b"J\x00\x00\x01\x00", Some(65536)),
        (b"\x8a\x05\x00\x00\x00\x80\x00", Some(1 << 31)),
        (b"\x8a\x00", Some(0)),
        (b"J\xff\xff\xff\xff", None),
        (b"\x8a\x01\xff", None),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\xff", None),
        (b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01", None),
        (b"N", None),
    ] {
        let pickle = dict(&text("w"), &tensor(code, b")", b")"));
        let offset = state_dict(&pickle).ok().map(|tensors| tensors[0].1.offset);
        assert_eq!(offset, value, "{code:x?}");
    }
}

#[test]
fn globals_are_refused_by_name() {
    for name in ["posix\nsystem", "builtins\neval", "torch\nload", "torch._utils\n_rebuild_qtensor", "numpy\ndtype"] {
        let e = error(concat(&[b"\x80\x02c", name.as_bytes(), b"\n)R."]));
        assert_eq!(e, PickleError::Global { name: name.replace('\n', "."), offset: 2 });
    }
}

#[test]
fn opcodes_outside_the_subset_are_refused() {
    // INST, OBJ, EXT1, STACK_GLOBAL, NEWOBJ, old-style ids and strings, POP, DUP.
    for opcode in *b"io\x82\x93\x81PISU02" {
        assert_eq!(error([0x80, 2, opcode]), PickleError::Opcode { opcode, offset: 2 });
    }
    assert_eq!(error(b"\x80\x04N."), PickleError::Protocol { version: 4 });
}

#[test]
fn operands_must_fit() {
    for pickle in [
        &b"\x80\x02."[..],   // nothing to return
        b"\x80\x02NN.",      // two values
        b"\x80\x02}.N",      // bytes after the end
        b"\x80\x02(}.",      // an open mark
        b"\x80\x02N(\x85t.", // a value from below the mark
        b"\x80\x02t.",       // no mark
        b"\x80\x02NNNs.",    // items of no dict
        b"\x80\x02}(Nu.",    // a key without a value
        b"\x80\x02}Na.",     // an item of no list
        b"\x80\x02NNb.",     // a state of no dict
        b"\x80\x02h\x00.",   // an empty memo slot
        b"\x80\x02q\x00.",   // nothing to remember
        b"\x80\x02N)R.",     // a call of nothing
        b"\x80\x02NQ.",      // a persistent id that is no tuple
        b"\x80\x02ccollections\nOrderedDict\nN\x85R.",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02X\x01\x00\x00\x00\xff.",
    ] {
        assert!(matches!(error(pickle), PickleError::Malformed { .. }), "{pickle:x?}");
    }
    for pickle in [&b""[..], b"\x80", b"\x80\x02}", b"\x80\x02X\xff\xff\xff\xff", b"\x80\x02ctorch\nFl"] {
        assert!(matches!(error(pickle), PickleError::Truncated { .. }), "{pickle:x?}");
    }
}

#[test]
fn only_dicts_of_tensors_are_state_dicts() {
    let scalar = tensor(b"K\x00", b")", b")");
    let twice = concat(&[b"\x80\x02}(", &text("a"), &scalar, &text("a"), &scalar, b"u."]);
    for (pickle, key) in [
        (b"\x80\x02N.".to_vec(), ""),
        (dict(b"K\x01", &scalar), ""),
        (dict(&text("epoch"), b"K\x01"), "epoch"),
        (dict(&text("encoder"), b"}"), "encoder"),
        (twice, "a"),
    ] {
        let e = error(pickle);
        assert!(matches!(&e, PickleError::NotAStateDict { key: k, .. } if k == key), "{e}");
    }
    let inner = concat(&[b"}", &text("w"), &scalar, b"s"]);
    assert_eq!(state_dict(&dict(&text("model"), &inner)).unwrap()[0].0, "w");
}

#[test]
fn nesting_and_sharing_cost_nothing() {
    // A tuple of itself twice, 1000 times over: 2^1000 leaves for a reader that copies or recurses.
    let mut pickle = b"\x80\x02}N".to_vec();
    for _ in 0..1000 {
        pickle.extend(b"q\x00h\x00\x86");
    }
    pickle.extend(b"Ns.");
    assert!(matches!(error(&pickle), PickleError::NotAStateDict { .. }));
    // A list that holds itself, and a dict that does.
    assert!(matches!(error(b"\x80\x02]q\x00h\x00a."), PickleError::NotAStateDict { .. }));
    assert!(matches!(error(b"\x80\x02}q\x00Nh\x00s."), PickleError::NotAStateDict { .. }));
}

#[test]
fn memory_is_bounded() {
    let deep = |opcode: &[u8]| error(concat(&[b"\x80\x02}q\x00", &opcode.repeat(MAX_VALUES + 1), b"."]));
    for (opcode, what) in
        [(&b"N"[..], "values"), (b"(", "marks"), (b"h\x00", "values on the stack"), (b"\x85", "values")]
    {
        let e = deep(opcode);
        assert!(matches!(e, PickleError::Limit { what: w, limit: MAX_VALUES, .. } if w == what), "{e}");
    }
    let slots: Vec<u8> = (0..=MAX_VALUES as u32).flat_map(|i| [&b"r"[..], &i.to_le_bytes()].concat()).collect();
    assert!(matches!(error(concat(&[b"\x80\x02}", &slots, b"."])), PickleError::Limit { what: "memo slots", .. }));
    let long = "x".repeat(MAX_GLOBAL + 1);
    assert!(matches!(error(format!("c{long}\n")), PickleError::Malformed { .. }));
    let rank = concat(&[b"(", &b"K\x01".repeat(MAX_RANK + 1), b"t"]);
    assert!(matches!(error(dict(&text("w"), &tensor(b"K\x00", &rank, &rank))), PickleError::Malformed { .. }));
}
