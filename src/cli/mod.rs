//! The command line, one subcommand a file.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Personalise any chat product in about ten questions.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

// Each subcommand is a file of this room with `pub(super) struct Args` (clap) and `pub(super) fn run(args: Args) -> anyhow::Result<()>`.
#[derive(Debug, Subcommand)]
enum Command {}

/// Runs the command that the process was started with; errors go to standard error.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {}
}
