//! The losses against PyTorch's, MONAI's and SciPy's, at the edge of their domain, and their weighting.
//!
//! tests/golden/losses.py makes the golden values.

use safetensors::SafeTensors;
use tch::{Device, Kind, Tensor, nn};
use umedsam_train::config::LossConfig;
use umedsam_train::loss::{Outputs, Term, Uncertainty, UncertaintyError, Weighting, shape_target};
use umedsam_train::optim::{AdamW, AdamWOptions, Group, Rate};

const GOLDEN: &[u8] = include_bytes!("data/losses.safetensors");

fn golden(name: &str) -> Option<Tensor> {
    let file = SafeTensors::deserialize(GOLDEN).unwrap();
    let stored = file.tensor(name).ok()?;
    let values: Vec<f32> = stored.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let shape: Vec<i64> = stored.shape().iter().map(|&d| i64::try_from(d).unwrap()).collect();
    Some(Tensor::from_slice(&values).view(&shape[..]))
}

/// A batch whose logits and IoU are leaves.
struct Batch {
    logits: Tensor,
    iou: Tensor,
    mask: Tensor,
    shape: Tensor,
}

impl Batch {
    fn golden() -> Self {
        tch::set_num_threads(1);
        let input = |name: &str| golden(&format!("input.{name}")).unwrap();
        Self {
            logits: input("logits").set_requires_grad(true),
            iou: input("iou").set_requires_grad(true),
            mask: input("mask"),
            shape: input("shape"),
        }
    }

    /// One 16x16 sample whose logits are all the same.
    fn uniform(logit: f64, mask: &[bool]) -> Self {
        let image = |t: Tensor| t.view([1, 1, 16, 16]);
        Self {
            logits: Tensor::full([1, 1, 16, 16], logit, (Kind::Float, Device::Cpu)).set_requires_grad(true),
            iou: Tensor::from_slice(&[0.75f32]).view([1, 1]).set_requires_grad(true),
            mask: image(Tensor::from_slice(mask).to_kind(Kind::Float)),
            shape: image(Tensor::from_slice(&shape_target(mask, 16, 16))),
        }
    }

    fn evaluate(&self, term: Term) -> Tensor {
        let Self { logits, iou, mask, shape } = self;
        let teacher = &(logits.detach().flip([3]) / 2.0);
        let embeddings = [logits, teacher];
        term.evaluate(&Outputs { logits, iou, mask, shape, teacher, embeddings })
    }
}

fn number(t: &Tensor) -> f64 {
    assert_eq!((t.size(), t.kind()), (vec![], Kind::Float));
    t.double_value(&[])
}

#[test]
fn values_and_gradients_are_those_of_pytorch() {
    for term in Term::ALL.into_iter().filter(|term| !matches!(term, Term::Imitation | Term::Embedding)) {
        let batch = Batch::golden();
        let loss = batch.evaluate(term);
        let expected = number(&golden(term.name()).unwrap());
        assert!((number(&loss) - expected).abs() < 2e-6 * expected, "{term:?}: {} {expected}", number(&loss));
        loss.backward();
        for (leaf, name) in [(&batch.logits, "logits"), (&batch.iou, "iou")] {
            let gradient = leaf.grad();
            let expected = golden(&format!("{}.{name}", term.name()));
            assert_eq!(gradient.defined(), expected.is_some(), "{term:?} {name}");
            let Some(expected) = expected else { continue };
            let difference = ((gradient - &expected).abs().max() / expected.abs().max()).double_value(&[]);
            assert!(difference < 2e-6, "{term:?} {name}: {difference:e}");
        }
    }
}

