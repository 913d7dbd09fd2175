//! Evaluation of the network on cases.

mod common;

use std::path::Path;

use common::network;
use tch::{Tensor, nn};
use umedsam_train::config::{CacheConfig, CacheKind, Precision};
use umedsam_train::encoder::FrozenEncoder;
use umedsam_train::evaluate::{EvaluateError, EvaluateOptions, evaluate};

/// A bright rod on noise: centre x, y and radius in the slices, first and last slice. In a plane a disc.
type Rod = [i64; 5];

/// Writes a case (H,W,3), or (D,H,W) with `depth`, of noise and of rods, which are its labels 1, 2, ... in order.
fn write(path: &Path, depth: Option<i64>, (h, w): (i64, i64), rods: &[Rod]) {
    let (d, plane) = (depth.unwrap_or(1), h * w);
    let label = |i: i64| {
        let (z, y, x) = (i / plane, i / w % h, i % w);
        let inside = |&[cx, cy, r, z0, z1]: &Rod| (x - cx).pow(2) + (y - cy).pow(2) <= r * r && (z0..=z1).contains(&z);
        rods.iter().rposition(inside).map_or(0, |i| i + 1) as u8
    };
    let labels: Vec<u8> = (0..d * plane).map(label).collect();
    let noise = |i: usize| ((i as u64 * 2_654_435_761 % (1 << 32)) >> 27) as u8;
    let pixel = |i: usize, label: u8| 40 + noise(i) + if label > 0 { 120 + 20 * label } else { 0 };
    let boxes: Vec<i64> = rods
        .iter()
        .flat_map(|&[x, y, r, z0, z1]| match depth {
            None => vec![x - r, y - r, x + r, y + r],
            Some(_) => vec![x - r, y - r, z0, x + r, y + r, z1],
        })
        .collect();
    let (imgs, shape) = match depth {
        None => {
            let colours = labels.iter().enumerate().flat_map(|(i, &l)| [pixel(i, l), pixel(i + 7, l), 40]);
            (Tensor::from_slice(&colours.collect::<Vec<u8>>()).view([h, w, 3]), vec![h, w])
        }
        Some(d) => {
            let grays: Vec<u8> = labels.iter().enumerate().map(|(i, &l)| pixel(i, l)).collect();
            (Tensor::from_slice(&grays).view([d, h, w]), vec![d, h, w])
        }
    };
    let arrays = [
        ("imgs", imgs),
        ("gts", Tensor::from_slice(&labels).view(&shape[..])),
        ("boxes", Tensor::from_slice(&boxes).view([i64::try_from(rods.len()).unwrap(), -1])),
        ("spacing", Tensor::from_slice(&[0.5f64, 0.5, 3.0])),
    ];
    Tensor::write_npz(&arrays, path).unwrap();
}

/// The frozen encoder without a cache.
fn encoder(vs: &nn::VarStore) -> FrozenEncoder {
    let cache = CacheConfig { kind: CacheKind::Off, ..CacheConfig::default() };
    FrozenEncoder::new(vs, Precision::F32, &cache).unwrap()
}

