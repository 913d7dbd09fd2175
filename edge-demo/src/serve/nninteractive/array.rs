//! Arrays of numbers as nnInteractive's clients send them.

use umedsam::intensity::Values;
use umedsam::memory;

use super::super::refusal::Refusal;
use super::blosc;

const MAGIC: &[u8] = b"NNIA";

/// Most bytes of a chunk.
const CHUNK: usize = 1 << 30;

/// The head of an array, whose chunks are not yet unpacked.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    pub(super) shape: Vec<usize>,
    kind: Kind,
    chunks: &'a [u8],
    count: u32,
    /// Bytes of all values.
    pub(super) bytes: usize,
}

/// A number type by numpy's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    name: &'static str,
    size: usize,
}

const KINDS: [Kind; 11] = [
    Kind { name: "bool", size: 1 },
    Kind { name: "uint8", size: 1 },
    Kind { name: "int8", size: 1 },
    Kind { name: "uint16", size: 2 },
    Kind { name: "int16", size: 2 },
    Kind { name: "uint32", size: 4 },
    Kind { name: "int32", size: 4 },
    Kind { name: "uint64", size: 8 },
    Kind { name: "int64", size: 8 },
    Kind { name: "float32", size: 4 },
    Kind { name: "float64", size: 8 },
];

impl Kind {
    pub(super) fn named(name: &str) -> Result<Self, Refusal> {
        KINDS.into_iter().find(|kind| kind.name == name).ok_or_else(|| {
            let name: String = name.chars().take(40).collect();
            Refusal::bad(format!("dtype is {name:?}; bool, integers of 8 to 64 bits, float32 and float64 are taken"))
        })
    }

    pub(super) const fn name(self) -> &'static str {
        self.name
    }

    pub(super) fn is_float(self) -> bool {
        self.name.starts_with("float")
    }
}

/// The first so many bytes of what is left.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refusal> {
    let (first, rest) = bytes.split_at_checked(count).ok_or_else(|| Refusal::bad("the array ends early"))?;
    *bytes = rest;
    Ok(first)
}

fn number(bytes: &mut &[u8]) -> Result<u64, Refusal> {
    let mut eight = [0; 8];
    eight.copy_from_slice(take(bytes, 8)?);
    Ok(u64::from_le_bytes(eight))
}

impl<'a> Packed<'a> {
    /// Reads the head of an array.
    pub(super) fn new(mut bytes: &'a [u8]) -> Result<Self, Refusal> {
        let head = take(&mut bytes, 8)?;
        if !head.starts_with(MAGIC) || head[4] != 1 {
            return Err(Refusal::bad("no array of nnInteractive's protocol, version 1"));
        }
        if head[5] != 1 {
            return Err(Refusal::bad(format!("codec is {}; 1 (zstd) is taken", head[5])));
        }
        let (dimensions, name) = (usize::from(head[6]), usize::from(head[7]));
        let name = String::from_utf8_lossy(take(&mut bytes, name)?);
        let kind = Kind::named(&name)?;
        let shape = (0..dimensions).map(|_| Ok(usize::try_from(number(&mut bytes)?).unwrap_or(usize::MAX)));
        let shape: Vec<usize> = shape.collect::<Result<_, Refusal>>()?;
        let size = shape.iter().try_fold(kind.size, |size, &side| size.checked_mul(side));
        let size = size.filter(|&size| size <= isize::MAX as usize);
        let size = size.ok_or_else(|| Refusal::bad(format!("shape {shape:?} is beyond all memory")))?;
        let mut count = [0; 4];
        count.copy_from_slice(take(&mut bytes, 4)?);
        Ok(Self { shape, kind, chunks: bytes, count: u32::from_le_bytes(count), bytes: size })
    }

    /// All values, little endian.
    fn unpack(&self) -> Result<Vec<u8>, Refusal> {
        let mut all = memory::filled(self.bytes, 0u8)?;
        let mut room = &mut all[..];
        let mut rest = self.chunks;
        for _ in 0..self.count {
            let (plain, packed) = (number(&mut rest)?, number(&mut rest)?);
            let plain = usize::try_from(plain).unwrap_or(usize::MAX);
            let chunk = take(&mut rest, usize::try_from(packed).unwrap_or(usize::MAX))?;
            if plain > CHUNK || plain > room.len() {
                return Err(Refusal::bad("chunks hold more than the shape"));
            }
            let (part, left) = room.split_at_mut(plain);
            blosc::decode(chunk, part).map_err(|error| Refusal::bad(error.to_string()))?;
            room = left;
        }
        match room.len() {
            0 => Ok(all),
            left => Err(Refusal::bad(format!("chunks hold {left} bytes less than the shape"))),
        }
    }

