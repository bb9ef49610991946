//! Log lines: a readable message plus dotted fields with units, on standard error.
//!
//! Prompts, responses and keys are never logged.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// A filter that cannot be read, or a subscriber that is already there.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in `tracing`'s syntax.
    #[error("log filter: got {given:?}: {source}; allowed: such as info or pref=debug,sqlx=warn")]
    Filter {
        /// The filter as given.
        given: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process logs already.
    #[error(transparent)]
    Init(#[from] TryInitError),
}

/// Logs what `filter` lets through (`info`, `pref=debug,sqlx=warn`, …) to standard error, for the whole process.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| TelemetryError::Filter { given: filter.to_owned(), source })?;
    let lines = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with(layer.with_ansi(io::stderr().is_terminal())).try_init()?,
        LogFormat::Json => lines.with(layer.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}
