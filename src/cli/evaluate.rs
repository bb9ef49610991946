use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;

use super::Global;
use crate::evaluate::{Method, Protocol, evaluate};
use crate::model::{ArtifactLocation, BackboneOptions, DeviceChoice, RewardModel};
use crate::train::{Limits, read_dataset};

/// Predicts the choices of people who were not in training, after 0, 5, 10, 20 answers
#[derive(Debug, Parser)]
pub(super) struct Args {
    /// Preference files, JSON lines, `.gz` too
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// The trained model: the folder that `pref train` wrote
    #[arg(long, value_name = "DIR")]
    model: String,
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
    /// Where the backbone runs: auto, cpu, cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

pub(super) fn run(args: Args, _: &Global) -> anyhow::Result<()> {
    let dataset = read_dataset(&args.data, Limits::default())?;
    let options = BackboneOptions { device: args.device, ..BackboneOptions::default() };
    let model = RewardModel::open(&ArtifactLocation::new(args.model), &options)?;
    let protocol = Protocol::new(args.methods, args.answers, args.seeds);
    let report = evaluate(&dataset, &model, &protocol, command_line())?;
    print!("{report}");
    if let Some(path) = args.json {
        let json = serde_json::to_vec_pretty(&report).context("the report has no JSON form")?;
        std::fs::write(&path, json).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// The command as it was typed, without the path of the program.
fn command_line() -> String {
    std::iter::once("pref".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}
