//! The `pref` binary: see [`pref::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    pref::cli::run()
}
