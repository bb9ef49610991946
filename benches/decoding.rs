//! A language model's own time for writing, for `benches/peers/decoding.py`, which sets it beside its peers.
//!
//! `cargo bench --bench decoding -- DIR PROMPT` opens the model, says `{"ready": …}`, and answers lines on standard input, each with
//! the seconds from the request to its end and the tokens written: `plain COUNT TOKENS` writes so many completions of the prompt
//! side by side, `guided TOKENS` one that is steered among twenty tokens at every step, `prompt` reads the prompt and writes one token.

use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use pref::generate::{Generator, Guidance, LocalConfig, LocalGenerator, Prompt, Request, Sampling};
use pref::model::{BackboneOptions, LanguageModel};
use serde_json::json;

/// |A|, as the service has it.
const GUIDED_TOKENS: usize = 20;

fn main() -> anyhow::Result<()> {
    // cargo puts `--bench` behind the arguments.
    let given: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [directory, prompt] = given.as_slice() else { bail!("usage: decoding DIR PROMPT") };
    let opened = Instant::now();
    let model = Arc::new(LanguageModel::open(directory, &BackboneOptions::default())?);
    let generator = LocalGenerator::start(model.clone(), LocalConfig::default())?;
    let answer = |answer: serde_json::Value| writeln!(std::io::stdout(), "{answer}");
    answer(json!({"ready": opened.elapsed().as_secs_f64(), "prompt_tokens": model.encode(prompt)?.len()}))?;
    for command in std::io::stdin().lines() {
        let command = command?;
        let words: Vec<_> = command.split_whitespace().collect();
        let number =
            |at: usize| words.get(at).and_then(|word| word.parse().ok()).context("a number is missing");
        let (count, tokens, guided) = match words.first() {
            Some(&"plain") => (number(1)?, number(2)?, false),
            Some(&"guided") => (1, number(1)?, true),
            Some(&"prompt") => (1, 1, false),
            _ => bail!(
                "{command:?}: got an unknown command; allowed: plain COUNT TOKENS, guided TOKENS, prompt"
            ),
        };
        // A direction that changes nothing: only the work counts.
        let direction = vec![0.0; model.dimension()];
        let request = Request {
            prompt: Prompt::Raw(prompt.clone()),
            count,
            sampling: Sampling { max_tokens: tokens, ..Sampling::default() },
            seed: 0,
            guidance: guided.then_some(Guidance { direction, tokens: GUIDED_TOKENS }),
        };
        let started = Instant::now();
        let written = generator.generate(request)?.blocking_all()?;
        let seconds = started.elapsed().as_secs_f64();
        let tokens: usize =
            written.iter().filter_map(|completion| completion.tokens.as_ref()).map(Vec::len).sum();
        answer(json!({"seconds": seconds, "tokens": tokens}))?;
    }
    generator.shutdown();
    Ok(())
}
