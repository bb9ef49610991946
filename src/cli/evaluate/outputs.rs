use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::evaluate::Chart;

/// Where figures go beside the screen.
#[derive(Debug, clap::Args)]
pub(super) struct Outputs {
    #[command(flatten)]
    json: Json,
    /// Also draw them to this SVG file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Json {
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Outputs {
    /// Finds out before the minutes of work whether their end can be written; leaves no file behind.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        self.json.check()?;
        check("--plot", self.plot.as_deref())
    }

    pub(super) fn write(
        &self,
        figures: &impl Serialize,
        chart: impl FnOnce() -> Chart,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.plot {
            write(path, chart().svg()?.as_bytes())?;
        }
        self.json.write(figures)
    }
}

impl Json {
    /// See [`Outputs::check`].
    pub(super) fn check(&self) -> anyhow::Result<()> {
        check("--json", self.json.as_deref())
    }

    pub(super) fn write(&self, figures: &impl Serialize) -> anyhow::Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        write(path, &serde_json::to_vec_pretty(figures).context("the figures have no JSON form")?)
    }
}

pub(super) fn check(option: &str, path: Option<&Path>) -> anyhow::Result<()> {
    let Some(path) = path else { return Ok(()) };
    let new = !path.exists();
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.with_context(|| format!("{option}: cannot write {}", path.display()))?;
    if new {
        std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

pub(super) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
