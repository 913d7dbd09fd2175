//! Sessions: what runs them, what they refuse, and volumes that are read slice by slice.

use std::ops::ControlFlow;

use prost::Message;
use tract_onnx::pb::ModelProto;
use umedsam::metrics::dice;
use umedsam::preprocess::INPUT_LEN;
use umedsam::runtime::{Graph, GraphOptions, inline_functions};
use umedsam::volume::{End, FollowOptions, Slices, from_fn};
use umedsam::{
    Error, Execution, Frame, ImageView, Model, PixelBox, Precision, Session, SessionOptions, Uncertain,
    UncertaintyOptions, VolumeOptions, VolumeSize, VoxelBox, encode_bundle,
};
use umedsam_tests::picture;

fn session(options: &SessionOptions) -> Session {
    Model::bundled().unwrap().session(options).unwrap()
}

/// The built-in model with other graphs.
fn model(encoder: &[u8], decoder: &[u8]) -> Model {
    Model::from_bytes(encode_bundle(encoder, decoder, Model::bundled().unwrap().manifest()).unwrap()).unwrap()
}

#[test]
fn graphs_that_do_not_run_fused_say_so_or_are_refused() {
    let built_in = Model::bundled().unwrap();
    // The same graphs in standard operators, as another exporter might have written them.
    let [encoder, decoder] = [built_in.encoder_onnx(), built_in.decoder_onnx()].map(|g| inline_functions(g).unwrap());
    let plain = model(&encoder, &decoder);
    let options = SessionOptions::new().with_precision(Precision::F32).with_threads(2);
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let boxes = [PixelBox::new(60.0, 30.0, 180.0, 150.0)];
    let segment = |session: &mut Session| session.segment_image(&image, &boxes, None).unwrap().labels;

    let mut fused = built_in.session(&options.clone().with_execution(Execution::Fused)).unwrap();
    assert!(fused.fallback().is_none());
    let mut slow = plain.session(&options).unwrap();
    let reason = slow.fallback().unwrap().to_string();
    assert_eq!(reason, "encoder: not fused: no functions of umedsam 1");
    let (a, b) = (segment(&mut fused), segment(&mut slow));
    let count = |labels: &[u16]| labels.iter().filter(|&&l| l == 1).count();
    let both = a.iter().zip(&b).filter(|(a, b)| **a == 1 && **b == 1).count();
    assert!(dice(both, count(&a), count(&b)).unwrap() > 0.99, "{both} of {} and {}", count(&a), count(&b));

    // One of two is enough.
    let half = model(built_in.encoder_onnx(), &decoder).session(&options).unwrap();
    assert_eq!(half.fallback().unwrap().to_string(), "decoder: not fused: no functions of umedsam 1");
    for options in [
        options.clone().with_execution(Execution::Fused),
        options.clone().with_precision(Precision::Bf16),
        options.clone().with_precision(Precision::Int8).with_execution(Execution::Operators),
    ] {
        assert!(plain.session(&options).is_err(), "{options:?}");
    }
    let asked_for = built_in.session(&options.with_execution(Execution::Operators)).unwrap();
    assert!(asked_for.fallback().is_none());
}

#[test]
fn numbers_of_threads_and_boxes_are_bounded() {
    let mut options = SessionOptions::new();
    (options.threads, options.max_batch) = (0, 0);
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let boxes = [PixelBox::new(60.0, 30.0, 180.0, 150.0), PixelBox::new(0.0, 0.0, 90.0, 90.0)];
    let mut session = session(&options);
    assert_eq!(session.segment_image(&image, &boxes, None).unwrap().predicted_iou.len(), 2);
    options.threads = usize::MAX;
    let error = Model::bundled().unwrap().session(&options).unwrap_err().to_string();
    assert!(error.contains("at most 1024"), "{error}");
    let error = session.encode_input(&[0.0; 9], Frame::new(3, 3).unwrap()).unwrap_err();
    assert!(matches!(error, Error::BufferSize { expected: INPUT_LEN, actual: 9 }), "{error}");
}

