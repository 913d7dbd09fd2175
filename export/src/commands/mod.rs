//! The longer commands, one a file.

pub(crate) mod pipeline;
pub(crate) mod quantize;
pub(crate) mod validate;

use indicatif::{ProgressBar, ProgressStyle};

/// Shows on standard error how far the work is, where that is a terminal.
fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{msg:20} {bar:30} {pos}/{len} ({eta} left)") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Tells a bar what is being done, and the steps done and in all.
fn show(bar: &ProgressBar) -> impl FnMut(&str, usize, usize) + '_ {
    |what, done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
        bar.set_message(what.to_owned());
    }
}
