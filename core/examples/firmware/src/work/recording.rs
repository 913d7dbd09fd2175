//! A recording of what the network answered, in place of an accelerator.
//!
//! Entries in the order in which they were asked for. Each is the digest of the network's input (8 bytes), the box on the
//! model's grid (4 `f32`), the size of what follows (4 bytes), and the logits in sixteenths, a byte each, as differences
//! from their left and upper neighbours, deflated. All numbers are little-endian.

use alloc::boxed::Box;
use alloc::vec::Vec;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};
use umedsam::postprocess::LOGITS_LEN;
use umedsam::{MODEL_SIDE, ModelBox};

use super::{Network, Problem};

/// Steps of a logit of 1.
pub const STEPS: f32 = 16.0;

/// Bytes of an entry before its logits.
const HEAD: usize = 28;

/// Answers from a recording.
pub struct Recording<'a> {
    entries: &'a [u8],
    next: usize,
    inflater: Box<DecompressorOxide>,
    bytes: Vec<u8>,
}

impl<'a> Recording<'a> {
    pub fn new(entries: &'a [u8]) -> Self {
        Self { entries, next: 0, inflater: Box::default(), bytes: alloc::vec![0; LOGITS_LEN] }
    }

    /// Whether the last entry was the last of all; the next is the first again.
    pub fn is_finished(&self) -> bool {
        self.next == self.entries.len()
    }
}

impl Network for Recording<'_> {
    fn logits(&mut self, _: &[f32], digest: u64, prompt: ModelBox, logits: &mut [f32]) -> Result<(), Problem> {
        if self.is_finished() {
            self.next = 0;
        }
        let rest = &self.entries[self.next..];
        let (head, rest) = rest.split_at_checked(HEAD).ok_or(Problem::Recording("it is too short"))?;
        let mut numbers = head.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let mut number = || numbers.next().unwrap_or(0);
        if u64::from(number()) | u64::from(number()) << 32 != digest {
            return Err(Problem::Recording("the network saw another input"));
        }
        if prompt.to_array().map(f32::to_bits) != core::array::from_fn(|_| number()) {
            return Err(Problem::Recording("the network was asked for another box"));
        }
        let packed = rest.get(..number() as usize).ok_or(Problem::Recording("it is too short"))?;
        self.next += HEAD + packed.len();
        self.inflater.init();
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let (status, _, written) = decompress(&mut self.inflater, packed, &mut self.bytes, 0, flags);
        if status != TINFLStatus::Done || written != LOGITS_LEN {
            return Err(Problem::Recording("it is damaged"));
        }
        for (i, logit) in logits.iter_mut().enumerate() {
            self.bytes[i] = self.bytes[i].wrapping_add(predicted(&self.bytes, i));
            *logit = f32::from(self.bytes[i] as i8) / STEPS;
        }
        Ok(())
    }
}

/// What a value is expected to be by those before it, if they lie in a plane.
fn predicted(bytes: &[u8], i: usize) -> u8 {
    let at = |back: usize| if back <= i { bytes[i - back] } else { 0 };
    at(1).wrapping_add(at(MODEL_SIDE)).wrapping_sub(at(MODEL_SIDE + 1))
}

/// The entry of an answer, and the logits as they will be read.
#[cfg(not(target_os = "none"))]
#[allow(dead_code, reason = "the program itself records nothing")]
pub fn entry(
    digest: u64,
    prompt: ModelBox,
    logits: &[f32],
    deflate: impl FnOnce(&[u8]) -> Vec<u8>,
) -> (Vec<u8>, Vec<f32>) {
    // Upwards, so that what is above 0 stays above 0, and nothing else.
    let steps: Vec<u8> = logits.iter().map(|v| (v * STEPS).ceil().clamp(-127.0, 127.0) as i8 as u8).collect();
    let differences: Vec<u8> = (0..steps.len()).map(|i| steps[i].wrapping_sub(predicted(&steps, i))).collect();
    let packed = deflate(&differences);
    let mut entry = digest.to_le_bytes().to_vec();
    entry.extend(prompt.to_array().iter().flat_map(|v| v.to_le_bytes()));
    entry.extend((packed.len() as u32).to_le_bytes());
    entry.extend(packed);
    (entry, steps.iter().map(|&v| f32::from(v as i8) / STEPS).collect())
}
