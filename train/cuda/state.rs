//! The state of a run in few bytes: what the weights that it began with hold already is left out, the optimizer's
//! averages and the distance of the moving average from the parameters are rounded to bf16.
//!
//! A run that goes on from it has the parameters to the bit, and steps that differ in their third digit at first.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use umedsam_train::store;

pub(crate) const MODEL: &str = "model.";
const TEACHER: &str = "teacher.";
const AVERAGE: &str = "average.";

/// What stands in a compact state beside its tensors.
#[derive(Deserialize, Serialize)]
struct Text {
    /// The state's own.
    text: String,
    /// Tensors that are those of the weights that the run began with.
    left_out: Vec<String>,
}

/// Squeezed bytes of the state in `file`, of a run that began with `origin`.
pub(crate) fn compact(file: &Path, origin: &HashMap<String, Tensor>) -> anyhow::Result<Vec<u8>> {
    let (tensors, text) = store::read(file)?;
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    for (name, value) in &tensors {
        let known =
            |prefix| name.strip_prefix(prefix).and_then(|name| origin.get(name)).is_some_and(|o| o.equal(value));
        if known(MODEL) || known(TEACHER) {
            left_out.push(name.clone());
            continue;
        }
        let value = if let Some(parameter) = name.strip_prefix(AVERAGE) {
            let own = tensors.get(&format!("{MODEL}{parameter}")).context("an average of no parameter")?;
            (value - own).to_kind(Kind::BFloat16)
        } else if name.ends_with(".exp_avg") || name.ends_with(".exp_avg_sq") {
            value.to_kind(Kind::BFloat16)
        } else {
            value.shallow_clone()
        };
        kept.push((name.clone(), value));
    }
    kept.sort_by(|a, b| a.0.cmp(&b.0));
    left_out.sort();
    let beside = file.with_extension("compact");
    store::write(&beside, &kept, serde_json::to_string(&Text { text, left_out })?)?;
    let squeezed = crate::planes::squeeze(&fs::read(&beside)?)?;
    fs::remove_file(&beside)?;
    Ok(squeezed)
}

/// Writes the state that was [compacted](compact) into `file`.
pub(crate) fn expand(squeezed: &[u8], origin: &HashMap<String, Tensor>, file: &Path) -> anyhow::Result<()> {
    let beside = file.with_extension("compact");
    fs::write(&beside, crate::planes::unsqueeze(squeezed)?)?;
    let (kept, text) = store::read(&beside)?;
    fs::remove_file(&beside)?;
    let Text { text, left_out } = serde_json::from_str(&text).context("the text of a compact state")?;
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    for name in left_out {
        let own = name.strip_prefix(MODEL).or(name.strip_prefix(TEACHER)).and_then(|name| origin.get(name));
        let Some(value) = own else { bail!("{name} is not among the weights that the run began with") };
        tensors.insert(name, value.shallow_clone());
    }
    let (averages, others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|(name, _)| name.starts_with(AVERAGE));
    for (name, value) in others {
        let value = if value.kind() == Kind::BFloat16 { value.to_kind(Kind::Float) } else { value };
        tensors.insert(name, value);
    }
    for (name, distance) in averages {
        let own = tensors.get(&name.replacen(AVERAGE, MODEL, 1)).context("an average of no parameter")?;
        ensure!(own.size() == distance.size(), "{name}: another shape than its parameter");
        let average = own + distance.to_kind(Kind::Float);
        tensors.insert(name, average);
    }
    Ok(store::write(file, &tensors.into_iter().collect::<Vec<_>>(), text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_but_for_the_rounding_of_averages() {
        let folder = tempfile::tempdir().unwrap();
        let (file, again) = (folder.path().join("last.safetensors"), folder.path().join("again.safetensors"));
        let values = |seed: f64| (Tensor::arange(512, (Kind::Float, tch::Device::Cpu)) * seed).sin();
        let origin = HashMap::from([("frozen".to_string(), values(0.1)), ("moved".to_string(), values(0.2))]);
        let moved = &values(0.2) + 0.01;
        let state = [
            ("model.frozen", values(0.1)),
            ("model.moved", moved.shallow_clone()),
            ("teacher.frozen", values(0.1)),
            ("teacher.moved", values(0.2)),
            ("average.moved", &moved + &values(0.3) * 1e-4),
            ("optimizer.moved.exp_avg", values(0.4) * 1e-6),
            ("optimizer.moved.step", Tensor::from(7i64)),
        ];
        let state: Vec<(String, Tensor)> = state.into_iter().map(|(name, t)| (name.into(), t)).collect();
        let text = "{ \"epoch\": 3 }".to_string();
        store::write(&file, &state, text.clone()).unwrap();
        let squeezed = compact(&file, &origin).unwrap();
        expand(&squeezed, &origin, &again).unwrap();
        let (tensors, read) = store::read(&again).unwrap();
        assert_eq!((tensors.len(), read), (state.len(), text));
        for (name, value) in &state {
            let apart = (value - &tensors[name]).abs().max().double_value(&[]);
            let bound = match name.as_str() {
                "average.moved" => 1e-6,
                "optimizer.moved.exp_avg" => 1e-8,
                _ => 0.0,
            };
            assert!(apart <= bound, "{name}: {apart}");
        }
        // The frozen half and the teacher are not in it.
        assert!(squeezed.len() < 512 * 4 * 3, "{}", squeezed.len());
    }
}