#[test]
fn a_case_that_fails_is_named_or_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write(&path("2DBox_US_good.npz"), None, (24, 16), &[[8, 9, 4, 0, 0]]);
    let (image, boxes) =
        (Tensor::from_slice(&[1u8; 12]).view([3, 4]), Tensor::from_slice(&[0i64, 0, 2, 2]).view([1, 4]));
    let other = Tensor::from_slice(&[1u8; 12]).view([4, 3]);
    Tensor::write_npz(&[("imgs", &image), ("boxes", &boxes)], path("a-no-truth.npz")).unwrap();
    Tensor::write_npz(&[("imgs", &image), ("boxes", &boxes), ("gts", &other)], path("b-turned.npz")).unwrap();
    let outside = &boxes + 7;
    Tensor::write_npz(&[("imgs", &image), ("boxes", &outside), ("gts", &image)], path("c-outside.npz")).unwrap();
    let white = &image * 255;
    Tensor::write_npz(&[("imgs", &image), ("boxes", &boxes), ("gts", &white)], path("d-white.npz")).unwrap();
    let mut cases = umedsam::npz::cases(folder.path()).unwrap();
    assert_eq!(cases.len(), 5);
    // The good one between bad ones.
    cases.swap(0, 1);

    let (vs, model) = network();
    let skipping = EvaluateOptions::new().with_skip_failing(true);
    let mut steps = Vec::new();
    let mut encoder = encoder(&vs);
    let found = evaluate(&model, &mut encoder, &cases, &skipping, |done, total| steps.push((done, total))).unwrap();
    assert_eq!(steps, [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]);
    assert_eq!(found.report.cases.len(), 1);
    assert_eq!(found.report.rows[0].modality, "US");
    let messages: Vec<String> = found.failures.iter().map(ToString::to_string).collect();
    assert!(messages[0].contains("a-no-truth.npz: array 'gts': missing"), "{messages:?}");
    assert!(messages[1].contains("b-turned.npz: gts has shape [4, 3], imgs [3, 4]"), "{messages:?}");
    assert!(messages[2].contains("c-outside.npz: array 'gts': label 1 lies outside box 1"), "{messages:?}");
    assert!(
        messages[3].contains("d-white.npz: array 'gts': has the labels 255; its one box is label 1"),
        "{messages:?}"
    );
    assert_eq!(messages.len(), 4);

    let mut steps = 0;
    let error = evaluate(&model, &mut encoder, &cases, &EvaluateOptions::new(), |_, _| steps += 1).unwrap_err();
    assert!(matches!(&error, EvaluateError::Npz(e) if e.path == path("a-no-truth.npz")), "{error}");
    assert!(steps <= 2, "it went on after the failure");
    let empty = tempfile::tempdir().unwrap();
    let message = umedsam::npz::cases(empty.path()).unwrap_err().to_string();
    assert!(message.ends_with("no NPZ file in this folder"), "{message}");
}

#[cfg(feature = "weights-tests")]
mod weights {
    use std::ops::ControlFlow;
    use std::path::PathBuf;

    use umedsam::metrics::{CaseScore, mean};
    use umedsam::npz::{Boxes, Case, Limits, Truth};
    use umedsam::preprocess::{INPUT_LEN, Preprocessor};
    use umedsam::volume::{Propagation, SliceNetwork, Start};
    use umedsam::{Frame, MaskLogits, ModelBox};
    use umedsam_train::model::{LiteMedSam, load};

    use super::*;

    fn loaded() -> (nn::VarStore, LiteMedSam) {
        let (vs, model) = network();
        let path = std::env::var_os("UMEDSAM_WEIGHTS").expect("UMEDSAM_WEIGHTS names the weights");
        load(&vs, path.as_ref()).unwrap();
        (vs, model)
    }

    /// Logits and predicted IoU of boxes in one slice, by the network alone.
    fn logits(model: &LiteMedSam, case: &Case, z: usize, boxes: &[[f32; 4]]) -> (Vec<f32>, Vec<f32>) {
        let mut input = vec![0.0; INPUT_LEN];
        Preprocessor::new().preprocess_into(&case.slice(z).unwrap(), &mut input);
        tch::no_grad(|| {
            let embedding = model.encode(&Tensor::from_slice(&input).view([1, 3, 256, 256]), false);
            let boxes = Tensor::from_slice(boxes.as_flattened()).view([-1, 4]);
            let (logits, iou) = model.decode(&embedding, &boxes);
            let values = |t: Tensor| Vec::try_from(t.reshape([-1])).unwrap();
            (values(logits), values(iou))
        })
    }

