use std::path::PathBuf;

use anyhow::Context;

use super::Global;
use super::synth::write_lines;
use crate::train::{Limits, Quadrant, SplitConfig, read_dataset, split};

/// Split a preference file by users and prompts into the four quadrants of §5.
///
/// Writes train.jsonl (seen users, seen prompts), validation.jsonl (the same users, other prompts), calibration.jsonl
/// (other users, the same prompts) and test.jsonl (both other). Where there is one prompt, pairs are split instead.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Preference files: JSON lines, .gz too.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Share of the users who are held out.
    #[arg(long, default_value_t = SplitConfig::default().users)]
    users: f64,
    /// Share of the prompts that are held out; of the pairs, where there is one prompt.
    #[arg(long, default_value_t = SplitConfig::default().prompts)]
    prompts: f64,
    /// Seed of the draw.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Directory for the four files; made if it is not there.
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let data = read_dataset(&args.files, Limits::default())?;
    let parts = split(&data, &SplitConfig { users: args.users, prompts: args.prompts, seed: args.seed })?;
    std::fs::create_dir_all(&args.output)
        .with_context(|| format!("{}: cannot be made", args.output.display()))?;
    let mut summary = serde_json::Map::new();
    for quadrant in Quadrant::ALL {
        let rows = parts.rows(quadrant);
        let path = args.output.join(format!("{}.jsonl", quadrant.name()));
        write_lines(&path, rows.iter().map(|&row| data.judgment(&data.rows()[row])))?;
        summary.insert(quadrant.name().to_owned(), rows.len().into());
        if !args.json {
            println!("{:<12} {:>8} judgments  {}", quadrant.name(), rows.len(), path.display());
        }
    }
    summary.insert("by_pair".to_owned(), parts.by_pair.into());
    summary.insert("equal_skipped".to_owned(), data.equal().into());
    if args.json {
        println!("{}", serde_json::Value::Object(summary));
    } else {
        if parts.by_pair {
            println!("There is one prompt, so pairs were split instead of prompts.");
        }
        if data.equal() > 0 {
            println!("{} lines compare a text with itself and were left out.", data.equal());
        }
    }
    Ok(())
}
