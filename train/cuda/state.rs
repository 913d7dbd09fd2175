//! The state of a run in few bytes: what the weights that it began with hold already is left out, the optimizer's
//! averages and the distance of the moving average from the parameters are rounded to bf16.
//!
//! A run that goes on from it has the parameters to the bit, and steps that differ in their third digit at first.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tch::{Kind, Tensor};
use umedsam_train::store;

const MODEL: &str = "model.";
const TEACHER: &str = "teacher.";
const AVERAGE: &str = "average.";

/// Squeezed bytes of the state in `file`, of a run that began with `origin`.
pub(crate) fn compact(file: &Path, origin: &HashMap<String, Tensor>) -> anyhow::Result<Vec<u8>> {
    let (tensors, text) = store::read(file)?;
    let mut kept = Vec::new();
    for (name, value) in &tensors {
        let known =
            |prefix| name.strip_prefix(prefix).and_then(|name| origin.get(name)).is_some_and(|o| o.equal(value));
        if known(MODEL) || known(TEACHER) {
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
    let beside = file.with_extension("compact");
    store::write(&beside, &kept, text)?;
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
    let mut tensors: BTreeMap<String, Tensor> = BTreeMap::new();
    let taught = kept.keys().any(|name| name.starts_with(TEACHER)) || asks_teacher(&text)?;
    for (name, value) in origin {
        tensors.insert(format!("{MODEL}{name}"), value.shallow_clone());
        if taught {
            tensors.insert(format!("{TEACHER}{name}"), value.shallow_clone());
        }
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

/// Whether the run has a teacher, whose weights may be those that it began with.
fn asks_teacher(text: &str) -> anyhow::Result<bool> {
    let state: serde_json::Value = serde_json::from_str(text)?;
    let Some(terms) = state["config"]["loss"]["terms"].as_array() else { bail!("a state without loss.terms") };
    let terms: Vec<umedsam_train::loss::Term> = serde_json::from_value(terms.clone().into())?;
    Ok(terms.iter().any(|term| term.asks_teacher()))
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
        let text = serde_json::json!({ "config": { "loss": { "terms": ["dice", "distillation"] } } }).to_string();
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
