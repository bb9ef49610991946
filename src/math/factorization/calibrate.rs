//! How much of the population's spread holds for judgments that W was not fitted to.

use nalgebra::DMatrix;

use super::population::{Rows, fit_all};
use crate::math::{MathError, Prior};

/// (b, c), each at most 1: N(bμ, cΣ) is the population as new judgments see it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scales {
    pub(super) mean: f64,
    pub(super) spread: f64,
}

const STRIDE: f64 = 0.85;
const STRIDES: usize = 60;
/// A stride must gain this many nats; less is chance.
const LEAST_GAIN: f64 = 0.05;

/// b and c by climbing the approximate marginal likelihood of held-out judgments from 1; what was fitted can only have
/// been overstated.
///
/// W is fitted to the same users whose spread Σ measures, so that Σ credits φ with what it only fitted, and too much
/// with few judgments: new people would be asked about, and judged by, differences that are not there. On other prompts
/// φ predicts less, and the likelihood of those answers under N(bμ, cΣ) says by how much.
pub(super) fn calibrate(held_out: &[Rows], prior: &Prior) -> Result<Scales, MathError> {
    let mut best = Scales { mean: 1.0, spread: 1.0 };
    let mut evidence = negative_log_evidence(held_out, &scaled(prior, best)?);
    let mut strides = 0;
    let mut improved = true;
    while improved && strides < STRIDES {
        improved = false;
        for factor in [STRIDE, 1.0 / STRIDE] {
            let mean = Scales { mean: (best.mean * factor).min(1.0), ..best };
            let spread = Scales { spread: (best.spread * factor).min(1.0), ..best };
            for next in [mean, spread] {
                strides += 1;
                let value = negative_log_evidence(held_out, &scaled(prior, next)?);
                if value < evidence - LEAST_GAIN {
                    (best, evidence, improved) = (next, value, true);
                }
            }
        }
    }
    Ok(best)
}

/// N(bμ, cΣ)
pub(super) fn scaled(prior: &Prior, scales: Scales) -> Result<Prior, MathError> {
    Prior::new(prior.mean() * scales.mean, prior.covariance() * scales.spread)
}

/// Σ_i \[f_i(λ̂_i) + ½ log|H_i| + ½ log|Σ|\], Laplace's approximation.
fn negative_log_evidence(users: &[Rows], prior: &Prior) -> f64 {
    let starts = DMatrix::from_columns(&vec![prior.mean().clone(); users.len()]);
    let spread: f64 = prior.covariance().symmetric_eigenvalues().map(f64::ln).sum();
    let users = fit_all(users, prior, &starts);
    users.iter().map(|p| p.report().objective + 0.5 * (p.log_determinant() + spread)).sum()
}

#[cfg(test)]
mod tests {
    use nalgebra::DVector;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::math::logistic::sigmoid;

    #[test]
    fn a_spread_four_times_too_large_is_taken_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut uniform = || 2.0 * rng.random::<f64>() - 1.0;
        let mut users = Vec::new();
        for _ in 0..400 {
            // Variance 1/3 · 3 = 1.
            let lambda = DVector::from_fn(2, |_, _| 3.0_f64.sqrt() * uniform());
            let mut rows = Rows::default();
            for _ in 0..12 {
                let delta = DVector::from_fn(2, |_, _| 3.0 * uniform());
                let liked = 0.5 * (uniform() + 1.0) < sigmoid(lambda.dot(&delta));
                rows.deltas.extend(delta.iter());
                rows.outcomes.push((if liked { 1.0 } else { 0.0 }, 1.0));
            }
            users.push(rows);
        }
        let prior = Prior::isotropic(2, 4.0).expect("valid");
        let Scales { spread, .. } = calibrate(&users, &prior).expect("valid");
        assert!((0.17..0.37).contains(&spread), "{spread}");
    }
}
