//! One reward shared by everybody: what personalisation is compared with, and falls back on.

use nalgebra::{DMatrix, DVector};

use super::Problem;
use super::head::HeadProblem;
use super::maximize::Likelihood;
use crate::math::{Prior, SolverReport, eigenpairs};

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

impl Problem {
    /// Puts the classic reward w into the span of a head (J × rank) under which E[δδᵀ] = I, in the place of one direction e of φ
    /// ([`given_up`]), and tells the unit coefficients v that are w up to its scale; nothing where w predicts nothing.
    pub(super) fn take_in_classic(
        &self,
        ridge: f64,
        population: &Prior,
        head: &mut DMatrix<f64>,
    ) -> Option<DVector<f64>> {
        let (mut w, _) = self.fit_shared(ridge);
        let moments = w.transpose().component_mul(&self.basis.moments);
        let scale = (&w * &moments)[0].sqrt();
        if scale == 0.0 {
            return None;
        }
        w /= scale;
        let u = &*head * moments / scale;
        let lacking = (1.0 - u.norm_squared()).max(0.0);
        let mean = population.mean();
        let e = given_up(&u, lacking, population.covariance() + mean * mean.transpose())?;

        // What the other directions have of w, and what they leave of it: E[δδᵀ] stays I.
        let others = &u - &e * e.dot(&u);
        let rest = (lacking + e.dot(&u).powi(2)).sqrt();
        let change = (w - others.transpose() * &*head) / rest - e.transpose() * &*head;
        *head += &e * change;
        Some(others + e * rest)
    }
}

/// The unit direction e of φ that people's rewards lose least by when w comes in its place: of E[(λᵀe)²] they lose the share
/// ρ² / (ρ² + (eᵀu)²).
///
/// E[δδᵀ] = I; u (J) is what φ has of w, which is scaled to E[(wᵀ(h₁ − h₂))²] = 1; ρ² = 1 − |u|² is what φ lacks of it; the second
/// moment is E[λλᵀ] (J × J), positive definite. So ρ² over the loss is a ratio of two forms, eᵀ(ρ²I + uuᵀ)e / eᵀE[λλᵀ]e, and
/// where it is largest, Lᵀe is the first eigenvector of L⁻¹(ρ²I + uuᵀ)L⁻ᵀ with E[λλᵀ] = LLᵀ.
fn given_up(u: &DVector<f64>, lacking: f64, second_moment: DMatrix<f64>) -> Option<DVector<f64>> {
    let inverse = second_moment.cholesky()?.l().try_inverse()?;
    let has = DMatrix::from_diagonal_element(u.len(), u.len(), lacking) + u * u.transpose();
    let (_, directions) = eigenpairs(&inverse * has * inverse.transpose());
    Some(inverse.tr_mul(&directions.column(0)).normalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// E|(1 − P)λ|² with P the projection on w and what is kept of φ, in coordinates of which φ has the first two and w alone
    /// the third.
    fn lost(e: &DVector<f64>, u: &DVector<f64>, lacking: f64, second_moment: &DMatrix<f64>) -> f64 {
        let kept = DVector::from_vec(vec![-e[1], e[0], 0.0]);
        let w = DVector::from_vec(vec![u[0], u[1], lacking.sqrt()]);
        let beside = (&w - &kept * kept.dot(&w)).normalize();
        let left = DMatrix::identity(3, 3) - &kept * kept.transpose() - &beside * beside.transpose();
        (left.view((0, 0), (2, 2)) * second_moment).trace()
    }

    #[test]
    fn no_other_direction_given_up_would_cost_less() {
        let second_moment = DMatrix::from_row_slice(2, 2, &[3.0, 0.4, 0.4, 0.5]);
        for (u, lacking) in
            [([0.9, 0.1], 0.18), ([0.1, 0.2], 0.95), ([0.0, 0.0], 1.0), ([0.3, -0.95], 0.0075)]
        {
            let u = DVector::from_vec(u.to_vec());
            let e = given_up(&u, lacking, second_moment.clone()).expect("positive definite");
            assert!((e.norm() - 1.0).abs() < 1e-12);
            let least = lost(&e, &u, lacking, &second_moment);
            for step in 0..360 {
                let angle = f64::from(step) * std::f64::consts::PI / 360.0;
                let other = DVector::from_vec(vec![angle.cos(), angle.sin()]);
                let loss = lost(&other, &u, lacking, &second_moment);
                assert!(loss >= least - 1e-12, "{angle}: {loss} for {least}");
            }
        }
    }

    #[test]
    fn nothing_is_lost_where_the_classic_reward_lies_in_the_span() {
        let second_moment = DMatrix::from_row_slice(2, 2, &[3.0, 0.4, 0.4, 0.5]);
        let u = DVector::from_vec(vec![0.6, 0.8]);
        let e = given_up(&u, 0.0, second_moment.clone()).expect("positive definite");
        assert!(e.dot(&u).abs() > 0.1, "the place of {e} cannot hold w");
        assert!(lost(&e, &u, 0.0, &second_moment).abs() < 1e-12);
    }
}
