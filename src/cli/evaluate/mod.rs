mod studies;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use clap::Parser;
use serde::Serialize;

use super::Global;
use crate::evaluate::{Chart, Contestants, Method, Protocol, Training, evaluate, refuse_known_people};
use crate::model::{ArtifactLocation, BackboneOptions, DeviceChoice, RewardModel, open_backbone};
use crate::train::{Limits, embeddings, read_dataset};

/// Predicts the choices of people who were not in training, after 0, 5, 10, 20 answers
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    /// In place of learning curves
    #[command(subcommand)]
    study: Option<studies::Study>,
    /// Preference files, JSON lines, `.gz` too
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The trained model: the folder that `pref train` wrote
    #[arg(long, value_name = "DIR", required_unless_present = "train", conflicts_with = "train")]
    model: Option<String>,
    /// In place of a model: preference files on which every method is trained, with the same number of trials
    #[arg(long, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// What embeds the texts where methods are trained; as in `pref train`
    #[arg(long, default_value = "lexical", conflicts_with = "model")]
    backbone: String,
    /// Seed of the training: validation split and starts
    #[arg(long, default_value_t = 0, conflicts_with = "model")]
    train_seed: u64,
    /// Methods to hold side by side
    #[arg(long, value_delimiter = ',', default_value = "pref,classic,random,shuffled")]
    methods: Vec<Method>,
    /// Numbers of answers at which people are tested
    #[arg(long, value_delimiter = ',', default_value = "0,5,10,20")]
    answers: Vec<usize>,
    /// How often each person's comparisons are cut anew into asked and tested
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Also write the report to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the curves, with bands of one standard error, to this SVG file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Where the backbone runs: auto, cpu, cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn run(args: Args, _: &Global) -> anyhow::Result<()> {
    if let Some(study) = args.study {
        return study.run();
    }
    let dataset = read_dataset(&args.data, Limits::default())?;
    let options = BackboneOptions { device: args.device, ..BackboneOptions::default() };
    let protocol = Protocol::new(args.methods, args.answers, args.seeds);
    let contestants = if let Some(model) = args.model {
        let model = RewardModel::open(&ArtifactLocation::new(model), &options)?;
        let manifest = model.manifest();
        refuse_known_people(&dataset, &manifest.version, |user| manifest.was_trained_on(user.as_str()))?;
        Contestants::of_model(&model, &dataset, &protocol.methods)?
    } else {
        let data = read_dataset(&args.train, Limits::default())?;
        refuse_known_people(&dataset, "of --train", |user| data.users().binary_search(user).is_ok())?;
        let backbone = open_backbone(&args.backbone, &options)?;
        let (h, tested) = (embeddings(&data, &*backbone)?, embeddings(&dataset, &*backbone)?);
        let rows: Vec<usize> = (0..data.rows().len()).collect();
        let training = Training { base_functions: Some(8), seed: args.train_seed };
        let mut begun = Instant::now();
        Contestants::train(&data, &h, &rows, &tested, &protocol.methods, &training, &mut |trained| {
            eprintln!(
                "{}: {} trials, {:.1} s: {}",
                trained.method,
                trained.tuning.trials,
                begun.elapsed().as_secs_f64(),
                trained.tuning.chosen
            );
            begun = Instant::now();
        })?
    };
    let report = evaluate(&dataset, &contestants, &protocol, command_line())?;
    print!("{report}");
    if let Some(path) = args.json {
        write_json(&path, &report)?;
    }
    if let Some(path) = args.plot {
        let title = format!("{} people, model {}", report.people - report.left_out, report.model_version);
        write_plot(&path, &Chart::of_report(&report, title))?;
    }
    Ok(())
}

fn write_json(path: &Path, report: &impl Serialize) -> anyhow::Result<()> {
    let json = serde_json::to_vec_pretty(report).context("the report has no JSON form")?;
    std::fs::write(path, json).with_context(|| format!("cannot write {}", path.display()))
}

fn write_plot(path: &Path, chart: &Chart) -> anyhow::Result<()> {
    std::fs::write(path, chart.svg()?).with_context(|| format!("cannot write {}", path.display()))
}

/// The command as it was typed, without the path of the program.
fn command_line() -> String {
    std::iter::once("pref".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}
