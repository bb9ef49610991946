//! The population prior N(μ, Σ) by empirical Bayes: EM with the Laplace approximation.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use crate::math::posterior::Rows;
use crate::math::{Evidence, MathError, Posterior, Prior};

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
    let rows = |answers: &Vec<Evidence>| Rows::new(answers, dimension);
    let users = evidence.iter().map(rows).collect::<Result<Vec<_>, MathError>>()?;
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/population.json"));

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    /// `tests/reference/population.py`
    #[test]
    fn empirical_bayes_meets_the_reference() {
        let reference: Value = serde_json::from_str(REFERENCE).expect("JSON");
        let people = reference["deltas"]
            .as_array()
            .expect("people")
            .iter()
            .zip(reference["outcomes"].as_array().expect("people"));
        let evidence: Vec<Vec<Evidence>> = people
            .map(|(deltas, outcomes)| {
                let deltas = deltas.as_array().expect("answers").iter();
                let answer = |(delta, preference)| Evidence {
                    delta: DVector::from_vec(numbers(delta)),
                    preference,
                    weight: 1.0,
                };
                deltas.zip(numbers(outcomes)).map(answer).collect()
            })
            .collect();
        let rounds = reference["rounds"].as_u64().expect("a count") as usize;
        let options = EmOptions { rounds, tolerance: 0.0, pseudo_users: 0.0 };
        let prior = empirical_bayes(&evidence, 3, &options).expect("valid");
        for (mean, expected) in prior.mean().iter().zip(numbers(&reference["mean"])) {
            assert!((mean - expected).abs() < 1e-6, "{mean} {expected}");
        }
        for (i, row) in reference["covariance"].as_array().expect("rows").iter().enumerate() {
            for (j, expected) in numbers(row).into_iter().enumerate() {
                assert!((prior.covariance()[(i, j)] - expected).abs() < 1e-6);
            }
        }
    }

    /// `tests/reference/known_phi.py`: μ and Σ of the known-φ study's seed 0, from 64 people's 80 answers.
    #[test]
    fn empirical_bayes_meets_the_known_phi_study() {
        let packed: &[u8] =
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/known_phi_train.json.gz"));
        let train: Vec<Value> = serde_json::from_reader(flate2::read::GzDecoder::new(packed)).expect("JSON");
        let answers = |person: &Value| -> Vec<Evidence> {
            let deltas = person["delta"].as_array().expect("answers").iter();
            deltas
                .zip(numbers(&person["answers"]))
                .map(|(millionths, preference)| Evidence {
                    delta: DVector::from_vec(numbers(millionths)) / 1e6,
                    preference,
                    weight: 1.0,
                })
                .collect()
        };
        let evidence: Vec<Vec<Evidence>> = train.iter().map(answers).collect();
        let options = EmOptions { rounds: 30, tolerance: 0.0, pseudo_users: 0.0 };
        let prior = empirical_bayes(&evidence, 8, &options).expect("valid");
        let study: Value = serde_json::from_str(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/reference/known_phi.json"
        )))
        .expect("JSON");
        assert!((prior.mean() - DVector::from_vec(numbers(&study["mean"]))).amax() < 1e-6);
        for (i, row) in study["covariance"].as_array().expect("rows").iter().enumerate() {
            for (j, expected) in numbers(row).into_iter().enumerate() {
                assert!((prior.covariance()[(i, j)] - expected).abs() < 1e-6, "({i}, {j})");
            }
        }
    }

    #[test]
    fn pseudo_users_even_out_the_spread_and_keep_its_size() {
        let people: Vec<Vec<Evidence>> = (0..4)
            .map(|i| {
                let toward = f64::from(i % 2);
                vec![
                    Evidence { delta: DVector::from_vec(vec![2.0, 0.1]), preference: toward, weight: 1.0 };
                    10
                ]
            })
            .collect();
        let fit = |pseudo_users| {
            let options = EmOptions { rounds: 1, tolerance: 0.0, pseudo_users };
            empirical_bayes(&people, 2, &options).expect("valid").covariance().clone()
        };
        let (free, shrunk) = (fit(0.0), fit(4.0));
        assert!((free.trace() - shrunk.trace()).abs() < 1e-12);
        assert!(shrunk[(0, 0)] / shrunk[(1, 1)] < free[(0, 0)] / free[(1, 1)]);
    }

    #[test]
    fn a_population_of_nobody_is_refused() {
        let options = EmOptions { rounds: 1, tolerance: 0.0, pseudo_users: 0.0 };
        let message = empirical_bayes(&[vec![]], 2, &options).unwrap_err().to_string();
        assert_eq!(message, "the list of users with judgments is empty");
    }
}
