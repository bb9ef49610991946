use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use nalgebra::DMatrix;

use crate::cli::base_functions::BaseFunctions;
use crate::evaluate::studies::Material;
use crate::evaluate::{
    Contestants, Evaluation, Method, Set, TrainedMethod, Training, attributes, refuse_known_people,
};
use crate::model::{Backbone, BackboneOptions, DeviceChoice, open_backbone};
use crate::train::{Dataset, Limits, embeddings, read_dataset};

/// Where people and judgments are read from.
#[derive(Debug, clap::Args)]
pub(super) struct Files {
    /// Preference files of the people who are asked, JSON lines, `.gz` too
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
    /// Preference files to train on, of other people
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
}

/// As [`Files`], or sets made anew.
#[derive(Debug, clap::Args)]
pub(super) struct FilesOrSets {
    /// Preference files of the people who are asked, JSON lines, `.gz` too
    #[arg(long, required_unless_present = "sets", num_args = 1.., value_name = "FILE")]
    pub(super) data: Vec<PathBuf>,
    /// Preference files on which every method is trained, with the same number of trials; of other people
    #[arg(long, num_args = 1.., value_name = "FILE")]
    train: Vec<PathBuf>,
    #[command(flatten)]
    synthetic: Synthetic,
}

/// Attributes sets made anew, as `pref synth attributes --seed S` and `pref split --seed S` would.
#[derive(Debug, clap::Args)]
pub(super) struct Synthetic {
    /// In place of files: so many Attributes sets made anew, each with people, texts and models of its own; the new people
    /// of all are pooled
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000), conflicts_with_all = ["data", "train"])]
    pub(super) sets: Option<u64>,
    #[command(flatten)]
    pub(super) shape: Shape,
}

/// Which Attributes sets.
#[derive(Debug, clap::Args)]
pub(super) struct Shape {
    /// Seed of the first set; the others follow
    #[arg(long, default_value_t = 0)]
    first_seed: u64,
    /// People of each set, of whom a fifth are asked
    #[arg(long, default_value_t = attributes::Config::default().users)]
    users: usize,
    /// Distinct comparisons of each set
    #[arg(long, default_value_t = attributes::Config::default().pairs)]
    pairs: usize,
    /// Share of the comparisons that each person judges
    #[arg(long, default_value_t = attributes::Config::default().overlap)]
    overlap: f64,
}

/// What embeds texts, and how methods are trained.
#[derive(Debug, clap::Args)]
pub(super) struct Embedding {
    /// What embeds the texts; as in `pref train`
    #[arg(long, default_value = "lexical")]
    pub(super) backbone: String,
    /// Where the backbone runs: auto, cpu, cuda:N, metal:N
    #[arg(long, default_value = "auto")]
    pub(super) device: DeviceChoice,
    /// J where methods are trained, or auto: as many as held-out judgments bear out
    #[arg(long, default_value = "auto", value_name = "J|auto")]
    pub(super) base_functions: BaseFunctions,
}

/// Judgments read, and embedded once.
pub(super) struct Loaded {
    pub(super) train: Dataset,
    pub(super) data: Dataset,
    train_embeddings: DMatrix<f64>,
    data_embeddings: DMatrix<f64>,
}

impl Embedding {
    pub(super) fn options(&self) -> BackboneOptions {
        BackboneOptions { device: self.device, ..BackboneOptions::default() }
    }

    pub(super) fn open(&self) -> anyhow::Result<Arc<dyn Backbone>> {
        Ok(open_backbone(&self.backbone, &self.options())?)
    }

    pub(super) fn training(&self, seed: u64) -> Training {
        Training { base_functions: self.base_functions.0, seed }
    }
}

impl Files {
    pub(super) fn load(&self, backbone: &dyn Backbone) -> anyhow::Result<Loaded> {
        Loaded::read(&self.data, &self.train, backbone)
    }
}

impl Loaded {
    pub(super) fn read(data: &[PathBuf], train: &[PathBuf], backbone: &dyn Backbone) -> anyhow::Result<Self> {
        let data = read_dataset(data, Limits::default())?;
        let train = read_dataset(train, Limits::default())?;
        refuse_known_people(&data, "of --train", |user| train.users().binary_search(user).is_ok())?;
        Ok(Self {
            train_embeddings: embeddings(&train, backbone)?,
            data_embeddings: embeddings(&data, backbone)?,
            train,
            data,
        })
    }

    pub(super) fn material(&self) -> Material<'_> {
        Material {
            train: &self.train,
            train_embeddings: &self.train_embeddings,
            data: &self.data,
            data_embeddings: &self.data_embeddings,
        }
    }

    /// Trains methods on all that was read to train on.
    pub(super) fn contestants(&self, methods: &[Method], training: &Training) -> anyhow::Result<Contestants> {
        let rows: Vec<usize> = (0..self.train.rows().len()).collect();
        let (h, tested) = (&self.train_embeddings, &self.data_embeddings);
        Ok(Contestants::train(&self.train, h, &rows, tested, methods, training, &mut told())?)
    }
}

impl FilesOrSets {
    /// Trains methods and asks people, of the files or of every set.
    pub(super) fn ask(
        &self,
        evaluation: &mut Evaluation,
        methods: &[Method],
        embedding: &Embedding,
        train_seed: u64,
    ) -> anyhow::Result<()> {
        let backbone = embedding.open()?;
        let Some(sets) = self.synthetic.sets else {
            anyhow::ensure!(
                !self.train.is_empty(),
                "give --train FILE, judgments of other people, or --sets N"
            );
            let loaded = Loaded::read(&self.data, &self.train, &*backbone)?;
            return Ok(evaluation
                .ask(&loaded.data, &loaded.contestants(methods, &embedding.training(train_seed))?)?);
        };
        for seed in self.synthetic.shape.seeds(sets) {
            eprintln!("set of seed {seed}");
            let set = Set::new(&*backbone, &self.synthetic.shape.config(), seed)?;
            evaluation.ask(&set.test, &set.contestants(methods, embedding.base_functions.0, &mut told())?)?;
        }
        Ok(())
    }
}

impl Shape {
    pub(super) fn config(&self) -> attributes::Config {
        let Self { users, pairs, overlap, .. } = *self;
        attributes::Config { users, pairs, overlap, ..attributes::Config::default() }
    }

    /// Seeds of so many sets.
    pub(super) fn seeds(&self, sets: u64) -> std::ops::Range<u64> {
        self.first_seed..self.first_seed.saturating_add(sets)
    }
}

/// Says on standard error what was chosen for each method, and how long that took.
pub(super) fn told() -> impl FnMut(&TrainedMethod) {
    let mut begun = Instant::now();
    move |trained| {
        eprintln!(
            "{}: {} trials, {:.1} s: {}",
            trained.method,
            trained.tuning.trials,
            begun.elapsed().as_secs_f64(),
            trained.tuning.chosen
        );
        begun = Instant::now();
    }
}
