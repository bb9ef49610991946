use std::path::PathBuf;

use nalgebra::DMatrix;

use super::{command_line, write_json, write_plot};
use crate::evaluate::studies::{
    self, Material, OracleConfig, Pictured, ablations, active, backbones, base_functions, data_sweep, oracle,
};
use crate::evaluate::{Contestants, Method, Protocol, Training, attributes, refuse_known_people};
use crate::model::{BackboneOptions, DeviceChoice, open_backbone};
use crate::train::{Dataset, Limits, embeddings, read_dataset};

/// The paper's other figures
#[derive(Debug, clap::Subcommand)]
pub(super) enum Study {
    /// By the number of base functions, with the spectrum (Figure 3, C)
    BaseFunctions {
        /// Numbers to train with; `auto` is the elbow of the spectrum
        #[arg(long, value_delimiter = ',', default_value = "1,2,4,6,8,12,16,auto")]
        values: Vec<String>,
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
        common: Common,
    },
    /// How much of what the true attribute scores gain is gained from text, on sets made anew (`pref synth attributes`)
    Oracle {
        /// Sets, each with texts, people and a model of its own
        #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        sets: u64,
        /// Seed of the first set; the others follow
        #[arg(long, default_value_t = 0)]
        first_seed: u64,
        /// People of each set, of whom a fifth are asked
        #[arg(long, default_value_t = attributes::Config::default().users)]
        users: usize,
        /// Distinct comparisons of each set
        #[arg(long, default_value_t = attributes::Config::default().pairs)]
        pairs: usize,
        /// What embeds the texts
        #[arg(long, default_value = "lexical")]
        backbone: String,
        /// Numbers of answers at which people are tested
        #[arg(long, value_delimiter = ',', default_value = "5,10,20")]
        answers: Vec<usize>,
        /// How often each person's comparisons are cut anew into asked and tested
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
        seeds: u64,
        /// Also write the figures to this file
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Where the backbone runs: auto, cpu, cuda:N
        #[arg(long, default_value = "auto")]
        device: DeviceChoice,
    },
    /// Without singular value decomposition, without penalty: several models of each (Figure 9)
    Ablations {
        /// Models of each
        #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
        models: u64,
        #[command(flatten)]
        common: Common,
    },
}

/// What every study takes.
#[derive(Debug, clap::Args)]
pub(super) struct Common {
    /// Preference files of the people who are asked
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Preference files to train on, of other people
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    /// What embeds the texts
    #[arg(long, default_value = "lexical")]
    backbone: String,
    /// Seed of the training
    #[arg(long, default_value_t = 0)]
    train_seed: u64,
    /// Numbers of answers at which people are tested
    #[arg(long, value_delimiter = ',', default_value = "5,10,20")]
    answers: Vec<usize>,
    /// How often each person's comparisons are cut anew into asked and tested
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Also write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw them to this SVG file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Where the backbone runs: auto, cpu, cuda:N
    #[arg(long, default_value = "auto")]
    device: DeviceChoice,
}

/// Judgments read, and embedded once.
struct Loaded {
    train: Dataset,
    data: Dataset,
    train_embeddings: DMatrix<f64>,
    data_embeddings: DMatrix<f64>,
}

