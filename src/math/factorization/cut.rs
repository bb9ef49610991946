//! Judgments held out to choose hyperparameters by.

use nalgebra::{DMatrix, DVector};

use super::cells::Cells;
use super::{Observation, Problem};
use crate::math::MathError;
use crate::math::logistic::binary_cross_entropy;

/// Comparisons to fit on, and judgments held out of them: the same users', of other prompts, over the same embeddings.
#[derive(Debug)]
pub struct Cut {
    pub(super) problem: Problem,
    /// Held-out judgments; ties among them weigh nothing.
    held_out: Cells,
}

impl Cut {
    /// Checks what is held out. Ties among it do not count.
    ///
    /// # Errors
    /// Indices out of range, preferences outside \[0, 1\], weights negative; no decided judgment.
    pub fn new(problem: Problem, validation: &[Observation]) -> Result<Self, MathError> {
        let held_out = Cells::new(validation, problem.basis.texts(), problem.cells.users())?;
        if !held_out.has_decided() {
            return Err(MathError::Empty { what: "the list of decided validation judgments" });
        }
        Ok(Self { problem, held_out })
    }

    /// The log-likelihood of what is held out under a head (J × rank); `logit` gives a user's logit of a difference δ.
    pub(super) fn log_likelihood(
        &self,
        head: &DMatrix<f64>,
        logit: impl Fn(usize, &DVector<f64>) -> f64,
    ) -> LogLikelihood {
        let features = self.problem.basis.project(head);
        let Self { held_out, .. } = self;
        let outcomes = held_out.outcomes(0.0);
        let mut sum = LogLikelihood::default();
        for user in 0..held_out.users() {
            for o in &outcomes[held_out.user_starts[user]..held_out.user_starts[user + 1]] {
                let (first, second) = held_out.pairs[o.pair];
                let delta = features.column(first) - features.column(second);
                sum.total -= o.weight * binary_cross_entropy(logit(user, &delta), o.preference);
                sum.weight += o.weight;
            }
        }
        sum
    }
}

/// A sum of log-likelihoods in nats, and the weight that it is of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LogLikelihood {
    total: f64,
    weight: f64,
}

impl LogLikelihood {
    pub(super) fn add(&mut self, other: Self) {
        self.total += other.total;
        self.weight += other.weight;
    }

    pub(super) fn mean(self) -> f64 {
        self.total / self.weight
    }
}
