use nalgebra::{DMatrix, DVector};

use super::{Dataset, Row, TrainError};
use crate::math::factorization::{self, Comparisons, Factorization, Observation};
use crate::math::{Evidence, Posterior, Prior};

/// What is chosen on held-out judgments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    /// J
    pub base_functions: usize,
    /// γ of Eq. 5's regularisation: on tr(W S Wᵀ), S the second moment of h₁ − h₂.
    pub gamma: f64,
    /// α: on ‖W‖²_F.
    pub alpha: f64,
    /// Weight of a tie's likelihood term, in [0, 1].
    pub tie_weight: f64,
}

/// A dataset with the embeddings of its texts.
pub(super) struct Problem<'a> {
    pub(super) data: &'a Dataset,
    /// h, N × d.
    pub(super) embeddings: DMatrix<f64>,
}

/// The base functions beside one shared reward, fitted on the same rows.
pub(super) struct Fitted {
    pub(super) factorization: Factorization,
    /// w ∈ Rᵈ, the one reward shared by all.
    pub(super) classic: DVector<f64>,
    pub(super) hyperparameters: Hyperparameters,
    /// φ = W h of every text of the dataset, J × N: one column a text.
    features: DMatrix<f64>,
    /// wᵀh of every text of the dataset.
    rewards: DVector<f64>,
}

impl Problem<'_> {
    /// Fits the base functions and the shared reward on some rows (Algorithm 1).
    pub(super) fn fit(&self, rows: &[usize], chosen: Hyperparameters) -> Result<Fitted, TrainError> {
        let comparisons = Comparisons {
            embeddings: &self.embeddings,
            observations: rows.iter().map(|&row| self.observation(row, chosen.tie_weight)).collect(),
            users: self.data.users().len(),
        };
        let config = factorization::Config { base_functions: chosen.base_functions, gamma: chosen.gamma, alpha: chosen.alpha };
        let factorization = factorization::factorize(&comparisons, &config)?;
        let classic = factorization::classic(&comparisons, chosen.alpha)?;
        let features = &factorization.head * self.embeddings.transpose();
        let rewards = &self.embeddings * &classic;
        Ok(Fitted { factorization, classic, hyperparameters: chosen, features, rewards })
    }

    fn observation(&self, row: usize, tie_weight: f64) -> Observation {
        let row = self.data.rows()[row];
        let pair = self.data.pairs()[row.pair];
        Observation {
            user: row.user,
            first: pair.first,
            second: pair.second,
            preference: row.preference,
            weight: if row.is_decided() { 1.0 } else { tie_weight },
        }
    }
}

impl Fitted {
    pub(super) fn prior(&self) -> &Prior {
        &self.factorization.prior
    }

    /// λ of a user given some of their rows, as the service would fit it.
    pub(super) fn coefficients(&self, data: &Dataset, rows: &[usize]) -> Result<DVector<f64>, TrainError> {
        let evidence: Vec<Evidence> = (rows.iter().map(|&row| &data.rows()[row]))
            .map(|row| Evidence {
                delta: self.delta(data, row),
                preference: row.preference,
                weight: if row.is_decided() { 1.0 } else { self.hyperparameters.tie_weight },
            })
            .collect();
        Ok(Posterior::fit(&evidence, self.prior())?.coefficients().clone())
    }

    /// δ = φ(x, first) − φ(x, second).
    pub(super) fn delta(&self, data: &Dataset, row: &Row) -> DVector<f64> {
        let pair = data.pairs()[row.pair];
        self.features.column(pair.first) - self.features.column(pair.second)
    }

    /// The shared reward's difference, first less second.
    pub(super) fn classic_difference(&self, data: &Dataset, row: &Row) -> f64 {
        let pair = data.pairs()[row.pair];
        self.rewards[pair.first] - self.rewards[pair.second]
    }

    /// φ = W h, J × N.
    pub(super) fn features(&self) -> &DMatrix<f64> {
        &self.features
    }
}
