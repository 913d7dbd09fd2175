//! How good the network is now: DSC and NSD on its own grid, of exact boxes.

use std::collections::BTreeMap;
use std::sync::Arc;

use tch::{Kind, Tensor};
use umedsam::metrics::{contour_dice, on_all_cores};

use super::TrainError;
use super::history::{Scores, Validation};
use super::network::Network;
use crate::config::ValidationConfig;
use crate::data::{Dataset, Drawing, Loader, Task};
use crate::ranks::Ranks;

/// Objects that a CUDA device looks at together.
const AT_ONCE: usize = 32;

/// How far apart contours may be to count as the same, in pixels of the grid.
const TOLERANCE: f64 = 2.0;

/// The objects that are looked at, always the same.
#[derive(Debug)]
pub(super) struct Validator {
    task: Task,
    /// Objects of one slice follow each other.
    batches: Vec<Vec<Drawing>>,
}

impl Validator {
    pub(super) fn new(dataset: &Arc<Dataset>, config: &ValidationConfig, network: &Network) -> Self {
        let mut slices = Vec::new();
        for (entry, case) in dataset.entries().iter().enumerate() {
            for (z, labels) in evenly(&case.slices, config.slices_per_volume) {
                let labels = evenly(labels, config.labels_per_slice);
                slices.push(labels.map(|&label| Drawing::exact(entry, *z, label)).collect());
            }
        }
        let task = Task {
            dataset: dataset.clone(),
            cache: network.cache(),
            min_area: 0,
            shape: false,
            images: network.takes_images(),
            share: true,
            device: network.device(),
        };
        // A CPU gains nothing by many slices at once, and loses the sharing of an embedding by its objects.
        let at_once = if network.device().is_cuda() { AT_ONCE } else { 1 };
        Self { task, batches: gathered(slices, at_once) }
    }

    pub(super) fn dataset(&self) -> &Arc<Dataset> {
        &self.task.dataset
    }

    /// Objects looked at in all.
    pub(super) fn len(&self) -> usize {
        self.batches.iter().map(Vec::len).sum()
    }

    /// Means over the objects of a case, the cases of a group, the groups. Each rank takes its share of the slices.
    pub(super) fn run(
        &self,
        network: &mut Network,
        workers: usize,
        ranks: &Ranks,
        mut progress: impl FnMut(usize),
    ) -> Result<Validation, TrainError> {
        let mut dsc = vec![0.0; self.len()];
        let mut nsd = dsc.clone();
        let starts = self.batches.iter().scan(0, |sum, batch| {
            *sum += batch.len();
            Some(*sum - batch.len())
        });
        let own: Vec<(usize, &Vec<Drawing>)> =
            starts.zip(&self.batches).skip(ranks.rank()).step_by(ranks.size()).collect();
        let drawings = own.iter().map(|(_, batch)| (*batch).clone()).collect();
        let mut loader = Loader::new(&self.task, drawings, workers);
        for (start, drawings) in own {
            let staged = loader.next().expect("a batch for each list of drawings")?;
            let batch = staged.to_device(network.device());
            let (logits, _) = network.decode_batch(&staged, &batch, AT_ONCE)?;
            dsc[start..][..drawings.len()].copy_from_slice(&dice(&logits, &batch.masks));
            nsd[start..][..drawings.len()].copy_from_slice(&contours(&logits, &batch.masks));
            progress(drawings.len());
        }
        ranks.sum(&mut dsc)?;
        ranks.sum(&mut nsd)?;
        Ok(self.means(&dsc, &nsd))
    }

