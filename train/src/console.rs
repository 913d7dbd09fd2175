//! A run, on the terminal.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::stop;
use indicatif::{ProgressBar, ProgressStyle};
use tch::Device;
use umedsam::{errln, outln};
use umedsam_train::trainer::{Epoch, Event, Observer, Progress};

/// Skipped cases that are named one by one.
const NAMED: usize = 5;

/// How often a line tells where a run is, where standard error is no terminal.
const EVERY: Duration = Duration::from_secs(30);

/// Prints a line for every epoch, and in between shows a bar, or a line now and then where standard error is no terminal.
pub(crate) struct Console {
    bar: ProgressBar,
    stage: &'static str,
    /// When a line was printed last, where standard error is no terminal.
    told: Option<Instant>,
}

impl Console {
    pub(crate) fn new(device: Device, ranks: usize) -> Self {
        let on = match device {
            Device::Cpu => format!("CPU, {} threads", tch::get_num_threads()),
            other => format!("{other:?}"),
        };
        let ranks = if ranks > 1 { format!(", {ranks} ranks") } else { String::new() };
        errln!("device: {on}{ranks}");
        let told = (!std::io::stderr().is_terminal()).then(Instant::now);
        Self { bar: ProgressBar::hidden(), stage: "", told }
    }

    /// The bar of a stage, begun anew with each.
    pub(crate) fn bar(&mut self, stage: &'static str, done: usize, total: usize, message: String) {
        if let Some(told) = &mut self.told {
            if told.elapsed() >= EVERY {
                errln!("{stage} {done}/{total} {message}");
                *told = Instant::now();
            }
            return;
        }
        if self.stage != stage {
            self.stage = stage;
            self.bar = ProgressBar::new(total as u64);
            let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {msg} ({eta} left)");
            if let Ok(style) = style {
                self.bar.set_style(style);
            }
            self.bar.set_prefix(stage);
            self.bar.enable_steady_tick(Duration::from_millis(500));
        }
        self.bar.set_message(message);
        self.bar.set_position(done as u64);
    }

    pub(crate) fn end(&mut self) {
        self.bar.finish_and_clear();
        self.stage = "";
    }
}

impl Observer for Console {
    fn observe(&mut self, event: Event<'_>) -> ControlFlow<()> {
        match event {
            Event::Reading { done, total } => self.bar("reading", done, total, String::new()),
            Event::Cases { folder, cases, skipped } => {
                self.end();
                errln!("{}: {cases} cases, {} passed over", folder.display(), skipped.len());
                for case in skipped.iter().take(NAMED) {
                    errln!("  {}: {}", case.path.display(), case.problem);
                }
                if skipped.len() > NAMED {
                    errln!("  and {} more: skipped.txt", skipped.len() - NAMED);
                }
            }
            Event::Step(progress) => {
                self.bar("training", progress.step as usize, progress.steps as usize, line(progress));
            }
            Event::Uncapped { modalities, cap } => {
                errln!("no data.caps of {}: data.default-cap ({cap}) counts", modalities.join(", "));
            }
            Event::FreshEncoder { weights } => {
                errln!("{}: an encoder of another size; this one begins with random weights", weights.display());
            }
            Event::Smaller { shortage, at_once } => {
                errln!("{shortage}; goes on with {at_once} samples at once, whose gradients are added up");
            }
            Event::Validating { done, total } => self.bar("validation", done, total, String::new()),
            Event::Epoch { epoch, best } => {
                self.end();
                outln!("{}{}", summary(epoch), if best { " *" } else { "" });
            }
            _ => {}
        }
        stop::asked()
    }
}

fn line(p: &Progress) -> String {
    let losses: Vec<String> = p.losses.iter().map(|(name, v)| format!("{name} {v:.3}")).collect();
    let sigmas: Vec<String> = p.sigmas.iter().map(|v| format!("{v:.3}")).collect();
    let sigmas = if sigmas.is_empty() { String::new() } else { format!(", sigma {}", sigmas.join(" ")) };
    let Progress { epoch, epochs, loss, samples_per_second, .. } = p;
    format!("epoch {epoch}/{epochs}: {loss:.3} ({}){sigmas}, {samples_per_second:.1} samples/s", losses.join(" "))
}

fn summary(epoch: &Epoch) -> String {
    let mut text = format!("epoch {:>3}", epoch.epoch);
    if let Some(loss) = epoch.loss {
        text += &format!("  loss {loss:.4}");
        for (name, value) in &epoch.losses {
            text += &format!("  {name} {value:.4}");
        }
    }
    if !epoch.sigmas.is_empty() {
        let sigmas: Vec<String> = epoch.sigmas.iter().map(|(name, v)| format!("{name} {v:.3}")).collect();
        text += &format!("  sigma {}", sigmas.join(" "));
    }
    if epoch.samples > 0 {
        text += &format!("  {:.1} samples/s", epoch.throughput());
    }
    if let Some(validation) = &epoch.validation {
        text += &format!("  DSC {:.2} %", 100.0 * validation.dsc);
        if let Some(nsd) = validation.nsd {
            text += &format!("  NSD {:.2} %", 100.0 * nsd);
        }
    }
    text
}
