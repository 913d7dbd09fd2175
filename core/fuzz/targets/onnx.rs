//! Graphs, as a bundle could hold them: read without tract, and built.
#![no_main]

use libfuzzer_sys::fuzz_target;
use umedsam::runtime::{Graph, GraphOptions};

fuzz_target!(|bytes: &[u8]| {
    // Half of the time with a shape that the caller fixes.
    let shape = [1, 3, 256, 256];
    let fixed = [(0, &shape[..])];
    let shapes = if bytes.len() % 2 == 0 { &fixed[..] } else { &[] };
    let _ = Graph::load("graph", bytes, shapes, &GraphOptions::default());
});
