//! Pre- and postprocessing and propagation against OpenCV, PyTorch and upstream's procedure (golden values:
//! tests/golden/pipeline.py).

use umedsam::preprocess::{INPUT_LEN, Preprocessor};
use umedsam::resize::Resizer;
use umedsam::volume::Propagation;
use umedsam::{Frame, ImageView, MaskLogits, ModelBox, PixelBox, VolumeSize, VoxelBox};

const GOLDEN: &str = include_str!("data/pipeline.txt");

fn golden(kind: &str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines: Vec<Vec<&str>> =
        GOLDEN.lines().map(|l| l.split(' ').collect::<Vec<_>>()).filter(|f| f[0] == kind).collect();
    assert!(!lines.is_empty(), "no golden values of kind {kind}");
    lines.into_iter()
}

fn ints<const N: usize>(fields: &[&str]) -> [usize; N] {
    core::array::from_fn(|i| fields[i].parse().unwrap())
}

fn fnv(data: impl IntoIterator<Item = u8>) -> String {
    let hash =
        data.into_iter().fold(0xcbf2_9ce4_8422_2325, |h: u64, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    format!("{hash:016x}")
}

fn picture(h: usize, w: usize, c: usize) -> Vec<u8> {
    let value = |i: usize| {
        let (y, x) = (i / (w * c), i / c % w);
        let noise = (i as u64 * 2_654_435_761 % (1 << 32)) >> 26;
        ((y * 3 + x * 2) % 150) as u64 + noise + 17
    };
    (0..h * w * c).map(|i| value(i) as u8).collect()
}

fn view(pixels: &[u8], h: usize, w: usize, c: usize) -> ImageView<'_> {
    if c == 1 { ImageView::gray8(pixels, w, h) } else { ImageView::rgb8(pixels, w, h) }.unwrap()
}

fn blob(cx: i64, cy: i64, rx: i64, ry: i64) -> Vec<f32> {
    let value = |i: i64| {
        let (y, x) = (i / 256, i % 256);
        let d = ((x - cx) * ry).pow(2) + ((y - cy) * rx).pow(2);
        let square = (rx * ry).pow(2);
        ((square - d) * 4096).div_euclid(square.max(1)).clamp(-4096, 4096) as f32 / 64.0
    };
    (0..256 * 256).map(value).collect()
}

#[test]
fn resized_pictures_equal_opencv() {
    let mut resizer = Resizer::new();
    for fields in golden("resize") {
        let [h, w, c] = ints(&fields[1..]);
        let pixels = picture(h, w, c);
        let frame = Frame::new(w, h).unwrap();
        // Two of the sizes would make upstream ask OpenCV for a side of 0.
        let mut out = vec![0; frame.scaled_width() * frame.scaled_height() * c];
        resizer.resize_into(&view(&pixels, h, w, c), frame.scaled_width(), frame.scaled_height(), &mut out);
        assert_eq!(fnv(out), fields[4], "{h}x{w}x{c}");
    }
}

#[test]
fn network_inputs_equal_upstream() {
    let mut preprocessor = Preprocessor::new();
    let mut input = vec![f32::NAN; INPUT_LEN];
    for fields in golden("input") {
        let [h, w, c] = ints(&fields[1..]);
        preprocessor.preprocess_into(&view(&picture(h, w, c), h, w, c), &mut input);
        assert_eq!(fnv(input.iter().flat_map(|v| v.to_le_bytes())), fields[4], "{h}x{w}x{c}");
    }
}

#[test]
fn a_strided_view_is_the_same_picture() {
    let (h, w, gap) = (300, 410, 13);
    let pixels = picture(h, w, 3);
    let padded: Vec<u8> = pixels.chunks(w * 3).flat_map(|row| row.iter().copied().chain([99; 13])).collect();
    let mut inputs = [vec![0.0; INPUT_LEN], vec![0.0; INPUT_LEN]];
    Preprocessor::new().preprocess_into(&ImageView::rgb8(&pixels, w, h).unwrap(), &mut inputs[0]);
    let strided = ImageView::rgb8_strided(&padded, w, h, w * 3 + gap).unwrap();
    Preprocessor::new().preprocess_into(&strided, &mut inputs[1]);
    assert_eq!(inputs[0], inputs[1]);
}

#[test]
fn boxes_equal_upstream() {
    for fields in golden("box") {
        let [h, w, x0, y0, x1, y1, b0, b1, b2, b3] = ints(&fields[1..]);
        let b = [x0, y0, x1, y1].map(|v| v as f64);
        let found = Frame::new(w, h).unwrap().to_model(&PixelBox::new(b[0], b[1], b[2], b[3]), 0).unwrap();
        assert_eq!(found.to_array(), [b0, b1, b2, b3].map(|v| v as f32), "{fields:?}");
    }
}

