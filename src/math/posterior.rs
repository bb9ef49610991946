use std::borrow::Cow;

use nalgebra::{DMatrix, DVector, SymmetricEigen};

use super::algebra::dot;
use super::error::{MathError, finite};
use super::logistic::{binary_cross_entropy, sigmoid};
use super::{Prior, cholesky};

/// The largest |δ_k| taken; δδᵀ stays far from overflow.
const MAX_DELTA: f64 = 1e60;
const MAX_ITERATIONS: usize = 200;
/// Newton stops when no coefficient would move by more than this, relative to the largest.
const STEP_TOLERANCE: f64 = 1e-10;

/// One answer of a user.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// δ = φ(x, y₁) − φ(x, y₂) (J)
    pub delta: DVector<f64>,
    /// a ∈ \[0, 1\]: 1 if y₁ was preferred, 0 if y₂, ½ for a tie.
    pub preference: f64,
    /// w ≥ 0: how much the answer counts.
    pub weight: f64,
}

/// A user's coefficients given all their answers: the Laplace approximation N(λ̂, H⁻¹) of the posterior.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    coefficients: DVector<f64>,
    hessian: DMatrix<f64>,
    /// L of H = LLᵀ, row-major.
    factor: Vec<f64>,
    report: SolverReport,
}

/// How a solver ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SolverReport {
    /// Why it stopped.
    pub termination: Termination,
    /// Newton steps taken.
    pub iterations: usize,
    /// Largest absolute entry of the gradient at the result; of a factorization, of the gradient by W in its last round.
    pub gradient_norm: f64,
    /// The objective at the result, in nats.
    pub objective: f64,
}

/// Why a solver stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Termination {
    /// The next step would change nothing that matters.
    Converged,
    /// No step lowers the objective further in floating point.
    Stalled,
    /// The iteration limit was reached; the result is the best point seen.
    IterationLimit,
    /// Nothing was solved: the prior itself, or a posterior read back.
    NotRun,
}

/// Nothing was solved.
const NOT_RUN: SolverReport =
    SolverReport { termination: Termination::NotRun, iterations: 0, gradient_norm: 0.0, objective: 0.0 };

impl Posterior {
    /// λ̂ and H from all of a user's answers (§4.2, Eq. 6 and 8).
    ///
    /// λ̂ = argmin Σ_s w_s bce(σ(λᵀδ_s), a_s) + ½ (λ − μ)ᵀP(λ − μ), by damped Newton from μ;
    /// H = Σ_s w_s σ′(λ̂ᵀδ_s) δ_sδ_sᵀ + P.
    ///
    /// The objective is strictly convex and P bounds its curvature from below, so that one-sided, separable, tied,
    /// contradictory, repeated and zero answers all have one finite solution. The result depends on the set of answers
    /// alone: it is always computed from μ, never updated.
    ///
    /// # Errors
    /// Non-finite or oversized δ, a outside \[0, 1\], negative w, δ of another length than μ; each named by its index.
    pub fn fit(evidence: &[Evidence], prior: &Prior) -> Result<Self, MathError> {
        Self::fit_with_lapse(evidence, prior, 0.0)
    }

    /// As [`Posterior::fit`], for people who now and then press the wrong key: p = ε/2 + (1 − ε) σ(λᵀδ) with lapse
    /// rate ε ∈ [0, 1). H has Fisher weights, (dp/dz)² / (p (1 − p)), which stay positive where the second derivative
    /// of the no longer convex likelihood does not; with ε = 0 the two are the same.
    ///
    /// # Errors
    /// As [`Posterior::fit`]; ε outside [0, 1).
    pub fn fit_with_lapse(evidence: &[Evidence], prior: &Prior, lapse: f64) -> Result<Self, MathError> {
        let objective = Objective::new(evidence, prior, lapse)?;
        Ok(objective.minimize(prior.mean().as_slice()))
    }

    /// As [`Posterior::fit`] for numbers known to be valid: δ as rows of a flat matrix, outcomes as (a, w), from a
    /// start of the caller's, which changes the way but not the end.
    pub(super) fn fit_rows(deltas: &[f64], outcomes: &[(f64, f64)], prior: &Prior, start: &[f64]) -> Self {
        Objective { prior, deltas: deltas.into(), outcomes: outcomes.into(), lapse: 0.0 }.minimize(start)
    }

    /// The posterior of a user without answers: λ̂ = μ, H = P.
    pub fn of_prior(prior: &Prior) -> Self {
        let factor =
            cholesky::of(prior.precision()).expect("the inverse of a positive definite matrix is one too");
        Self {
            coefficients: prior.mean().clone(),
            hessian: prior.precision().clone(),
            factor,
            report: NOT_RUN,
        }
    }

