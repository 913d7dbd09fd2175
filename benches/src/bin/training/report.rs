//! The table.

use std::fmt::Write;

use umedsam_benches::machine;

use crate::alternate::Row;
use crate::{Arguments, Place};

/// What `tch` links: its build refuses another.
const LIBTORCH: &str = "2.11.0";

/// A run and what it was asked for.
pub(crate) struct Report<'a> {
    pub(crate) arguments: &'a Arguments,
    /// PyTorch's version, and the CUDA device's name.
    pub(crate) version: String,
    pub(crate) rows: &'a [Row],
}

impl Report<'_> {
    /// The machine, what a step is, and a row for each setting.
    pub(crate) fn markdown(&self) -> String {
        let Self { arguments, version, rows } = self;
        let versions =
            [("umedsam-train", env!("CARGO_PKG_VERSION")), ("libtorch", LIBTORCH), ("PyTorch", version.as_str())];
        let versions = versions.map(|(name, version)| (name.into(), version.into()));
        let mut text = format!("## A step of the training (`training`)\n\n{}", machine::description(&versions));
        let place = match arguments.device {
            Place::Cpu => format!("CPU, threads of each side: {}; **not run on CUDA**", arguments.threads),
            Place::Cuda(_) => "CUDA".into(),
        };
        let _ = writeln!(
            text,
            "- {place}\n\
             - f32, batches of {}, U-MedSAM's four losses, AdamW; SharpMin: SAM, two passes a step\n\
             - umedsam-train keeps freed memory, as its command does; PyTorch has the C library's defaults, as it comes\n\
             - {} steps of each side, {} for the whole model, alternating; each cell: minimum / median in ms (samples/s at \
             the median)\n\
             - ratio: ours to PyTorch's time, minimum / median; below 1 ours is faster\n\
             - loss: difference of the losses of both sides in the first step / the greatest in any step\n",
            arguments.batch, arguments.rounds, arguments.whole_rounds
        );
        text += "| trained | SharpMin | umedsam-train | PyTorch | ratio | loss |\n|---|---|---|---|---|---|\n";
        for row in *rows {
            let [ours, theirs] = [&row.ours, &row.pytorch].map(|times| (times.minimum(), times.median()));
            let cell = |(minimum, median): (f64, f64)| {
                let digits = if minimum < 1000.0 { 1 } else { 0 };
                let rate = arguments.batch as f64 * 1e3 / median;
                format!("{minimum:.digits$} / {median:.digits$} ({rate:.2})")
            };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {:.3} / {:.3} | {:.0e} / {:.0e} |",
                row.trained,
                if row.sharp_min { "yes" } else { "no" },
                cell(ours),
                cell(theirs),
                ours.0 / theirs.0,
                ours.1 / theirs.1,
                row.apart[0],
                row.apart[1]
            );
        }
        text
    }
}
