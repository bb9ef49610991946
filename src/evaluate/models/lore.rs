//! LoRe: low-rank reward modelling (Bose et al. 2025). K base rewards R = V h, linear on the embedding, and for each
//! person weights w_i on the simplex: r_i = w_iᵀ V h.
//!
//! V and all w_i are learned together by the Bradley–Terry likelihood; for a person met later V stays and w is fitted to
//! their few answers. Questions are drawn at random.

use nalgebra::{DMatrix, DMatrixView, DMatrixViewMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::descent::{Descent, HeldOut};
use super::simplex::{Linear, Simplex, back, softmax};
use super::{Answer, Learned, Model, Pair, dot};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::{Corpus, Part, Projection, decided};
use crate::evaluate::search::{Tuning, search};
use crate::math::factorization::Observation;
use crate::math::logistic::{binary_cross_entropy, sigmoid};

const STEPS: usize = 500;

/// V and the simplex of people.
pub(in crate::evaluate) struct Lore {
    /// V (K × d)
    rewards: Projection,
    people: Simplex,
}

/// What is tuned.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    /// K
    rewards: usize,
    /// L2 on V.
    ridge: f64,
    /// ρ, by which a new person's θ is held to the average.
    pull: f64,
}

impl Lore {
    /// With K, the ridge and ρ that predict people best from a few answers.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let start = Setting { rewards: 8, ridge: 0.01, pull: 0.3 };
        let found = search(
            start,
            &[
                &|s: &mut Setting, up| s.ridge *= if up { 3.0 } else { 1.0 / 3.0 },
                &|s: &mut Setting, up| s.pull *= if up { 3.0 } else { 1.0 / 3.0 },
                &|s: &mut Setting, up| {
                    s.rewards = if up { (s.rewards * 2).min(64) } else { (s.rewards / 2).max(2) };
                },
            ],
            |setting| corpus.trial(|part| Ok(Self::fit(corpus, setting, part))),
        )?;
        let Setting { rewards, ridge, pull } = found.setting;
        let tuning = Tuning {
            trials: found.trials,
            chosen: format!("K {rewards}, ridge {ridge:.2e}, pull {pull:.2e}, {} steps", found.outcome),
            log_likelihood: Some(found.log_likelihood),
        };
        Ok((Self::fit(corpus, &found.setting, Part::All(found.outcome)).0, tuning))
    }

    /// On a part of the judgments; with the steps that were taken.
    fn fit(corpus: &Corpus<'_>, setting: &Setting, part: Part<'_>) -> (Self, usize) {
        let (judgments, held) = corpus.judged(part);
        let judged: Vec<Observation> = decided(judgments).copied().collect();
        let held: Vec<Observation> = decided(held).copied().collect();
        let z = corpus.coordinates().of(corpus.embeddings);
        let z_transposed = z.transpose();
        let (k, r, users) = (setting.rewards, z.nrows(), corpus.users());
        let mut rng = ChaCha8Rng::seed_from_u64(corpus.seed);
        let mut parameters: Vec<f64> = (0..k * r).map(|_| (rng.random::<f64>() - 0.5) * 0.2).collect();
        parameters.extend((0..k * users).map(|_| (rng.random::<f64>() - 0.5) * 0.2));

        let gradient = |parameters: &[f64], slope: &mut [f64]| {
            let (v, theta) = parameters.split_at(k * r);
            let (v_slope, theta_slope) = slope.split_at_mut(k * r);
            let rewards = DMatrixView::from_slice(v, k, r) * &z;
            let weights: Vec<Vec<f64>> = theta.chunks_exact(k).map(softmax).collect();
            let mut by_text = DMatrix::zeros(k, z.ncols());
            let mut by_user = vec![0.0; k * users];
            let share = 1.0 / judged.len() as f64;
            for o in &judged {
                let pair = Pair::of(&rewards, o.first, o.second);
                let w = &weights[o.user];
                let logit: f64 = w.iter().zip(pair.difference()).map(|(w, d)| w * d).sum();
                let g = share * (sigmoid(logit) - o.preference);
                for (at, d) in pair.difference().enumerate() {
                    by_user[o.user * k + at] += g * d;
                    by_text[(at, o.first)] += g * w[at];
                    by_text[(at, o.second)] -= g * w[at];
                }
            }
            DMatrixViewMut::from_slice(v_slope, k, r).copy_from(&(by_text * &z_transposed));
            for (user, slope) in theta_slope.chunks_exact_mut(k).enumerate() {
                back(&weights[user], &by_user[user * k..][..k], slope);
            }
        };
        let held_out = |parameters: &[f64]| {
            let (v, theta) = parameters.split_at(k * r);
            let rewards = DMatrixView::from_slice(v, k, r) * &z;
            let weights: Vec<Vec<f64>> = theta.chunks_exact(k).map(softmax).collect();
            let loss = |o: &Observation| {
                let pair = Pair::of(&rewards, o.first, o.second);
                let logit = weights[o.user].iter().zip(pair.difference()).map(|(w, d)| w * d).sum();
                binary_cross_entropy(logit, o.preference)
            };
            -held.iter().map(loss).sum::<f64>() / held.len() as f64
        };
        let descent = Descent {
            rate: 0.03,
            ridge: setting.ridge,
            penalised: k * r,
            steps: part.steps().unwrap_or(STEPS),
        };
        let watched: &HeldOut<'_> = &held_out;
        let (parameters, steps) =
            descent.run(parameters, gradient, part.steps().is_none().then_some(watched));
        let (v, theta) = parameters.split_at(k * r);
        let people = Simplex { mean: mean_of(theta, k, &judged), pull: setting.pull };
        let v = DMatrix::from_column_slice(k, r, v);
        (Self { rewards: Projection::new(corpus.coordinates(), &v), people }, steps)
    }
}

/// θ̄ over the people who judged anything.
pub(super) fn mean_of(theta: &[f64], k: usize, judged: &[Observation]) -> Vec<f64> {
    let mut judges: Vec<usize> = judged.iter().map(|o| o.user).collect();
    judges.sort_unstable();
    judges.dedup();
    let mut mean = vec![0.0; k];
    for user in &judges {
        mean.iter_mut().zip(&theta[user * k..][..k]).for_each(|(m, t)| *m += t / judges.len() as f64);
    }
    mean
}

impl Model for Lore {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        self.rewards.of(embeddings)
    }

    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let linear = |answer: &Answer<'_>| Linear {
            offset: 0.0,
            slope: answer.pair.difference().collect(),
            preference: answer.preference,
        };
        let weights = self.people.learn(&answers.iter().map(linear).collect::<Vec<_>>());
        Ok(Box::new(Mixture { weights }))
    }
}

/// w ∈ Δ
struct Mixture {
    weights: Vec<f64>,
}

impl Learned for Mixture {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        dot(&self.weights, pair.first) - dot(&self.weights, pair.second)
    }
}
