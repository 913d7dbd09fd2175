//! Pictures of all number types and orientations: what the network is given, and where the mask lies.

mod common;

use std::fs::File;
use std::path::Path;

use common::{data, err, failure, out, umedsam};
use image::{DynamicImage, ImageBuffer, ImageEncoder, Luma, Rgb};
use serde_json::{Value, json};
use tiff::encoder::TiffEncoder;
use tiff::encoder::colortype::{ColorType, Gray32Float, GrayI16};
use umedsam::intensity::Step;
use umedsam::npz::{Labelled, Limits};
use umedsam_demo::picture::Picture;
use umedsam_demo::read::{ReadOptions, read};

const WIDTH: u32 = 120;
const HEIGHT: u32 = 80;
/// A box around the disc of [`disc`].
const BOX: &str = "26,16,74,64";

/// 1 in a disc of 1570 pixels around (50, 40), 0 elsewhere.
fn disc(x: u32, y: u32) -> i16 {
    i16::from(x.abs_diff(50).pow(2) + y.abs_diff(40).pow(2) < 500)
}

fn discs() -> impl Iterator<Item = i16> {
    (0..HEIGHT).flat_map(|y| (0..WIDTH).map(move |x| disc(x, y)))
}

/// Segments a picture and gives the report on it.
fn segment(folder: &Path, file: &str, shape: &str) -> Value {
    serde_json::from_str(&out(&umedsam(folder, &["segment", file, "--box", shape, "--json"]))).unwrap()
}

fn is_disc(report: &Value) {
    let size = report["objects"][0]["size"].as_u64().unwrap();
    assert!((1300..1900).contains(&size), "{size} px; the disc has 1570");
}

fn tiff<C: ColorType>(path: &Path, values: &[C::Inner])
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    TiffEncoder::new(File::create(path).unwrap()).unwrap().write_image::<C>(WIDTH, HEIGHT, values).unwrap();
}

#[test]
fn every_number_type_is_brought_to_8_bits_and_says_how() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);

    ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Luma([disc(x, y) as u16 * 30_000 + 900]))
        .save(path("gray.png"))
        .unwrap();
    let report = segment(folder.path(), "gray.png", BOX);
    is_disc(&report);
    let window = json!({ "step": "window", "rule": "percentile", "low": 900.0, "high": 30_900.0 });
    assert_eq!(report["intake"], json!({ "number_type": "u16", "steps": [window] }));

    // A dim picture in 16 bits, of which 8 bits cut off would leave one level; opacity is not looked at.
    let dim = |x, y| image::Rgba([disc(x, y) as u16 * 100 + 700, 700, 700, 65_535]);
    ImageBuffer::from_fn(WIDTH, HEIGHT, dim).save(path("rgb.png")).unwrap();
    let report = segment(folder.path(), "rgb.png", BOX);
    is_disc(&report);
    assert_eq!(report["intake"]["steps"][0]["step"], "alpha-dropped");
    assert_eq!(report["intake"]["steps"][1]["high"], 800.0);

    // Water, 0 HU, in air.
    tiff::<GrayI16>(&path("ct.tiff"), &discs().map(|v| v * 1000 - 1000).collect::<Vec<_>>());
    let report = segment(folder.path(), "ct.tiff", BOX);
    is_disc(&report);
    assert_eq!(report["intake"]["number_type"], "i16");
    let steps = &report["intake"]["steps"];
    assert_eq!(
        (&steps[0]["rule"], &steps[0]["low"], &steps[0]["high"]),
        (&json!("range"), &json!(-1000.0), &json!(0.0))
    );

    tiff::<Gray32Float>(&path("float.tif"), &discs().map(|v| f32::from(v) * 0.5 - 2.0).collect::<Vec<_>>());
    is_disc(&segment(folder.path(), "float.tif", BOX));
    let text = out(&umedsam(folder.path(), &["segment", "float.tif", "--box", BOX]));
    assert!(text.contains("values f32, window -2 to -1.5 (0.5th to 99.5th percentile"), "{text}");

    // What is not read is named.
    tiff::<tiff::encoder::colortype::RGB32>(&path("rgb.tif"), &vec![0; 3 * (WIDTH * HEIGHT) as usize]);
    let message = failure(&umedsam(folder.path(), &["segment", "rgb.tif", "--box", BOX]));
    assert!(message.contains("rgb.tif: not a readable picture: a TIFF of unsigned RGB(32)"), "{message}");
}

