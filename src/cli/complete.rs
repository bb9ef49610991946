use std::io::Write;
use std::sync::Arc;

use anyhow::bail;
use serde::Serialize;

use super::Global;
use crate::generate::{
    Completion, Event, Finish, Generator, LocalConfig, LocalGenerator, OpenAi, OpenAiConfig, Prompt, Request,
    Sampling,
};
use crate::model::{BackboneOptions, DeviceChoice, LanguageModel};

/// Completes a prompt with a language model, for nobody in particular: the way to check a generator.
///
/// The text is printed as it is written; with --json, one line of JSON for each completion when all are finished.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// local:DIR, a causal language model (Qwen2 or Llama) in Hugging Face layout, or local:ID of the hub; or openai:URL#MODEL, one
    /// behind an OpenAI-compatible address, whose key is read from OPENAI_API_KEY.
    #[arg(long, value_name = "GENERATOR")]
    generator: String,
    /// Where it runs: auto, cpu, cuda:N or metal:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Look for the model's files on this machine only.
    #[arg(long)]
    offline: bool,
    /// Completions of the prompt.
    #[arg(long, default_value_t = 1, value_name = "N")]
    count: usize,
    /// Of everything drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// The prompt is the beginning of a text: no chat template is put around it.
    #[arg(long)]
    raw: bool,
    /// Print JSON lines with the token ids.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// The prompt.
    prompt: String,
}

/// How tokens are drawn.
#[derive(Debug, clap::Args)]
struct SamplingArgs {
    /// 0 takes the likeliest token.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f64,
    /// Only the k likeliest tokens.
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,
    /// The smallest set of likeliest tokens with this much probability.
    #[arg(long, default_value_t = 1.0, value_name = "P")]
    top_p: f64,
    /// Only tokens with at least this share of the likeliest one's probability.
    #[arg(long, default_value_t = 0.0, value_name = "P")]
    min_p: f64,
    /// From 1; the higher, the less likely are tokens that occurred.
    #[arg(long, default_value_t = 1.0, value_name = "PENALTY")]
    repetition_penalty: f64,
    /// Longest completion, in tokens.
    #[arg(long, default_value_t = 256, value_name = "N")]
    max_tokens: usize,
    /// A text that ends the completion; may be repeated.
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
}

impl From<SamplingArgs> for Sampling {
    fn from(args: SamplingArgs) -> Self {
        let SamplingArgs { temperature, top_k, top_p, min_p, repetition_penalty, max_tokens, stop } = args;
        Self { temperature, top_k, top_p, min_p, repetition_penalty, max_tokens, stop }
    }
}

#[derive(Serialize)]
struct Line<'a> {
    text: &'a str,
    finish_reason: &'static str,
    prompt_tokens: Option<usize>,
    token_ids: Option<&'a [u32]>,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let sampling = Sampling::from(args.sampling);
    sampling.check()?;
    let prompt = if args.raw { Prompt::Raw(args.prompt) } else { Prompt::User(args.prompt) };
    let request = Request { prompt, count: args.count, sampling, seed: args.seed, guidance: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match args.generator.split_once(':') {
        Some(("local", spec)) => {
            let options =
                BackboneOptions { device: args.device, offline: args.offline, ..BackboneOptions::default() };
            let model = Arc::new(LanguageModel::open(spec, &options)?);
            let config = LocalConfig { sequences: args.count.max(1), ..LocalConfig::default() };
            let generator = LocalGenerator::start(model, config)?;
            runtime.block_on(print(&generator, request, args.json))?;
            generator.shutdown();
            Ok(())
        }
        Some(("openai", place)) => {
            let key = std::env::var("OPENAI_API_KEY").ok().filter(|key| !key.is_empty());
            let upstream = OpenAi::new(OpenAiConfig::parse(place, "default", key.map(Into::into))?)?;
            runtime.block_on(print(&upstream, request, args.json))
        }
        _ => bail!("--generator: got {:?}; allowed: local:DIR, local:ID, openai:URL#MODEL", args.generator),
    }
}

async fn print(generator: &dyn Generator, request: Request, json: bool) -> anyhow::Result<()> {
    let mut out = super::output::stdout();
    let as_written = !json && request.count == 1;
    let mut completions = generator.generate(request)?;
    let prompt_tokens = completions.prompt_tokens;
    if as_written {
        while let Some(event) = completions.next().await {
            if let Event::Delta { text, .. } = event? {
                write!(out, "{text}")?;
                out.flush()?;
            }
        }
        writeln!(out)?;
        return Ok(());
    }
    for Completion { text, finish, tokens } in completions.all().await? {
        if json {
            let finish_reason = match finish {
                Finish::Stop => "stop",
                Finish::Length => "length",
                Finish::Filtered => "content_filter",
            };
            let line = Line { text: &text, finish_reason, prompt_tokens, token_ids: tokens.as_deref() };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        } else {
            writeln!(out, "{text}")?;
        }
    }
    Ok(())
}
