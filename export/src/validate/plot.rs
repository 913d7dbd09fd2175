//! The report's plots, as SVG.

use std::fmt::Write as _;

use umedsam::{Validation, ValidationRow};

use super::CaseRecord;

/// Text that is safe between tags and in attributes.
pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// Differences of the rows' DSC with their intervals, in points, and what is allowed.
pub(super) fn differences(v: &Validation) -> String {
    const LEFT: f64 = 130.0;
    const WIDTH: f64 = 560.0;
    let ends = v.rows.iter().flat_map(|r| r.dsc_difference).fold(2.5 * v.tolerance, |m, d| m.max(d.abs()));
    // An interval far out must not press the rest together.
    let most = 100.0 * ends.clamp(1e-4, 20.0 * v.tolerance.max(1e-4));
    let at = |d: f64| LEFT + WIDTH * (0.5 + (100.0 * d / most).clamp(-1.0, 1.0) / 2.0);
    let height = 24.0 * v.rows.len() as f64 + 40.0;
    let bottom = height - 28.0;
    let mut svg = format!("<svg viewBox=\"0 0 720 {height}\" role=\"img\" aria-label=\"differences of DSC\">");
    let mut line = |class: &str, x: f64| {
        let _ = write!(svg, "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"4\" x2=\"{x:.1}\" y2=\"{bottom}\"/>");
    };
    line("axis", at(0.0));
    line("bound", at(-v.tolerance));
    line("bound far", at(-2.0 * v.tolerance));
    for (i, r) in v.rows.iter().enumerate() {
        let y = 18.0 + 24.0 * i as f64;
        let bound = if i + 1 == v.rows.len() { v.tolerance } else { 2.0 * v.tolerance };
        let class = if r.dsc_difference[0] < -bound { "bad" } else { "good" };
        let [mean, low, high] = r.dsc_difference.map(at);
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><line class=\"{class}\" x1=\"{low:.1}\" y1=\"{y}\" \
             x2=\"{high:.1}\" y2=\"{y}\"/><circle class=\"{class}\" cx=\"{mean:.1}\" cy=\"{y}\" r=\"4\"/>",
            LEFT - 8.0,
            y + 4.0,
            escape(&r.row)
        );
    }
    for (d, anchor, text) in [
        (-most / 100.0, "start", format!("{:.1}", -most)),
        (-v.tolerance, "end", "tolerance".into()),
        (0.0, "start", "0".into()),
        (most / 100.0, "end", format!("+{most:.1} points")),
    ] {
        let _ = write!(svg, "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>", at(d), height - 10.0);
    }
    svg + "</svg>"
}

/// DSC of every object, reference across and model up.
pub(super) fn scatter(cases: &[CaseRecord], rows: &[ValidationRow]) -> String {
    let at = |dsc: f64| 40.0 + 320.0 * dsc.clamp(0.0, 1.0);
    let mut svg = String::from(
        "<svg viewBox=\"0 0 400 400\" role=\"img\" aria-label=\"DSC of objects\"><rect class=\"frame\" x=\"40\" y=\"40\" \
         width=\"320\" height=\"320\"/><line class=\"axis\" x1=\"40\" y1=\"360\" x2=\"360\" y2=\"40\"/><line class=\"bound far\" \
         x1=\"104\" y1=\"360\" x2=\"360\" y2=\"104\"/>",
    );
    for case in cases {
        let row = case.row();
        let hue = rows.iter().position(|r| r.row == row).unwrap_or(0) * 360 / rows.len().max(1);
        for object in &case.objects {
            let [x, y] = [at(object.dsc[0]), 400.0 - at(object.dsc[1])];
            let _ = write!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\" fill=\"hsl({hue} 65% 50%)\" fill-opacity=\"0.6\"/>"
            );
        }
    }
    svg + "<text x=\"200\" y=\"388\" text-anchor=\"middle\">DSC of the reference</text><text x=\"16\" y=\"200\" \
           text-anchor=\"middle\" transform=\"rotate(-90 16 200)\">DSC of the model</text></svg>"
}

/// How many objects agree how well.
pub(super) fn agreements(cases: &[CaseRecord]) -> String {
    const EDGES: [f64; 7] = [0.0, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995];
    let mut counts = [0usize; EDGES.len()];
    for object in cases.iter().flat_map(|c| &c.objects) {
        let bin = EDGES.iter().rposition(|&edge| object.agreement >= edge).unwrap_or(0);
        counts[bin] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let mut svg = String::from("<svg viewBox=\"0 0 400 400\" role=\"img\" aria-label=\"agreement of masks\">");
    for (i, (&count, edge)) in counts.iter().zip(EDGES).enumerate() {
        let height = 300.0 * count as f64 / most as f64;
        let (x, y) = (30.0 + 50.0 * i as f64, 350.0 - height);
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{x}\" y=\"{y:.1}\" width=\"42\" height=\"{height:.1}\"/><text x=\"{}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{count}</text><text x=\"{}\" y=\"368\" text-anchor=\"middle\">{edge}+</text>",
            x + 21.0,
            y - 6.0,
            x + 21.0
        );
    }
    svg + "<text x=\"200\" y=\"388\" text-anchor=\"middle\">DSC of the model's mask with the reference's</text></svg>"
}
