mod generation;
mod outputs;
mod sources;
mod studies;

use clap::Parser;

use self::outputs::Outputs;
use self::sources::{Embedding, FilesOrSets};
use super::Global;
use crate::evaluate::{Chart, Contestants, Evaluation, Method, Protocol, refuse_known_people};
use crate::model::{ArtifactLocation, RewardModel};
use crate::train::{Limits, read_dataset};

/// Predicts the choices of people who were not in training, after 0, 5, 10, 20 answers
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Args {
    /// In place of learning curves
    #[command(subcommand)]
    study: Option<studies::Study>,
    /// A trained model, the folder that `pref train` wrote, in place of --train
    #[arg(long, value_name = "DIR", required_unless_present_any = ["train", "sets"])]
    #[arg(conflicts_with_all = ["train", "sets", "backbone", "base_functions", "train_seed"])]
    model: Option<String>,
    #[command(flatten)]
    source: FilesOrSets,
    #[command(flatten)]
    embedding: Embedding,
    /// Seed of the training: validation split and starts
    #[arg(long, default_value_t = 0)]
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
    #[command(flatten)]
    outputs: Outputs,
}

pub(super) fn run(args: Args, _: &Global) -> anyhow::Result<()> {
    if let Some(study) = args.study {
        return study.run();
    }
    args.outputs.check()?;
    let protocol = Protocol::new(args.methods, args.answers, args.seeds);
    let methods = protocol.methods.clone();
    let mut evaluation = Evaluation::new(protocol);
    match args.model {
        Some(model) => {
            let dataset = read_dataset(&args.source.data, Limits::default())?;
            let model = RewardModel::open(&ArtifactLocation::new(model), &args.embedding.options())?;
            let manifest = model.manifest();
            refuse_known_people(&dataset, &manifest.version, |user| manifest.was_trained_on(user.as_str()))?;
            evaluation.ask(&dataset, &Contestants::of_model(&model, &dataset, &methods)?)?;
        }
        None => args.source.ask(&mut evaluation, &methods, &args.embedding, args.train_seed)?,
    }
    let report = evaluation.report(command_line());
    print!("{report}");
    args.outputs.write(&report, || {
        let title = format!("{} people, model {}", report.people - report.left_out, report.model_version);
        Chart::of_report(&report, title)
    })
}

/// The command as it was typed, without the path of the program.
fn command_line() -> String {
    std::iter::once("pref".to_owned()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}