#[test]
fn a_teacher_is_imitated() {
    let Batch { logits, iou, shape, .. } = &Batch::golden();
    let teacher = &(logits.detach().flip([3]) / 2.0);
    // Of a teacher that is right everywhere, distillation doubts nothing.
    let mask = &teacher.gt(0.0).to_kind(Kind::Float);
    let of = |term: Term, own: &Tensor| {
        let embeddings = [own, teacher];
        term.evaluate(&Outputs { logits: own, iou, mask, shape, teacher, embeddings })
    };
    let (imitation, distillation) = (of(Term::Imitation, logits), of(Term::Distillation, logits));
    assert!(number(&imitation) > 0.0 && (number(&imitation) - number(&distillation)).abs() < 1e-6);
    for term in [Term::Imitation, Term::Embedding] {
        assert_eq!(number(&of(term, teacher)), 0.0);
    }
    // As far away as the mean is: the variance itself. Half as far, a quarter of it.
    let mean = teacher.mean_dim([1i64, 2, 3].as_slice(), true, Kind::Float);
    let own = (&mean.expand_as(teacher) * 1.0).set_requires_grad(true);
    assert!((number(&of(Term::Embedding, &own)) - 1.0).abs() < 1e-5);
    assert!((number(&of(Term::Embedding, &((&own + teacher) / 2.0))) - 0.25).abs() < 1e-5);
    of(Term::Embedding, &own).backward();
    assert!(own.grad().abs().max().double_value(&[]) > 0.0);
}

#[test]
fn the_shape_map_is_that_of_scipy() {
    let (masks, shapes) = (golden("input.mask").unwrap(), golden("input.shape").unwrap());
    for sample in 0..masks.size()[0] {
        let values = |t: &Tensor| Vec::<f32>::try_from(&t.get(sample).reshape([-1])).unwrap();
        let mask: Vec<bool> = values(&masks).into_iter().map(|g| g == 1.0).collect();
        for (found, expected) in shape_target(&mask, 18, 22).into_iter().zip(values(&shapes)) {
            assert!((found - expected).abs() < 1e-7, "{found} {expected}");
        }
    }
}

#[test]
fn the_shape_map_falls_from_the_rim_to_the_deepest_pixel() {
    // A disc of radius 200 around a pixel.
    let disc = |i: usize| (i / 512).abs_diff(256).pow(2) + (i % 512).abs_diff(256).pow(2) < 40_000;
    let mask: Vec<bool> = (0..512 * 512).map(disc).collect();
    let map = shape_target(&mask, 512, 512);
    let row = &map[256 * 512..257 * 512];
    assert!((row[256] - 0.5).abs() < 1e-6 && (row[57] - 0.9933).abs() < 3e-4, "{} {}", row[256], row[57]);
    assert!(row[57..=256].is_sorted_by(|a, b| a >= b) && row[56] == 0.0);
    // The image's border is no rim: in a half-plane the deepest pixels lie on it.
    let half: Vec<bool> = (0..64).map(|i| i % 8 > 3).collect();
    let map = shape_target(&half, 8, 8);
    assert!(map.chunks(8).all(|row| row[3] == 0.0 && row[4] > row[5] && (row[7] - 0.5).abs() < 1e-6));
    assert!(shape_target(&[], 0, 0).is_empty());
}

#[test]
fn without_an_object_the_shape_distance_is_exactly_1() {
    for logit in [-1e4, -90.0, -3.0, 0.0, 0.7, 1e4] {
        let batch = Batch::uniform(logit, &[false; 256]);
        assert_eq!(number(&batch.evaluate(Term::ShapeDistance)), 1.0, "{logit}");
    }
    let batch = Batch::golden();
    let sample = |t: &Tensor| t.narrow(0, 2, 1);
    let empty = Batch {
        logits: sample(&batch.logits),
        iou: sample(&batch.iou),
        mask: sample(&batch.mask),
        shape: sample(&batch.shape),
    };
    assert_eq!(number(&empty.evaluate(Term::ShapeDistance)), 1.0);
}

#[test]
fn everything_is_finite_at_the_edges() {
    let some: Vec<bool> = (0..256).map(|i| i % 16 > 3 && i > 100).collect();
    for mask in [&[false; 256][..], &[true; 256], &some] {
        for logit in [-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4] {
            for term in Term::ALL {
                let batch = Batch::uniform(logit, mask);
                let loss = batch.evaluate(term);
                let value = number(&loss);
                assert!(value.is_finite() && value >= 0.0, "{term:?} at {logit}: {value}");
                loss.backward();
                for leaf in [&batch.logits, &batch.iou].map(Tensor::grad).into_iter().filter(Tensor::defined) {
                    assert!(leaf.isfinite().all().int64_value(&[]) == 1, "{term:?} at {logit}");
                }
            }
        }
    }
    // Where prediction and mask are both empty, they agree.
    let batch = Batch::uniform(-1e4, &[false; 256]);
    assert_eq!(number(&batch.evaluate(Term::Iou)), 0.0625);
    assert_eq!(number(&batch.evaluate(Term::Dice)), 0.0);
}