    /// The network alone, which encodes a slice whenever it is asked.
    struct Alone<'a> {
        model: &'a LiteMedSam,
        case: &'a Case,
        frame: Frame,
    }

    impl SliceNetwork for Alone<'_> {
        type Embedding = usize;
        type Error = umedsam::Error;

        fn encode(&mut self, z: usize, _: Option<usize>) -> Result<usize, Self::Error> {
            Ok(z)
        }

        fn decode(
            &mut self,
            &z: &usize,
            boxes: &[ModelBox],
            mut take: impl FnMut(usize, MaskLogits<'_>, f32),
        ) -> Result<(), Self::Error> {
            let boxes: Vec<[f32; 4]> = boxes.iter().map(|b| b.to_array()).collect();
            let (logits, iou) = logits(self.model, self.case, z, &boxes);
            for (i, (logits, iou)) in logits.chunks(65_536).zip(iou).enumerate() {
                take(i, MaskLogits::new(logits, self.frame), iou);
            }
            Ok(())
        }
    }

    /// The label map, without what the evaluation adds: every slice encoded when it is its turn, nothing kept.
    fn expected(model: &LiteMedSam, case: &Case) -> Vec<u16> {
        let (width, height) = (case.shape.width, case.shape.height);
        let frame = Frame::new(width, height).unwrap();
        match &case.boxes {
            Boxes::Plane(boxes) => {
                let boxes: Vec<[f32; 4]> = boxes.iter().map(|b| frame.to_model(b, 0).unwrap().to_array()).collect();
                let mut labels = vec![0; width * height];
                for (logits, label) in logits(model, case, 0, &boxes).0.chunks(65_536).zip(1..) {
                    MaskLogits::new(logits, frame).paint(label, &mut labels);
                }
                labels
            }
            Boxes::Volume(boxes) => {
                let way = Propagation::new(boxes, case.shape.volume()).unwrap();
                let go_on = |_, _| ControlFlow::Continue(());
                way.run(&mut Alone { model, case, frame }, Start::Surest, 0, go_on).unwrap().labels
            }
        }
    }

    /// DSC of the objects, counted here.
    fn dsc(gt: &[u16], pred: &[u16], objects: u16) -> Vec<f64> {
        let count = |l: u16| {
            let both = gt.iter().zip(pred).filter(|(g, p)| **g == l && **p == l).count();
            let all = gt.iter().chain(pred).filter(|v| **v == l).count();
            2.0 * both as f64 / all as f64
        };
        (1..=objects).map(count).collect()
    }

    #[test]
    fn scores_are_those_of_the_networks_masks() {
        let folder = tempfile::tempdir().unwrap();
        let [plane, volume]: [PathBuf; 2] = ["2DBox_US_discs.npz", "3DBox_CT_rods.npz"].map(|n| folder.path().join(n));
        write(&plane, None, (40, 56), &[[14, 12, 8, 0, 0], [38, 24, 11, 0, 0]]);
        // Slice 0 is passed upwards by the first and downwards by the second.
        write(&volume, Some(3), (44, 36), &[[10, 12, 8, 0, 1], [22, 30, 10, 0, 2]]);
        let (vs, model) = loaded();
        let limits = Limits::new();
        let options = EvaluateOptions::new();
        let mut scores = Vec::new();
        for path in [&plane, &volume] {
            let (case, truth) = (Case::read(path, &limits).unwrap(), Truth::read(path, &limits).unwrap());
            let labels = expected(&model, &case);
            let by_hand = dsc(&truth.labels, &labels, 2);
            // Found at all, which they would not be with boxes or images on another grid.
            assert!(by_hand.iter().all(|&d| d > 0.5), "{by_hand:?}: {}", path.display());
            let name = path.file_name().unwrap().to_str().unwrap();
            let score = CaseScore::new(name, &truth.labels, &labels, &truth.shape, truth.spacing);
            assert_eq!(score.dsc, mean(by_hand.into_iter().map(Some)));
            scores.push(score);
        }
        let cases = [plane, volume];
        let mut encoder = encoder(&vs);
        let found = evaluate(&model, &mut encoder, &cases, &options, |_, _| {}).unwrap();
        assert!(found.failures.is_empty());
        // Core's encoder there, libtorch's here: the same masks but for a pixel on the rim.
        for (found, expected) in found.report.cases.iter().zip(&scores) {
            assert!((found.dsc.unwrap() - expected.dsc.unwrap()).abs() < 0.002, "{found:?} {expected:?}");
        }
        let loose = options.clone().with_loose(Some(1));
        let again = evaluate(&model, &mut encoder, &cases, &loose, |_, _| {}).unwrap().report;
        let other = evaluate(&model, &mut encoder, &cases, &options.clone().with_loose(Some(2)), |_, _| {}).unwrap();
        assert_eq!(evaluate(&model, &mut encoder, &cases, &loose, |_, _| {}).unwrap().report.cases, again.cases);
        assert!(again.cases != found.report.cases && again.cases != other.report.cases);
        // No slice kept, and one box at a time: other sums in the network, the same masks but for a few pixels.
        let options = options.with_kept_slices(0).with_boxes_per_pass(1);
        let found = evaluate(&model, &mut encoder, &cases[1..], &options, |_, _| {}).unwrap();
        let (found, expected) = (&found.report.cases[0], &scores[1]);
        assert!((found.dsc.unwrap() - expected.dsc.unwrap()).abs() < 0.01, "{found:?} {expected:?}");
    }
}
