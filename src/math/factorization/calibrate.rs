//! How much of the population found holds for people whom W was not fitted to.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::foretell::surprise;
use super::{Factorization, Observation};
use crate::math::posterior::Rows;
use crate::math::{MathError, Prior};

/// (b, r, c), each at most 1: new people are found to come from N(b(m + r(μ − m)), cΣ), m the part of μ along the classic
/// reward. With r = 0 whoever has answered nothing is predicted as by the classic reward.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scales {
    /// b
    pub mean: f64,
    /// r
    pub beyond: f64,
    /// c
    pub spread: f64,
}

impl Scales {
    /// Nothing held back.
    pub const ONE: Self = Self { mean: 1.0, beyond: 1.0, spread: 1.0 };

    /// N(b(m + r(μ − m)), cΣ); without m nothing is beyond it.
    pub(super) fn of(self, prior: &Prior, shared: Option<&DVector<f64>>) -> Result<Prior, MathError> {
        let mean = match shared {
            Some(shared) => shared + (prior.mean() - shared) * self.beyond,
            None => prior.mean().clone(),
        };
        Prior::new(mean * self.mean, prior.covariance() * self.spread)
    }
}

/// New people as a factorization sees them that was fitted without them and with nothing held back ([`Scales::ONE`]).
#[derive(Debug, Clone)]
pub struct Newcomers {
    people: Vec<Rows>,
    prior: Prior,
    shared: Option<DVector<f64>>,
}

const STRIDE: f64 = 0.85;
/// Strides tried in a climb; the last round is finished.
const STRIDES: usize = 80;
/// A stride must gain this many nats; less is chance.
const LEAST_GAIN: f64 = 0.5;
/// Judgments of a person that count: as many as somebody is asked. Later ones hardly depend on the prior, and those that
/// λᵀφ cannot explain would speak against its spread.
const MOST_JUDGMENTS: usize = 20;

impl Newcomers {
    /// People by their decided judgments, at most twenty of each, spread over all of theirs; texts by their embeddings
    /// (texts × d).
    pub fn new(factorization: &Factorization, embeddings: &DMatrix<f64>, judgments: &[Observation]) -> Self {
        let mut by_user: BTreeMap<usize, Vec<&Observation>> = BTreeMap::new();
        for judgment in judgments.iter().filter(|o| o.preference != 0.5 && o.weight > 0.0) {
            by_user.entry(judgment.user).or_default().push(judgment);
        }
        let features = factorization.features(embeddings);
        let rows = |judgments: Vec<&Observation>| {
            let mut rows = Rows::default();
            let kept = judgments.len().min(MOST_JUDGMENTS);
            for at in 0..kept {
                let o = judgments[at * judgments.len() / kept];
                rows.deltas.extend((features.row(o.first) - features.row(o.second)).iter());
                rows.outcomes.push((o.preference, o.weight));
            }
            rows
        };
        let Factorization { prior, shared, .. } = factorization.clone();
        Self { people: by_user.into_values().map(rows).collect(), prior, shared }
    }

    /// The negative log marginal likelihood of each person's judgments, in nats.
    fn surprises(&self, scales: Scales) -> Result<Vec<f64>, MathError> {
        let prior = scales.of(&self.prior, self.shared.as_ref())?;
        Ok(self.people.par_iter().map(|rows| surprise(rows, &prior)).collect())
    }
}

/// b, r and c by climbing the marginal likelihood of new people's judgments, over several folds, each with a factorization
/// of its own; at most 1, for what was fitted can only have been overstated. Without folds nothing is held back.
///
/// W is fitted to the same people whose spread Σ measures, so that Σ also holds differences that W only fitted, the more so the
/// fewer the judgments: new people would be asked about, and judged by, what is not there. Serving meets nobody but new
/// people, and the likelihood of their answers, each foretold from those before it, says how much to hold back. So it is with μ
/// beyond the classic reward: directions fitted to differences on the training prompts take up what people agreed on there.
///
/// Two climbs are compared: from 1, and from where that ends with r = 0, since single strides of r may each gain too little to
/// get there. The second is kept unless the first foretells people better by more than one standard error (Breiman et al. 1984):
/// people of a fold judge the same few prompts, whose luck they share. Where no fold has a classic reward, r says nothing and
/// comes out as 0.
///
/// Laplace's approximation of a person's marginal likelihood will not do here: where a logit's variance is 4 it is too low by
/// three hundredths of a nat for a first judgment, and chooses a narrow spread for that alone where there are few judgments a
/// person.
///
/// # Errors
/// A prior that scaling takes out of the range of floating point.
pub fn calibrate(folds: &[Newcomers]) -> Result<Scales, MathError> {
    if folds.is_empty() {
        return Ok(Scales::ONE);
    }
    let some = climb(folds, Scales::ONE)?;
    let none = climb(folds, Scales { beyond: 0.0, ..some })?;
    let gains = surprises(folds, none)? - surprises(folds, some)?;
    Ok(if stands_out(&gains) { some } else { none })
}

/// Whether gains, one a person, have a mean of more than one standard error.
fn stands_out(gains: &DVector<f64>) -> bool {
    let people = gains.len() as f64;
    let standard_error = (gains.add_scalar(-gains.mean()).norm_squared() / (people - 1.0) / people).sqrt();
    gains.mean() > standard_error
}

/// The surprise at each person of all folds, in nats.
fn surprises(folds: &[Newcomers], scales: Scales) -> Result<DVector<f64>, MathError> {
    let each: Vec<_> = folds.iter().map(|fold| fold.surprises(scales)).collect::<Result<_, _>>()?;
    Ok(DVector::from_vec(each.concat()))
}

