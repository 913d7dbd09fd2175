//! The table.

use std::fmt::Write;

use umedsam_benches::machine;

use crate::Compare;
use crate::compare::{Figures, Row};

/// A run and what it was asked for.
pub(crate) struct Report<'a> {
    pub(crate) arguments: &'a Compare,
    pub(crate) figures: &'a Figures,
}

impl Report<'_> {
    /// The machine, the cases, and totals of the volumes and the images.
    pub(crate) fn markdown(&self) -> String {
        let Self { arguments, figures } = self;
        let mut text = format!("## The cases of the paper's Table 4 (`table4`)\n\n{}", machine::description(&[]));
        let loads = match figures.load_s {
            (ours, Some(upstream)) => format!("umedsam {ours:.1} s, upstream {upstream:.1} s"),
            (ours, None) => format!("umedsam {ours:.1} s"),
        };
        let _ = writeln!(
            text,
            "- {} threads; umedsam in {}, upstream's procedure in PyTorch (f32); synthetic images of the paper's sizes\n\
             - seconds from the NPZ file to the written `segs`, one run each, models loaded before ({loads})\n\
             - encodes: slices encoded by umedsam / by upstream; agreement: DSC of the two segmentations, mean / worst \
             label; the paper's seconds are of another machine and include starting",
            arguments.threads, arguments.precision
        );
        if arguments.scale < 1.0 {
            let _ = writeln!(
                text,
                "- **shortened**: depths and numbers of objects times {}; the paper's seconds are of whole cases",
                arguments.scale
            );
        }
        let extrapolated = |row: &Row| row.upstream.as_ref().is_some_and(|u| u.extrapolated());
        if let Some(slices) = arguments.upstream_slices
            && figures.rows.iter().any(extrapolated)
        {
            let _ = writeln!(text, "- *: extrapolated linearly from upstream's first {slices} slices of each object");
        }
        text += "\n| case | size | objects | encodes | umedsam s | upstream s | upstream / umedsam | agreement | paper s: \
                 LiteMedSAM, U-MedSAM |\n|---|---|---|---|---|---|---|---|---|\n";
        for row in &figures.rows {
            let size = row.shape.map(|n| n.to_string()).join("x");
            let (case, objects, ours, [lite, uncertain]) = (row.case, row.objects, row.umedsam_s, row.paper_s);
            let encodes = row.upstream.as_ref().map_or("-".into(), |u| u.encodes_in_all.to_string());
            let agreement = row.upstream.as_ref().and_then(|u| u.agreement);
            let agreement = agreement.map_or("-".into(), |(mean, worst)| format!("{mean:.4} / {worst:.3}"));
            let (upstream, ratio) = cells(ours, row.upstream.as_ref().map(|u| u.seconds), extrapolated(row));
            let _ = writeln!(
                text,
                "| {case} | {size} | {objects} | {} / {encodes} | {ours:.2} | {upstream} | {ratio} | {agreement} | {lite}, \
                 {uncertain} |",
                row.umedsam_encodes
            );
        }
        for (name, volume) in [("3D", true), ("2D", false)] {
            let rows: Vec<&Row> = figures.rows.iter().filter(|row| row.volume == volume).collect();
            if rows.is_empty() {
                continue;
            }
            let ours = rows.iter().map(|row| row.umedsam_s).sum();
            let upstream = rows.iter().map(|row| Some(row.upstream.as_ref()?.seconds)).sum();
            let (upstream, ratio) = cells(ours, upstream, rows.iter().any(|row| extrapolated(row)));
            let paper = [0, 1].map(|i| rows.iter().map(|row| row.paper_s[i]).sum::<f64>());
            let _ = writeln!(
                text,
                "| **{name}, {} cases** | | | | {ours:.2} | {upstream} | {ratio} | | {:.1}, {:.1} |",
                rows.len(),
                paper[0],
                paper[1]
            );
        }
        text
    }
}

/// Upstream's seconds and their ratio to ours, marked where extrapolated.
fn cells(ours: f64, upstream: Option<f64>, extrapolated: bool) -> (String, String) {
    let mark = if extrapolated { "*" } else { "" };
    upstream.map_or(("-".into(), "-".into()), |s| (format!("{s:.2}{mark}"), format!("{:.1}{mark}", s / ours)))
}