    /// A posterior that was kept, from its λ̂ (J) and H (J × J).
    ///
    /// # Errors
    /// Non-finite numbers, sizes that do not agree, H not positive definite.
    pub fn from_parts(coefficients: DVector<f64>, hessian: DMatrix<f64>) -> Result<Self, MathError> {
        let n = coefficients.len();
        if hessian.shape() != (n, n) {
            return Err(MathError::Dimension {
                what: "the Hessian's side".to_owned(),
                expected: n,
                given: if hessian.nrows() == n { hessian.ncols() } else { hessian.nrows() },
            });
        }
        for (j, &value) in coefficients.iter().enumerate() {
            finite(value, || format!("coefficient[{j}]"))?;
        }
        for (at, &value) in hessian.iter().enumerate() {
            finite(value, || format!("hessian[{}, {}]", at % n, at / n))?;
        }
        let factor = cholesky::of(&hessian).ok_or(MathError::NotPositiveDefinite { what: "the Hessian" })?;
        Ok(Self { coefficients, hessian, factor, report: NOT_RUN })
    }

    /// λ̂ (J)
    pub fn coefficients(&self) -> &DVector<f64> {
        &self.coefficients
    }

    /// H at λ̂ (J × J)
    pub fn hessian(&self) -> &DMatrix<f64> {
        &self.hessian
    }

    /// How the fit ended.
    pub fn report(&self) -> SolverReport {
        self.report
    }

    /// J
    pub fn dimension(&self) -> usize {
        self.coefficients.len()
    }

    /// H⁻¹ (J × J)
    pub fn covariance(&self) -> DMatrix<f64> {
        cholesky::inverse(&self.factor, self.dimension())
    }

    /// diag(H⁻¹) (J): (H⁻¹)ⱼⱼ = eⱼᵀH⁻¹eⱼ = ‖L⁻¹eⱼ‖².
    fn variances(&self) -> DVector<f64> {
        let mut whitened = vec![0.0; self.dimension()];
        DVector::from_fn(self.dimension(), |j, _| {
            whitened.fill(0.0);
            whitened[j] = 1.0;
            self.whiten(&mut whitened);
            whitened.iter().map(|x| x * x).sum()
        })
    }

    /// √diag(H⁻¹) (J)
    pub fn standard_errors(&self) -> DVector<f64> {
        self.variances().map(f64::sqrt)
    }

    /// tr H⁻¹ / tr Σ: the share of the population's spread in which this user is still unknown; 1 without answers.
    pub fn remaining_uncertainty(&self, prior: &Prior) -> f64 {
        self.variances().sum() / prior.covariance().trace()
    }

    /// (λ̂ᵀδ, δᵀH⁻¹δ): mean and variance of a comparison's logit under the posterior. δᵀH⁻¹δ = ‖L⁻¹δ‖².
    pub fn logit(&self, delta: &DVector<f64>) -> (f64, f64) {
        let mut whitened = delta.as_slice().to_vec();
        self.whiten(&mut whitened);
        (self.coefficients.dot(delta), whitened.iter().map(|x| x * x).sum())
    }

    /// v, ‖v‖ = 1: the direction in which least is known of λ, the top eigenvector of H⁻¹ (§4.2, Algorithm 2); of either sign.
    pub fn least_known_direction(&self) -> DVector<f64> {
        let eigen = SymmetricEigen::new(self.hessian.clone());
        eigen.eigenvectors.column(eigen.eigenvalues.imin()).into_owned()
    }

    /// x ← L⁻¹x for H = LLᵀ, so that xᵀH⁻¹x becomes a squared length and a pair's variance a squared distance.
    pub(super) fn whiten(&self, x: &mut [f64]) {
        cholesky::solve_lower(&self.factor, self.dimension(), x);
    }

    /// log |H|
    pub(super) fn log_determinant(&self) -> f64 {
        cholesky::log_determinant(&self.factor, self.dimension())
    }

    /// The same λ̂ with H + c δδᵀ: what an answer of Fisher information c would leave.
    pub(super) fn with_information(&self, delta: &[f64], information: f64) -> Self {
        let delta = DVector::from_column_slice(delta);
        let mut hessian = self.hessian.clone();
        hessian.ger(information, &delta, &delta, 1.0);
        let factor = cholesky::of(&hessian).unwrap_or_else(|| self.factor.clone());
        Self { coefficients: self.coefficients.clone(), hessian, factor, report: self.report }
    }
}

/// f(λ) = Σ_s w_s ℓ(λᵀδ_s, a_s) + ½ (λ − μ)ᵀP(λ − μ), with δ_s the rows of a flat matrix.
struct Objective<'a> {
    prior: &'a Prior,
    deltas: Cow<'a, [f64]>,
    outcomes: Cow<'a, [(f64, f64)]>,
    lapse: f64,
}

/// Answers known to be valid: δ as rows of a flat matrix, outcomes as (a, w).
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) deltas: Vec<f64>,
    pub(super) outcomes: Vec<(f64, f64)>,
}