impl Study {
    pub(super) fn run(self) -> anyhow::Result<()> {
        match self {
            Self::BaseFunctions { values, common } => {
                let values =
                    values.iter().map(|value| number_or_auto(value)).collect::<Result<Vec<_>, _>>()?;
                let loaded = common.load(&common.backbone)?;
                let protocol = common.protocol(vec![Method::Pref]);
                let found = base_functions(&loaded.material(), &values, &protocol, common.train_seed)?;
                common.finish("base-functions", &loaded, found)
            }
            Self::Data { users, pairs, common } => {
                let loaded = common.load(&common.backbone)?;
                let protocol = common.protocol(vec![Method::Pref]);
                let found = data_sweep(&loaded.material(), &users, &pairs, &protocol, &common.training())?;
                common.finish("data", &loaded, found)
            }
            Self::Backbones { values, common } => {
                let loaded: Vec<(String, Result<Loaded, String>)> = values
                    .into_iter()
                    .map(|value| {
                        let loaded = common.load(&value).map_err(|error| format!("{error:#}"));
                        (value, loaded)
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
            Self::Active { common } => {
                let loaded = common.load(&common.backbone)?;
                let rows: Vec<usize> = (0..loaded.train.rows().len()).collect();
                let contestants = Contestants::train(
                    &loaded.train,
                    &loaded.train_embeddings,
                    &rows,
                    &loaded.data_embeddings,
                    &[Method::Pref, Method::Random],
                    &common.training(),
                    &mut |_| {},
                )?;
                let found = active(&loaded.data, &contestants, &common.answers, common.seeds)?;
                common.finish("active", &loaded, found)
            }
            Self::Oracle { sets, first_seed, users, pairs, backbone, answers, seeds, json, device } => {
                let options = BackboneOptions { device, ..BackboneOptions::default() };
                let backbone = open_backbone(&backbone, &options)?;
                let config = OracleConfig {
                    set: attributes::Config { users, pairs, ..attributes::Config::default() },
                    seeds: first_seed..first_seed.saturating_add(sets),
                    answers,
                    cuts: seeds,
                    base_functions: Some(8),
                };
                let found = oracle(&*backbone, &config)?;
                print!("{found}");
                json.map_or(Ok(()), |path| write_json(&path, &found))
            }
            Self::Ablations { models, common } => {
                let loaded = common.load(&common.backbone)?;
                let answers = common.answers.iter().copied().max().unwrap_or(0);
                let base_functions = common.training().base_functions;
                let found = ablations(&loaded.material(), models, answers, common.seeds, base_functions)?;
                common.finish("ablations", &loaded, found)
            }
        }
    }
}

fn number_or_auto(value: &str) -> anyhow::Result<Option<usize>> {
    match value.parse() {
        _ if value == "auto" => Ok(None),
        Ok(j @ 1..=64) => Ok(Some(j)),
        _ => anyhow::bail!("values: got {value:?}; allowed: auto, or whole numbers from 1 to 64"),
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
    fn load(&self, backbone: &str) -> anyhow::Result<Loaded> {
        let data = read_dataset(&self.data, Limits::default())?;
        let train = read_dataset(&self.train, Limits::default())?;
        refuse_known_people(&data, "of --train", |user| train.users().binary_search(user).is_ok())?;
        let options = BackboneOptions { device: self.device, ..BackboneOptions::default() };
        let backbone = open_backbone(backbone, &options)?;
        Ok(Loaded {
            train_embeddings: embeddings(&train, &*backbone)?,
            data_embeddings: embeddings(&data, &*backbone)?,
            train,
            data,
        })
    }

    fn protocol(&self, methods: Vec<Method>) -> Protocol {
        Protocol::new(methods, self.answers.clone(), self.seeds)
    }

    fn training(&self) -> Training {
        Training { base_functions: Some(8), seed: self.train_seed }
    }

    /// Prints, and writes what is to be written.
    fn finish<T: Pictured>(&self, study: &'static str, loaded: &Loaded, found: T) -> anyhow::Result<()> {
        print!("{found}");
        if let Some(path) = &self.plot {
            write_plot(path, &found.chart())?;
        }
        if let Some(path) = &self.json {
            let study = studies::Study {
                study,
                found,
                command: command_line(),
                train_digest: loaded.train.digest(),
                data_digest: loaded.data.digest(),
            };
            write_json(path, &study)?;
        }
        Ok(())
    }
}

impl Loaded {
    fn material(&self) -> Material<'_> {
        Material {
            train: &self.train,
            train_embeddings: &self.train_embeddings,
            data: &self.data,
            data_embeddings: &self.data_embeddings,
        }
    }
}
