use std::path::PathBuf;

use super::command_line;
use super::generation;
use super::outputs::{Json, Outputs};
use super::sources::{Embedding, Files, FilesOrSets, Loaded, Shape};
use crate::cli::base_functions::BaseFunctions;
use crate::evaluate::studies::{
    self, Active, OracleConfig, Pictured, ablations, active, backbones, base_functions, ceiling, data_sweep,
    oracle,
};
use crate::evaluate::{Evaluation, Method, Protocol, Training};
use crate::train::{Limits, read_dataset};

/// The paper's other figures
#[derive(Debug, clap::Subcommand)]
pub(super) enum Study {
    /// By the number of base functions, with the spectrum (Figure 3, C)
    BaseFunctions {
        /// Numbers to train with; auto: as many as held-out judgments bear out
        #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,32,auto")]
        values: Vec<BaseFunctions>,
        #[command(flatten)]
        common: Common,
    },
    /// By the number of users and of pairs trained on (Figure 3, A and B)
    Data {
        /// Numbers of users; one beyond what there is means all
        #[arg(long, value_delimiter = ',', default_value = "10,20,40,80,160")]
        users: Vec<usize>,
        /// Numbers of distinct pairs
        #[arg(long, value_delimiter = ',', default_value = "50,100,200,400,800")]
        pairs: Vec<usize>,
        #[command(flatten)]
        common: Common,
    },
    /// By the backbone (Figure 4); one that cannot be opened here is marked as not run
    Backbones {
        /// Backbones to train with
        #[arg(long, value_delimiter = ',', default_value = "lexical,minilm,lexical+minilm")]
        values: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// How many answers chosen questions save (Figure 7)
    Active {
        #[command(flatten)]
        source: FilesOrSets,
        #[command(flatten)]
        embedding: Embedding,
        /// Numbers of random questions; how many chosen ones do as well is looked for
        #[arg(long, value_delimiter = ',', default_value = "10,20,40")]
        answers: Vec<usize>,
        #[command(flatten)]
        run: Run,
    },
    /// How much of what the true attribute scores gain is gained from text, on sets made anew (`pref synth attributes`)
    Oracle {
        /// Sets made anew, each with texts, people and a model of its own
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        sets: u64,
        #[command(flatten)]
        shape: Shape,
        #[command(flatten)]
        embedding: Embedding,
        /// Numbers of answers at which people are tested
        #[arg(long, value_delimiter = ',', default_value = "5,10,20")]
        answers: Vec<usize>,
        #[command(flatten)]
        cuts: Cuts,
        #[command(flatten)]
        outputs: Outputs,
    },
    /// What AUC anybody could reach, by how far people agree with one another and each with themselves; trains nothing
    Ceiling {
        /// Preference files, JSON lines, `.gz` too
        #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
        data: Vec<PathBuf>,
        #[command(flatten)]
        json: Json,
    },
    Generation(Box<generation::Args>),
    /// Without singular value decomposition, without penalty: several models of each (Figure 9)
    Ablations {
        /// Models of each
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        models: u64,
        #[command(flatten)]
        common: Common,
    },
}

/// What studies of files take.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    embedding: Embedding,
    /// Numbers of answers at which people are tested
    #[arg(long, value_delimiter = ',', default_value = "5,10,20")]
    answers: Vec<usize>,
    #[command(flatten)]
    run: Run,
}

/// What is drawn, and where the figures go.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// Seed of the training: validation split and starts
    #[arg(long, default_value_t = 0)]
    train_seed: u64,
    #[command(flatten)]
    cuts: Cuts,
    #[command(flatten)]
    outputs: Outputs,
}

#[derive(Debug, clap::Args)]
pub(super) struct Cuts {
    /// How often each person's comparisons are cut anew into asked and tested
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
}

