use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;

use crate::evaluate::Chart;

/// Where figures go beside the screen.
#[derive(Debug, clap::Args)]
pub(super) struct Outputs {
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw them to this SVG file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl Outputs {
    /// Finds out before the minutes of work whether their end can be written; leaves no file behind.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        for (option, path) in [("--json", &self.json), ("--plot", &self.plot)] {
            let Some(path) = path else { continue };
            let new = !path.exists();
            std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(path)
                .with_context(|| format!("{option}: cannot write {}", path.display()))?;
            if new {
                std::fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
            }
        }
        Ok(())
    }

    pub(super) fn write(
        &self,
        figures: &impl Serialize,
        chart: impl FnOnce() -> Chart,
    ) -> anyhow::Result<()> {
        if let Some(path) = &self.plot {
            write(path, chart().svg()?.as_bytes())?;
        }
        if let Some(path) = &self.json {
            write(path, &serde_json::to_vec_pretty(figures).context("the figures have no JSON form")?)?;
        }
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
