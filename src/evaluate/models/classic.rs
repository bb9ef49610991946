//! Classic preference learning: one Bradley–Terry reward wᵀh shared by everybody.

use nalgebra::{DMatrix, DVector};

use super::{Answer, Learned, Model, Pair};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::Corpus;
use crate::evaluate::search::Tuning;
use crate::math::factorization::{self, Observation, Observer, Problem};

/// w ∈ Rᵈ; people's answers change nothing.
#[derive(Debug, Clone)]
pub(in crate::evaluate) struct Classic {
    weights: DVector<f64>,
}

impl Classic {
    /// With these weights.
    pub(in crate::evaluate) fn new(weights: DVector<f64>) -> Self {
        Self { weights }
    }

    /// Logistic regression whose ridge strength predicts the validation judgments best.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let mut trials = Vec::new();
        let tuned = Self::tune(corpus, &mut Count(&mut trials))?;
        let tuning = Tuning {
            trials: trials.len(),
            chosen: format!("ridge {:.3e}", tuned.ridge),
            log_likelihood: tuned.log_likelihood,
        };
        Ok((Self::fit(corpus, &corpus.all, tuned.ridge)?, tuning))
    }

    /// The ridge strength of [`Classic::train`].
    pub(in crate::evaluate) fn ridge(corpus: &Corpus<'_>) -> Result<f64, EvaluateError> {
        Ok(Self::tune(corpus, &mut ())?.ridge)
    }

    fn tune(
        corpus: &Corpus<'_>,
        observer: &mut dyn Observer,
    ) -> Result<factorization::Classic, EvaluateError> {
        Ok(factorization::tune_classic(&corpus.ready()?, observer)?)
    }

    /// On some judgments, with a ridge strength given.
    pub(in crate::evaluate) fn fit(
        corpus: &Corpus<'_>,
        part: &[Observation],
        ridge: f64,
    ) -> Result<Self, EvaluateError> {
        let fit = Problem::new(&corpus.comparisons(part))?.classic(ridge)?;
        Ok(Self { weights: fit.weights })
    }
}

impl Model for Classic {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        let rewards = embeddings * &self.weights;
        DMatrix::from_row_slice(1, rewards.len(), rewards.as_slice())
    }

    fn learn(&self, _answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        Ok(Box::new(Everybody))
    }
}

/// Whoever it is.
pub(in crate::evaluate) struct Everybody;

impl Learned for Everybody {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        pair.difference().sum()
    }
}

/// Counts trials.
struct Count<'a>(&'a mut Vec<f64>);

impl Observer for Count<'_> {
    fn progress(&mut self, progress: factorization::Progress) {
        self.0.extend(progress.objective);
    }
}