    /// The values in their type.
    pub(super) fn values(&self) -> Result<Values, Refusal> {
        let bytes = self.unpack()?;
        macro_rules! of {
            ($kind:ident, $type:ty) => {{
                const SIZE: usize = size_of::<$type>();
                let mut values = memory::with_room(bytes.len() / SIZE)?;
                values.extend(bytes.as_chunks::<SIZE>().0.iter().map(|&b| <$type>::from_le_bytes(b)));
                Values::$kind(values)
            }};
        }
        Ok(match self.kind.name {
            "int8" => of!(I8, i8),
            "uint16" => of!(U16, u16),
            "int16" => of!(I16, i16),
            "uint32" => of!(U32, u32),
            "int32" => of!(I32, i32),
            "uint64" => of!(U64, u64),
            "int64" => of!(I64, i64),
            "float32" => of!(F32, f32),
            "float64" => of!(F64, f64),
            _ => Values::U8(bytes),
        })
    }
}

/// A mask of 0 and 1 in a number type, with its shape.
pub(super) fn pack(mask: &[u8], shape: [usize; 3], kind: Kind) -> Vec<u8> {
    let mut out = Vec::with_capacity(mask.len() * kind.size + 128);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[1, 1, 3, kind.name.len() as u8]);
    out.extend_from_slice(kind.name.as_bytes());
    shape.iter().for_each(|&side| out.extend_from_slice(&(side as u64).to_le_bytes()));
    let parts = mask.chunks(CHUNK / kind.size);
    out.extend_from_slice(&(parts.len() as u32).to_le_bytes());
    let mut bytes = Vec::new();
    for part in parts {
        bytes.clear();
        bytes.resize(part.len() * kind.size, 0);
        bytes.iter_mut().step_by(kind.size).zip(part).for_each(|(byte, v)| *byte = *v);
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(&((bytes.len() + 32) as u64).to_le_bytes());
        blosc::store(&bytes, kind.size as u8, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arrays that python-blosc2 packed: see `tests/golden/nninteractive.py`.
    const PACKED: &[u8] = include_bytes!("../../../tests/data/nninteractive.bin");

    fn samples() -> Vec<&'static [u8]> {
        let (mut rest, mut found) = (PACKED, Vec::new());
        while !rest.is_empty() {
            let length = number(&mut rest).unwrap() as usize;
            found.push(take(&mut rest, length).unwrap());
        }
        found
    }

    /// What the script filled them with.
    fn expected(i: usize) -> i64 {
        ((i as i64 * 2_654_435_761) >> 7) % 900 - 300
    }

    #[test]
    fn arrays_of_the_reference_are_read() {
        let samples = samples();
        assert_eq!(samples.len(), 15);
        for (sample, array) in samples.iter().enumerate() {
            let array = Packed::new(array).unwrap();
            let values = array.values().unwrap().to_f64();
            assert_eq!(values.len(), array.shape.iter().product::<usize>());
            for (i, &value) in values.iter().enumerate() {
                let wanted = match (sample % 5, array.kind.name) {
                    (4, _) => 0.0,
                    (3, _) => 7.0,
                    (_, "uint8") => (expected(i) & 255) as f64,
                    _ => expected(i / 50) as f64,
                };
                assert!((value - wanted).abs() < 1e-3, "sample {sample} at {i}: {value}, {wanted} expected");
            }
        }
    }

    #[test]
    fn masks_come_back() {
        let mask = [0, 1, 1, 0, 1, 0];
        for kind in KINDS {
            let packed = pack(&mask, [1, 2, 3], kind);
            let array = Packed::new(&packed).unwrap();
            assert_eq!(array.shape, [1, 2, 3]);
            let values = array.values().unwrap();
            // Whatever the type, the lowest byte is 1: floats are no masks, and targets of them are refused.
            if !kind.is_float() {
                assert_eq!(values.to_f64(), mask.map(f64::from));
            }
        }
    }

    #[test]
    fn damage_is_told_and_takes_no_memory() {
        for sample in samples() {
            let whole = sample.len();
            for cut in [0, 3, 7, 8, 20, whole / 2, whole - 1] {
                let read = Packed::new(&sample[..cut]).and_then(|array| array.values());
                assert!(read.is_err(), "cut at {cut} of {whole}");
            }
            // Each byte of the heads in turn, and some of the rest: no panic, whatever comes out.
            for at in (0..whole.min(200)).chain((200..whole).step_by(97)) {
                for flip in [0x01, 0x80, 0xff] {
                    let mut bytes = sample.to_vec();
                    bytes[at] ^= flip;
                    if let Ok(array) = Packed::new(&bytes)
                        && array.bytes < 1 << 24
                    {
                        let _ = array.values();
                    }
                }
            }
        }
    }
}