#[test]
fn masks_equal_pytorch() {
    for fields in golden("mask") {
        let [h, w, seed, area] = ints(&fields[1..]);
        let frame = Frame::new(w, h).unwrap();
        let (nw, nh, s) = (frame.scaled_width() as i64, frame.scaled_height() as i64, seed as i64);
        let (a, b) = (blob(nw / 2, nh / 2, (nw / 3).max(1), (nh / 4).max(1)), blob(s * 9, nh - 1, 7 + s, 5));
        let logits: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a.max(*b)).collect();
        let logits = MaskLogits::new(&logits, frame);
        let mut mask = vec![7; h * w];
        assert_eq!(logits.mask_into(&mut mask), area, "{h}x{w}");
        assert_eq!(logits.area(), area, "{h}x{w}");
        assert_eq!(fnv(mask), fields[5], "{h}x{w}");
    }
}

fn fake_decoder(z: usize, b: &ModelBox) -> Vec<f32> {
    let z = z as i64;
    if z % 7 == 5 {
        return vec![-1.0; 256 * 256];
    }
    let [x0, y0, x1, y1] = b.to_array().map(|v| v as i64);
    let radius = |a: i64, b: i64| ((b - a) * 2 / 5).max(1);
    blob((x0 + x1) / 2 + z % 3 - 1, (y0 + y1) / 2 + z % 2, radius(x0, x1), radius(y0, y1))
}

#[test]
fn propagation_equals_upstream() {
    for fields in golden("volume") {
        let [d, h, w] = ints(&fields[1..]);
        let boxes: Vec<VoxelBox> = fields[4]
            .split(';')
            .map(|b| {
                let v: Vec<f64> = b.split(',').map(|v| v.parse().unwrap()).collect();
                VoxelBox::new(v[0], v[1], v[2], v[3], v[4], v[5])
            })
            .collect();
        let frame = Frame::new(w, h).unwrap();
        let size = VolumeSize { depth: d, height: h, width: w };
        let mut propagation = Propagation::new(&boxes, size).unwrap().with_upstream_rounding();
        let mut prompts = vec![Vec::new(); boxes.len()];
        let mut visits = vec![0; d];
        while let Some(request) = propagation.next_request().unwrap() {
            visits[request.z] += 1;
            assert!(!request.again || visits[request.z] == 1);
            for p in &request.prompts {
                let b = p.model_box.to_array().map(|v| (v as i64).to_string()).join(",");
                prompts[p.object].push(format!("{}:{b}", request.z));
                let logits = fake_decoder(request.z, &p.model_box);
                propagation.supply(request.z, p.object, &MaskLogits::new(&logits, frame)).unwrap();
            }
        }
        assert_eq!(propagation.remaining(), 0);
        // Objects travel together here and one after the other upstream, but each one's own way is the same.
        assert_eq!(prompts.concat().join(";"), fields[6]);
        assert_eq!(fnv(propagation.labels().iter().map(|&l| l as u8)), fields[5]);
    }
}

/// Voxels of the last of `place` objects, whatever goes before it, on its way through a volume.
fn last_of(place: usize, upstream: bool) -> Vec<bool> {
    let size = VolumeSize { depth: 12, height: 410, width: 300 };
    let frame = Frame::new(size.width, size.height).unwrap();
    // The others are in one slice, far from the object.
    let mut boxes = vec![VoxelBox::new(1.0, 1.0, 0.0, 4.0, 4.0, 0.0); place];
    boxes[place - 1] = VoxelBox::new(50.0, 60.0, 1.0, 180.0, 200.0, 9.0);
    let mut propagation = Propagation::new(&boxes, size).unwrap();
    if upstream {
        propagation = propagation.with_upstream_rounding();
    }
    while let Some(request) = propagation.next_request().unwrap() {
        for p in &request.prompts {
            let logits = fake_decoder(request.z, &p.model_box);
            propagation.supply(request.z, p.object, &MaskLogits::new(&logits, frame)).unwrap();
        }
    }
    propagation.labels().iter().map(|&l| usize::from(l) == place).collect()
}

#[test]
fn an_object_does_not_depend_on_its_place_but_by_upstreams_rounding() {
    let alone = last_of(1, false);
    assert!(alone.contains(&true));
    for place in [2, 21, 255, 300] {
        assert!(last_of(place, false) == alone, "place {place}");
    }
    // By upstream's rounding label 1 loses cells at the rim, label 255 hardly any: every cell that the mask touches.
    assert!(last_of(1, true) != alone);
    assert!(last_of(255, true) == alone && last_of(300, true) == alone);
}

#[test]
fn sums_of_many_white_pixels_do_not_wrap() {
    let white = vec![255; 4200 * 4200];
    let mut out = [0];
    Resizer::new().resize_into(&ImageView::gray8(&white, 4200, 4200).unwrap(), 1, 1, &mut out);
    assert_eq!(out, [255]);
}