impl Rows {
    /// Answers about J = `n` base functions, checked.
    pub(super) fn new(evidence: &[Evidence], n: usize) -> Result<Self, MathError> {
        let mut deltas = Vec::with_capacity(evidence.len() * n);
        let mut outcomes = Vec::with_capacity(evidence.len());
        for (s, Evidence { delta, preference, weight }) in evidence.iter().enumerate() {
            if delta.len() != n {
                return Err(MathError::Dimension {
                    what: format!("delta of answer {s}"),
                    expected: n,
                    given: delta.len(),
                });
            }
            for (k, &value) in delta.iter().enumerate() {
                finite(value, || format!("delta[{k}] of answer {s}"))?;
                if value.abs() > MAX_DELTA {
                    let what = format!("delta[{k}] of answer {s}");
                    return Err(MathError::OutOfRange { what, value, allowed: "±1e60" });
                }
            }
            if !(0.0..=1.0).contains(preference) {
                let what = format!("the preference of answer {s}");
                return Err(MathError::OutOfRange { what, value: *preference, allowed: "[0, 1]" });
            }
            if !(0.0..f64::INFINITY).contains(weight) {
                let what = format!("the weight of answer {s}");
                return Err(MathError::OutOfRange { what, value: *weight, allowed: "[0, ∞)" });
            }
            deltas.extend_from_slice(delta.as_slice());
            outcomes.push((*preference, *weight));
        }
        Ok(Self { deltas, outcomes })
    }
}

impl<'a> Objective<'a> {
    fn new(evidence: &[Evidence], prior: &'a Prior, lapse: f64) -> Result<Self, MathError> {
        let n = prior.dimension();
        if !(0.0..1.0).contains(&lapse) {
            return Err(MathError::OutOfRange {
                what: "the lapse rate".to_owned(),
                value: lapse,
                allowed: "[0, 1)",
            });
        }
        let Rows { deltas, outcomes } = Rows::new(evidence, n)?;
        Ok(Self { prior, deltas: deltas.into(), outcomes: outcomes.into(), lapse })
    }

