//! The recording that the firmware example carries in place of its accelerator is what the built-in model answers.
//!
//! `UMEDSAM_RECORD_FIRMWARE=1 cargo test --release -p umedsam-tests --test firmware` writes it anew, as it must be wherever the
//! pictures, the boxes or the way of a box through a volume have changed.

#![allow(unreachable_pub, reason = "public where they are part of the firmware")]

extern crate alloc;

#[path = "../../core/examples/firmware/src/work/mod.rs"]
mod work;

use std::env::var_os;
use std::fs;

use miniz_oxide::deflate::compress_to_vec;
use umedsam::metrics::dice;
use umedsam::postprocess::LOGITS_LEN;
use umedsam::preprocess::INPUT_LEN;
use umedsam::{Frame, Model, ModelBox, Session, SessionOptions};
use work::recording::{Recording, entry};
use work::{Device, Network, Problem};

static RECORDING: &[u8] = include_bytes!("../../core/examples/firmware/recording.bin");

/// The built-in model, and what it answered so far.
struct Recorder {
    session: Session,
    entries: Vec<u8>,
    areas: Vec<usize>,
}

impl Network for Recorder {
    fn logits(&mut self, input: &[f32], digest: u64, prompt: ModelBox, logits: &mut [f32]) -> Result<(), Problem> {
        let answer = answer(&mut self.session, input, prompt);
        let (entry, as_read) = entry(digest, prompt, &answer, |bytes| compress_to_vec(bytes, 10));
        self.entries.extend(entry);
        self.areas.push(area(&as_read));
        assert_eq!(area(&as_read), area(&answer));
        logits.copy_from_slice(&as_read);
        Ok(())
    }
}

/// The recording beside the built-in model, which is asked the same.
struct Comparison<'a> {
    session: Session,
    recording: Recording<'a>,
    count: usize,
}

impl Network for Comparison<'_> {
    fn logits(&mut self, input: &[f32], digest: u64, prompt: ModelBox, logits: &mut [f32]) -> Result<(), Problem> {
        self.recording.logits(input, digest, prompt, logits)?;
        let answer = answer(&mut self.session, input, prompt);
        let both = answer.iter().zip(logits.iter()).filter(|(a, b)| **a > 0.0 && **b > 0.0).count();
        let agreement = dice(both, area(&answer), area(logits)).unwrap();
        // In 8 bits, and other machines round otherwise.
        assert!(agreement >= 0.98, "entry {}: DSC {agreement}", self.count);
        self.count += 1;
        Ok(())
    }
}

fn area(logits: &[f32]) -> usize {
    logits.iter().filter(|v| **v > 0.0).count()
}

fn answer(session: &mut Session, input: &[f32], prompt: ModelBox) -> Vec<f32> {
    // Its frame decides nothing on the model's grid.
    let embedding = session.encode_input(input, Frame::new(256, 256).unwrap()).unwrap();
    let mut logits = Vec::new();
    session.decode(&embedding, &[prompt], |_, found, _| logits = found.values().to_vec()).unwrap();
    assert_eq!((input.len(), logits.len()), (INPUT_LEN, LOGITS_LEN));
    logits
}

#[test]
fn the_recording_is_what_the_built_in_model_answers() {
    let session = Model::bundled().unwrap().session(&SessionOptions::new().with_threads(2)).unwrap();
    let mut device = Device::new();
    let mut lines = Vec::new();
    let mut tell = |line: std::fmt::Arguments<'_>| lines.push(line.to_string());
    if var_os("UMEDSAM_RECORD_FIRMWARE").is_some() {
        let mut recorder = Recorder { session, entries: Vec::new(), areas: Vec::new() };
        device.round(&mut recorder, &mut tell).unwrap();
        println!("{}\n{} bytes, areas on the grid {:?}", lines.join("\n"), recorder.entries.len(), recorder.areas);
        fs::write("../core/examples/firmware/recording.bin", recorder.entries).unwrap();
        return;
    }
    let mut comparison = Comparison { session, recording: Recording::new(RECORDING), count: 0 };
    device.round(&mut comparison, &mut tell).unwrap();
    assert!(comparison.recording.is_finished() && comparison.count > 10);
}
