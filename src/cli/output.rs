//! What this room prints, and what becomes of it where nobody reads on.
//!
//! The standard library's `println!` panics once the other end of a pipe has gone (`pref describe … | head`). Macros of
//! the same names take its place throughout this room: with a closed standard output the process ends quietly, as
//! SIGPIPE would end it; with a full disk it says so and fails; what standard error does not take is let go.

use std::fmt;
use std::io::{self, ErrorKind, Write};

macro_rules! print {
    ($($argument:tt)*) => { $crate::cli::output::print(format_args!($($argument)*)) };
}
macro_rules! println {
    () => { $crate::cli::output::print(format_args!("\n")) };
    ($($argument:tt)*) => { $crate::cli::output::print(format_args!("{}\n", format_args!($($argument)*))) };
}
macro_rules! eprintln {
    ($($argument:tt)*) => { $crate::cli::output::tell(format_args!("{}\n", format_args!($($argument)*))) };
}

/// What a shell reports of a process that SIGPIPE has ended: 128 + 13.
const CLOSED_PIPE: i32 = 141;

/// Standard output, for commands that write line after line.
pub(super) fn stdout() -> impl Write {
    Stdout(io::stdout().lock())
}

pub(super) fn print(arguments: fmt::Arguments<'_>) {
    if let Err(error) = stdout().write_fmt(arguments) {
        tell(format_args!("error: standard output: {error}\n"));
        std::process::exit(1);
    }
}

pub(super) fn tell(arguments: fmt::Arguments<'_>) {
    // There is nowhere left to say that standard error is gone.
    let _ = io::stderr().lock().write_fmt(arguments);
}

/// An error with its causes, each said once: many an error names its cause in its own words and as its source too.
pub(super) fn in_full(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

struct Stdout(io::StdoutLock<'static>);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).inspect_err(end_if_closed)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().inspect_err(end_if_closed)
    }
}

fn end_if_closed(error: &io::Error) {
    if error.kind() == ErrorKind::BrokenPipe {
        std::process::exit(CLOSED_PIPE);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_that_the_message_holds_is_not_said_again() {
        let inner = io::Error::new(ErrorKind::NotFound, "no such file");
        let error = Err::<(), _>(inner).context("x.jsonl: no such file").context("cannot train");
        assert_eq!(in_full(&error.unwrap_err()), "cannot train: x.jsonl: no such file");
        let error = Err::<(), _>(io::Error::other("refused")).context("cannot connect").unwrap_err();
        assert_eq!(in_full(&error), "cannot connect: refused");
    }
}
