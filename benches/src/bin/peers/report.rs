//! Figures as tables and as JSON.

use std::fmt::Write;

use serde::Serialize;
use umedsam_benches::machine;

use crate::contender::BASE;
use crate::measure::{Figures, STAGES};

/// One stage of one contender.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    runtime: &'static str,
    precision: &'static str,
    stage: &'static str,
    threads: usize,
    min_ms: f64,
    median_ms: f64,
    /// Of the minimum to the base's on one thread.
    ratio: Option<f64>,
    rss_mb: f64,
    cold_start_ms: f64,
    dsc_mean: Option<f64>,
    dsc_worst: Option<f64>,
}

/// All figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    rows: Vec<Row>,
    versions: Vec<(String, String)>,
    rounds: usize,
    threads: Vec<usize>,
}

impl Report {
    pub(crate) fn new(figures: &[Figures], rounds: usize) -> Self {
        let base = figures.iter().find(|f| f.contender == BASE && f.threads == 1);
        let mut rows = Vec::new();
        let mut versions: Vec<(String, String)> = Vec::new();
        let mut threads = Vec::new();
        for f in figures {
            let version = (f.contender.runtime.to_owned(), f.version.clone());
            if !versions.contains(&version) {
                versions.push(version);
            }
            if !threads.contains(&f.threads) {
                threads.push(f.threads);
            }
            for (i, (stage, ms)) in STAGES.into_iter().zip(&f.ms).enumerate() {
                rows.push(Row {
                    runtime: f.contender.runtime,
                    precision: f.contender.precision,
                    stage,
                    threads: f.threads,
                    min_ms: ms[0],
                    median_ms: ms[ms.len() / 2],
                    ratio: base.map(|base| ms[0] / base.ms[i][0]),
                    rss_mb: f.peak_mb,
                    cold_start_ms: f.cold_ms,
                    dsc_mean: f.agreement.map(|(mean, _)| mean),
                    dsc_worst: f.agreement.map(|(_, worst)| worst),
                });
            }
        }
        Self { rows, versions, rounds, threads }
    }

    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// The machine, and a table for each number of threads.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("## Other runtimes (`peers`)\n\n{}", machine::description(&self.versions));
        let _ = writeln!(
            text,
            "- {} encodes, {} decodes of each, alternating; each cell: minimum / median in ms (minimum as a multiple of \
             onnxruntime's, f32, 1 thread)\n- agreement: DSC with the masks of onnxruntime in f32, mean / worst",
            self.rounds,
            (self.rounds * 5 / 2).max(1)
        );
        for &threads in &self.threads {
            let plural = if threads == 1 { "" } else { "s" };
            let _ = write!(
                text,
                "\n{threads} thread{plural}:\n\n| runtime | precision | encode | decode, 1 box | decode, 16 boxes | cold \
                 start | peak MB | agreement |\n|---|---|---|---|---|---|---|---|\n"
            );
            let rows: Vec<&Row> = self.rows.iter().filter(|r| r.threads == threads).collect();
            for stages in rows.chunks_exact(STAGES.len()) {
                let cells: Vec<String> = stages.iter().map(|r| r.cell()).collect();
                let row = stages[0];
                let _ = writeln!(
                    text,
                    "| {} | {} | {} | {:.2} s | {:.0} | {} |",
                    row.runtime,
                    row.precision,
                    cells.join(" | "),
                    row.cold_start_ms / 1e3,
                    row.rss_mb,
                    row.agreement()
                );
            }
        }
        text
    }
}

impl Row {
    fn cell(&self) -> String {
        let ratio = self.ratio.map(|ratio| format!(" ({ratio:.2})")).unwrap_or_default();
        let digits = usize::from(self.min_ms < 100.0);
        format!("{:.digits$} / {:.digits$}{ratio}", self.min_ms, self.median_ms)
    }

    fn agreement(&self) -> String {
        match (self.dsc_mean, self.dsc_worst) {
            (Some(mean), Some(worst)) => format!("{mean:.4} / {worst:.3}"),
            _ => "-".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contender::Contender;

    #[test]
    fn ratios_are_to_the_base_on_one_thread() {
        let ours = Contender { runtime: "umedsam", precision: "int8" };
        let figures = |contender, threads, ms: f64| Figures {
            contender,
            version: "1".into(),
            threads,
            ms: [vec![ms, ms * 3.0, ms * 9.0], vec![ms], vec![ms]],
            cold_ms: 1500.0,
            peak_mb: 100.4,
            agreement: None,
        };
        let all = [figures(ours, 1, 50.0), figures(BASE, 1, 200.0), figures(ours, 2, 30.0), figures(BASE, 2, 100.0)];
        let text = Report::new(&all, 3).markdown();
        let row =
            "| umedsam | int8 | 30.0 / 90.0 (0.15) | 30.0 / 30.0 (0.15) | 30.0 / 30.0 (0.15) | 1.50 s | 100 | - |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("- umedsam 1, onnxruntime 1\n"), "{text}");
    }
}
