use std::io::{BufWriter, Write};

use serde::Serialize;

use super::Global;
use super::opening::Opening;
use super::texts::{Lines, OwnedText};
use crate::model::open_backbone;

/// Prints a backbone's embedding of each line of standard input, to check it against another implementation.
///
/// A line is {"text": …}, embedded as it stands, or {"prompt": …, "response": …}. The answer to it is a line
/// {"embedding": […], "tokens": n}.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// lexical, minilm, a directory in Hugging Face layout (static embeddings, BERT, Qwen2 or Llama), a GGUF
    /// file, a hub id, or several joined by +.
    #[arg(long)]
    backbone: String,
    #[command(flatten)]
    opening: Opening,
}

#[derive(Serialize)]
struct Line<'a> {
    embedding: &'a [f32],
    tokens: usize,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let backbone = open_backbone(&args.backbone, &args.opening.options())?;
    let mut out = BufWriter::new(super::output::stdout());
    Lines::TextsOrResponses.read(std::io::stdin().lock(), |texts| {
        let texts: Vec<_> = texts.iter().map(OwnedText::borrow).collect();
        for embedding in backbone.embed(&texts)? {
            serde_json::to_writer(
                &mut out,
                &Line { embedding: &embedding.vector, tokens: embedding.tokens },
            )?;
            writeln!(out)?;
        }
        Ok(out.flush()?)
    })
}
