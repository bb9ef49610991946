//! Learning the base reward functions from many users' comparisons (§4.1, Algorithm 1, Eq. 5).
//!
//! From h(x, y) ∈ Rᵈ of every text and judgments (user, y₁, y₂, a, w) to W ∈ Rᴶˣᵈ with φ = W h, and N(μ, Σ) of users'
//! coefficients. In reading order:
//!
//! 1. `cells`: a user's judgments of a pair of texts become one cell, whichever text was called A.
//! 2. `basis`: coordinates in which both penalties on W are diagonal.
//! 3. `soft_impute`, `start`: where W begins (Algorithm 1, lines 1 and 2).
//! 4. `maximize`: the regularised likelihood (Eq. 5), users by Newton, `head` by Newton with conjugate gradients.
//! 5. `population`, `calibrate`, `foretell`: N(μ, Σ) by empirical Bayes, and how much of it holds for people not yet seen.
//! 6. `canonical`, `finish`: the basis that is kept, since Λ and W are only defined up to an invertible matrix.
//! 7. `cut`, `tune`: hyperparameters on held-out judgments. `classic`: one reward shared by all.
//! 8. `pair_factors`: the same likelihood without texts, a free vector for every pair; no part of a training, but what
//!    matrix factorization of the judgments alone can do, and how fast.
//!
//! # Where this departs from the paper
//!
//! Eq. 5 is a likelihood of Λ and W with an L2 on λ alone, which has no minimum: λ → cλ, W → W/c keeps the likelihood
//! and shrinks the penalty. Here λ_i ~ N(μ, I), the penalties
//! (γ/2) tr(M W S Wᵀ) + (α/2) tr(M W D² Wᵀ) with M = Σ + κμμᵀ, S the second moment of h₁ − h₂ and D² ∝ √diag S are
//! on the second moment of users' logits and weights (what they share κ times as much). λ is integrated out by Laplace's
//! approximation rather than maximised: with few judgments a user, a point estimate of λ takes noise for taste, and W
//! would follow it. At the end φ takes in the reward shared by all (`finish`), so that nobody is predicted worse than by it before the
//! first answer for want of a direction.

mod basis;
mod calibrate;
mod canonical;
mod cells;
mod classic;
mod comparisons;
mod config;
mod cut;
mod finish;
mod foretell;
mod head;
mod maximize;
mod observer;
mod pair_factors;
mod population;
mod soft_impute;
mod start;
mod tune;

use nalgebra::{DMatrix, DVector};

use basis::Basis;
use cells::{ByPair, Cells};
use maximize::Likelihood;
use start::Started;

pub use calibrate::{Newcomers, Scales, calibrate};
pub use comparisons::{Comparisons, Observation};
pub use config::{Config, Hyperparameters};
pub use cut::Cut;
pub use observer::{Observer, Progress};
pub use pair_factors::{PairFactors, PairJudgment, PairOptions, PairProblem};
pub use population::{EmOptions, empirical_bayes};

use super::{MathError, Prior, SolverReport};

/// Most rounds of a fit that is kept.
const ROUNDS: usize = 60;
/// It stops earlier after a round that gained less than this a judgment, in nats: no data tell such fits apart.
const LEAST_GAIN: f64 = 1e-5;
/// Rounds with a freely moving Σ.
const EXPANSIONS: usize = 2;

/// Base reward functions φ(x, y) = W h(x, y) in canonical form, with the population that they were learned from.
#[derive(Debug, Clone)]
pub struct Factorization {
    /// W (J × d)
    pub head: DMatrix<f64>,
    /// Λ (users × J): MAP estimates under the prior.
    pub coefficients: DMatrix<f64>,
    /// N(μ, Σ) as the hyperparameters scale it, Σ diagonal and descending.
    pub prior: Prior,
    /// m: the part along the classic reward of the mean before scaling, where the hyperparameters have a ridge for that.
    pub shared: Option<DVector<f64>>,
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
    /// Drawn at random: the ablation without a singular value decomposition.
    Random,
}

/// What was tried on held-out judgments and what came of it.
#[derive(Debug, Clone)]
pub struct Tuned {
    /// The best trial's fit, on the first cut.
    pub factorization: Factorization,
    /// All trials in the order made.
    pub trials: Vec<Trial>,
}

/// One setting with its mean log-likelihood on held-out judgments, in nats.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// The setting.
    pub hyperparameters: Hyperparameters,
    /// Mean log-likelihood of the decided comparisons that the cuts hold out.
    pub log_likelihood: f64,
}

/// One reward shared by everybody: the classic baseline.
#[derive(Debug, Clone)]
pub struct Classic {
    /// w (d): the reward is wᵀh.
    pub weights: DVector<f64>,
    /// Ridge strength it was fitted with.
    pub ridge: f64,
    /// Mean log-likelihood of the decided comparisons that the cuts hold out, where it was tuned.
    pub log_likelihood: Option<f64>,
    /// How the fit ended.
    pub report: SolverReport,
}

