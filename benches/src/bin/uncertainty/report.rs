//! The tables.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::Context;
use umedsam::metrics::{Calibration, RiskCoverage, group};
use umedsam::{Model, Session};
use umedsam_benches::machine;

use crate::Arguments;
use crate::measure::{Boxes, Findings, Found, Object, Scores};

/// Share of the objects that is kept.
const COVERAGE: f64 = 0.8;

/// A line for each object and number of boxes.
pub(crate) fn csv(findings: &[Findings], samples: &[usize]) -> String {
    let mut text = String::from("folder,boxes,case,object,samples,dsc,predicted_iou,agreement,expected_dice,score\n");
    for Findings { fitted, boxes, found } in findings {
        let folder = if *fitted { "fit" } else { "judge" };
        for object in &found.objects {
            for (samples, s) in samples.iter().zip(&object.scores) {
                let _ = writeln!(
                    text,
                    "{folder},{},{},{},{samples},{:.5},{:.5},{:.5},{:.5},{:.5}",
                    boxes.name(),
                    object.case,
                    object.index + 1,
                    s.dsc,
                    s.predicted_iou,
                    s.agreement,
                    s.expected_dice,
                    s.score
                );
            }
        }
    }
    text
}

pub(crate) fn markdown(
    model: &Model,
    session: &Session,
    arguments: &Arguments,
    samples: &[usize],
    findings: &[Findings],
) -> anyhow::Result<String> {
    let mut text = format!("## Uncertainty at inference (`uncertainty`)\n\n{}", machine::description(&[]));
    let manifest = model.manifest();
    let _ = writeln!(
        text,
        "- {} in {}; at most {} objects of an image; sides moved outwards by up to {} pixels of the grid or {} of the longer side, inwards by half of that, \
         seed {}\n- r: correlation with the true DSC; AURC: area under the risk-coverage curve, where risk is 1 - DSC, in \
         brackets that of the true order; at 80 %: mean DSC of the surest 80 % of the objects, and the gain over all\n\
         - ECE: expected calibration error of the pixels within the box, before and after a temperature fitted on the images \
         of training\n- time: all boxes of an object, decoded 4 at a time (a single one, too) and averaged, as a share of one encode",
        manifest.name,
        arguments.precision.unwrap_or(manifest.storage.precision()),
        arguments.objects,
        arguments.pixels,
        arguments.share,
        arguments.seed
    );
    for fitted in [false, true] {
        let of = if fitted { "the images of training" } else { "images of their own" };
        for Findings { boxes, found, .. } in findings.iter().filter(|f| f.fitted == fitted) {
            let _ = writeln!(
                text,
                "\n{} boxes, {of} ({} images, {} without truth of their boxes, {} objects):\n\n| from | r | AURC | mean DSC \
                 | at 80 % | ECE | temperature | time |\n|---|---|---|---|---|---|---|---|",
                if *boxes == Boxes::Exact { "Exact" } else { "Loose" },
                found.images,
                found.left_out,
                found.objects.len()
            );
            for (i, samples) in samples.iter().enumerate() {
                let (time, pixels) = &found.runs[i];
                let fit = findings.iter().find(|f| f.fitted && f.boxes == *boxes).context("images to fit on")?;
                let temperature = fit.found.runs[i].1.temperature();
                let encodes = (found.images - found.left_out) as f64;
                let share = time.as_secs_f64() / found.objects.len() as f64 / (found.encode.as_secs_f64() / encodes);
                let rest = format!(
                    "| {:.4}, {:.4} | {temperature:.2} | {:.0} %",
                    pixels.error(1.0),
                    pixels.error(temperature),
                    100.0 * share
                );
                let name = |what: &str| format!("{what}, {}", named(*samples));
                line(&mut text, &name("predicted IoU"), found, |o| o.scores[i], |s| s.predicted_iou, "| | | ")?;
                line(&mut text, &name("agreement"), found, |o| o.scores[i], |s| s.agreement, "| | | ")?;
                line(&mut text, &name("expected Dice"), found, |o| o.scores[i], |s| s.expected_dice, "| | | ")?;
                line(&mut text, &name("**score**"), found, |o| o.scores[i], |s| s.score, &rest)?;
            }
        }
    }
    let judged = || findings.iter().filter(|f| !f.fitted);
    for Findings { boxes, found, .. } in judged() {
        rows(&mut text, boxes.name(), found, samples);
    }
    let seconds = session.stats();
    let _ = writeln!(
        text,
        "\n{} encodes of {:.0} ms, {} decodes of {:.1} ms.",
        seconds.encodes,
        seconds.encode.as_secs_f64() * 1e3 / seconds.encodes.max(1) as f64,
        seconds.decodes,
        seconds.decode.as_secs_f64() * 1e3 / seconds.decodes.max(1) as f64
    );
    Ok(text)
}

fn named(samples: usize) -> String {
    if samples == 1 { "1 box".into() } else { format!("{samples} boxes") }
}

/// What a confidence is worth.
fn line(
    text: &mut String,
    name: &str,
    found: &Found,
    of: impl Fn(&Object) -> Scores,
    confidence: impl Fn(&Scores) -> f64,
    rest: &str,
) -> anyhow::Result<()> {
    let pairs: Vec<(f64, f64)> = found.objects.iter().map(&of).map(|s| (confidence(&s), s.dsc)).collect();
    let ideal: Vec<(f64, f64)> = pairs.iter().map(|&(_, dsc)| (dsc, dsc)).collect();
    let curve = RiskCoverage::new(&pairs).context("a confidence is NaN")?;
    let ideal = RiskCoverage::new(&ideal).context("a DSC is NaN")?;
    let r = Calibration::new(&pairs).and_then(|c| c.correlation).map_or("-".into(), |r| format!("{r:.3}"));
    let (all, kept) = (100.0 * curve.quality(1.0), 100.0 * curve.quality(COVERAGE));
    let _ = writeln!(
        text,
        "| {name} | {r} | {:.4} ({:.4}) | {all:.2} | {kept:.2} ({:+.2}) {rest} |",
        curve.area(),
        ideal.area(),
        kept - all
    );
    Ok(())
}

/// Mean DSC of the masks of one box and of the mean, by modality.
fn rows(text: &mut String, boxes: &str, found: &Found, samples: &[usize]) {
    let names: Vec<String> = samples.iter().map(|k| named(*k)).collect();
    let _ = writeln!(
        text,
        "\nMean DSC of the masks, {boxes} boxes, images of their own:\n\n| row | objects | {} |\n|---|---|{}",
        names.join(" | "),
        "---|".repeat(samples.len())
    );
    let mut groups: BTreeMap<&str, Vec<&Object>> = BTreeMap::new();
    for object in &found.objects {
        groups.entry(group(&object.case).0).or_default().push(object);
    }
    groups.insert("all", found.objects.iter().collect());
    for (row, objects) in groups {
        let mean =
            |of: &dyn Fn(&Object) -> f64| 100.0 * objects.iter().map(|o| of(o)).sum::<f64>() / objects.len() as f64;
        let single = mean(&|o| o.scores[0].dsc);
        let cells: Vec<String> = (0..samples.len())
            .map(|i| mean(&|o| o.scores[i].dsc))
            .enumerate()
            .map(|(i, dsc)| if i == 0 { format!("{dsc:.2}") } else { format!("{dsc:.2} ({:+.2})", dsc - single) })
            .collect();
        let _ = writeln!(text, "| {row} | {} | {} |", objects.len(), cells.join(" | "));
    }
}
