//! Printing of the commands, which goes on when nobody reads it.
//!
//! A reader that closes the pipe (`| head -1`) or a full disk must not end the work: what is printed after the first
//! failure is dropped. A failure other than a closed pipe is reported once on standard error, and a command that prints
//! its result fails by it ([`lost`]).

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::prelude::v1::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints a line on standard output, as `println!` does, but does not panic if that fails
/// ([`terminal`](crate::terminal)).
#[macro_export]
macro_rules! outln {
    ($($text:tt)*) => { $crate::terminal::out(::core::format_args!($($text)*)) };
}

/// Prints a line on standard error, as `eprintln!` does, but does not panic if that fails
/// ([`terminal`](crate::terminal)).
#[macro_export]
macro_rules! errln {
    ($($text:tt)*) => { $crate::terminal::err(::core::format_args!($($text)*)) };
}

/// Whether standard output took everything so far.
static OPEN: AtomicBool = AtomicBool::new(true);

/// Whether something printed was lost otherwise than by a reader that closed the pipe.
static LOST: AtomicBool = AtomicBool::new(false);

/// Whether something that was to be printed on standard output was lost, as by a full disk; a reader that closed the pipe
/// wanted no more.
pub fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Prints a line on standard output; [`outln!`](crate::outln) calls it.
pub fn out(line: fmt::Arguments<'_>) {
    if !OPEN.load(Ordering::Relaxed) {
        return;
    }
    let mut stdout = io::stdout().lock();
    if let Err(error) = writeln!(stdout, "{line}").and_then(|()| stdout.flush())
        && OPEN.swap(false, Ordering::Relaxed)
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.store(true, Ordering::Relaxed);
        err(format_args!("standard output: {error}; nothing more is printed there, the work goes on"));
    }
}

/// Prints a line on standard error; [`errln!`](crate::errln) calls it.
pub fn err(line: fmt::Arguments<'_>) {
    // Nobody is left to tell.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// An error and its causes in one line. A cause is left out if the text before it already ends with it.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text += ": ";
            text += &more;
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Link {
        text: &'static str,
        source: Option<Box<Link>>,
    }

    #[test]
    fn a_cause_is_told_once() {
        let link = |text, source: Option<Link>| Link { text, source: source.map(Box::new) };
        let told = link("model: gone", Some(link("gone", Some(link("disk", None)))));
        assert_eq!(chain(&told), "model: gone: disk");
        assert_eq!(chain(&link("a", Some(link("b", None)))), "a: b");
    }
}