#[test]
fn a_box_lies_where_a_viewer_shows_it() {
    let folder = tempfile::tempdir().unwrap();
    let stored =
        DynamicImage::from(ImageBuffer::from_fn(WIDTH, HEIGHT, |x, y| Rgb([200 * disc(x, y) as u8 + 20, 40, 30])));
    // A TIFF header and a directory of one entry: tag 0x0112, a short, once.
    let exif = |orientation| {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        bytes.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        bytes
    };
    let save = |name: &str, orientation| {
        let mut encoder = image::codecs::jpeg::JpegEncoder::new(File::create(folder.path().join(name)).unwrap());
        encoder.set_exif_metadata(exif(orientation)).unwrap();
        encoder.encode_image(&stored).unwrap();
    };
    save("plain.jpg", 1);
    assert_eq!(segment(folder.path(), "plain.jpg", BOX)["intake"]["steps"], json!([]));
    // Turned by 90 degrees to the right, (50, 40) is shown at (39, 50); mirrored as well (5), at (40, 50).
    for (orientation, shape) in [(6, "15,26,63,74"), (5, "16,26,64,74"), (8, "16,45,64,93")] {
        save("turned.jpg", orientation);
        let report = segment(folder.path(), "turned.jpg", shape);
        assert_eq!(report["shape"], json!([WIDTH, HEIGHT]));
        assert_eq!(report["intake"]["steps"], json!([{ "step": "orientation", "exif": orientation }]));
        is_disc(&report);
        let mask = image::open(folder.path().join("out/turned.mask.png")).unwrap().into_luma8();
        assert_eq!(mask.dimensions(), (HEIGHT, WIDTH));
        let inside: Vec<u32> = shape.split(',').map(|v| v.parse().unwrap()).collect();
        let centre = mask.get_pixel((inside[0] + inside[2]) / 2, (inside[1] + inside[3]) / 2);
        assert_eq!(centre.0, [1], "orientation {orientation}");
    }
    // A TIFF says so in a tag of its own; 3: upside down.
    let mut encoder = TiffEncoder::new(File::create(folder.path().join("turned.tiff")).unwrap()).unwrap();
    let mut picture = encoder.new_image::<GrayI16>(WIDTH, HEIGHT).unwrap();
    picture.encoder().write_tag(tiff::tags::Tag::Orientation, 3u16).unwrap();
    picture.write_data(&discs().map(|v| v * 1000 - 1000).collect::<Vec<_>>()).unwrap();
    let report = segment(folder.path(), "turned.tiff", "45,15,93,63");
    is_disc(&report);
    assert_eq!(report["intake"]["steps"][1], json!({ "step": "orientation", "exif": 3 }));
}

#[test]
fn a_picture_over_the_limit_says_how_large_it_is() {
    let folder = tempfile::tempdir().unwrap();
    image::RgbImage::new(1000, 700).save(folder.path().join("large.png")).unwrap();
    image::GrayImage::new(50, 40).save(folder.path().join("small.png")).unwrap();
    let arguments = ["segment", "large.png", "small.png", "--box", "1,1,30,30", "--json", "--memory"];
    let output = umedsam(folder.path(), &[&arguments[..], &["2"]].concat());
    let message = failure(&output);
    let words = "1000x700 pixels take 2100000 bytes of memory to read, beyond the limit of 2097152 (--memory)";
    assert!(message.contains(words), "{message}");
    // Each input has its line, the failed one, too.
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0]["input"] == "large.png" && lines[0]["error"].as_str().unwrap().contains(words), "{lines:?}");
    assert_eq!(lines[1]["input"], "small.png");
    out(&umedsam(folder.path(), &[&arguments[..], &["3"]].concat()));
}

/// Where the system gives no memory, one input fails and the others do not.
#[cfg(target_os = "linux")]
#[test]
fn one_input_without_memory_leaves_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let mut encoder = png::Encoder::new(File::create(folder.path().join("large.png")).unwrap(), 20_000, 20_000);
    encoder.set_compression(png::Compression::Fastest);
    encoder.write_header().unwrap().write_image_data(&vec![0; 400_000_000]).unwrap();
    image::GrayImage::new(50, 40).save(folder.path().join("small.png")).unwrap();
    let program = env!("CARGO_BIN_EXE_umedsam");
    let script = format!("ulimit -v 380000; exec {program} segment large.png small.png --box 1,1,30,30 --threads 1");
    let output = std::process::Command::new("sh").current_dir(folder.path()).args(["-c", &script]).output().unwrap();
    let message = failure(&output);
    assert!(message.contains("large.png") && message.contains("no memory for 400000000 bytes"), "{message}");
    assert_eq!(output.status.code(), Some(1), "{}", err(&output));
    assert!(folder.path().join("out/small.mask.png").is_file());
}

