//! Synthetic cases, and what a run draws of them, for the other side.

use std::fs;
use std::path::{Path, PathBuf};

use tch::Tensor;
use umedsam_train::config::Config;
use umedsam_train::data::{Dataset, write_batches};

const SIDE: usize = umedsam::MODEL_SIDE;

/// A folder of labelled cases of the network's size.
#[derive(Debug)]
pub(crate) struct Cases {
    /// For everything.
    root: PathBuf,
}

impl Cases {
    /// Writes `count` cases under `root`: noise, and a bright ellipse with a label.
    pub(crate) fn write(root: &Path, count: usize) -> anyhow::Result<Self> {
        let cases = Self { root: root.into() };
        fs::create_dir(cases.folder())?;
        for number in 0..count {
            // No preset has a cap for this modality, so that `data.default-cap` counts.
            let path = cases.folder().join(format!("2DBox_Synthetic_{number:04}.npz"));
            let (image, labels) = draw(number);
            let shape = [SIDE as i64, SIDE as i64];
            let [image, labels] = [image, labels].map(|pixels| Tensor::from_slice(&pixels).view(shape));
            Tensor::write_npz(&[("imgs", image), ("gts", labels)], path)?;
        }
        Ok(cases)
    }

    /// Where the cases are.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join("cases")
    }

    /// A folder under the same root.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Writes the batches of a run's first epoch into a new folder, `0.npz`, `1.npz` ...: what the trainer will draw.
    pub(crate) fn write_batches(&self, config: &Config, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.beside(name);
        let dataset = Dataset::read(&self.folder(), &config.data, |_, _| {})?;
        write_batches(&dataset, config, usize::MAX, &folder)?;
        Ok(folder)
    }
}

/// Intensities and labels of a case.
fn draw(number: usize) -> (Vec<u8>, Vec<u8>) {
    let (x0, y0) = (90 + 17 * number % 70, 110 + 29 * number % 50);
    let (a, b) = (30 + 7 * number % 25, 22 + 11 * number % 30);
    let pixel = |index: usize| {
        let (x, y) = (index % SIDE, index / SIDE);
        let inside = (x.abs_diff(x0) * b).pow(2) + (y.abs_diff(y0) * a).pow(2) <= (a * b).pow(2);
        let noise = ((index + number * SIDE * SIDE).wrapping_mul(2_654_435_761) >> 16) as u8 % 64;
        (noise + if inside { 150 } else { 60 }, u8::from(inside))
    };
    (0..SIDE * SIDE).map(pixel).unzip()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::setting::{SETTINGS, Trained};

    #[test]
    fn every_row_has_a_run_and_its_batches() {
        let root = tempfile::tempdir().unwrap();
        let cases = Cases::write(root.path(), 4).unwrap();
        for (setting, number) in SETTINGS.iter().zip(0..) {
            let config = setting.config(6, 2, &cases.beside("embeddings")).unwrap();
            assert_eq!(config.model.trains("image_encoder.neck.0.weight"), setting.trained == Trained::Whole);
            let folder = cases.write_batches(&config, &format!("{number}")).unwrap();
            let read = |number| Tensor::read_npz(folder.join(format!("{number}.npz"))).unwrap();
            let batch: HashMap<String, Tensor> = read(2).into_iter().collect();
            assert_eq!(batch["images"].size(), [2, 3, 256, 256]);
            let inside = batch["masks"].sum(tch::Kind::Float).double_value(&[]);
            assert!(inside > 1000.0 && batch["shapes"].max().double_value(&[]) > 0.9, "{inside}");
            assert!(!folder.join("3.npz").exists());
        }
    }
}
