//! What every runtime is given, in files: graphs, network inputs and boxes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use image::{DynamicImage, imageops};
use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::runtime::inline_functions;
use umedsam::{Frame, ImageView, Model, ModelBox, PixelBox, hex_digest};
use umedsam_benches::python;

/// A picture of the repository and boxes in it.
pub(crate) struct Picture {
    bytes: &'static [u8],
    boxes: &'static [PixelBox],
}

/// The demo's two samples. Its own boxes come first; the others are a loose box, parts, and things that nobody would ask
/// for, where a mask depends most on rounding.
pub(crate) const PICTURES: [Picture; 2] = [
    Picture {
        bytes: include_bytes!("../../../../edge-demo/assets/retina.jpg"),
        boxes: &[
            PixelBox::new(118.0, 538.0, 322.0, 766.0),
            PixelBox::new(560.0, 570.0, 860.0, 840.0),
            PixelBox::new(80.0, 490.0, 370.0, 810.0),
            PixelBox::new(205.0, 570.0, 312.0, 740.0),
            PixelBox::new(620.0, 620.0, 790.0, 780.0),
            PixelBox::new(10.0, 8.0, 1400.0, 1398.0),
            PixelBox::new(1130.0, 130.0, 1230.0, 225.0),
        ],
    },
    Picture {
        bytes: include_bytes!("../../../../edge-demo/assets/cell.png"),
        boxes: &[
            PixelBox::new(360.0, 305.0, 496.0, 442.0),
            PixelBox::new(330.0, 275.0, 525.0, 470.0),
            PixelBox::new(395.0, 375.0, 440.0, 415.0),
            PixelBox::new(250.0, 0.0, 400.0, 50.0),
        ],
    },
];

/// Crops that the quantization is calibrated with.
const CALIBRATION: usize = 20;

pub(crate) fn image_file(picture: usize) -> String {
    format!("image-{picture}.f32")
}

pub(crate) fn boxes_file(picture: usize) -> String {
    format!("boxes-{picture}.f32")
}

/// What the harness must know of the files that it wrote.
pub(crate) struct Inputs {
    /// For each mask that a worker writes, how its picture lies on the grid.
    pub(crate) frames: Vec<Frame>,
}

impl Inputs {
    /// Writes graphs and inputs into `folder`.
    pub(crate) fn write(folder: &Path, model: &Model) -> anyhow::Result<Self> {
        for (name, graph) in [("encoder", model.encoder_onnx()), ("decoder", model.decoder_onnx())] {
            fs::write(folder.join(format!("{name}.onnx")), graph)?;
            fs::write(folder.join(format!("{name}.inlined.onnx")), inline_functions(graph)?)?;
        }
        let mut frames = Vec::new();
        let mut decoded = Vec::new();
        for (i, picture) in PICTURES.iter().enumerate() {
            let image = image::load_from_memory(picture.bytes)?;
            let frame = prepare(&image, &folder.join(image_file(i)))?;
            let boxes = picture.boxes.iter().enumerate().map(|(j, b)| frame.to_model(b, j));
            write_boxes(&folder.join(boxes_file(i)), &boxes.collect::<Result<Vec<_>, _>>()?)?;
            frames.extend(picture.boxes.iter().map(|_| frame));
            decoded.push(image);
        }
        write_boxes(&folder.join("batch.f32"), &batch())?;
        let mut random = Random(0);
        for i in 0..CALIBRATION {
            let image = crop(&decoded[i % decoded.len()], &mut random);
            prepare(&image, &folder.join(format!("calibration-{i:02}.f32")))?;
        }
        Ok(Self { frames })
    }
}

/// Writes the network's input for a picture.
fn prepare(image: &DynamicImage, path: &Path) -> anyhow::Result<Frame> {
    let image = image.to_rgb8();
    let view = ImageView::rgb8(image.as_raw(), image.width() as usize, image.height() as usize)?;
    let mut input = vec![0.0; INPUT_LEN];
    let frame = Preprocessor::new().preprocess_into(&view, &mut input);
    write_floats(path, &input)?;
    Ok(frame)
}

