//! PAL: pluralistic alignment by ideal points (Chen et al. 2024, model A). Texts lie at f = A h, prototypes at p₁…p_K, a
//! person at a_i = Σ_k w_ik p_k with w_i on the simplex, and prefers the nearer text:
//! logit = ‖f(y₂) − a_i‖² − ‖f(y₁) − a_i‖².
//!
//! A, the prototypes and all w_i are learned together; a person met later has weights fitted to their answers among the
//! prototypes that are there. Questions are drawn at random.

use nalgebra::{DMatrix, DMatrixView, DMatrixViewMut};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::descent::{Descent, HeldOut};
use super::lore::mean_of;
use super::simplex::{Linear, Simplex, back, softmax};
use super::{Answer, Learned, Model, Pair, dot};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::{Corpus, Part, Projection, decided};
use crate::evaluate::search::{Tuning, search};
use crate::math::factorization::Observation;
use crate::math::logistic::{binary_cross_entropy, sigmoid};

const STEPS: usize = 500;

/// A, the prototypes and the simplex of people.
pub(in crate::evaluate) struct Pal {
    /// A (k × d)
    map: Projection,
    /// P (k × K), a column a prototype.
    prototypes: DMatrix<f64>,
    people: Simplex,
}

/// What is tuned.
#[derive(Debug, Clone, PartialEq)]
struct Setting {
    /// k, dimensions of the space that texts and people share.
    dimension: usize,
    /// K
    prototypes: usize,
    /// L2 on A.
    ridge: f64,
    /// ρ, by which a new person's θ is held to the average.
    pull: f64,
}

