//! Learning the base reward functions from many users' comparisons (§4.1, Algorithm 1, Eq. 5).

mod comparisons;
mod config;
mod observer;

use nalgebra::{DMatrix, DVector};

pub use comparisons::{Comparisons, Observation};
pub use config::{Config, Hyperparameters};
pub use observer::{Observer, Progress, Stage};

use super::{MathError, Prior, SolverReport};

/// Base reward functions φ(x, y) = W h(x, y) in canonical form, with the population that they were learned from.
#[derive(Debug, Clone)]
pub struct Factorization {
    /// W (J × d)
    pub head: DMatrix<f64>,
    /// Λ (users × J): MAP estimates under the prior.
    pub coefficients: DMatrix<f64>,
    /// N(μ, Σ), Σ diagonal and descending.
    pub prior: Prior,
    /// Singular values of the start, descending.
    pub spectrum: Vec<f64>,
    /// Where W began.
    pub start: Start,
    /// How the fit ended.
    pub report: SolverReport,
    /// γ, α and the others it was fitted with.
    pub hyperparameters: Hyperparameters,
}

/// Where the factorization began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Soft-imputed matrix of users × pairs.
    SoftImpute,
    /// Per-user gradients at one shared reward, because hardly any pair had two raters.
    UserGradients,
}

/// What was tried on the validation split and what came of it.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The best trial's fit.
    pub factorization: Factorization,
    /// All trials in the order made.
    pub trials: Vec<Trial>,
}

/// One setting with its mean log-likelihood on the validation split, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The setting.
    pub hyperparameters: Hyperparameters,
    /// Mean log-likelihood of decided validation comparisons.
    pub log_likelihood: f64,
}

/// One reward shared by everybody: the classic baseline.
#[derive(Debug, Clone)]
pub struct Classic {
    /// w (d): the reward is wᵀh.
    pub weights: DVector<f64>,
    /// Ridge strength it was fitted with.
    pub ridge: f64,
    /// Mean log-likelihood on the validation split, where there is one.
    pub log_likelihood: Option<f64>,
    /// How the fit ended.
    pub report: SolverReport,
}

/// Comparisons made ready for learning: differences, their second moment S and its eigenbasis, which every fit on the
/// same comparisons shares.
#[derive(Debug)]
pub struct Problem {
    dimension: usize,
}

impl Problem {
    /// Checks and prepares comparisons.
    ///
    /// # Errors
    /// Indices out of range, preferences outside \[0, 1\], weights negative, non-finite embeddings (each named by its
    /// index), no users, no comparison that tells anything.
    pub fn new(comparisons: &Comparisons<'_>) -> Result<Self, MathError> {
        Ok(Self { dimension: comparisons.embeddings.ncols() })
    }

    /// Base functions with hyperparameters chosen by held-out log-likelihood of `validation`: the same users' judgments
    /// of other prompts, over the same embeddings.
    ///
    /// # Errors
    /// Bad configuration or validation judgments.
    pub fn tune(
        &self,
        validation: &[Observation],
        config: &Config,
        observer: &mut dyn Observer,
    ) -> Result<Tuned, MathError> {
        let _ = (validation, config, observer);
        unimplemented!("{}", self.dimension)
    }

    /// Base functions with the hyperparameters given.
    ///
    /// # Errors
    /// Hyperparameters out of range.
    pub fn fit(
        &self,
        hyperparameters: &Hyperparameters,
        config: &Config,
        observer: &mut dyn Observer,
    ) -> Result<Factorization, MathError> {
        let _ = (hyperparameters, config, observer);
        unimplemented!("{}", self.dimension)
    }

    /// The classic single reward, its ridge strength chosen on the same validation judgments.
    ///
    /// # Errors
    /// Bad validation judgments.
    pub fn tune_classic(
        &self,
        validation: &[Observation],
        observer: &mut dyn Observer,
    ) -> Result<Classic, MathError> {
        let _ = (validation, observer);
        unimplemented!("{}", self.dimension)
    }

    /// The classic single reward with the ridge strength given.
    ///
    /// # Errors
    /// A ridge strength that is not positive and finite.
    pub fn classic(&self, ridge: f64, tie_weight: f64) -> Result<Classic, MathError> {
        let _ = (ridge, tie_weight);
        unimplemented!("{}", self.dimension)
    }
}

impl Factorization {
    /// φ = W h of texts given by their embeddings (texts × d): texts × J.
    pub fn features(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        embeddings * self.head.transpose()
    }

    /// Mean log-likelihood in nats of decided judgments of training users, over embeddings (texts × d).
    pub fn log_likelihood(&self, embeddings: &DMatrix<f64>, observations: &[Observation]) -> Option<f64> {
        let features = self.features(embeddings);
        let (mut logits, mut outcomes) = (Vec::new(), Vec::new());
        for o in observations.iter().filter(|o| o.preference != 0.5 && o.user < self.coefficients.nrows()) {
            let delta = features.row(o.first) - features.row(o.second);
            logits.push(self.coefficients.row(o.user).dot(&delta));
            outcomes.push(o.preference);
        }
        super::metrics::mean_log_likelihood(&logits, &outcomes)
    }
}