#[test]
fn losses_of_bf16_are_computed_in_f32() {
    let bf16 = |t: &Tensor| t.detach().to_kind(Kind::BFloat16);
    let golden = Batch::golden();
    let (logits, iou) = (bf16(&golden.logits), bf16(&golden.iou));
    let rounded = Batch { logits: logits.to_kind(Kind::Float), iou: iou.to_kind(Kind::Float), ..Batch::golden() };
    let half = Batch { logits, iou, ..golden };
    for term in Term::ALL {
        assert_eq!(number(&half.evaluate(term)), number(&rounded.evaluate(term)), "{term:?}");
    }
}

fn weights(weighting: Weighting, terms: &[Term]) -> (nn::VarStore, Uncertainty) {
    tch::set_num_threads(1);
    let vs = nn::VarStore::new(Device::Cpu);
    let uncertainty = Uncertainty::new(&(vs.root() / "uncertainty"), weighting, terms).unwrap();
    (vs, uncertainty)
}

const LOSSES: [f32; 3] = [0.25, 1.0, 3.0];
const TERMS: [Term; 3] = [Term::Focal, Term::Dice, Term::ShapeDistance];

fn losses() -> [Tensor; 3] {
    LOSSES.map(|loss| Tensor::from(loss).set_requires_grad(true))
}

/// s^2 = L, and c^2 = (L + sqrt(L^2 + 8 L)) / 4.
fn stationary(weighting: Weighting, loss: f32) -> f64 {
    let loss = f64::from(loss);
    match weighting {
        Weighting::Kendall => loss.sqrt(),
        _ => ((loss + (loss * loss + 8.0 * loss).sqrt()) / 4.0).sqrt(),
    }
}

fn sigmas(uncertainty: &Uncertainty) -> Vec<f64> {
    Vec::try_from(uncertainty.sigmas().unwrap()).unwrap()
}

#[test]
fn weights_come_to_rest_where_the_formulas_say() {
    for weighting in [Weighting::Kendall, Weighting::LiebelKoerner] {
        let (vs, uncertainty) = weights(weighting, &TERMS);
        assert_eq!(sigmas(&uncertainty), [1.0; 3]);
        let mut parameters = vs.trainable_variables();
        assert_eq!(parameters.len(), 3);
        let greatest = |step: f64, parameters: &mut [Tensor]| {
            uncertainty.total(&losses()).backward();
            let mut greatest = 0.0f64;
            for parameter in parameters {
                let gradient = parameter.grad();
                greatest = greatest.max(gradient.double_value(&[]).abs());
                let _ = tch::no_grad(|| parameter.g_sub_(&(gradient * step)));
                parameter.zero_grad();
            }
            greatest
        };
        assert!(greatest(0.1, &mut parameters) > 0.5);
        for _ in 0..400 {
            greatest(0.1, &mut parameters);
        }
        let expected = LOSSES.map(|loss| stationary(weighting, loss));
        for (found, expected) in sigmas(&uncertainty).into_iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{weighting:?}: {found} {expected}");
        }
        // And there the gradient is zero.
        for (term, expected) in TERMS.iter().zip(expected) {
            let folder = if weighting == Weighting::Kendall { "ln_sigma" } else { "c" };
            let value = if weighting == Weighting::Kendall { expected.ln() } else { expected };
            let mut parameter = vs.variables()[&format!("uncertainty.{folder}.{}", term.name())].shallow_clone();
            let _ = tch::no_grad(|| parameter.fill_(value));
        }
        assert!(greatest(0.0, &mut parameters) < 1e-6);
    }
}