/// The scales where the climb ends.
fn climb(folds: &[Newcomers], from: Scales) -> Result<Scales, MathError> {
    // Summed one by one, so that the digits do not hang on the number of threads.
    let surprise = |scales| -> Result<f64, MathError> { Ok(surprises(folds, scales)?.iter().sum()) };
    let mut best = from;
    let mut least = surprise(best)?;
    let (mut strides, mut improved) = (0, true);
    while improved && strides < STRIDES {
        improved = false;
        for factor in [STRIDE, 1.0 / STRIDE] {
            for stride in [
                |s: &mut Scales, factor: f64| s.mean *= factor,
                |s: &mut Scales, factor: f64| s.beyond *= factor,
                |s: &mut Scales, factor: f64| s.spread *= factor,
            ] {
                let mut next = best;
                stride(&mut next, factor);
                if next == best || next.mean > 1.0 || next.beyond > 1.0 || next.spread > 1.0 {
                    continue;
                }
                strides += 1;
                let value = surprise(next)?;
                if value < least - LEAST_GAIN {
                    (best, least, improved) = (next, value, true);
                }
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::math::logistic::sigmoid;

    /// 400 people with λ of mean (1, 0) and variance 1, twelve judgments each.
    fn people() -> Vec<Rows> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut uniform = || 2.0 * rng.random::<f64>() - 1.0;
        let mut people = Vec::new();
        for _ in 0..400 {
            let lambda =
                DVector::from_fn(2, |j, _| if j == 0 { 1.0 } else { 0.0 } + 3.0_f64.sqrt() * uniform());
            let mut rows = Rows::default();
            for _ in 0..12 {
                let delta = DVector::from_fn(2, |_, _| 3.0 * uniform());
                let liked = 0.5 * (uniform() + 1.0) < sigmoid(lambda.dot(&delta));
                rows.deltas.extend(delta.iter());
                rows.outcomes.push((if liked { 1.0 } else { 0.0 }, 1.0));
            }
            people.push(rows);
        }
        people
    }

    #[test]
    fn a_population_stated_too_wide_is_set_right_and_a_true_one_is_left() {
        let people = people();
        for (mean, variance) in [(2.0, 3.0), (1.0, 1.0)] {
            let prior = Prior::new(DVector::from_vec(vec![mean, 0.0]), DMatrix::identity(2, 2) * variance)
                .expect("valid");
            // Two folds of half the people each are as good as one of all.
            let folds = [&people[..200], &people[200..]].map(|people| Newcomers {
                people: people.to_vec(),
                prior: prior.clone(),
                shared: None,
            });
            let Scales { mean: b, spread: c, .. } = calibrate(&folds).expect("valid");
            assert!((0.8..1.2).contains(&(b * mean)), "{b} of {mean}");
            assert!((0.7..1.4).contains(&(c * variance)), "{c} of {variance}");
        }
    }

    #[test]
    fn a_mean_that_is_overstated_beyond_the_shared_reward_is_held_back_there_alone() {
        // On average people like the first coordinate alone; the prior's 1.5 along the second is overstated.
        let shared = Some(DVector::from_vec(vec![1.0, 0.0]));
        let prior = Prior::new(DVector::from_vec(vec![1.0, 1.5]), DMatrix::identity(2, 2)).expect("valid");
        let fold = Newcomers { people: people(), prior: prior.clone(), shared: shared.clone() };
        let scales = calibrate(&[fold]).expect("valid");
        assert!(scales.mean > 0.8 && scales.beyond < 0.2, "{scales:?}");
        let scaled =
            Scales { mean: 0.5, beyond: 0.1, spread: 1.0 }.of(&prior, shared.as_ref()).expect("valid");
        assert!((scaled.mean() - DVector::from_vec(vec![0.5, 0.075])).amax() < 1e-15, "{}", scaled.mean());
    }

    #[test]
    fn a_mean_beyond_the_shared_reward_is_kept_where_people_have_it() {
        let shared = Some(DVector::from_vec(vec![0.5, 0.5]));
        let prior = Prior::new(DVector::from_vec(vec![1.0, 0.0]), DMatrix::identity(2, 2)).expect("valid");
        let scales = calibrate(&[Newcomers { people: people(), prior, shared }]).expect("valid");
        assert!(scales.mean > 0.8 && scales.beyond > 0.8, "{scales:?}");
    }

    #[test]
    fn a_mean_that_hardly_helps_beyond_the_shared_reward_is_the_shared_reward() {
        let shared = Some(DVector::from_vec(vec![1.0, 0.0]));
        let prior = Prior::new(DVector::from_vec(vec![1.0, 0.02]), DMatrix::identity(2, 2)).expect("valid");
        let scales = calibrate(&[Newcomers { people: people(), prior, shared }]).expect("valid");
        assert_eq!(scales.beyond, 0.0, "{scales:?}");
    }

    #[test]
    fn what_a_few_people_gain_does_not_stand_out() {
        let stands_out = |gains: &[f64]| stands_out(&DVector::from_column_slice(gains));
        assert!(stands_out(&[0.3, 0.1, 0.2, -0.1, 0.2]));
        assert!(!stands_out(&[3.0, -0.2, -0.3, -0.2, 0.1]), "2.4 nats, but of one person");
        assert!(!stands_out(&[0.0, 0.0]));
        assert!(!stands_out(&[1.0]), "of one person alone nothing can be said");
    }

    #[test]
    fn without_newcomers_nothing_is_scaled() {
        assert_eq!(calibrate(&[]), Ok(Scales::ONE));
    }
}
