//! How well a population foretells a person's judgments, one after the other.

use nalgebra::DVector;

use crate::math::Prior;
use crate::math::acquisition::{FINEST, REACH, STEP};
use crate::math::logistic::binary_cross_entropy;
use crate::math::posterior::Rows;

/// −Σ_t log p(a_t | a_1 … a_t₋₁) of a person's judgments in nats: their negative log marginal likelihood under the prior, by the
/// chain rule.
///
/// What is known of λ after each judgment is the normal distribution with the mean and the covariance that Bayes' rule gives
/// (assumed-density filtering; Minka 2001). A judgment depends on λ through its logit alone, so that both are integrals over one
/// dimension.
pub(super) fn surprise(rows: &Rows, prior: &Prior) -> f64 {
    let (mut mean, mut covariance) = (prior.mean().clone(), prior.covariance().clone());
    let mut sum = 0.0;
    for (delta, &(preference, weight)) in rows.deltas.chunks(prior.dimension()).zip(&rows.outcomes) {
        let delta = DVector::from_column_slice(delta);
        let column = &covariance * &delta;
        let (z, v) = (mean.dot(&delta), column.dot(&delta).max(0.0));
        let judged = Judged::new(z, v, |z| -weight * binary_cross_entropy(z, preference));
        sum -= judged.log_likelihood;
        if v > 0.0 {
            let along = column / v.sqrt();
            mean.axpy(judged.shift, &along, 1.0);
            covariance.ger(judged.variance - 1.0, &along, &along, 1.0);
        }
    }
    sum
}

/// What a judgment tells of its logit z + √v X, X ~ N(0, 1).
struct Judged {
    /// log E e^ℓ
    log_likelihood: f64,
    /// E X given the judgment.
    shift: f64,
    /// Var X given the judgment.
    variance: f64,
}

impl Judged {
    /// From the log-likelihood ℓ of the judgment by its logit; by the trapezoid rule, as the information gain of a question.
    fn new(z: f64, v: f64, log_likelihood: impl Fn(f64) -> f64) -> Self {
        let spread = v.sqrt();
        let step = (STEP / spread).clamp(FINEST.recip(), STEP);
        let reach = (REACH / step) as i32;
        let nodes = || (-reach..=reach).map(|k| f64::from(k) * step);
        let log_density = |x: f64| log_likelihood(z + spread * x) - 0.5 * x * x;
        // Far out all of it may be too small for floating point.
        let highest = nodes().map(log_density).fold(f64::NEG_INFINITY, f64::max);
        let (mut mass, mut first, mut second, mut before) = (0.0, 0.0, 0.0, 0.0);
        for x in nodes() {
            let weight = (log_density(x) - highest).exp();
            before += (-0.5 * x * x).exp();
            mass += weight;
            first += weight * x;
            second += weight * x * x;
        }
        let shift = first / mass;
        Self {
            log_likelihood: highest + (mass / before).ln(),
            shift,
            variance: second / mass - shift * shift,
        }
    }
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;

    use super::*;
    use crate::math::logistic::sigmoid;

    fn judged(judgments: &[(f64, f64)]) -> Rows {
        let mut rows = Rows::default();
        for &(delta, preference) in judgments {
            rows.deltas.push(delta);
            rows.outcomes.push((preference, 1.0));
        }
        rows
    }

    fn normal(mean: f64, variance: f64) -> Prior {
        Prior::new(DVector::from_vec(vec![mean]), DMatrix::from_element(1, 1, variance)).expect("valid")
    }

    #[test]
    fn it_is_the_marginal_likelihood() {
        for (mean, variance) in [(0.0, 1.0_f64), (0.5, 4.0), (-1.0, 9.0), (3.0, 0.1)] {
            let judgments = [(1.0, 1.0), (0.4, 0.0), (-1.5, 0.0), (0.8, 1.0), (2.0, 1.0), (-0.3, 1.0)];
            // ∫ Π_t p(a_t | λ) N(λ; μ, σ²) dλ by the midpoint rule.
            let likelihood = |lambda: f64| -> f64 {
                judgments.iter().map(|(delta, a)| sigmoid((2.0 * a - 1.0) * delta * lambda)).product()
            };
            let density = |x: f64| (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
            let nodes = (-8000..8000).map(|k| (f64::from(k) + 0.5) * 1e-3);
            let at = |x: f64| mean + variance.sqrt() * x;
            let integral: f64 = nodes.map(|x| 1e-3 * density(x) * likelihood(at(x))).sum();
            let surprise = surprise(&judged(&judgments), &normal(mean, variance));
            assert!((surprise + integral.ln()).abs() < 0.01, "{surprise} {}", -integral.ln());
        }
    }

    #[test]
    fn a_first_judgment_says_nothing_of_the_spread_around_zero() {
        for variance in [0.01, 1.0, 100.0, 1e6] {
            let surprise = surprise(&judged(&[(2.0, 1.0)]), &normal(0.0, variance));
            assert!((surprise - std::f64::consts::LN_2).abs() < 1e-8, "{variance}: {surprise}");
        }
    }

    #[test]
    fn what_tells_nothing_or_was_certain_leaves_finite_numbers() {
        let nothing = judged(&[(0.0, 1.0), (0.0, 0.0)]);
        assert!((surprise(&nothing, &normal(1.0, 1.0)) - 2.0 * std::f64::consts::LN_2).abs() < 1e-12);
        let against = surprise(&judged(&[(1.0, 0.0), (1e3, 0.0), (1.0, 1.0)]), &normal(1e4, 1.0));
        assert!(against.is_finite() && against > 1e3, "{against}");
    }
}
