//! The paper's way as its code was released: what this project departs from.
//!
//! The users × pairs matrix holds 1, 0, and ½ for what nobody said (who says it twice adds ½ twice); its first J singular vectors begin Λ and, by ridge
//! regression onto h₁ − h₂, W (Algorithm 1). The likelihood with an L2 on λ (Eq. 5) is descended until held-out judgments
//! get worse. A new person's λ has a zero prior (Eq. 6) and questions are the least certain by Eq. 9.

use std::sync::Arc;

use nalgebra::{DMatrix, DMatrixView, DMatrixViewMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::descent::{Descent, HeldOut};
use super::factored::{Coefficients, evidence};
use super::{Answer, Learned, Model, Pair, dot};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::{Corpus, Part, Projection, decided};
use crate::evaluate::search::{Tuning, search};
use crate::math::factorization::Observation;
use crate::math::logistic::{binary_cross_entropy, sigmoid};
use crate::math::{Acquisition, Posterior, Prior};

const STEPS: usize = 300;
/// Rounds of subspace iteration.
const ROUNDS: usize = 30;
/// Ridge of the regression of pair factors on embeddings, as a share of the mean diagonal.
const RIDGE: f64 = 0.1;

/// W and the strength of the L2 on λ.
pub(in crate::evaluate) struct Paper {
    /// W (J × d)
    head: Projection,
    prior: Arc<Prior>,
}

/// What is tuned.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    /// J
    base_functions: usize,
    /// L2 on λ, in training.
    ridge: f64,
    /// Step size; W has no penalty of its own, and stopping early must do.
    rate: f64,
    /// L2 on the λ of a new person.
    new_ridge: f64,
}

impl Paper {
    /// With the setting that predicts people best from a few answers.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let start = Setting { base_functions: 8, ridge: 1e-3, rate: 0.01, new_ridge: 1.0 };
        let times = |x: &mut f64, up: bool| *x *= if up { 3.0 } else { 1.0 / 3.0 };
        let found = search(
            start,
            &[
                &|s: &mut Setting, up| times(&mut s.new_ridge, up),
                &|s: &mut Setting, up| times(&mut s.rate, up),
                &|s: &mut Setting, up| times(&mut s.ridge, up),
                &|s: &mut Setting, up| {
                    let j = s.base_functions;
                    s.base_functions = if up { (j + j / 2).min(24) } else { (j * 2).div_ceil(3).max(2) };
                },
            ],
            |setting| corpus.trial(|part| Self::fit(corpus, setting, part)),
        )?;
        let Setting { base_functions, ridge, rate, new_ridge } = found.setting;
        let tuning = Tuning {
            trials: found.trials,
            chosen: format!(
                "J {base_functions}, L2 {ridge:.2e}, rate {rate:.2e}, L2 of new people {new_ridge:.2e}, {} steps",
                found.outcome
            ),
            log_likelihood: Some(found.log_likelihood),
        };
        Ok((Self::fit(corpus, &found.setting, Part::All(found.outcome))?.0, tuning))
    }

    /// On a part of the judgments; with the steps that were taken.
    fn fit(corpus: &Corpus<'_>, setting: &Setting, part: Part<'_>) -> Result<(Self, usize), EvaluateError> {
        let (judgments, held) = corpus.judged(part);
        let judged: Vec<Observation> = decided(judgments).copied().collect();
        let held: Vec<Observation> = decided(held).copied().collect();
        let z = corpus.coordinates().of(corpus.embeddings);
        let z_transposed = z.transpose();
        let (j, r, users) = (setting.base_functions, z.nrows(), corpus.users());
        let (head, coefficients) = start(judgments, &z, users, j, corpus.seed);
        let parameters = [head.as_slice(), coefficients.as_slice()].concat();

        let gradient = |parameters: &[f64], slope: &mut [f64]| {
            let (w, lambda) = parameters.split_at(j * r);
            let (w_slope, lambda_slope) = slope.split_at_mut(j * r);
            let phi = DMatrixView::from_slice(w, j, r) * &z;
            let mut by_text = DMatrix::zeros(j, z.ncols());
            let share = 1.0 / judged.len() as f64;
            for (slope, lambda) in lambda_slope.iter_mut().zip(lambda) {
                *slope = setting.ridge * lambda / users as f64;
            }
            for o in &judged {
                let pair = Pair::of(&phi, o.first, o.second);
                let own = &lambda[o.user * j..][..j];
                let logit = dot(own, pair.first) - dot(own, pair.second);
                let g = share * (sigmoid(logit) - o.preference);
                for (at, d) in pair.difference().enumerate() {
                    lambda_slope[o.user * j + at] += g * d;
                    by_text[(at, o.first)] += g * own[at];
                    by_text[(at, o.second)] -= g * own[at];
                }
            }
            DMatrixViewMut::from_slice(w_slope, j, r).copy_from(&(by_text * &z_transposed));
        };
        let held_out = |parameters: &[f64]| {
            let (w, lambda) = parameters.split_at(j * r);
            let phi = DMatrixView::from_slice(w, j, r) * &z;
            let loss = |o: &Observation| {
                let pair = Pair::of(&phi, o.first, o.second);
                let own = &lambda[o.user * j..][..j];
                binary_cross_entropy(dot(own, pair.first) - dot(own, pair.second), o.preference)
            };
            -held.iter().map(loss).sum::<f64>() / held.len() as f64
        };
        let descent =
            Descent { rate: setting.rate, ridge: 0.0, penalised: 0, steps: part.steps().unwrap_or(STEPS) };
        let watched: &HeldOut<'_> = &held_out;
        let (parameters, steps) =
            descent.run(parameters, gradient, part.steps().is_none().then_some(watched));
        let head = DMatrix::from_column_slice(j, r, &parameters[..j * r]);
        let model = Self {
            head: Projection::new(corpus.coordinates(), &head),
            prior: Arc::new(Prior::isotropic(j, 1.0 / setting.new_ridge)?),
        };
        Ok((model, steps))
    }
}

