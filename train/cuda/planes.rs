//! Tensors in few bytes: a safetensors file whose values lie byte by byte, the first bytes of all before the second
//! ones, deflated. Signs and exponents repeat, mantissas don't: 32 bits of a weight become 27, 16 become 14.

use std::io::{Read, Write};

use anyhow::{Context, ensure};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use safetensors::SafeTensors;

const MAGIC: &[u8; 8] = b"UMPLANE1";

/// Most bytes of the file within.
const MOST: u64 = 1 << 30;

/// Squeezes a safetensors file.
pub(crate) fn squeeze(file: &[u8]) -> anyhow::Result<Vec<u8>> {
    let order = Order::of(file)?;
    let mut squeezed = MAGIC.to_vec();
    squeezed.extend((file.len() as u64).to_le_bytes());
    let mut encoder = ZlibEncoder::new(squeezed, Compression::default());
    let mut lying = vec![0; file.len()];
    order.walk(|to, from| lying[to] = file[from]);
    encoder.write_all(&lying)?;
    Ok(encoder.finish()?)
}

/// The safetensors file that was squeezed.
pub(crate) fn unsqueeze(squeezed: &[u8]) -> anyhow::Result<Vec<u8>> {
    let rest = squeezed.strip_prefix(MAGIC).context("no squeezed tensors")?;
    let (length, rest) = rest.split_first_chunk::<8>().context("truncated")?;
    let length = u64::from_le_bytes(*length);
    ensure!(length <= MOST, "{length} bytes within; at most {MOST} are read");
    let mut lying = Vec::new();
    ZlibDecoder::new(rest).take(length + 1).read_to_end(&mut lying)?;
    ensure!(lying.len() as u64 == length, "{} bytes within, not {length}", lying.len());
    let order = Order::of(&lying)?;
    let mut file = vec![0; lying.len()];
    order.walk(|from, to| file[to] = lying[from]);
    // Every view is within the file now.
    SafeTensors::deserialize(&file).context("tensors within")?;
    Ok(file)
}

/// Where the values of a safetensors file lie: its header alone says.
struct Order {
    header: usize,
    /// Start, end, and bytes of a value of each tensor, in the order of their starts, without gaps.
    tensors: Vec<[usize; 3]>,
}

impl Order {
    fn of(file: &[u8]) -> anyhow::Result<Self> {
        let (length, metadata) = SafeTensors::read_metadata(file).context("no safetensors file")?;
        let header = 8 + length;
        let mut tensors = Vec::new();
        for info in metadata.tensors().values() {
            let (start, end) = info.data_offsets;
            let width = (info.dtype.bitsize() / 8).max(1);
            ensure!(start <= end && (end - start) % width == 0, "a tensor from {start} to {end}");
            tensors.push([header + start, header + end, width]);
        }
        tensors.sort_unstable();
        let mut at = header;
        for [start, end, _] in &tensors {
            ensure!(*start == at, "a gap or an overlap at byte {at}");
            at = *end;
        }
        ensure!(at == file.len(), "{} bytes, {at} expected", file.len());
        Ok(Self { header, tensors })
    }

    /// Tells of each byte where it lies among the planes, and where in the file.
    fn walk(&self, mut tell: impl FnMut(usize, usize)) {
        (0..self.header).for_each(|i| tell(i, i));
        let mut at = self.header;
        for plane in 0..8 {
            for &[start, end, width] in self.tensors.iter().filter(|[_, _, width]| plane < *width) {
                for from in (start + plane..end).step_by(width) {
                    tell(at, from);
                    at += 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;

    fn file() -> Vec<u8> {
        let weights: Vec<u8> = (0..4096).flat_map(|i| ((i as f32).sin() * 0.1).to_le_bytes()).collect();
        let halves: Vec<u8> = (0..100u16).flat_map(|i| (0x3c00 + i % 7).to_le_bytes()).collect();
        let views = [
            ("weights", TensorView::new(Dtype::F32, vec![64, 64], &weights).unwrap()),
            ("halves", TensorView::new(Dtype::F16, vec![100], &halves).unwrap()),
            ("nothing", TensorView::new(Dtype::F32, vec![0], &[]).unwrap()),
        ];
        safetensors::serialize(views, Some(HashMap::from([("umedsam".into(), "text".into())]))).unwrap()
    }

    #[test]
    fn a_file_comes_back_to_the_byte_from_less() {
        let file = file();
        let squeezed = squeeze(&file).unwrap();
        assert!(squeezed.len() < file.len() * 29 / 32, "{} of {}", squeezed.len(), file.len());
        assert_eq!(unsqueeze(&squeezed).unwrap(), file);
    }

    #[test]
    fn what_is_damaged_is_an_error() {
        let squeezed = squeeze(&file()).unwrap();
        for length in [0, 7, 15, 16, 40, squeezed.len() / 2, squeezed.len() - 1] {
            assert!(unsqueeze(&squeezed[..length]).is_err(), "{length}");
        }
        let mut greedy = squeezed.clone();
        greedy[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(unsqueeze(&greedy).unwrap_err().to_string().contains("at most"));
        assert!(squeeze(b"no file").is_err());
    }
}
