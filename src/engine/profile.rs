use serde::{Deserialize, Serialize};

use super::{ServingModel, exact};
use crate::domain::{ModelVersion, UserId};
use crate::math::Posterior;
use crate::store::Revision;

/// What is known of one user under one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Who.
    pub user_id: UserId,
    /// λ (J)
    #[serde(with = "exact::numbers")]
    pub coefficients: Vec<f64>,
    /// √diag(H⁻¹) (J)
    #[serde(with = "exact::numbers")]
    pub standard_errors: Vec<f64>,
    /// Answers with a likelihood term.
    pub answers: i64,
    /// Log position.
    pub revision: Revision,
    /// The model that λ belongs to.
    pub model_version: ModelVersion,
    /// tr H⁻¹ / tr Σ
    #[serde(with = "exact::number")]
    pub remaining_uncertainty: f64,
    /// Whether the last question that was chosen told less than 0.02 bits.
    pub converged: bool,
}

impl Profile {
    pub(super) fn new(
        user: &UserId,
        model: &ServingModel,
        posterior: &Posterior,
        (answers, revision): (i64, Revision),
        converged: bool,
    ) -> Self {
        Self {
            user_id: user.clone(),
            coefficients: posterior.coefficients().as_slice().to_vec(),
            standard_errors: posterior.standard_errors().as_slice().to_vec(),
            answers,
            revision,
            model_version: model.version.clone(),
            remaining_uncertainty: posterior.remaining_uncertainty(&model.prior),
            converged,
        }
    }
}
