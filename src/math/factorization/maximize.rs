//! The regularised maximum likelihood (§4.1, Eq. 5), alternating between users and base functions.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::cells::{ByPair, Outcome};
use super::head::{HeadProblem, penalty, scale_columns};
use super::observer::{Observer, Progress};
use super::population::{fit_all, update};
use super::{Basis, Hyperparameters, LEAST_GAIN, ROUNDS};
use crate::math::logistic::sigmoid_derivative;
use crate::math::posterior::Rows;
use crate::math::{MathError, Posterior, Prior, SolverReport, Termination};

/// What the alternation moves: W̃ and the population, in the basis in which Σ = I.
#[derive(Debug, Clone)]
pub(super) struct State {
    /// W̃ (J × r)
    pub(super) head: DMatrix<f64>,
    /// μ (J)
    pub(super) mean: DVector<f64>,
    /// λ̂ of every user as columns (J × users); where Newton starts from.
    pub(super) coefficients: DMatrix<f64>,
}

/// Newton steps on W̃ in a round: λ̂ and C have moved by the next, so that more would be wasted.
const NEWTON_STEPS: usize = 1;

/// The data of one fit.
pub(super) struct Likelihood<'a> {
    pub(super) basis: &'a Basis,
    pub(super) pairs: &'a [(usize, usize)],
    pub(super) by_pair: &'a ByPair,
    pub(super) user_starts: &'a [usize],
    pub(super) outcomes: Vec<Outcome>,
}

/// When an alternation stops.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) rounds: usize,
    /// Fall of the objective in nats below which a round was the last: likelihoods this close are not told apart by data.
    pub(super) tolerance: f64,
    /// Rounds that set Σ freely and take it into W̃: long steps, for a start whose scale is arbitrary.
    pub(super) expansions: usize,
}

