//! `encode PRECISION` encodes a picture of noise with the built-in model on one thread, and writes a line to its standard
//! error before and after. `tests/cross.sh count-aarch64` counts the instructions between them.

use std::error::Error;

use umedsam::{ImageView, Model, SessionOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let precision = std::env::args().nth(1).ok_or("argument: f32, f16, bf16 or int8")?.parse()?;
    let mut session = Model::bundled()?.session(&SessionOptions::new().with_precision(precision).with_threads(1))?;
    let mut state: u32 = 1;
    let noise = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let pixels: Vec<u8> = (0..256 * 256).map(noise).collect();
    let image = ImageView::gray8(&pixels, 256, 256)?;
    eprintln!("begins");
    let embedding = session.encode(&image)?;
    eprintln!("ended");
    if !embedding.values().iter().all(|v| v.is_finite()) {
        return Err("the embedding is not finite".into());
    }
    Ok(())
}