/// W (J × r) and Λ (J × users) from the first singular vectors of A = ½ 11ᵀ + S, S = a − ½ where somebody judged, by
/// subspace iteration: A ≈ U diag(s) Vᵀ, Λ = (U√s)ᵀ, and W by ridge regression of V√s on z₁ − z₂.
fn start(
    observations: &[Observation],
    z: &DMatrix<f64>,
    users: usize,
    j: usize,
    seed: u64,
) -> (DMatrix<f64>, DMatrix<f64>) {
    let mut pairs: Vec<(usize, usize)> = observations.iter().map(|o| (o.first, o.second)).collect();
    pairs.sort_unstable();
    pairs.dedup();
    let cells: Vec<(usize, usize, f64)> = observations
        .iter()
        .filter_map(|o| Some((o.user, pairs.binary_search(&(o.first, o.second)).ok()?, o.preference - 0.5)))
        .collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut v = DMatrix::from_fn(pairs.len(), j, |_, _| rng.random::<f64>() - 0.5).qr().q();
    let mut u = DMatrix::zeros(users, j);
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let mean = v.row_sum() * 0.5;
        let mut left = DMatrix::from_fn(users, v.ncols(), |_, at| mean[at]);
        for &(user, pair, entry) in &cells {
            for at in 0..v.ncols() {
                left[(user, at)] += entry * v[(pair, at)];
            }
        }
        u = left.qr().q();
        let mean = u.row_sum() * 0.5;
        let mut right = DMatrix::from_fn(pairs.len(), u.ncols(), |_, at| mean[at]);
        for &(user, pair, entry) in &cells {
            for at in 0..u.ncols() {
                right[(pair, at)] += entry * u[(user, at)];
            }
        }
        values = right.column_iter().map(|column| column.norm()).collect();
        v = right.clone().qr().q();
        // Q's columns may point the other way.
        for (mut column, image) in v.column_iter_mut().zip(right.column_iter()) {
            if column.dot(&image) < 0.0 {
                column.neg_mut();
            }
        }
    }
    let kept = u.ncols().min(v.ncols());
    let coefficients =
        DMatrix::from_fn(
            j,
            users,
            |at, user| if at < kept { u[(user, at)] * values[at].sqrt() } else { 0.0 },
        );
    let differences =
        DMatrix::from_fn(z.nrows(), pairs.len(), |at, pair| z[(at, pairs[pair].0)] - z[(at, pairs[pair].1)]);
    let targets =
        DMatrix::from_fn(
            pairs.len(),
            j,
            |pair, at| if at < kept { v[(pair, at)] * values[at].sqrt() } else { 0.0 },
        );
    let mut gram = &differences * differences.transpose();
    let ridge = RIDGE * gram.trace() / gram.nrows().max(1) as f64;
    for at in 0..gram.nrows() {
        gram[(at, at)] += ridge;
    }
    let right = &differences * targets;
    let head = gram.cholesky().map_or_else(|| DMatrix::zeros(z.nrows(), j), |factor| factor.solve(&right));
    (head.transpose(), coefficients)
}

impl Model for Paper {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        self.head.of(embeddings)
    }

    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let posterior = Posterior::fit(&evidence(answers), &self.prior)?;
        Ok(Box::new(Coefficients { posterior, acquisition: Acquisition::Uncertainty }))
    }

    fn chooses(&self) -> bool {
        true
    }
}