impl Likelihood<'_> {
    /// When a fit that is kept stops.
    pub(super) fn limits(&self, expansions: usize) -> Limits {
        let judgments: f64 = self.outcomes.iter().map(|o| o.weight).sum();
        Limits { rounds: ROUNDS, tolerance: LEAST_GAIN * judgments, expansions }
    }

    /// Each user's comparisons under a head.
    pub(super) fn rows(&self, head: &DMatrix<f64>) -> Vec<Rows> {
        let features = self.basis.project(head);
        let n = head.nrows();
        let flat = features.as_slice();
        (0..self.user_starts.len() - 1)
            .into_par_iter()
            .map(|user| {
                let mut rows = Rows::default();
                for o in &self.outcomes[self.user_starts[user]..self.user_starts[user + 1]] {
                    let (first, second) = self.pairs[o.pair];
                    let (a, b) = (&flat[first * n..][..n], &flat[second * n..][..n]);
                    rows.deltas.extend(a.iter().zip(b).map(|(a, b)| a - b));
                    rows.outcomes.push((o.preference, o.weight));
                }
                rows
            })
            .collect()
    }

    /// Alternates from `state` until the objective settles.
    ///
    /// Minimises −log of the approximate marginal likelihood with the penalty on W,
    /// Σ_i \[f_i(λ̂_i) + ½ log|H_i|\] + ½ tr(M W̃ R W̃ᵀ), M = I + κμμᵀ, by EM with the Laplace approximation. E: λ̂_i and H_i
    /// by Newton under N(μ, I). M: μ, then W̃ by a Newton step, neither of which can raise the expected loss
    /// ([`HeadProblem`]). Σ = I loses nothing: another Σ = LLᵀ is this one with W̃ ← LᵀW̃, λ ← L⁻¹λ. So the scale of Λ against
    /// W is settled by the objective and cannot run away. With κ = 1 the penalty is on the second moment of users' weights
    /// Wᵀλ, the same in every basis; another κ penalises what they share, Wᵀμ, more or less than what they differ on.
    ///
    /// A round after which the objective is higher is undone, save those that set Σ freely. Only the approximations can bring it
    /// about: Laplace's, and the expected loss to second order.
    pub(super) fn maximize(
        &self,
        state: &mut State,
        hyperparameters: &Hyperparameters,
        limits: Limits,
        observer: &mut dyn Observer,
    ) -> Result<SolverReport, MathError> {
        let j = state.head.nrows();
        let ridge = self.basis.moments.map(|s| hyperparameters.gamma * s + hyperparameters.alpha);
        let kappa = hyperparameters.kappa;
        let mut previous = state.clone();
        let mut last = f64::INFINITY;
        let mut gradient_norm = f64::INFINITY;
        let mut round = 0;
        loop {
            let prior = Prior::new(state.mean.clone(), DMatrix::identity(j, j))?;
            let rows = self.rows(&state.head);
            let posteriors = fit_all(&rows, &prior, &state.coefficients);
            posteriors
                .iter()
                .enumerate()
                .for_each(|(i, p)| state.coefficients.set_column(i, p.coefficients()));
            let marginal: f64 =
                posteriors.iter().map(|p| p.report().objective + 0.5 * p.log_determinant()).sum();
            let objective = marginal + penalty(&second_moment(&state.mean, kappa), &state.head, &ridge);
            let of = limits.rounds;
            observer.progress(Progress { step: round, of, objective: Some(objective) });
            if observer.is_cancelled() {
                return Err(MathError::Cancelled);
            }
            let settled = round > limits.expansions;
            if settled && objective > last {
                *state = previous;
                let termination = Termination::Converged;
                return Ok(SolverReport {
                    termination,
                    iterations: round - 1,
                    gradient_norm,
                    objective: last,
                });
            }
            let report =
                |termination| SolverReport { termination, iterations: round, gradient_norm, objective };
            if settled && last - objective <= limits.tolerance {
                return Ok(report(Termination::Converged));
            }
            if round == limits.rounds {
                return Ok(report(Termination::IterationLimit));
            }
            previous.clone_from(state);
            last = objective;

            let mut covariances: Vec<DMatrix<f64>> = posteriors.iter().map(Posterior::covariance).collect();
            if round < limits.expansions {
                expand(state, &mut covariances, &update(&posteriors, &rows, 0.0)?)?;
            } else {
                state.mean = self.penalized_mean(state, &rows, &ridge, kappa)?;
            }
            let head_problem = HeadProblem {
                basis: self.basis,
                pairs: self.pairs,
                by_pair: self.by_pair,
                outcomes: &self.outcomes,
                coefficients: &state.coefficients,
                spread: self.spread(&state.head, &state.coefficients, &covariances),
                moment: second_moment(&state.mean, kappa),
                ridge: ridge.clone(),
            };
            gradient_norm = head_problem.minimize(&mut state.head, NEWTON_STEPS).gradient_norm;
            round += 1;
        }
    }

    /// μ = (n I + κ W̃ R W̃ᵀ)⁻¹ Σ_i λ̂_i, over users with judgments.
    fn penalized_mean(
        &self,
        state: &State,
        rows: &[Rows],
        ridge: &DVector<f64>,
        kappa: f64,
    ) -> Result<DVector<f64>, MathError> {
        let j = state.head.nrows();
        let mut total = DVector::zeros(j);
        let mut n = 0.0;
        for (i, _) in rows.iter().enumerate().filter(|(_, rows)| !rows.outcomes.is_empty()) {
            total += state.coefficients.column(i);
            n += 1.0;
        }
        let penalty = scale_columns(&state.head, ridge) * state.head.transpose();
        let system = DMatrix::identity(j, j) * n + penalty * kappa;
        let factor = system.cholesky().ok_or(MathError::NotPositiveDefinite { what: "the penalty on μ" })?;
        Ok(factor.solve(&total))
    }

    /// V_p = Σ_c w σ′(λ̂ᵀδ) C_i of every pair.
    fn spread(
        &self,
        head: &DMatrix<f64>,
        coefficients: &DMatrix<f64>,
        covariances: &[DMatrix<f64>],
    ) -> Vec<f64> {
        let n = head.nrows();
        let features = self.basis.project(head);
        let mut spread = vec![0.0; self.pairs.len() * n * n];
        spread.par_chunks_mut(n * n).enumerate().for_each(|(pair, sum)| {
            let (first, second) = self.pairs[pair];
            let delta = features.column(first) - features.column(second);
            for &(cell, user) in self.by_pair.of(pair) {
                let c =
                    self.outcomes[cell].weight * sigmoid_derivative(coefficients.column(user).dot(&delta));
                sum.iter_mut().zip(covariances[user].as_slice()).for_each(|(s, v)| *s += c * v);
            }
        });
        spread
    }
}

/// M = I + κμμᵀ, which is E[λλᵀ] for κ = 1.
fn second_moment(mean: &DVector<f64>, kappa: f64) -> DMatrix<f64> {
    DMatrix::identity(mean.len(), mean.len()) + mean * mean.transpose() * kappa
}

/// The basis in which the population found has Σ = I: W̃ ← LᵀW̃, λ ← L⁻¹λ, C ← L⁻¹CL⁻ᵀ for Σ = LLᵀ.
fn expand(state: &mut State, covariances: &mut [DMatrix<f64>], population: &Prior) -> Result<(), MathError> {
    let singular = MathError::NotPositiveDefinite { what: "the population covariance" };
    let l = population.covariance().clone().cholesky().ok_or(singular.clone())?.l();
    let inverse = l.clone().try_inverse().ok_or(singular)?;
    state.head = l.transpose() * &state.head;
    state.mean = &inverse * population.mean();
    state.coefficients = &inverse * &state.coefficients;
    covariances.iter_mut().for_each(|c| *c = &inverse * &*c * inverse.transpose());
    Ok(())
}
