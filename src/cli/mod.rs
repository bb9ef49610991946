//! The command line, one subcommand a file.
//!
//! A subcommand parses, calls the rooms, and prints: results on standard output, progress and errors on standard
//! error. It holds no logic that another room could want.

// First: its macros are for the modules after it.
#[macro_use]
mod output;

mod ask;
mod base_functions;
mod client;
mod complete;
mod config_check;
mod describe;
mod doctor;
mod embed;
mod evaluate;
mod export;
mod health;
mod import;
mod in_words;
mod keys;
mod migrate;
mod opening;
mod quickstart;
mod score;
mod serve;
mod split;
mod synth;
mod texts;
mod train;
mod tune;
mod value_head;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Personalise any chat product in about ten questions.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every subcommand takes. `--json` is each command's own: a flag where it prints, a file where it reports.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// Where pref keeps its database, models and caches.
    #[arg(long, global = true, env = "PREF_DATA_DIR", default_value = "data", value_name = "DIR")]
    pub data_dir: PathBuf,
}

// Each subcommand is a file of this room with `pub(super) struct Args` (clap derive) and
// `pub(super) fn run(args: Args, global: &Global) -> anyhow::Result<()>`.
#[derive(Debug, Subcommand)]
enum Command {
    Ask(ask::Args),
    Complete(complete::Args),
    ConfigCheck(Box<config_check::Args>),
    Describe(describe::Args),
    Doctor(Box<doctor::Args>),
    Embed(embed::Args),
    Evaluate(Box<evaluate::Args>),
    Export(export::Args),
    Health(health::Args),
    Import(import::Args),
    Keys(keys::Args),
    Migrate(migrate::Args),
    Quickstart(Box<quickstart::Args>),
    Score(score::Args),
    Serve(Box<serve::Args>),
    Split(split::Args),
    Synth(synth::Args),
    Train(train::Args),
}

/// Runs the command that the process was started with; errors go to standard error.
pub fn run() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let result = match command {
        Command::Ask(args) => ask::run(args, &global),
        Command::Complete(args) => complete::run(args, &global),
        Command::ConfigCheck(args) => config_check::run(*args, &global),
        Command::Describe(args) => describe::run(args, &global),
        Command::Doctor(args) => doctor::run(*args, &global),
        Command::Embed(args) => embed::run(args, &global),
        Command::Evaluate(args) => evaluate::run(*args, &global),
        Command::Export(args) => export::run(args, &global),
        Command::Health(args) => health::run(args, &global),
        Command::Import(args) => import::run(args, &global),
        Command::Keys(args) => keys::run(args, &global),
        Command::Migrate(args) => migrate::run(args, &global),
        Command::Quickstart(args) => quickstart::run(*args, &global),
        Command::Score(args) => score::run(args, &global),
        Command::Serve(args) => serve::run(*args, &global),
        Command::Split(args) => split::run(args, &global),
        Command::Synth(args) => synth::run(args, &global),
        Command::Train(args) => train::run(args, &global),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", output::in_full(&error));
            ExitCode::FAILURE
        }
    }
}
