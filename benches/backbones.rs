//! A backbone's own time for a set of texts, for `benches/peers/backbones.py`, which sets it beside its peers.
//!
//! `cargo bench --bench backbones -- DIR TEXTS.jsonl DEVICE DTYPE` opens the backbone, says `{"ready": …}`, and then embeds all texts,
//! given as lines `{"prompt", "response"}`, for every line on standard input: `together` in one call, `single` in a call
//! each. Every answer is a line with the seconds that it took, those of all processors, and the tokens; `vectors` prints
//! the embeddings themselves.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::time::Instant;

use anyhow::{Context, bail};
use pref::model::{Backbone, BackboneOptions, Embedding, ModelError, Text, open_backbone};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Line {
    prompt: String,
    response: String,
}

fn main() -> anyhow::Result<()> {
    // cargo puts `--bench` behind the arguments.
    let given: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [directory, texts, device, dtype] = given.as_slice() else {
        bail!("usage: backbones DIR TEXTS.jsonl DEVICE DTYPE")
    };
    let options =
        BackboneOptions { device: device.parse()?, dtype: dtype.parse()?, ..BackboneOptions::default() };
    let file = BufReader::new(File::open(texts).with_context(|| texts.clone())?);
    let lines: Vec<Line> =
        file.lines().map(|line| Ok(serde_json::from_str(&line?)?)).collect::<anyhow::Result<_>>()?;
    let texts: Vec<_> = lines.iter().map(|line| Text::new(&line.prompt, &line.response)).collect();

    let opened = Instant::now();
    let backbone = open_backbone(directory, &options)?;
    let answer = |answer: serde_json::Value| writeln!(std::io::stdout(), "{answer}");
    answer(json!({"ready": opened.elapsed().as_secs_f64(), "resident_bytes": status("VmRSS:")?,
                  "peak_bytes": status("VmHWM:")?}))?;
    for command in std::io::stdin().lines() {
        let (started, processors) = (Instant::now(), processor_seconds()?);
        let embeddings = match command?.as_str() {
            "together" => backbone.embed(&texts)?,
            "single" => one_by_one(&*backbone, &texts)?,
            "vectors" => {
                let vectors: Vec<_> = backbone.embed(&texts)?.into_iter().map(|one| one.vector).collect();
                answer(json!({"vectors": vectors}))?;
                continue;
            }
            other => bail!("{other:?}: got an unknown command; allowed: together, single, vectors"),
        };
        let tokens: usize = embeddings.iter().map(|embedding| embedding.tokens).sum();
        answer(json!({"seconds": started.elapsed().as_secs_f64(), "tokens": tokens,
                      "processors": processor_seconds()? - processors, "resident_bytes": status("VmRSS:")?}))?;
    }
    Ok(())
}

fn one_by_one(backbone: &dyn Backbone, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
    texts.iter().map(|text| Ok(backbone.embed(std::slice::from_ref(text))?.remove(0))).collect()
}

/// Bytes of a line of /proc/self/status, `VmRSS:   123 kB`.
fn status(name: &str) -> anyhow::Result<u64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

/// Seconds of all threads of this process so far: fields 14 and 15 of /proc/self/stat, in hundredths.
fn processor_seconds() -> anyhow::Result<f64> {
    let text = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}
