//! The masks and labels that the Rust API gives for the picture and the volume with which `test.sh` tests the C
//! programs beside this file.
//!
//! `capi-reference FOLDER` reads `picture.raw` and `volume.raw` there, with sizes and boxes in `.txt` files beside them,
//! and writes `expected-1.pgm` and so on, and `expected.labels`.

use std::error::Error;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use umedsam::{ImageView, Model, PixelBox, SessionOptions, VolumeOptions, VolumeSize, VoxelBox, volume};

struct Input {
    bytes: Vec<u8>,
    sizes: [usize; 3],
    /// The numbers of the boxes.
    boxes: Vec<f64>,
}

fn read(path: &Path) -> Result<Input, Box<dyn Error>> {
    let text = fs::read_to_string(path.with_extension("txt"))?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let (sizes, boxes) = numbers.split_first_chunk::<3>().ok_or("no sizes")?;
    Ok(Input { bytes: fs::read(path)?, sizes: sizes.map(|s| s as usize), boxes: boxes.to_vec() })
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args_os().nth(1).ok_or("argument: FOLDER")?);
    let mut session = Model::bundled()?.session(&SessionOptions::new())?;

    let Input { bytes, sizes: [width, height, channels], boxes } = read(&folder.join("picture.raw"))?;
    let view = if channels == 1 { ImageView::gray8 } else { ImageView::rgb8 };
    let embedding = session.encode(&view(&bytes, width, height)?)?;
    let boxes: Vec<PixelBox> =
        boxes.as_chunks().0.iter().map(|&[x0, y0, x1, y1]| PixelBox::new(x0, y0, x1, y1)).collect();
    for (i, found) in session.segment(&embedding, &boxes)?.iter().enumerate() {
        let mut picture = format!("P5\n{width} {height}\n255\n").into_bytes();
        picture.extend(found.mask().iter().map(|&m| 255 * m));
        fs::write(folder.join(format!("expected-{}.pgm", i + 1)), picture)?;
    }

    let Input { bytes, sizes: [depth, height, width], boxes } = read(&folder.join("volume.raw"))?;
    let boxes: Vec<VoxelBox> =
        boxes.as_chunks().0.iter().map(|&[x0, y0, z0, x1, y1, z1]| VoxelBox::new(x0, y0, z0, x1, y1, z1)).collect();
    let slices = volume::from_fn(|z| ImageView::gray8(&bytes[z * height * width..], width, height));
    let size = VolumeSize { depth, height, width };
    let go_on = |_, _| ControlFlow::Continue(());
    let found = session.segment_volume(slices, size, &boxes, &VolumeOptions::new(), go_on)?;
    let labels: Vec<u8> = found.labels.iter().flat_map(|l| l.to_ne_bytes()).collect();
    Ok(fs::write(folder.join("expected.labels"), labels)?)
}
