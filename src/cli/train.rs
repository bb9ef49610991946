use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};

use super::Global;
use super::base_functions::BaseFunctions;
use super::opening::Opening;
use super::tune::TuneArgs;
use super::value_head;
use crate::cli::describe::base_function_table;
use crate::domain::Reliability;
use crate::model::{ArtifactLocation, open_backbone};
use crate::train::{
    Limits, Observer, QuadrantScore, Stage, TrainConfig, TrainReport, TuningPoint, TuningReport,
    read_dataset, remove_checkpoint, train, train_tuned,
};

/// Learns base reward functions from people's comparisons and writes the model.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Preference files: JSON lines with user_id, prompt, response_a, response_b, preference; .gz is unpacked.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// What embeds the texts: lexical, minilm, a directory in Hugging Face layout (static embeddings, BERT, Qwen2 or
    /// Llama), a GGUF file, a hub id, or several joined by +.
    #[arg(long, default_value = "lexical")]
    backbone: String,
    #[command(flatten)]
    opening: Opening,
    /// Where the model is written.
    #[arg(long, required = true, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Number of base reward functions, or auto: as many as held-out judgments bear out
    #[arg(long, default_value = "auto", value_name = "J|auto")]
    base_functions: BaseFunctions,
    /// Days by which an answer is older than the person's newest one when it counts half in their fit; without it answers do not age.
    #[arg(long, value_name = "DAYS")]
    half_life_days: Option<f64>,
    /// Share of a person's answers that are taken to be slips of either outcome alike.
    #[arg(long, default_value_t = 0.0, value_name = "E")]
    lapse_rate: f64,
    #[command(flatten)]
    tune: TuneArgs,
    /// Seed of everything drawn: the same data and seed give the same model.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Longest prompt or response taken, in bytes.
    #[arg(long, default_value_t = Limits::default().text_bytes, value_name = "BYTES")]
    max_text_bytes: usize,
    /// Also writes the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What else is trained.
#[derive(Debug, clap::Subcommand)]
enum Other {
    ValueHead(value_head::Args),
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    if let Some(Other::ValueHead(args)) = args.other {
        return value_head::run(args);
    }
    // Required where there is no subcommand.
    let output = args.output.context("--output: got nothing; allowed: a directory")?;
    let reliability = Reliability::new(args.half_life_days, args.lapse_rate)?;
    let data = read_dataset(&args.data, Limits { text_bytes: args.max_text_bytes })?;
    // Better refused now than after the training.
    places_can_be_written(&output, args.json.as_deref())?;
    let config = TrainConfig {
        base_functions: args.base_functions.0,
        seed: args.seed,
        reliability,
        ..TrainConfig::default()
    };
    let tune = args.tune.config(&output);
    let (options, bars) = (args.opening.options(), &mut Bars::default());
    let trained = match &tune {
        Some(tune) => train_tuned(&data, &config, tune, &args.backbone, &options, bars)?,
        None => train(&data, &config, &*open_backbone(&args.backbone, &options)?, bars)?,
    };
    let location = ArtifactLocation::from(output.as_path());
    let manifest = trained.artifact.save_blocking(&location)?;
    if let Some(tune) = &tune {
        remove_checkpoint(tune)?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&trained.report)?;
        fs::write(path, json).with_context(|| format!("--json {}", path.display()))?;
    }
    print!("{}", closing_table(&trained.report));
    print!("{}", base_function_table(&manifest));
    println!("\nWritten to {}. To see what each base function rewards: pref describe --model {0}", location);
    Ok(())
}

/// Tries both and leaves them as they are, or unmade; the file may lie in the directory.
fn places_can_be_written(directory: &Path, file: Option<&Path>) -> anyhow::Result<()> {
    let is_there = directory.exists();
    super::doctor::writable(directory)?;
    let file = file.map_or(Ok(()), |path| {
        file_can_be_written(path).with_context(|| format!("--json {}", path.display()))
    });
    if !is_there {
        fs::remove_dir(directory)?;
    }
    file
}

fn file_can_be_written(path: &Path) -> std::io::Result<()> {
    if path.exists() {
        return fs::File::options().append(true).open(path).map(drop);
    }
    fs::File::create_new(path)?;
    fs::remove_file(path)
}