impl Study {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.check_outputs()?;
        match self {
            Self::BaseFunctions { values, common } => {
                let values: Vec<_> = values.into_iter().map(|BaseFunctions(j)| j).collect();
                let loaded = common.load(&common.embedding)?;
                let protocol = common.protocol(vec![Method::Pref]);
                let found = base_functions(&loaded.material(), &values, &protocol, common.run.train_seed)?;
                common.finish("base-functions", &loaded, found)
            }
            Self::Data { users, pairs, common } => {
                let loaded = common.load(&common.embedding)?;
                let protocol = common.protocol(vec![Method::Pref]);
                let found = data_sweep(&loaded.material(), &users, &pairs, &protocol, &common.training())?;
                common.finish("data", &loaded, found)
            }
            Self::Backbones { values, common } => {
                let loaded: Vec<(String, Result<Loaded, String>)> = values
                    .into_iter()
                    .map(|backbone| {
                        let embedding = Embedding { backbone, ..common.embedding };
                        let loaded = common.load(&embedding).map_err(|error| format!("{error:#}"));
                        (embedding.backbone, loaded)
                    })
                    .collect();
                let Some(any) = loaded.iter().find_map(|(_, loaded)| loaded.as_ref().ok()) else {
                    anyhow::bail!("none of the backbones can be run: {}", why(&loaded));
                };
                let materials = loaded.iter().map(|(value, loaded)| {
                    (value.clone(), loaded.as_ref().map(Loaded::material).map_err(Clone::clone))
                });
                let found = backbones(materials, &common.protocol(vec![Method::Pref]), &common.training())?;
                common.finish("backbones", any, found)
            }
            Self::Active { source, embedding, answers, run } => {
                let protocol = Active::protocol(&answers, run.cuts.seeds);
                let methods = protocol.methods.clone();
                let mut evaluation = Evaluation::new(protocol);
                source.ask(&mut evaluation, &methods, &embedding, run.train_seed)?;
                let found = active(&evaluation, &answers)?;
                run.finish("active", evaluation.train_digest(), evaluation.data_digest(), found)
            }
            Self::Oracle { sets, shape, embedding, answers, cuts, outputs } => {
                let config = OracleConfig {
                    set: shape.config(),
                    seeds: shape.seeds(sets),
                    answers,
                    cuts: cuts.seeds,
                    base_functions: embedding.base_functions.0,
                };
                let found = oracle(&*embedding.open()?, &config)?;
                print!("{found}");
                outputs.write(&found, || found.chart())
            }
            Self::Ceiling { data, json } => {
                let found = ceiling(&read_dataset(&data, Limits::default())?);
                print!("{found}");
                json.write(&found)
            }
            Self::Generation(args) => args.run(),
            Self::Ablations { models, common } => {
                let loaded = common.load(&common.embedding)?;
                let answers = common.answers.iter().copied().max().unwrap_or(0);
                let base_functions = common.training().base_functions;
                let cuts = common.run.cuts.seeds;
                let found = ablations(&loaded.material(), models, answers, cuts, base_functions)?;
                common.finish("ablations", &loaded, found)
            }
        }
    }

    fn check_outputs(&self) -> anyhow::Result<()> {
        match self {
            Self::BaseFunctions { common, .. }
            | Self::Data { common, .. }
            | Self::Backbones { common, .. }
            | Self::Ablations { common, .. } => common.run.outputs.check(),
            Self::Active { run, .. } => run.outputs.check(),
            Self::Oracle { outputs, .. } => outputs.check(),
            Self::Ceiling { json, .. } => json.check(),
            Self::Generation(args) => args.check_outputs(),
        }
    }
}

fn why(loaded: &[(String, Result<Loaded, String>)]) -> String {
    let reasons = loaded.iter().filter_map(|(value, loaded)| match loaded {
        Ok(_) => None,
        Err(error) => Some(format!("{value}: {error}")),
    });
    reasons.collect::<Vec<_>>().join("; ")
}

impl Common {
    fn load(&self, embedding: &Embedding) -> anyhow::Result<Loaded> {
        self.files.load(&*embedding.open()?)
    }

    fn protocol(&self, methods: Vec<Method>) -> Protocol {
        Protocol::new(methods, self.answers.clone(), self.run.cuts.seeds)
    }

    fn training(&self) -> Training {
        self.embedding.training(self.run.train_seed)
    }

    fn finish<T: Pictured>(&self, study: &'static str, loaded: &Loaded, found: T) -> anyhow::Result<()> {
        self.run.finish(study, loaded.train.digest(), loaded.data.digest(), found)
    }
}

impl Run {
    /// Prints, and writes what is to be written.
    fn finish<T: Pictured>(
        &self,
        study: &'static str,
        train_digest: String,
        data_digest: String,
        found: T,
    ) -> anyhow::Result<()> {
        print!("{found}");
        let study = studies::Study { study, found, command: command_line(), train_digest, data_digest };
        self.outputs.write(&study, || study.found.chart())
    }
}