    fn minimize(&self, start: &[f64]) -> Posterior {
        let n = self.prior.dimension();
        let answers = self.outcomes.len();
        let mut lambda = start.to_vec();
        let mut z = self.logits(&lambda);
        let (mut gradient, mut hessian, mut factor) = (vec![0.0; n], vec![0.0; n * n], vec![0.0; n * n]);
        let (mut step, mut slope) = (vec![0.0; n], vec![0.0; answers]);
        let mut value = self.value(&lambda, &z);
        let mut iterations = 0;
        let termination = loop {
            self.derivatives(&lambda, &z, &mut gradient, &mut hessian);
            factor.copy_from_slice(&hessian);
            if !cholesky::factor(&mut factor, n) {
                // Huge δ can round P away from H; P itself still gives a direction of descent.
                factor.copy_from_slice(self.prior.precision().as_slice());
                cholesky::factor(&mut factor, n);
            }
            step.copy_from_slice(&gradient);
            cholesky::solve(&factor, n, &mut step);
            let largest = step.iter().fold(0.0_f64, |m, s| m.max(s.abs()));
            let scale = lambda.iter().fold(1.0_f64, |m, l| m.max(l.abs()));
            if largest <= STEP_TOLERANCE * scale {
                break Termination::Converged;
            }
            if iterations == MAX_ITERATIONS {
                break Termination::IterationLimit;
            }
            for (row, slope) in self.deltas.chunks_exact(n).zip(&mut slope) {
                *slope = -dot(row, &step);
            }
            let Some((t, lower)) = self.search(&lambda, &z, &step, &slope, value, dot(&gradient, &step))
            else {
                break Termination::Stalled;
            };
            lambda.iter_mut().zip(&step).for_each(|(l, s)| *l -= t * s);
            z.iter_mut().zip(&slope).for_each(|(z, s)| *z += t * s);
            value = lower;
            iterations += 1;
        };
        let gradient_norm = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs()));
        Posterior {
            coefficients: DVector::from_vec(lambda),
            hessian: DMatrix::from_vec(n, n, hessian),
            factor,
            report: SolverReport { termination, iterations, gradient_norm, objective: value },
        }
    }

    /// A step length t ∈ (0, 1] along −step with enough decrease (Armijo), and the value there: 1 where that will do,
    /// else the zero of the derivative by bisection, which finds the kink that a huge δ makes of the likelihood however
    /// near it is.
    fn search(
        &self,
        lambda: &[f64],
        z: &[f64],
        step: &[f64],
        slope: &[f64],
        value: f64,
        decrement: f64,
    ) -> Option<(f64, f64)> {
        let at = |t: f64| {
            let moved: Vec<f64> = lambda.iter().zip(step).map(|(l, s)| l - t * s).collect();
            let logits: Vec<f64> = z.iter().zip(slope).map(|(z, s)| z + t * s).collect();
            (self.value(&moved, &logits), moved, logits)
        };
        let enough = |t: f64, lower: f64| lower <= value - 1e-4 * t * decrement;
        // So near the minimum that rounding hides the decrease, a Newton step is safe.
        let (full, ..) = at(1.0);
        if enough(1.0, full)
            || (decrement <= 1e-10 * (1.0 + value.abs()) && full <= value + 1e-10 * (1.0 + value.abs()))
        {
            return Some((1.0, full));
        }
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..400 {
            let t = 0.5 * (low + high);
            let (lower, moved, logits) = at(t);
            let derivative = self.derivative_along(&moved, &logits, step, slope);
            if enough(t, lower) && derivative.abs() <= 0.5 * decrement {
                return Some((t, lower));
            }
            if derivative < 0.0 && enough(t, lower) {
                low = t
            } else {
                high = t
            }
            if high - low <= f64::EPSILON * high {
                break;
            }
        }
        let (lower, ..) = at(low);
        (low > 0.0 && lower < value).then_some((low, lower))
    }

    fn logits(&self, lambda: &[f64]) -> Vec<f64> {
        self.deltas.chunks_exact(lambda.len()).map(|row| dot(row, lambda)).collect()
    }

    fn value(&self, lambda: &[f64], z: &[f64]) -> f64 {
        let likelihood: f64 = z.iter().zip(&*self.outcomes).map(|(&z, &(a, w))| w * self.loss(z, a)).sum();
        let deviation: Vec<f64> = lambda.iter().zip(self.prior.mean().iter()).map(|(l, m)| l - m).collect();
        let rows = self.prior.precision().as_slice().chunks_exact(lambda.len());
        likelihood + 0.5 * rows.zip(&deviation).map(|(row, d)| d * dot(row, &deviation)).sum::<f64>()
    }

    /// −a log p − (1 − a) log (1 − p)
    fn loss(&self, z: f64, a: f64) -> f64 {
        if self.lapse == 0.0 {
            return binary_cross_entropy(z, a);
        }
        let (p, q) = (self.probability(z), self.probability(-z));
        -a * p.ln() - (1.0 - a) * q.ln()
    }

    fn probability(&self, z: f64) -> f64 {
        0.5 * self.lapse + (1.0 - self.lapse) * sigmoid(z)
    }

    /// (dℓ/dz, Fisher information about z)
    fn slopes(&self, z: f64, a: f64) -> (f64, f64) {
        let (s, r) = (sigmoid(z), sigmoid(-z));
        if self.lapse == 0.0 {
            return (s - a, s * r);
        }
        let (p, q, dp) = (self.probability(z), self.probability(-z), (1.0 - self.lapse) * s * r);
        ((p - a) * dp / (p * q), dp * dp / (p * q))
    }

    /// Gradient and Hessian (Fisher information) at λ; only the Hessian's symmetric whole is written.
    fn derivatives(&self, lambda: &[f64], z: &[f64], gradient: &mut [f64], hessian: &mut [f64]) {
        let n = lambda.len();
        let precision = self.prior.precision().as_slice();
        hessian.copy_from_slice(precision);
        for (j, g) in gradient.iter_mut().enumerate() {
            let row = &precision[j * n..(j + 1) * n];
            *g = row
                .iter()
                .zip(lambda.iter().zip(self.prior.mean().iter()))
                .map(|(p, (l, m))| p * (l - m))
                .sum();
        }
        for ((row, &z), &(a, w)) in self.deltas.chunks_exact(n).zip(z).zip(&*self.outcomes) {
            let (slope, information) = self.slopes(z, a);
            for i in 0..n {
                gradient[i] += w * slope * row[i];
                let scaled = w * information * row[i];
                for k in 0..=i {
                    hessian[i * n + k] += scaled * row[k];
                }
            }
        }
        for i in 0..n {
            for k in 0..i {
                hessian[k * n + i] = hessian[i * n + k];
            }
        }
    }

    /// d/dt f(λ − t·step), where `slope` is dz/dt.
    fn derivative_along(&self, lambda: &[f64], z: &[f64], step: &[f64], slope: &[f64]) -> f64 {
        let likelihood: f64 = z
            .iter()
            .zip(slope)
            .zip(&*self.outcomes)
            .map(|((&z, s), &(a, w))| w * self.slopes(z, a).0 * s)
            .sum();
        let deviation: Vec<f64> = lambda.iter().zip(self.prior.mean().iter()).map(|(l, m)| l - m).collect();
        let rows = self.prior.precision().as_slice().chunks_exact(lambda.len());
        likelihood - rows.zip(step).map(|(row, s)| s * dot(row, &deviation)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests;