/// What was learned and how well it predicts, for a person.
fn closing_table(report: &TrainReport) -> String {
    use std::fmt::Write;
    let mut out = String::new();
    let TrainReport { judgments, ties, users, prompts, pairs, texts, .. } = report;
    let _ = writeln!(out, "Model {}: {} base functions", report.model_version, report.base_functions);
    let _ = writeln!(
        out,
        "Data: {judgments} judgments ({ties} ties) by {users} users of {pairs} pairs of {texts} texts, {prompts} {}",
        if *prompts == 1 { "prompt" } else { "prompts" }
    );
    if report.equal_responses > 0 {
        let lines = if report.equal_responses == 1 { "line compares" } else { "lines compare" };
        let _ = writeln!(out, "Skipped: {} {lines} a text with itself", report.equal_responses);
    }
    let chosen = &report.hyperparameters;
    let _ = writeln!(
        out,
        "Chosen on held-out judgments: gamma {:.3}, alpha {:.3}, tie weight {:.2}; started by {}",
        chosen.gamma, chosen.alpha, chosen.tie_weight, report.start
    );
    if let Some(tuning) = &report.tuning {
        out.push_str(&in_words(tuning));
    }
    let _ = writeln!(
        out,
        "\n{:<28}{:>14}{:>12}{:>17}{:>7}{:>13}",
        "Held-out AUC", "this model", "one reward", "gain", "users", "comparisons"
    );
    for (name, score) in report.quadrants.named() {
        let name = name.replace('_', " ").replace('.', ", ");
        let Some(QuadrantScore { auc, auc_se, classic_auc, gain, gain_se, users, comparisons }) = score
        else {
            let _ = writeln!(out, "{name:<28}{:>14}", "no data");
            continue;
        };
        let _ = writeln!(
            out,
            "{name:<28}{:>14}{classic_auc:>12.3}{:>17}{users:>7}{comparisons:>13}",
            format!("{auc:.3}{}", plus_minus(auc_se)),
            format!("{gain:+.3}{}", plus_minus(gain_se)),
        );
    }
    if (2..FEW_PROMPTS).contains(prompts) {
        let held_out = prompts.div_ceil(5);
        let _ = writeln!(
            out,
            "Of {prompts} prompts about {held_out} were held out: figures on unseen pairs say little here, and may lie \
             below .5 where those prompts are judged unlike the others."
        );
    }
    out
}

/// How few prompts make figures on unseen pairs a matter of luck.
const FEW_PROMPTS: usize = 30;

fn plus_minus(standard_error: Option<f64>) -> String {
    standard_error.map_or(String::new(), |se| format!(" ± {se:.3}"))
}

/// What tuning did, beside the backbone as it was.
fn in_words(tuning: &TuningReport) -> String {
    let TuningReport { kind, parameters, steps, best_step, validation, frozen, tuned, .. } = tuning;
    format!(
        "Tuned ({kind}): {parameters} numbers, {steps} steps, the best at step {best_step}\n\
         On {validation} held-out comparisons: log-likelihood {:.4} before, {:.4} after; AUC {:.3} before, {:.3} after\n",
        frozen.log_likelihood, tuned.log_likelihood, frozen.auc, tuned.auc
    )
}

/// One bar for each stage on a terminal, one line for each elsewhere; both on standard error.
#[derive(Default)]
pub(super) struct Bars {
    current: Option<(Stage, ProgressBar, Instant)>,
}

impl Observer for Bars {
    fn progress(&mut self, stage: Stage, share: f64) {
        if self.current.as_ref().is_none_or(|(current, ..)| *current != stage) {
            self.finish();
            let style = ProgressStyle::with_template("{msg:32} {bar:40} {percent:>3} %  {elapsed}");
            let bar = ProgressBar::new(1_000).with_message(stage.describe());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.current = Some((stage, bar, Instant::now()));
        }
        if let Some((_, bar, _)) = &self.current {
            bar.set_position((share * 1_000.0) as u64);
        }
    }

    fn tuned(&mut self, point: &TuningPoint) {
        let TuningPoint { step, epoch, loss, validation_log_likelihood, validation_auc, .. } = point;
        let loss = if loss.is_nan() { String::new() } else { format!(" loss {loss:.4},") };
        self.line(&format!(
            "step {step} (epoch {epoch:.2}):{loss} held-out log-likelihood {validation_log_likelihood:.4}, AUC \
             {validation_auc:.3}"
        ));
    }
}

impl Bars {
    /// A line beside the bar, if there is one.
    fn line(&self, line: &str) {
        match &self.current {
            Some((_, bar, _)) if !bar.is_hidden() => bar.println(line),
            _ => eprintln!("{line}"),
        }
    }

    fn finish(&mut self) {
        let Some((stage, bar, begun)) = self.current.take() else { return };
        let hidden = bar.is_hidden();
        bar.finish();
        if hidden {
            eprintln!("{}: {:.1} s", stage.describe(), begun.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
    }
}
