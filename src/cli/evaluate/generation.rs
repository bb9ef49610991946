use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, bail};
use indicatif::ProgressBar;

use super::command_line;
use super::outputs::{self, Outputs};
use crate::cli::texts::read_prompts;
use crate::evaluate::generation::{GenerationConfig, Strategy, generation, judge};
use crate::evaluate::studies::{Pictured, Study};
use crate::generate::{LocalConfig, LocalGenerator, OpenAi, OpenAiConfig, Sampling};
use crate::model::{ArtifactLocation, BackboneOptions, DeviceChoice, LanguageModel, RewardModel};

/// What personal completions are worth to simulated people whose taste is known (Figure 2, lower row).
///
/// Of the prompts some are asked about, and completions are written for the others after 0, 5, 10, 15 answers: λ*ᵀφ over that of the
/// average unguided completion, how often it is the larger, what it costs in likelihood under the language model, and in time.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The trained model, a folder that `pref train` wrote; with a value head where a strategy needs it.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// local:DIR, a causal language model (Qwen2 or Llama) in Hugging Face layout, or local:ID of the hub.
    #[arg(long, value_name = "GENERATOR")]
    generator: String,
    /// JSON lines with a prompt each; other fields and repeated prompts are passed over.
    #[arg(long, value_name = "FILE")]
    prompts: PathBuf,
    /// unguided, best-of-N, rejecting-N (best-of-N that gives up on the way what begins badly), value-guided-β; separated by commas.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "unguided,best-of-4,best-of-16,value-guided-1,value-guided-10"
    )]
    strategies: Vec<Strategy>,
    /// Numbers of answers after which completions are written.
    #[arg(long, value_delimiter = ',', default_value = "0,5,10,15")]
    answers: Vec<usize>,
    /// People, λ* drawn from the model's population.
    #[arg(long, default_value_t = 16, value_name = "N")]
    people: usize,
    /// How many of the prompts are asked about; the others are written for.
    #[arg(long, default_value_t = 20, value_name = "N")]
    asked: usize,
    /// Unguided completions of each prompt, at least as many as best-of-N needs.
    #[arg(long, default_value_t = 16, value_name = "N")]
    candidates: usize,
    /// Longest completion, in tokens.
    #[arg(long, default_value_t = 128, value_name = "N")]
    max_tokens: usize,
    /// Temperature of the completions.
    #[arg(long, default_value_t = 1.0, value_name = "T")]
    temperature: f64,
    /// Also have a language model judge what the strategies wrote after the most answers beside unguided completions, in both orders:
    /// openai:URL#MODEL, its key in PREF_JUDGE_KEY. It is told the person's taste in the words of the base functions' labels. What
    /// that will cost is told first, and done with --yes.
    #[arg(long, value_name = "openai:URL#MODEL")]
    judge: Option<String>,
    /// Pairs of each strategy that are judged, at most.
    #[arg(long, default_value_t = 100, value_name = "N", requires = "judge")]
    judge_pairs: usize,
    /// Go ahead with what the judge will cost.
    #[arg(long, requires = "judge")]
    yes: bool,
    /// Seed of people, answers and completions.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where the models run: auto, cpu, cuda:N or metal:N.
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
    /// Also draw reward against likelihood, after the most answers, to this SVG file
    #[arg(long, value_name = "FILE.svg")]
    plot_trade_off: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

/// Tokens that a value-guided step chooses among, as the server has it.
const GUIDED_TOKENS: usize = 20;

impl Args {
    pub(super) fn check_outputs(&self) -> anyhow::Result<()> {
        self.outputs.check()?;
        outputs::check("--plot-trade-off", self.plot_trade_off.as_deref())
    }

    /// Where the judge is.
    fn judge_at(&self) -> anyhow::Result<Option<OpenAiConfig>> {
        let Some(given) = &self.judge else { return Ok(None) };
        let Some(place) = given.strip_prefix("openai:") else {
            bail!("--judge: got {given:?}; allowed: openai:URL#MODEL");
        };
        let key = std::env::var("PREF_JUDGE_KEY").ok().filter(|key| !key.is_empty());
        Ok(Some(OpenAiConfig::parse(place, "judge", key.map(Into::into))?))
    }

    pub(super) fn run(self) -> anyhow::Result<()> {
        let Some(spec) = self.generator.strip_prefix("local:") else {
            bail!("--generator: got {:?}; allowed: local:DIR, or local:ID of the hub", self.generator);
        };
        let sampling =
            Sampling { temperature: self.temperature, max_tokens: self.max_tokens, ..Sampling::default() };
        sampling.check()?;
        for strategy in &self.strategies {
            if let Strategy::BestOf(n) | Strategy::Rejecting(n) = strategy
                && *n > self.candidates
            {
                bail!("--candidates: got {}; allowed: at least {n}, for {strategy}", self.candidates);
            }
        }
        if self.people == 0 || self.candidates < 2 {
            bail!(
                "--people, --candidates: got {}, {}; allowed: from 1, from 2",
                self.people,
                self.candidates
            );
        }
        let prompts = read_prompts(&self.prompts)?;
        let judge_at = self.judge_at()?;
        let config = GenerationConfig {
            duels: judge_at.as_ref().map_or(0, |_| self.judge_pairs),
            strategies: self.strategies,
            answers: self.answers,
            people: self.people,
            asked_prompts: self.asked,
            candidates: self.candidates,
            guided_tokens: GUIDED_TOKENS,
            sampling,
            seed: self.seed,
        };
        if let Some(judge_at) = &judge_at {
            let pairs = config.pairs_to_judge(prompts.len().saturating_sub(self.asked));
            // Four characters a token, and what is said around the answers.
            let words = prompts.iter().map(String::len).max().unwrap_or(0) / 4 + 200;
            let tokens = 2 * pairs * (2 * self.max_tokens + words);
            eprintln!(
                "The judge {} is asked {} times, about {tokens} tokens at most.",
                judge_at.model,
                2 * pairs
            );
            if !self.yes {
                bail!("--judge: add --yes to go ahead, or ask about fewer pairs with --judge-pairs");
            }
        }
        let location = ArtifactLocation::from(self.model.as_path());
        let options = BackboneOptions { device: self.device, ..BackboneOptions::default() };
        let model = RewardModel::open(&location, &options).with_context(|| format!("--model {location}"))?;
        let sequences = LocalConfig { sequences: self.candidates.max(64), ..LocalConfig::default() };
        let generator = LocalGenerator::start(Arc::new(LanguageModel::open(spec, &options)?), sequences)?;
        let bar = ProgressBar::new(100);
        let mut found = generation(&model, &generator, &prompts, &config, &mut |share| {
            bar.set_position((100.0 * share).round() as u64);
        })?;
        generator.shutdown();
        if let Some(judge_at) = judge_at {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let (model, duels) = (OpenAi::new(judge_at)?, std::mem::take(&mut found.duels));
            let mut show = |share: f64| bar.set_position((100.0 * share).round() as u64);
            found.judged = runtime.block_on(judge(&duels, &model, &mut show))?;
        }
        bar.finish_and_clear();
        print!("{found}");
        if let Some(path) = &self.plot_trade_off {
            outputs::write(path, found.trade_off().svg()?.as_bytes())?;
        }
        let data_digest = model.manifest().data_digest.clone();
        let study = Study {
            study: "generation",
            found,
            command: command_line(),
            train_digest: data_digest,
            data_digest: String::new(),
        };
        self.outputs.write(&study, || study.found.chart())
    }
}