    fn means(&self, dsc: &[f64], nsd: &[f64]) -> Validation {
        let scores = dsc.iter().zip(nsd).map(|(&dsc, &nsd)| Scores { dsc, nsd });
        let mut objects: BTreeMap<usize, Vec<Scores>> = BTreeMap::new();
        for (drawing, score) in self.batches.iter().flatten().zip(scores) {
            objects.entry(drawing.entry).or_default().push(score);
        }
        let entries = self.task.dataset.entries();
        let mut groups: BTreeMap<String, Vec<Scores>> = BTreeMap::new();
        let mut cases = BTreeMap::new();
        for (entry, scores) in objects {
            let score = Scores::mean(&scores);
            groups.entry(entries[entry].group()).or_default().push(score);
            cases.insert(entries[entry].name().into_owned(), score);
        }
        let means: BTreeMap<String, Scores> = groups.into_iter().map(|(g, s)| (g, Scores::mean(&s))).collect();
        let mean = Scores::mean(&means.values().copied().collect::<Vec<_>>());
        Validation {
            dsc: mean.dsc,
            nsd: Some(mean.nsd),
            groups: means.iter().map(|(group, scores)| (group.clone(), scores.dsc)).collect(),
            cases,
        }
    }
}

/// Slices in batches of `at_least` objects or more, but for the last.
fn gathered(slices: Vec<Vec<Drawing>>, at_least: usize) -> Vec<Vec<Drawing>> {
    let mut batches: Vec<Vec<Drawing>> = Vec::new();
    for slice in slices {
        match batches.last_mut().filter(|last| last.len() < at_least) {
            Some(last) => last.extend(slice),
            None => batches.push(slice),
        }
    }
    batches
}

/// At most `count` of the items, evenly spaced, the middle ones of as many equal parts.
fn evenly<T>(items: &[T], count: usize) -> impl Iterator<Item = &T> {
    let count = count.min(items.len());
    (0..count).map(move |i| &items[(2 * i + 1) * items.len() / (2 * count)])
}

/// DSC of each object of a batch; no object is empty.
fn dice(logits: &Tensor, masks: &Tensor) -> Vec<f64> {
    let found = logits.gt(0.0).to_kind(Kind::Float);
    let sum = |t: &Tensor| t.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Double);
    let scores = sum(&(&found * masks)) * 2.0 / (sum(&found) + sum(masks));
    Vec::<f64>::try_from(scores).expect("a list of f64")
}

/// NSD of each object of a batch, as boundary Dice.
fn contours(logits: &Tensor, masks: &Tensor) -> Vec<f64> {
    let (count, height, width) = (masks.size()[0] as usize, masks.size()[2] as usize, masks.size()[3] as usize);
    let read = |t: Tensor| Vec::<bool>::try_from(t.flatten(0, -1)).expect("a list of bool");
    let (found, masks) = (read(logits.gt(0.0)), read(masks.gt(0.5)));
    let area = height * width;
    on_all_cores(0..count, |i| {
        let [found, mask] = [&found, &masks].map(|all| &all[i * area..][..area]);
        contour_dice(mask, found, [height, width], [1.0; 2], TOLERANCE).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_evenly_spaced() {
        let of = |n: usize, count| evenly(&(0..n).collect::<Vec<_>>(), count).copied().collect::<Vec<_>>();
        assert_eq!(of(10, 2), [2, 7]);
        assert_eq!(of(3, 8), [0, 1, 2]);
        assert_eq!(of(9, 1), [4]);
    }

    #[test]
    fn dice_is_of_each_object() {
        let masks = Tensor::from_slice(&[1f32, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0]).view([2, 1, 2, 2]);
        let logits = Tensor::from_slice(&[3f32, -1.0, -1.0, -1.0, 1.0, 1.0, 1.0, -2.0]).view([2, 1, 2, 2]);
        let scores = dice(&logits, &masks);
        assert!((scores[0] - 2.0 / 3.0).abs() < 1e-12 && (scores[1] - 4.0 / 6.0).abs() < 1e-12, "{scores:?}");
    }

    #[test]
    fn contours_are_of_each_object() {
        let square = |from: i64| {
            let t = Tensor::zeros([1, 1, 32, 32], (Kind::Float, tch::Device::Cpu));
            let _ = t.narrow(2, from, 10).narrow(3, from, 10).fill_(1.0);
            t
        };
        let masks = Tensor::cat(&[square(5), square(5), square(5)], 0);
        let found = Tensor::cat(&[square(5), square(6), square(20)], 0) - 0.5;
        let scores = contours(&found, &masks);
        assert!(scores[0] == 1.0 && scores[1] == 1.0 && scores[2] == 0.0, "{scores:?}");
    }
}