/// A random part of a picture, turned and perhaps mirrored: never the whole picture that masks are compared on.
fn crop(image: &DynamicImage, random: &mut Random) -> DynamicImage {
    let share = 0.45 + 0.4 * random.next();
    let [width, height] = [image.width(), image.height()].map(|side| (f64::from(side) * share) as u32);
    let mut place = |size: u32, part: u32| (f64::from(size - part) * random.next()) as u32;
    let (x, y) = (place(image.width(), width), place(image.height(), height));
    let part = image.crop_imm(x, y, width, height);
    let turned = match (random.next() * 4.0) as u32 {
        0 => part,
        1 => part.rotate90(),
        2 => part.rotate180(),
        _ => part.rotate270(),
    };
    if random.next() < 0.5 { DynamicImage::from(imageops::flip_horizontal(&turned)) } else { turned }
}

/// A fixed sequence of numbers in 0..1 (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Sixteen boxes for timing, from left to right.
fn batch() -> [ModelBox; 16] {
    std::array::from_fn(|i| i as f32 * 8.0).map(|x| ModelBox { x0: x, y0: 40.0, x1: x + 100.0, y1: 180.0 })
}

/// Puts the 8-bit encoder for OpenVINO into `folder`: made now, which takes minutes, or kept from an earlier run with the
/// same graph, crops and procedure.
pub(crate) fn quantize(python: &Path, folder: &Path) -> anyhow::Result<()> {
    let script = python::scripts().join("quantize.py");
    let mut sources = vec![script.clone(), python::scripts().join("requirements.txt")];
    sources.push(folder.join("encoder.inlined.onnx"));
    sources.extend((0..CALIBRATION).map(|i| folder.join(format!("calibration-{i:02}.f32"))));
    let mut content = Vec::new();
    for path in &sources {
        content.extend(fs::read(path).with_context(|| path.display().to_string())?);
    }
    let kept = python::cache()?.join("openvino").join(&hex_digest(&content)[..16]);
    if !kept.join("encoder.int8.xml").exists() {
        eprintln!("quantizing the encoder for OpenVINO (minutes; kept in {})", kept.display());
        let fresh = folder.join("quantized");
        fs::create_dir(&fresh)?;
        python::run(Command::new(python).arg(&script).arg(folder).arg(fresh.join("encoder.int8.xml")))?;
        fs::create_dir_all(&kept)?;
        // The weights first: the cache is looked up by the other file.
        for extension in ["bin", "xml"] {
            let name = format!("encoder.int8.{extension}");
            let content = fs::read(fresh.join(&name))?;
            umedsam::files::write_atomically(&kept.join(&name), |file| file.write_all(&content))?;
        }
    }
    for extension in ["bin", "xml"] {
        let name = format!("encoder.int8.{extension}");
        fs::copy(kept.join(&name), folder.join(&name)).with_context(|| kept.join(&name).display().to_string())?;
    }
    Ok(())
}

fn write_floats(path: &Path, values: &[f32]) -> anyhow::Result<()> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_ne_bytes()).collect();
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn write_boxes(path: &Path, boxes: &[ModelBox]) -> anyhow::Result<()> {
    write_floats(path, &boxes.iter().flat_map(|b| b.to_array()).collect::<Vec<f32>>())
}

pub(crate) fn read_floats(path: &Path) -> anyhow::Result<Vec<f32>> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(bytes.as_chunks().0.iter().map(|&b| f32::from_ne_bytes(b)).collect())
}

pub(crate) fn read_boxes(path: &Path) -> anyhow::Result<Vec<ModelBox>> {
    let values = read_floats(path)?;
    Ok(values.as_chunks().0.iter().map(|&[x0, y0, x1, y1]| ModelBox { x0, y0, x1, y1 }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_box_lies_in_its_picture() {
        for picture in &PICTURES {
            let image = image::load_from_memory(picture.bytes).unwrap();
            let (width, height) = (f64::from(image.width()), f64::from(image.height()));
            assert!(picture.boxes.iter().all(|b| b.x0 < b.x1 && b.y0 < b.y1 && b.x1 < width && b.y1 < height));
        }
    }

    #[test]
    fn boxes_survive_their_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boxes");
        write_boxes(&path, &batch()).unwrap();
        assert_eq!(read_boxes(&path).unwrap(), batch());
    }
}