/// Comparisons made ready for learning: the sparse matrix of judgments and the basis in which learning W is nearly
/// diagonal, shared by every fit on the same comparisons.
#[derive(Debug)]
pub struct Problem {
    cells: Cells,
    basis: Basis,
    by_pair: ByPair,
    style: Option<Vec<f64>>,
}

impl Problem {
    /// Checks and prepares comparisons.
    ///
    /// # Errors
    /// Indices out of range, preferences outside \[0, 1\], weights negative, non-finite embeddings (each named by its
    /// index), no users, no comparison that tells anything.
    pub fn new(comparisons: &Comparisons<'_>) -> Result<Self, MathError> {
        comparisons.check()?;
        let cells = Cells::new(comparisons.observations, comparisons.embeddings.nrows(), comparisons.users)?;
        if cells.pairs.is_empty() {
            return Err(MathError::Empty { what: "the list of comparisons between different texts" });
        }
        if !cells.has_decided() {
            return Err(MathError::Empty { what: "the list of decided comparisons" });
        }
        let basis = Basis::new(comparisons.embeddings, &cells.pairs);
        if basis.rank() == 0 {
            return Err(MathError::Empty { what: "what the embeddings of compared texts differ in" });
        }
        let by_pair = ByPair::new(&cells.outcomes(1.0), &cells.user_starts, cells.pairs.len());
        Ok(Self { cells, basis, by_pair, style: comparisons.style.map(<[f64]>::to_vec) })
    }

    /// Base functions with the hyperparameters given.
    ///
    /// # Errors
    /// Hyperparameters out of range; [`MathError::Cancelled`].
    pub fn fit(
        &self,
        hyperparameters: &Hyperparameters,
        config: &Config,
        observer: &mut dyn Observer,
    ) -> Result<Factorization, MathError> {
        hyperparameters.check()?;
        let likelihood = self.likelihood(hyperparameters.tie_weight);
        let mut started = self.start(&likelihood, hyperparameters, config);
        let limits = likelihood.limits(EXPANSIONS);
        let report = likelihood.maximize(&mut started.state, hyperparameters, limits, observer)?;
        self.finish(&likelihood, started, report, hyperparameters)
    }

    /// The classic single reward with the ridge strength given; a tie counts a quarter, as in [`tune_classic`].
    ///
    /// # Errors
    /// A ridge strength that is not positive and finite.
    pub fn classic(&self, ridge: f64) -> Result<Classic, MathError> {
        config::positive("the ridge strength", ridge)?;
        let (head, report) = self.fit_shared(ridge);
        Ok(Classic { weights: self.basis.unfold_one(&head), ridge, log_likelihood: None, report })
    }

    /// w̃ (1 × rank) of the shared reward.
    fn fit_shared(&self, ridge: f64) -> (DMatrix<f64>, SolverReport) {
        let mut head = DMatrix::zeros(1, self.basis.rank());
        let report = classic::fit_shared(&self.likelihood(classic::TIE_WEIGHT), ridge, &mut head);
        (head, report)
    }

    fn likelihood(&self, tie_weight: f64) -> Likelihood<'_> {
        Likelihood {
            basis: &self.basis,
            pairs: &self.cells.pairs,
            by_pair: &self.by_pair,
            user_starts: &self.cells.user_starts,
            outcomes: self.cells.outcomes(tie_weight),
        }
    }

    fn start(&self, likelihood: &Likelihood<'_>, h: &Hyperparameters, config: &Config) -> Started {
        let kind = config.start.unwrap_or_else(|| start::kind(self.cells.overlap()));
        likelihood.start(kind, h.base_functions, h.alpha, h.threshold, config.seed)
    }
}

/// Base functions with hyperparameters chosen by the log-likelihood of what the cuts hold out: one cut where it holds out many
/// prompts, several where a few prompts would decide by chance.
///
/// # Errors
/// No cuts; a J of 0; [`MathError::Cancelled`].
pub fn tune(cuts: &[Cut], config: &Config, observer: &mut dyn Observer) -> Result<Tuned, MathError> {
    tune::tune(cuts, config, observer)
}

/// The classic single reward, its ridge strength chosen on the same held-out judgments.
///
/// # Errors
/// No cuts; [`MathError::Cancelled`].
pub fn tune_classic(cuts: &[Cut], observer: &mut dyn Observer) -> Result<Classic, MathError> {
    tune::tune_classic(cuts, observer)
}

impl Factorization {
    /// φ = W h of texts given by their embeddings (texts × d): texts × J.
    pub fn features(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        embeddings * self.head.transpose()
    }
}

#[cfg(test)]
mod tests;
