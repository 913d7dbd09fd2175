//! What each epoch brought: for the eye, for spreadsheets, for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use umedsam::files::write_atomically;

/// One epoch. Losses are means over its samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// From 1; 0 is the network before training.
    pub epoch: u64,
    /// Samples drawn.
    pub samples: u64,
    /// Learning rate in the epoch.
    pub learning_rate: f64,
    /// The weighted sum that is minimised.
    pub loss: Option<f64>,
    /// Each loss by its name.
    pub losses: BTreeMap<String, f64>,
    /// Each learnable uncertainty after the epoch, by the name of its loss.
    pub sigmas: BTreeMap<String, f64>,
    /// Mean length of the gradient.
    pub gradient: Option<f64>,
    /// After the epoch, if it was measured.
    pub validation: Option<Validation>,
    /// Time of the training steps.
    pub seconds: f64,
    /// Images that went through the encoder, those of the validation among them.
    pub encoded: u64,
    /// Time of the steps in which they waited for samples; the device may have been at work.
    #[serde(default)]
    pub waited: f64,
}

/// DSC and NSD, 0 to 1, on the network's own grid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validation {
    /// Mean DSC over the groups.
    pub dsc: f64,
    /// Mean NSD over the groups, within 2 px; older runs did not measure it.
    #[serde(default)]
    pub nsd: Option<f64>,
    /// Mean DSC over the cases of each modality and number of dimensions.
    pub groups: BTreeMap<String, f64>,
    /// Means over the objects of each case.
    #[serde(default)]
    pub cases: BTreeMap<String, Scores>,
}

/// DSC and NSD, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Of the areas.
    pub dsc: f64,
    /// Of the contours.
    pub nsd: f64,
}

impl Scores {
    /// The mean of each; NaN of none.
    pub(super) fn mean(all: &[Self]) -> Self {
        let mean = |of: fn(&Self) -> f64| all.iter().map(of).sum::<f64>() / all.len() as f64;
        Self { dsc: mean(|s| s.dsc), nsd: mean(|s| s.nsd) }
    }
}

impl Epoch {
    /// Samples a second in training.
    pub fn throughput(&self) -> f64 {
        if self.seconds > 0.0 { self.samples as f64 / self.seconds } else { 0.0 }
    }
}

/// Writes `metrics.jsonl` (one object a line) and `metrics.csv` (one column for every loss, uncertainty and group).
pub(super) fn write(folder: &Path, epochs: &[Epoch]) -> io::Result<()> {
    let mut lines = String::new();
    for epoch in epochs {
        lines += &serde_json::to_string(epoch)?;
        lines.push('\n');
    }
    write_atomically(&folder.join("metrics.jsonl"), |file| file.write_all(lines.as_bytes()))?;
    let csv = csv(epochs);
    write_atomically(&folder.join("metrics.csv"), |file| file.write_all(csv.as_bytes()))
}

fn csv(epochs: &[Epoch]) -> String {
    let names = |of: fn(&Epoch) -> Option<&BTreeMap<String, f64>>| -> Vec<String> {
        let mut names: Vec<String> = epochs.iter().filter_map(of).flat_map(|m| m.keys().cloned()).collect();
        names.sort();
        names.dedup();
        names
    };
    let losses = names(|e| Some(&e.losses));
    let sigmas = names(|e| Some(&e.sigmas));
    let groups = names(|e| e.validation.as_ref().map(|v| &v.groups));
    let mut text = String::from("epoch,samples,learning_rate,loss,gradient,seconds,waited,encoded,validation_dsc");
    let columns = losses.iter().map(|n| format!("loss {n}")).chain(sigmas.iter().map(|n| format!("sigma {n}")));
    for column in columns.chain(groups.iter().map(|n| format!("dsc {n}"))) {
        text += ",";
        text += &column;
    }
    let number = |v: Option<f64>| v.map_or(String::new(), |v| v.to_string());
    for e in epochs {
        let dsc = e.validation.as_ref().map(|v| v.dsc);
        // Writing to a string cannot fail.
        let _ = write!(text, "\n{},{},{}", e.epoch, e.samples, e.learning_rate);
        let _ = write!(text, ",{},{},{},{}", number(e.loss), number(e.gradient), e.seconds, e.waited);
        let _ = write!(text, ",{},{}", e.encoded, number(dsc));
        let values = losses.iter().map(|n| e.losses.get(n)).chain(sigmas.iter().map(|n| e.sigmas.get(n)));
        let groups = groups.iter().map(|n| e.validation.as_ref().and_then(|v| v.groups.get(n)));
        for value in values.chain(groups) {
            text += ",";
            text += &number(value.copied());
        }
    }
    text.push('\n');
    text
}
