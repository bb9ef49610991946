//! One reward shared by everybody: what personalisation is compared with, and falls back on.

use nalgebra::DMatrix;

use super::head::HeadProblem;
use super::maximize::Likelihood;
use crate::math::SolverReport;

/// Weight of a tie where the shared reward is fitted.
pub(super) const TIE_WEIGHT: f64 = 0.25;

const NEWTON_STEPS: usize = 30;

/// w̃ (1 × r) of the shared reward by regularised logistic regression, from a start of the caller's: the head of a
/// population in which λ = 1.
pub(super) fn fit_shared(likelihood: &Likelihood<'_>, ridge: f64, head: &mut DMatrix<f64>) -> SolverReport {
    let users = likelihood.user_starts.len() - 1;
    let problem = HeadProblem {
        basis: likelihood.basis,
        pairs: likelihood.pairs,
        by_pair: likelihood.by_pair,
        outcomes: &likelihood.outcomes,
        coefficients: &DMatrix::repeat(1, users, 1.0),
        spread: vec![0.0; likelihood.pairs.len()],
        moment: DMatrix::identity(1, 1),
        ridge: likelihood.basis.moments.map(|_| ridge),
    };
    problem.minimize(head, NEWTON_STEPS)
}
