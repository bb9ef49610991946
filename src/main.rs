//! The `pref` binary: see [`pref::cli`].

use std::process::ExitCode;

/// A call allocates often, and frees on another thread than it began on.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pref::cli::run()
}
