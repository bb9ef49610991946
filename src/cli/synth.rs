use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::Global;
use crate::evaluate::attributes::{Config, Population, RESPONSES, VERSION};

/// Make a data set of simulated people.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    set: Set,
}

#[derive(Debug, clap::Subcommand)]
enum Set {
    /// The paper's Attributes set (App. B.1): people who like two of seven attributes judge answers that have them.
    Attributes(AttributesArgs),
}

#[derive(Debug, clap::Args)]
struct AttributesArgs {
    /// People; beyond 84 kinds of taste repeat.
    #[arg(long, default_value_t = Config::default().users)]
    users: usize,
    /// Distinct comparisons.
    #[arg(long, default_value_t = Config::default().pairs)]
    pairs: usize,
    /// Share of the comparisons that each person judges.
    #[arg(long, default_value_t = Config::default().overlap)]
    overlap: f64,
    /// Temperature of the judge: 1 as calibrated, 0 never errs.
    #[arg(long, default_value_t = Config::default().noise)]
    noise: f64,
    /// Seed of texts, comparisons and judgments.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the judgments go: JSON lines, packed if the name ends in .gz.
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Where all prompts with all their answers go, in the same way.
    #[arg(long, value_name = "FILE")]
    pool: Option<PathBuf>,
    /// Print what was written as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let Set::Attributes(args) = args.set;
    let AttributesArgs { users, pairs, overlap, noise, seed, output, pool, json } = args;
    let population = Population::new(Config { users, pairs, overlap, noise }, seed)?;
    let judgments = population.judgments();
    write_lines(&output, &judgments)?;
    if let Some(path) = &pool {
        write_lines(path, population.pool())?;
    }
    let ties = judgments.iter().filter(|judgment| !judgment.is_decided()).count();
    let prompts = population.pool().len();
    if json {
        let summary = serde_json::json!({
            "set": VERSION, "seed": seed, "users": users, "pairs": pairs, "judgments": judgments.len(), "ties": ties,
            "prompts": prompts, "responses": prompts * RESPONSES,
        });
        println!("{summary}");
    } else {
        println!(
            "{VERSION}, seed {seed}: {} judgments ({ties} ties) by {users} people of {pairs} comparisons",
            judgments.len()
        );
        println!("judgments: {}", output.display());
        if let Some(path) = pool {
            println!("pool ({prompts} prompts, {RESPONSES} answers each): {}", path.display());
        }
    }
    Ok(())
}

/// Writes one JSON object a line, packed where the name ends in `.gz`.
pub(super) fn write_lines<T: Serialize>(
    path: &Path,
    lines: impl IntoIterator<Item = T>,
) -> anyhow::Result<()> {
    let file = || format!("{}: cannot be written", path.display());
    let plain = BufWriter::new(File::create(path).with_context(file)?);
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut packed = GzEncoder::new(plain, Compression::default());
        write_all(&mut packed, lines).with_context(file)?;
        packed.finish().and_then(|mut inner| inner.flush()).with_context(file)
    } else {
        let mut plain = plain;
        write_all(&mut plain, lines).and_then(|()| plain.flush()).with_context(file)
    }
}

fn write_all<T: Serialize>(to: &mut impl Write, lines: impl IntoIterator<Item = T>) -> std::io::Result<()> {
    for line in lines {
        serde_json::to_writer(&mut *to, &line)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::{Dataset, Limits, read_candidates, read_dataset};

    #[test]
    fn what_is_written_is_read_back_plain_and_packed() {
        let config = Config { users: 3, pairs: 40, overlap: 0.5, noise: 1.0 };
        let population = Population::new(config, 7).unwrap();
        let judgments = population.judgments();
        let digest = Dataset::from_judgments(&judgments).digest();
        let folder = tempfile::tempdir().unwrap();
        for name in ["data.jsonl", "data.jsonl.gz"] {
            let path = folder.path().join(name);
            write_lines(&path, &judgments).unwrap();
            assert_eq!(read_dataset(&[path], Limits::default()).unwrap().digest(), digest, "{name}");
        }
        let path = folder.path().join("pool.jsonl.gz");
        write_lines(&path, population.pool()).unwrap();
        assert_eq!(read_candidates(&[path], Limits::default()).unwrap(), population.pool());
    }
}