#[test]
fn a_short_run_at_the_default_rate_reaches_the_rest_and_stops_at_the_floor() {
    // A loss that nothing is left of, as distillation's is at first, beside one that varies from batch to batch.
    let terms = [Term::Dice, Term::Distillation];
    let config = LossConfig::default();
    for weighting in [Weighting::Kendall, Weighting::LiebelKoerner] {
        let (vs, uncertainty) = weights(weighting, &terms);
        let uncertainty = uncertainty.with_least(config.least_sigma);
        let group = Group {
            parameters: vs.variables().into_iter().collect(),
            weight_decay: 0.0,
            rate: Rate::Own(config.learning_rate),
        };
        let options = AdamWOptions { learning_rate: 1e-4, ..AdamWOptions::default() };
        let mut optimizer = AdamW::new(vec![group], options);
        for step in 0..200 {
            let dice = if step % 2 == 0 { 0.12f32 } else { 0.06 };
            optimizer.zero_grad();
            uncertainty.total(&[Tensor::from(dice), Tensor::from(0f32)]).backward();
            optimizer.step();
            uncertainty.bound();
        }
        let found = sigmas(&uncertainty);
        let expected = stationary(weighting, 0.09);
        assert!((found[0] / expected - 1.0).abs() < 0.1, "{weighting:?}: {} {expected}", found[0]);
        assert!((found[1] - config.least_sigma).abs() < 1e-6, "{weighting:?}: {}", found[1]);
        // Half of one over its square, and not without bound.
        let teacher = Tensor::from(0f32).set_requires_grad(true);
        uncertainty.total(&[Tensor::from(0.1f32), teacher.shallow_clone()]).backward();
        assert!((number(&teacher.grad()) / (0.5 / config.least_sigma.powi(2)) - 1.0).abs() < 1e-4);
    }
}

#[test]
fn totals_are_those_of_the_formulas() {
    let (s, square): (Vec<f64>, fn(f64) -> f64) = (vec![0.5, 2.0, 1.25], |x| x * x);
    for (weighting, parameters) in
        [(Weighting::Kendall, s.iter().map(|s| s.ln()).collect()), (Weighting::LiebelKoerner, s.clone())]
    {
        let (vs, uncertainty) = weights(weighting, &TERMS);
        for (term, value) in TERMS.iter().zip::<Vec<f64>>(parameters) {
            let name = vs.variables().into_keys().find(|name| name.ends_with(term.name())).unwrap();
            let _ = tch::no_grad(|| vs.variables()[&name].shallow_clone().fill_(value));
        }
        let losses = losses();
        let total = uncertainty.total(&losses);
        let regulariser = |s: f64| if weighting == Weighting::Kendall { s.ln() } else { (1.0 + s * s).ln() };
        let expected: f64 = LOSSES.iter().zip(&s).map(|(&l, &s)| 0.5 * f64::from(l) / square(s) + regulariser(s)).sum();
        assert!((number(&total) - expected).abs() < 1e-6, "{weighting:?}");
        total.backward();
        for (loss, s) in losses.iter().zip(&s) {
            assert!((number(&loss.grad()) - 0.5 / square(*s)).abs() < 1e-6);
        }
    }
    let (vs, equal) = weights(Weighting::Equal, &TERMS);
    assert_eq!((number(&equal.total(&losses())), equal.sigmas().is_none(), vs.len()), (4.25, true, 0));
    let twice = equal.with_weights(&[(Term::Dice, 2.0)].into());
    assert_eq!(number(&twice.total(&losses())), 5.25);
    let (_, one) = weights(Weighting::Kendall, &[Term::Bce]);
    assert_eq!((number(&one.total(&[Tensor::from(3.0f32)])), one.terms()), (1.5, &[Term::Bce][..]));
}

#[test]
fn lists_without_meaning_are_errors_and_names_are_those_of_serde() {
    let vs = nn::VarStore::new(Device::Cpu);
    let new = |terms: &[Term]| Uncertainty::new(&vs.root(), Weighting::Kendall, terms).unwrap_err();
    assert_eq!(new(&[]), UncertaintyError::Empty);
    assert_eq!(new(&[Term::Mse, Term::Bce, Term::Mse]), UncertaintyError::Duplicate(Term::Mse));
    assert_eq!(vs.len(), 0);
    for term in Term::ALL {
        assert_eq!(serde_json::to_value(term).unwrap(), term.name());
    }
    assert_eq!(serde_json::to_value(Weighting::LiebelKoerner).unwrap(), "liebel-koerner");
}
