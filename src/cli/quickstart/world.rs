//! The people, prompts and model of the quickstart: made once, found again at the next start.

use std::path::{Path, PathBuf};

use anyhow::Context;
use futures::stream;

use crate::cli::synth::write_lines;
use crate::cli::train::Bars;
use crate::domain::{ModelVersion, PoolName, TenantId};
use crate::engine::{Engine, EngineError};
use crate::evaluate::attributes::{self, Config, Population};
use crate::model::{ArtifactLocation, BackboneOptions, open_backbone};
use crate::train::{Dataset, Quadrant, SplitConfig, TrainConfig, split, train};

/// Name of the pool that questions and completions come from.
pub(super) const POOL: &str = "everyday";

/// Seed of the population, of who is held out, and of training.
const SEED: u64 = 0;

/// Synthetic people with a model that some of them trained.
pub(super) struct World {
    pub(super) population: Population,
    /// Judgments of people who were not in training on prompts that were not.
    pub(super) unseen: Dataset,
    /// Those judgments as a file, for `pref evaluate`.
    pub(super) test_file: PathBuf,
    /// The model's folder.
    pub(super) model: PathBuf,
}

impl World {
    /// Makes people and texts from the seed, and trains a model on four fifths of the people and prompts unless one
    /// lies in the data directory already.
    pub(super) fn make(backbone: &str, options: &BackboneOptions, data_dir: &Path) -> anyhow::Result<Self> {
        let population = Population::new(Config::default(), SEED)?;
        let judgments = population.judgments();
        let dataset = Dataset::from_judgments(&judgments);
        println!(
            "{} simulated people judged {} pairs of answers to {} everyday prompts, {} judgments in all.",
            population.people().len(),
            population.comparisons().len(),
            population.pool().len(),
            dataset.rows().len()
        );
        let parts = split(&dataset, &SplitConfig { seed: SEED, ..SplitConfig::default() })?;
        let unseen = dataset.select(parts.rows(Quadrant::Test).iter().copied());
        let folder = data_dir.join("quickstart");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // What is printed and stored is to be found from another directory, too.
        let data_dir = data_dir.canonicalize().with_context(|| format!("data {}", data_dir.display()))?;
        let test_file = data_dir.join("quickstart/test.jsonl");
        write_lines(&test_file, unseen.judgments())?;

        let version = version(backbone)?;
        let model = data_dir.join("models").join(version.as_str());
        if model.join("manifest.json").exists() {
            println!("The model in {} is used again.", model.display());
        } else {
            let train_on = dataset.select(parts.rows(Quadrant::Train).iter().copied());
            println!(
                "Training base reward functions on {} of the people and {} of the prompts:",
                train_on.users().len(),
                train_on.prompts().len()
            );
            let backbone = open_backbone(backbone, options)?;
            let config = TrainConfig {
                base_functions: Some(8),
                seed: SEED,
                version: Some(version),
                ..TrainConfig::default()
            };
            let trained = train(&train_on, &config, &*backbone, &mut Bars::default())?;
            trained.artifact.save_blocking(&ArtifactLocation::from(model.as_path()))?;
        }
        Ok(Self { population, unseen, test_file, model })
    }

    /// Stores every prompt with its answers, for questions and for completions. What is there is not stored twice.
    pub(super) async fn import_pool(&self, engine: &Engine, tenant: &TenantId) -> anyhow::Result<()> {
        let pool = PoolName::parse(POOL)?;
        let rows = self.population.pool().iter().map(|row| Ok::<_, EngineError>((pool.clone(), row.clone())));
        let imported = engine.import_candidates(tenant, None, stream::iter(rows)).await?;
        println!("Pool {POOL:?}: {} prompts, {} new answers.", imported.rows, imported.added);
        Ok(())
    }
}

/// The model's name tells data and backbone, so that another backbone trains a model of its own.
fn version(backbone: &str) -> anyhow::Result<ModelVersion> {
    let backbone: String = backbone
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-.+".contains(c) { c } else { '-' })
        .collect();
    Ok(ModelVersion::parse(format!("{}-{backbone}", attributes::VERSION))?)
}