#[test]
fn pictures_of_other_makers_are_read_in_each_compression() {
    let folder = tempfile::tempdir().unwrap();
    let made = data("tests/data/pictures");
    let picture = |name: &str| format!("{made}/{name}");
    let convert = |name: &str, more: &[&str]| {
        umedsam(folder.path(), &[&["convert", &picture(name), &picture("mask.png"), "--json"], more].concat())
    };
    let mask = image::open(picture("mask.png")).unwrap().into_luma8();
    // What a disc of 1 is shown as, and what is around it; compressed with loss it may be 12 off.
    for (name, inside, outside, lossy) in [
        ("jpeg.tif", 220, 20, true),
        ("ycbcr.tif", 220, 20, true),
        ("lzw.tif", 220, 20, false),
        ("deflate.tif", 255, 0, false),
        ("packbits.tif", 220, 20, false),
        ("big.tif", 255, 0, false),
        ("float.tif", 220, 20, false),
        ("gray.bmp", 220, 20, false),
        ("rgb.bmp", 220, 20, false),
        ("lossless.webp", 220, 20, false),
        ("lossy.webp", 220, 20, true),
        ("cmyk.tif", 220, 20, true),
        ("bits.tif", 255, 0, false),
    ] {
        let report: Value = serde_json::from_str(&out(&convert(name, &[]))).unwrap();
        let case = folder.path().join(report["written"].as_str().unwrap());
        let case = Labelled::read(&case, &Limits::new()).unwrap();
        for (pixel, label) in case.pixels.chunks(case.shape.channels).zip(mask.iter()) {
            let expected = if *label == 1 { inside } else { outside };
            let off = pixel.iter().map(|v| i32::from(*v).abs_diff(expected)).max().unwrap();
            assert!(off <= if lossy { 12 } else { 0 }, "{name}: {pixel:?} where {expected} is expected");
        }
    }
    // What is not read says what it is.
    for (name, words) in
        [("zstd.tif", "ZSTD"), ("uneven.tif", "page 1 is 20x20 Gray(16), the first 40x30 Gray(16); they are no volume")]
    {
        let message = failure(&convert(name, &[]));
        assert!(message.contains(&format!("{name}: ")) && message.contains(words), "{message}");
    }
}

#[test]
fn pages_are_slices_or_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let pages = data("tests/data/pictures/pages.tif");
    let run = |more: &[&str]| umedsam(folder.path(), &[&["segment", &pages, "--json"], more].concat());
    let report: Value = serde_json::from_str(&out(&run(&["--box3d", "8,3,1,26,21,2"]))).unwrap();
    assert_eq!((&report["shape"], report["written"][0].as_str()), (&json!([4, 30, 40]), Some("out/pages.nii.gz")));
    assert!(report["applied"].to_string().contains("place and spacing are not known"), "{report}");
    let scan = read(Path::new(&pages), &ReadOptions::new()).unwrap();
    let values = scan.values.to_f64();
    assert_eq!([0, 1, 2, 3].map(|z| values[z * 1200]), [2000.0, 2001.0, 2002.0, 2003.0]);
    let report: Value = serde_json::from_str(&out(&run(&["--box", "8,3,26,21", "--frame", "2"]))).unwrap();
    assert_eq!(report["applied"], json!([{ "applied": "frame", "index": 2, "of": 4 }]));
    let both = [&["segment", &data("assets/cell.png"), &pages, "--json"], &["--box", "8,3,26,21", "--frame", "2"][..]];
    let both = out(&umedsam(folder.path(), &both.concat()));
    assert!(
        both.lines().next().is_some_and(|line| line.contains("--frame is for TIFF and volumes: not used")),
        "{both}"
    );
    assert_eq!(report["intake"]["steps"][0]["low"], 2002.0);
    let report: Value = serde_json::from_str(&out(&run(&["--box", "8,3,26,21"]))).unwrap();
    assert_eq!(report["intake"]["steps"][0]["step"], "first-image-only");
    // Of a moving picture the first one is read, and that is told, too.
    let moving = folder.path().join("moving.png");
    let mut encoder = png::Encoder::new(File::create(&moving).unwrap(), 40, 30);
    encoder.set_animated(2, 0).unwrap();
    let mut writer = encoder.write_header().unwrap();
    (0..2).for_each(|value| writer.write_image_data(&[value; 1200]).unwrap());
    writer.finish().unwrap();
    let moving = Picture::read(&moving, None, 1 << 20).unwrap();
    assert_eq!(moving.intake().steps, [Step::FirstImageOnly]);
    let message = failure(&run(&["--box", "8,3,26,21", "--frame", "4"]));
    assert!(message.contains("a TIFF without a page 4"), "{message}");
    // A tag of a thousand million values, found by fuzzing.
    let message = read(Path::new(&data("tests/data/pictures/tags.tif")), &ReadOptions::new()).unwrap_err().to_string();
    assert!(message.contains("tags.tif: damaged: TIFF: ") && message.contains("limits"), "{message}");
    // A page of 40x30 whose JPEG is greater and would be decoded whole, found by fuzzing.
    let greater = data("tests/data/pictures/jpeg-size.tif");
    let message = read(Path::new(&greater), &ReadOptions::new()).unwrap_err().to_string();
    let words = "damaged: TIFF: JPEG of 16158x10240 in strip 0 of 40x30";
    assert!(message.contains(words), "{message}");
    let message = failure(&umedsam(folder.path(), &["segment", &greater, "--box", "8,3,26,21"]));
    assert!(message.contains(words), "{message}");
}