#[test]
fn how_sure_a_mask_is_depends_on_neither_threads_nor_other_boxes() {
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let boxes = [PixelBox::new(60.0, 30.0, 180.0, 150.0), PixelBox::new(0.0, 0.0, 90.0, 90.0)];
    let options = UncertaintyOptions::new().with_samples(5).with_seed(7);
    let found = |with: SessionOptions, boxes: &[PixelBox]| {
        let mut session = session(&with);
        let embedding = session.encode(&image).unwrap();
        let found = session.segment_uncertain(&embedding, boxes, &options).unwrap();
        assert_eq!(session.stats().decodes, 5 * boxes.len());
        let bits = |u: &Uncertain| {
            let figures = [u.score(), u.agreement(), u.predicted_iou()];
            u.logits().values().iter().copied().chain(figures).map(f32::to_bits).collect::<Vec<_>>()
        };
        found.iter().map(bits).collect::<Vec<_>>()
    };
    let one = found(SessionOptions::new(), &boxes);
    assert!(one == found(SessionOptions::new().with_threads(2).with_max_batch(3), &boxes));
    assert!(one[1..] == found(SessionOptions::new(), &boxes[1..]));

    let mut session = session(&SessionOptions::new());
    let embedding = session.encode(&image).unwrap();
    let plain = session.segment(&embedding, &boxes).unwrap();
    let single = session.segment_uncertain(&embedding, &boxes, &options.with_samples(1)).unwrap();
    for (plain, single) in plain.iter().zip(&single) {
        assert!(plain.area() > 0 && plain.mask() == single.mask());
        assert_eq!((plain.predicted_iou(), single.agreement()), (single.predicted_iou(), 1.0));
    }
    let mut refused = |boxes: &[PixelBox], options: UncertaintyOptions| {
        session.segment_uncertain(&embedding, boxes, &options).unwrap_err().to_string()
    };
    assert_eq!(refused(&boxes, options.with_samples(0)), "uncertainty: samples is 0; 1 to 64 are accepted");
    assert_eq!(refused(&[], options.with_samples(65)), "uncertainty: samples is 65; 1 to 64 are accepted");
    let beside = [boxes[0], PixelBox::new(300.0, 0.0, 310.0, 9.0)];
    assert!(refused(&beside, options).starts_with("box 2: x range 300..310 lies outside"));
}

#[test]
fn a_graph_takes_inputs_of_its_shapes_only() {
    let model = Model::bundled().unwrap();
    let [encoder, decoder] =
        [("encoder", model.encoder_onnx()), ("decoder", model.decoder_onnx())].map(|(name, onnx)| {
            Graph::load(name, onnx, &[], &GraphOptions::default().with_precision(Precision::Int8)).unwrap()
        });
    let image = vec![0.5; INPUT_LEN];
    let embedding = vec![0.5; 256 * 64 * 64];
    let refusal = |mut graph: Graph, inputs: &[(&[usize], &[f32])]| {
        let error = graph.run(inputs).unwrap_err();
        assert!(matches!(error, Error::Input { .. }) && graph.output(0).is_err(), "{error}");
        error.to_string()
    };
    let error = refusal(encoder, &[(&[1, 256, 256, 3], &image)]);
    assert_eq!(error, "encoder: input 0: shape [1, 256, 256, 3] given, [1, 3, 256, 256] expected");
    let error = refusal(decoder, &[(&[1, 256, 64, 64], &embedding), (&[], &[])]);
    assert_eq!(error, "decoder: input 1: shape [] given, [1, 4] expected");
}

#[test]
fn a_mask_of_nan_beside_a_finite_iou_is_an_error() {
    let built_in = Model::bundled().unwrap();
    let mut decoder = ModelProto::decode(built_in.decoder_onnx()).unwrap();
    let graph = decoder.graph.as_mut().unwrap();
    let head = graph.node.iter().find(|n| n.op_type.starts_with("MaskHead")).unwrap();
    // The last bias of the token's layers: it reaches every logit, and no IoU.
    let bias = head.input.last().unwrap();
    let values = graph.initializer.iter_mut().find(|t| t.name == *bias).unwrap();
    let nan = if values.data_type == 10 { vec![0, 0x7e] } else { f32::NAN.to_le_bytes().to_vec() };
    values.raw_data[..nan.len()].copy_from_slice(&nan);
    let broken = model(built_in.encoder_onnx(), &decoder.encode_to_vec());
    let pixels = picture();
    let image = ImageView::rgb8(&pixels, 256, 256).unwrap();
    let mut session = broken.session(&SessionOptions::new().with_threads(2)).unwrap();
    let embedding = session.encode(&image).unwrap();
    let error = session.segment(&embedding, &[PixelBox::new(60.0, 30.0, 180.0, 150.0)]).unwrap_err();
    assert!(matches!(error, Error::NotFinite { index: 0 }), "{error}");
}

/// An error of a reader's own.
#[derive(Debug)]
enum ReadError {
    Lost(usize),
    Segmentation(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Segmentation(error)
    }
}

const SIZE: VolumeSize = VolumeSize { depth: 6, height: 40, width: 50 };

/// A voxel of a ball in noise.
fn voxel(z: usize, y: usize, x: usize) -> u8 {
    let ball = 25 * z.abs_diff(3).pow(2) + y.abs_diff(20).pow(2) + x.abs_diff(24).pow(2) < 130;
    (40 + 130 * usize::from(ball) + (z * 7 + y * 13 + x * 5) % 23) as u8
}

/// Reads every slice into one buffer.
struct Reader {
    buffer: Vec<u8>,
    lost: usize,
    read: usize,
}

impl Slices for Reader {
    type Error = ReadError;

    fn slice(&mut self, z: usize) -> Result<ImageView<'_>, ReadError> {
        if z == self.lost {
            return Err(ReadError::Lost(z));
        }
        self.read += 1;
        self.buffer.clear();
        self.buffer.extend((0..SIZE.height * SIZE.width).map(|i| voxel(z, i / SIZE.width, i % SIZE.width)));
        Ok(ImageView::gray8(&self.buffer, SIZE.width, SIZE.height)?)
    }
}