impl Pal {
    /// With the setting that predicts people best from a few answers.
    pub(in crate::evaluate) fn train(corpus: &Corpus<'_>) -> Result<(Self, Tuning), EvaluateError> {
        let start = Setting { dimension: 8, prototypes: 8, ridge: 0.01, pull: 0.3 };
        let double = |n: &mut usize, up: bool| *n = if up { (*n * 2).min(64) } else { (*n / 2).max(1) };
        let found = search(
            start,
            &[
                &|s: &mut Setting, up| s.ridge *= if up { 3.0 } else { 1.0 / 3.0 },
                &|s: &mut Setting, up| s.pull *= if up { 3.0 } else { 1.0 / 3.0 },
                &|s: &mut Setting, up| double(&mut s.prototypes, up),
                &|s: &mut Setting, up| double(&mut s.dimension, up),
            ],
            |setting| corpus.trial(|part| Ok(Self::fit(corpus, setting, part))),
        )?;
        let Setting { dimension, prototypes, ridge, pull } = found.setting;
        let tuning = Tuning {
            trials: found.trials,
            chosen: format!(
                "{dimension} dimensions, {prototypes} prototypes, ridge {ridge:.2e}, pull {pull:.2e}, {} steps",
                found.outcome
            ),
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
        let Setting { dimension: k, prototypes, ridge, pull } = *setting;
        let (r, users) = (z.nrows(), corpus.users());
        let (map, points) = (k * r, k * prototypes);
        let mut rng = ChaCha8Rng::seed_from_u64(corpus.seed);
        let mut draw = |n: usize, scale: f64| -> Vec<f64> {
            (0..n).map(|_| (rng.random::<f64>() - 0.5) * scale).collect()
        };
        let parameters = [draw(map, 0.2), draw(points, 1.0), draw(prototypes * users, 0.2)].concat();

        let gradient = |parameters: &[f64], slope: &mut [f64]| {
            let (a, rest) = parameters.split_at(map);
            let (p, theta) = rest.split_at(points);
            let f = DMatrixView::from_slice(a, k, r) * &z;
            let p = DMatrixView::from_slice(p, k, prototypes);
            let weights: Vec<Vec<f64>> = theta.chunks_exact(prototypes).map(softmax).collect();
            let ideal = p * DMatrix::from_fn(prototypes, users, |at, user| weights[user][at]);
            let mut by_text = DMatrix::zeros(k, z.ncols());
            let mut by_user = DMatrix::zeros(k, users);
            let share = 1.0 / judged.len() as f64;
            for o in &judged {
                let pair = Pair::of(&f, o.first, o.second);
                let point = &ideal.as_slice()[o.user * k..][..k];
                let g = share * (sigmoid(nearer(pair, point)) - o.preference);
                for (at, (first, second)) in pair.first.iter().zip(pair.second).enumerate() {
                    by_text[(at, o.first)] -= 2.0 * g * (first - point[at]);
                    by_text[(at, o.second)] += 2.0 * g * (second - point[at]);
                    by_user[(at, o.user)] += 2.0 * g * (first - second);
                }
            }
            let (a_slope, rest) = slope.split_at_mut(map);
            let (p_slope, theta_slope) = rest.split_at_mut(points);
            DMatrixViewMut::from_slice(a_slope, k, r).copy_from(&(by_text * &z_transposed));
            let toward = p.transpose() * &by_user;
            let mut p_slope = DMatrixViewMut::from_slice(p_slope, k, prototypes);
            for (user, slope) in theta_slope.chunks_exact_mut(prototypes).enumerate() {
                let own = by_user.column(user);
                for (at, &w) in weights[user].iter().enumerate() {
                    p_slope.column_mut(at).axpy(w, &own, 1.0);
                }
                back(&weights[user], &toward.as_slice()[user * prototypes..][..prototypes], slope);
            }
        };
        let held_out = |parameters: &[f64]| {
            let (a, rest) = parameters.split_at(map);
            let (p, theta) = rest.split_at(points);
            let f = DMatrixView::from_slice(a, k, r) * &z;
            let weights: Vec<f64> = theta.chunks_exact(prototypes).flat_map(softmax).collect();
            let ideal = DMatrixView::from_slice(p, k, prototypes)
                * DMatrixView::from_slice(&weights, prototypes, users);
            let loss = |o: &Observation| {
                let point = &ideal.as_slice()[o.user * k..][..k];
                binary_cross_entropy(nearer(Pair::of(&f, o.first, o.second), point), o.preference)
            };
            -held.iter().map(loss).sum::<f64>() / held.len() as f64
        };
        let descent = Descent { rate: 0.03, ridge, penalised: map, steps: part.steps().unwrap_or(STEPS) };
        let watched: &HeldOut<'_> = &held_out;
        let (parameters, steps) =
            descent.run(parameters, gradient, part.steps().is_none().then_some(watched));
        let (a, rest) = parameters.split_at(map);
        let (p, theta) = rest.split_at(points);
        let model = Self {
            map: Projection::new(corpus.coordinates(), &DMatrix::from_column_slice(k, r, a)),
            prototypes: DMatrix::from_column_slice(k, prototypes, p),
            people: Simplex { mean: mean_of(theta, prototypes, &judged), pull },
        };
        (model, steps)
    }
}

/// ‖f₂ − a‖² − ‖f₁ − a‖²
fn nearer(pair: Pair<'_>, ideal: &[f64]) -> f64 {
    let distance = |f: &[f64]| f.iter().zip(ideal).map(|(f, a)| (f - a) * (f - a)).sum::<f64>();
    distance(pair.second) - distance(pair.first)
}

impl Model for Pal {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        self.map.of(embeddings)
    }

    /// The logit is linear in w: ‖f₂‖² − ‖f₁‖² + 2 (f₁ − f₂)ᵀ P w.
    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let linear = |answer: &Answer<'_>| Linear {
            offset: dot(answer.pair.second, answer.pair.second) - dot(answer.pair.first, answer.pair.first),
            slope: self
                .prototypes
                .column_iter()
                .map(|p| 2.0 * p.iter().zip(answer.pair.difference()).map(|(p, d)| p * d).sum::<f64>())
                .collect(),
            preference: answer.preference,
        };
        let weights = self.people.learn(&answers.iter().map(linear).collect::<Vec<_>>());
        let ideal = &self.prototypes * nalgebra::DVector::from_vec(weights);
        Ok(Box::new(IdealPoint { ideal: ideal.as_slice().to_vec() }))
    }
}

/// a
struct IdealPoint {
    ideal: Vec<f64>,
}

impl Learned for IdealPoint {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        nearer(pair, &self.ideal)
    }
}
