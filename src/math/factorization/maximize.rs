//! The regularised maximum likelihood (§4.1, Eq. 5), alternating between users and base functions.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::cells::Outcome;
use super::head::{ByPair, HeadProblem};
use super::observer::{Observer, Progress, Stage};
use super::population::{Rows, fit_all, update};
use super::{Basis, Hyperparameters};
use crate::math::logistic::sigmoid_derivative;
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
    /// Relative change of the objective.
    pub(super) tolerance: f64,
}

pub(super) static VARIANCE: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);

impl Likelihood<'_> {
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
    /// The objective is −log of the approximate marginal likelihood with the penalty on W,
    /// Σ_i [f_i(λ̂_i) + ½ log|H_i|] + ½ tr(M W̃ R W̃ᵀ), in the basis in which Σ = I: any other Σ = LLᵀ is that one with
    /// W̃ ← LᵀW̃, so that the scale of Λ and W is fixed by their penalties and cannot run away.
    pub(super) fn maximize(
        &self,
        state: &mut State,
        hyperparameters: &Hyperparameters,
        limits: Limits,
        observer: &mut dyn Observer,
    ) -> Result<SolverReport, MathError> {
        let j = state.head.nrows();
        let ridge = self.basis.moments.map(|s| hyperparameters.gamma * s + hyperparameters.alpha);
        let mut last = f64::INFINITY;
        let mut gradient_norm = f64::INFINITY;
        for round in 0.. {
            let prior = Prior::new(state.mean.clone(), DMatrix::identity(j, j))?;
            let rows = self.rows(&state.head);
            let posteriors: Vec<Posterior> = rows
                .par_iter()
                .enumerate()
                .map(|(i, rows)| {
                    let start = state.coefficients.column(i).into_owned();
                    Posterior::fit_rows(rows.deltas.clone(), rows.outcomes.clone(), &prior, start.as_slice())
                })
                .collect();
            posteriors
                .iter()
                .enumerate()
                .for_each(|(i, p)| state.coefficients.set_column(i, p.coefficients()));
            let moment = |mean: &DVector<f64>| DMatrix::identity(j, j) + mean * mean.transpose();
            let penalty = weighted_penalty(&moment(&state.mean), &state.head, &ridge);
            let objective =
                posteriors.iter().map(|p| p.report().objective + 0.5 * p.log_determinant()).sum::<f64>()
                    + penalty;
            observer.progress(Progress {
                stage: Stage::Fit,
                step: round + 1,
                of: limits.rounds,
                objective: Some(objective),
            });
            let report =
                |termination| SolverReport { termination, iterations: round, gradient_norm, objective };
            if (last - objective).abs() <= limits.tolerance * objective.abs() {
                return Ok(report(Termination::Converged));
            }
            if round == limits.rounds {
                return Ok(report(Termination::IterationLimit));
            }
            last = objective;

            // μ and Σ, and the basis in which Σ is the identity again.
            let population = update(&posteriors, &rows, 0.0)?;
            let l = population
                .covariance()
                .clone()
                .cholesky()
                .ok_or(MathError::NotPositiveDefinite { what: "Σ" })?
                .l();
            let inverse = l.clone().try_inverse().ok_or(MathError::NotPositiveDefinite { what: "Σ" })?;
            state.head = l.transpose() * &state.head;
            state.mean = &inverse * population.mean();
            state.coefficients = &inverse * &state.coefficients;
            let mode = VARIANCE.load(std::sync::atomic::Ordering::Relaxed);
            let covariances: Vec<DMatrix<f64>> = posteriors
                .iter()
                .map(|p| &inverse * p.covariance() * inverse.transpose() * mode as f64)
                .collect();

            let head_problem = HeadProblem {
                basis: self.basis,
                pairs: self.pairs,
                by_pair: self.by_pair,
                outcomes: &self.outcomes,
                coefficients: &state.coefficients,
                spread: self.spread(&state.head, &state.coefficients, &covariances),
                moment: moment(&state.mean),
                ridge: ridge.clone(),
            };
            gradient_norm = head_problem.minimize(&mut state.head, 1e-6, 2).gradient_norm;
        }
        unreachable!("the round limit ends the loop")
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

/// ½ tr(M W̃ R W̃ᵀ)
fn weighted_penalty(moment: &DMatrix<f64>, head: &DMatrix<f64>, ridge: &DVector<f64>) -> f64 {
    let mut weighted = moment * head;
    weighted.column_iter_mut().zip(ridge.iter()).for_each(|(mut column, &ridge)| column *= ridge);
    0.5 * head.dot(&weighted)
}

#[expect(unused_imports, reason = "experiment")]
use fit_all as _;