#[test]
fn slices_are_lent_one_after_another_and_errors_and_ends_are_the_callers() {
    let mut session = session(&SessionOptions::new().with_threads(2));
    let boxes = [VoxelBox::new(12.0, 8.0, 1.0, 36.0, 32.0, 5.0)];
    let options = VolumeOptions::new();
    let reader = || Reader { buffer: Vec::new(), lost: usize::MAX, read: 0 };
    let mut reported = Vec::new();
    let mut lent = reader();
    let from_reader = session
        .segment_volume(&mut lent, SIZE, &boxes, &options, |done, total| {
            reported.push((done, total));
            // After the last there is nothing left to end.
            if done == total { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    // Slices 2 to 4 are tried before, and kept.
    assert_eq!((reported, lent.read), ((1..=8).map(|done| (done, 8)).collect(), 5));
    let whole: Vec<u8> = (0..SIZE.depth * SIZE.height * SIZE.width)
        .map(|i| voxel(i / (SIZE.height * SIZE.width), i / SIZE.width % SIZE.height, i % SIZE.width))
        .collect();
    let slice = |z: usize| ImageView::gray8(&whole[z * SIZE.height * SIZE.width..], SIZE.width, SIZE.height);
    let go_on = |_, _| ControlFlow::Continue(());
    let in_memory = session.segment_volume(from_fn(slice), SIZE, &boxes, &options, go_on).unwrap();
    assert!(in_memory.labels == from_reader.labels && in_memory.labels.contains(&1));

    let mut broken = Reader { lost: 4, ..reader() };
    let error = session.segment_volume(&mut broken, SIZE, &boxes, &options, go_on).unwrap_err();
    assert!(matches!(error, ReadError::Lost(4)), "{error:?}");
    let other = VolumeSize { height: 41, ..SIZE };
    let error = session.segment_volume(reader(), other, &boxes, &options, go_on).unwrap_err();
    let ReadError::Segmentation(error) = error else { panic!("{error:?}") };
    assert!(matches!(error, Error::SliceSize { z: 2, height: 40, expected_height: 41, .. }), "{error}");
    let mut cancelled = reader();
    let stop = |done, _| if done == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    let error = session.segment_volume(&mut cancelled, SIZE, &boxes, &options, stop).unwrap_err();
    assert!(matches!(error, ReadError::Segmentation(Error::Cancelled { done: 2, total: 8 })), "{error:?}");
    assert_eq!(cancelled.read, 2);

    // From one slice: the ball is in slices 1 to 5.
    let (plane, options) = ([PixelBox::new(12.0, 8.0, 36.0, 32.0)], FollowOptions::new());
    let mut lent = reader();
    let followed = session.follow(&mut lent, SIZE, 3, &plane, &options, go_on).unwrap();
    let slices: Vec<usize> = followed.objects[0].slices.iter().map(|s| s.z).collect();
    assert_eq!((slices, lent.read), (vec![1, 2, 3, 4, 5], 6), "slice 0 shows that it has ended");
    assert_eq!(followed.objects[0].after, End::Volume);
    let both = followed.labels.iter().zip(&from_reader.labels).filter(|(a, b)| **a == 1 && **b == 1).count();
    let count = |labels: &[u16]| labels.iter().filter(|&&l| l == 1).count();
    assert!(dice(both, count(&followed.labels), count(&from_reader.labels)).unwrap() > 0.95);
    let error = session.follow(&mut Reader { lost: 4, ..reader() }, SIZE, 3, &plane, &options, go_on).unwrap_err();
    assert!(matches!(error, ReadError::Lost(4)), "{error:?}");
    let error = session.follow(reader(), SIZE, 3, &plane, &options, stop).unwrap_err();
    assert!(matches!(error, ReadError::Segmentation(Error::Cancelled { done: 2, total: 6 })), "{error:?}");
}

#[test]
fn an_object_of_a_volume_does_not_depend_on_its_place_in_the_list() {
    let mut session = session(&SessionOptions::new().with_threads(2));
    let slices = |pixels: &'static [u8]| from_fn(move |_| ImageView::gray8(pixels, SIZE.width, SIZE.height));
    let pixels: &'static [u8] =
        (0..SIZE.height * SIZE.width).map(|i| voxel(3, i / SIZE.width, i % SIZE.width)).collect::<Vec<_>>().leak();
    let object = VoxelBox::new(12.0, 8.0, 0.0, 36.0, 32.0, 3.0);
    let other = VoxelBox::new(0.0, 0.0, 5.0, 5.0, 5.0, 5.0);
    let mut voxels = |place: usize| -> Vec<bool> {
        let mut boxes = vec![other; place];
        boxes[place - 1] = object;
        let go_on = |_, _| ControlFlow::Continue(());
        let found = session.segment_volume(slices(pixels), SIZE, &boxes, &VolumeOptions::new(), go_on).unwrap();
        found.labels.iter().map(|&l| usize::from(l) == place).collect()
    };
    let first = voxels(1);
    assert!(first.contains(&true) && voxels(2) == first && voxels(21) == first);
}
