use std::path::PathBuf;
use std::sync::Arc;

use anyhow::bail;
use indicatif::ProgressBar;

use super::texts::read_prompts;
use crate::generate::{LocalConfig, LocalGenerator, Sampling};
use crate::model::{
    Artifact, ArtifactLocation, BackboneOptions, DeviceChoice, LanguageModel, RewardModel, ValueHead,
};
use crate::train::{Observer, Stage, ValueHeadConfig, train_value_head};

/// Learn a value head for a language model, and add it to a trained model: what VALUE_GUIDED steers every token with.
///
/// Completions of the prompts are written, and V learns to tell from the hidden states on the way what their texts will turn out
/// to be. R² by position is shown for prompts held out; a head that does not predict is not kept.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trained model, a directory that `pref train` wrote.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// local:DIR, a causal language model (Qwen2 or Llama) in Hugging Face layout, or local:ID of the hub.
    #[arg(long, value_name = "GENERATOR")]
    generator: String,
    /// JSON lines with a prompt each; other fields and repeated prompts are passed over.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// Completions of each prompt.
    #[arg(long, default_value_t = 8, value_name = "N")]
    rollouts: usize,
    /// Longest completion, in tokens.
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_tokens: usize,
    /// Temperature of the completions.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f64,
    /// Seed of everything drawn.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the models run: auto, cpu, cuda:N or metal:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let Some(spec) = args.generator.strip_prefix("local:") else {
        bail!("--generator: got {:?}; allowed: local:DIR, or local:ID of the hub", args.generator);
    };
    let sampling =
        Sampling { temperature: args.temperature, max_tokens: args.max_tokens, ..Sampling::default() };
    sampling.check()?;
    let prompts = read_prompts(&args.prompts)?;
    let location = ArtifactLocation::from(args.model.as_path());
    let options = BackboneOptions { device: args.device, ..BackboneOptions::default() };
    let model = RewardModel::open(&location, &options)?;
    let generator =
        LocalGenerator::start(Arc::new(LanguageModel::open(spec, &options)?), LocalConfig::default())?;
    let config = ValueHeadConfig { rollouts: args.rollouts, sampling, seed: args.seed };
    let bar = ProgressBar::new(prompts.len() as u64);
    let head = train_value_head(&model, &generator, &prompts, &config, &mut Shown(&bar))?;
    bar.finish_and_clear();
    generator.shutdown();
    Artifact::add_value_head_blocking(&location, &head)?;
    print!("{}", table(&head));
    println!("Added to {location}, for the language model {}.", head.record.language_model);
    Ok(())
}

/// Prompts that are done.
struct Shown<'a>(&'a ProgressBar);

impl Observer for Shown<'_> {
    fn progress(&mut self, _stage: Stage, share: f64) {
        self.0.set_position((share * self.0.length().unwrap_or(0) as f64).round() as u64);
    }
}

fn table(head: &ValueHead) -> String {
    use std::fmt::Write;
    let record = &head.record;
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Value head: {} prompts, {} completions each, ridge {}",
        record.prompts, record.rollouts, record.ridge
    );
    let _ = writeln!(out, "{:>12}  R² on prompts held out", "of the text");
    for position in &record.positions {
        let (until, r, error) = (position.until * 100.0, position.r_squared, position.standard_error);
        let _ = writeln!(out, "{until:>10.0} %  {r:>6.3} ± {error:.3}");
    }
    out
}
