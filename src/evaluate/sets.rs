use nalgebra::DMatrix;

use super::attributes::{Config, Population};
use super::contestants::{Contestants, TrainedMethod, Training};
use super::{EvaluateError, Method};
use crate::model::Backbone;
use crate::train::{Dataset, Quadrant, SplitConfig, embeddings, split};

/// An Attributes set made for a seed, split by people and by prompts, and embedded: as `pref synth attributes --seed S` and
/// `pref split --seed S` would.
pub struct Set {
    /// The truth.
    pub(super) population: Population,
    /// Judgments of four fifths of the people on four fifths of the prompts.
    pub train: Dataset,
    /// The other people's judgments of the other prompts.
    pub test: Dataset,
    /// h of the texts of [`Set::train`], N × d.
    pub(super) train_embeddings: DMatrix<f64>,
    /// h of the texts of [`Set::test`], N × d.
    pub(super) test_embeddings: DMatrix<f64>,
    pub(super) seed: u64,
}

impl Set {
    /// # Errors
    /// A field of `config` out of its range; texts that the backbone cannot embed.
    pub fn new(backbone: &dyn Backbone, config: &Config, seed: u64) -> Result<Self, EvaluateError> {
        let population = Population::new(*config, seed)?;
        let data = Dataset::from_judgments(&population.judgments());
        let parts = split(&data, &SplitConfig { seed, ..SplitConfig::default() })?;
        let part = |quadrant| data.select(parts.rows(quadrant).iter().copied());
        let (train, test) = (part(Quadrant::Train), part(Quadrant::Test));
        let (train_embeddings, test_embeddings) =
            (embeddings(&train, backbone)?, embeddings(&test, backbone)?);
        Ok(Self { population, train, test, train_embeddings, test_embeddings, seed })
    }

    /// Trains methods on the set's people, with the set's seed. `done` hears of each as it is ready.
    ///
    /// # Errors
    /// Too few judgments.
    pub fn contestants(
        &self,
        methods: &[Method],
        base_functions: Option<usize>,
        done: &mut dyn FnMut(&TrainedMethod),
    ) -> Result<Contestants, EvaluateError> {
        let rows: Vec<usize> = (0..self.train.rows().len()).collect();
        let training = Training { base_functions, seed: self.seed };
        let (h, tested) = (&self.train_embeddings, &self.test_embeddings);
        Contestants::train(&self.train, h, &rows, tested, methods, &training, done)
    }
}
