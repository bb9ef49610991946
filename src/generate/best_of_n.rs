use nalgebra::DVector;

use crate::math::guidance::{self, Ranked};
use crate::math::{MathError, Posterior};

/// Candidates of a prompt as a user would rank them.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// Best first; rewards are relative to `baseline`.
    pub ranked: Vec<Ranked>,
    /// Mean λᵀφ over the candidates: what an unguided answer is worth to this user on average.
    pub baseline: f64,
}

/// Best-of-N: ranks N candidates by λᵀφ − κ√(φᵀH⁻¹φ), φ centred over them. `features` is φ (J) of each candidate.
///
/// Works with the completions of any generator, and costs one evaluation of the reward model for each.
pub fn best_of_n(
    features: &[DVector<f64>],
    posterior: &Posterior,
    risk_aversion: f64,
) -> Result<Ranking, MathError> {
    let ranked = guidance::best_of_n(features, posterior, risk_aversion)?;
    let total: f64 = features.iter().map(|phi| posterior.coefficients().dot(phi)).sum();
    Ok(Ranking { ranked, baseline: total / features.len() as f64 })
}
