//! The population prior N(μ, Σ) by empirical Bayes: EM with the Laplace approximation.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use crate::math::{Evidence, MathError, Posterior, Prior};

/// One user's comparisons, δ as rows of a flat matrix, outcomes as (a, w).
#[derive(Debug, Clone, Default)]
pub(super) struct Rows {
    pub(super) deltas: Vec<f64>,
    pub(super) outcomes: Vec<(f64, f64)>,
}

/// When the EM stops.
#[derive(Debug, Clone, Copy)]
pub struct EmOptions {
    /// Most rounds.
    pub rounds: usize,
    /// Ends earlier once no entry of μ or Σ moves by more than this.
    pub tolerance: f64,
    /// ν: Σ is shrunk as if ν more users had been seen whose spread is the same in every direction.
    pub pseudo_users: f64,
}

/// μ and Σ of a population from each user's answers, from N(0, I).
///
/// A round fits every user by MAP under the present prior (λ̂_i, H_i), then sets μ = mean λ̂_i and
/// Σ = mean(H_i⁻¹ + (λ̂_i − μ)(λ̂_i − μ)ᵀ): the M step of EM with each posterior taken as N(λ̂_i, H_i⁻¹). With ν pseudo
/// users Σ ← (n Σ + ν (tr Σ / J) I) / (n + ν), so that few users do not make directions look certain.
///
/// # Errors
/// No users; bad evidence, as in [`Posterior::fit`].
pub fn empirical_bayes(
    evidence: &[Vec<Evidence>],
    dimension: usize,
    options: &EmOptions,
) -> Result<Prior, MathError> {
    let start = Prior::isotropic(dimension, 1.0)?;
    let mut users = Vec::with_capacity(evidence.len());
    for answers in evidence {
        // Checks what it is given.
        Posterior::fit(answers, &start)?;
        let mut rows = Rows::default();
        for answer in answers {
            rows.deltas.extend_from_slice(answer.delta.as_slice());
            rows.outcomes.push((answer.preference, answer.weight));
        }
        users.push(rows);
    }
    Ok(expectation_maximization(&users, start, options)?.0)
}

/// EM from `prior`: the last prior and every user's posterior under it.
pub(super) fn expectation_maximization(
    users: &[Rows],
    mut prior: Prior,
    options: &EmOptions,
) -> Result<(Prior, Vec<Posterior>), MathError> {
    let mut starts = DMatrix::from_fn(prior.dimension(), users.len(), |j, _| prior.mean()[j]);
    let mut posteriors = fit_all(users, &prior, &starts);
    for _ in 0..options.rounds {
        let next = update(&posteriors, users, options.pseudo_users)?;
        let moved = (next.mean() - prior.mean()).amax().max((next.covariance() - prior.covariance()).amax());
        prior = next;
        posteriors.iter().enumerate().for_each(|(i, p)| starts.set_column(i, p.coefficients()));
        posteriors = fit_all(users, &prior, &starts);
        if moved <= options.tolerance {
            break;
        }
    }
    Ok((prior, posteriors))
}

/// Every user's posterior under a prior; Newton starts from the columns of `starts` (J × users).
pub(super) fn fit_all(users: &[Rows], prior: &Prior, starts: &DMatrix<f64>) -> Vec<Posterior> {
    let j = prior.dimension();
    users
        .par_iter()
        .zip(starts.as_slice().par_chunks(j))
        .map(|(rows, start)| Posterior::fit_rows(&rows.deltas, &rows.outcomes, prior, start))
        .collect()
}

/// The M step, over users who answered anything.
pub(super) fn update(
    posteriors: &[Posterior],
    users: &[Rows],
    pseudo_users: f64,
) -> Result<Prior, MathError> {
    let fitted: Vec<&Posterior> =
        posteriors.iter().zip(users).filter(|(_, rows)| !rows.outcomes.is_empty()).map(|(p, _)| p).collect();
    let Some(first) = fitted.first() else {
        return Err(MathError::Empty { what: "the list of users with judgments" });
    };
    let (n, j) = (fitted.len() as f64, first.dimension());
    let mean = fitted.iter().fold(DVector::zeros(j), |sum, p| sum + p.coefficients()) / n;
    let mut covariance = DMatrix::zeros(j, j);
    for posterior in fitted {
        let deviation = posterior.coefficients() - &mean;
        covariance += posterior.covariance() + &deviation * deviation.transpose();
    }
    let isotropic = covariance.trace() / n / j as f64 * pseudo_users;
    covariance += DMatrix::identity(j, j) * isotropic;
    Prior::new(mean, covariance / (n + pseudo_users))
}
