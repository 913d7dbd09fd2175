//! `encode PRECISION TIMES` encodes a picture of noise with the built-in model, one thread, so many times. `tests/cross.sh
//! count-aarch64` counts the instructions of an encode with it: those of two less those of one.

use std::error::Error;

use umedsam::{ImageView, Model, SessionOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("arguments: PRECISION TIMES");
    let (precision, times) = (next()?.parse()?, next()?.parse()?);
    let mut session = Model::bundled()?.session(&SessionOptions::new().with_precision(precision).with_threads(1))?;
    // Another picture each time, which no cache has.
    for seed in 0..times {
        let mut state: u32 = seed;
        let noise = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels: Vec<u8> = (0..256 * 256).map(noise).collect();
        let embedding = session.encode(&ImageView::gray8(&pixels, 256, 256)?)?;
        assert!(embedding.values().iter().all(|v| v.is_finite()));
    }
    Ok(())
}
