//! The known-φ study: how fast each way of asking and fitting learns a person whose base functions are known exactly.
//!
//! People: λ ∈ R⁸ has ±1.8 at two of seven traits and 1.4 at a quality on which all agree, 84 kinds. A comparison is
//! δ ~ N(0, I₈), its outcome Bernoulli(σ(λᵀδ)). For each seed 64 people train the prior with 80 answers each; each of the
//! other 20 may be asked 200 comparisons and is tested on 400 more. Everything that an evaluation on text confounds, the
//! embedding and the factorization, is absent: what is left is the posterior, the prior and the questions.

use std::fmt;

use nalgebra::DVector;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::EvaluateError;
use crate::math::factorization::{EmOptions, empirical_bayes};
use crate::math::logistic::sigmoid;
use crate::math::metrics::{Estimate, auc, mean_and_standard_error};
use crate::math::normal;
use crate::math::questions::{Pool, Request, Seen, choose};
use crate::math::{Acquisition, Evidence, Posterior, Prior};

const DIMENSION: usize = 8;
const TRAIT: f64 = 1.8;
const COMMON: f64 = 1.4;
const TRAINING_PEOPLE: usize = 64;
const TRAINING_ANSWERS: usize = 80;
const POOL: usize = 200;
const TEST: usize = 400;
/// Most questions that a person is asked.
pub const MOST_ANSWERS: usize = 40;
/// Strength of a prior that hardly regularises, for the one reward shared by all.
const WEAK: f64 = 1e3;

/// A prior and a way of choosing questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// N(μ, Σ) of the training people, or N(0, I).
    pub empirical_bayes: bool,
    /// What makes a comparison worth asking.
    pub acquisition: Acquisition,
}

impl Way {
    /// The ways that are held side by side.
    pub const ALL: [Self; 6] = [
        Self { empirical_bayes: false, acquisition: Acquisition::Random },
        Self::PAPER,
        Self { empirical_bayes: true, acquisition: Acquisition::Random },
        Self { empirical_bayes: true, acquisition: Acquisition::Uncertainty },
        Self { empirical_bayes: true, acquisition: Acquisition::DOptimal },
        Self::OURS,
    ];
    /// Eq. 6 and 9 as they stand: zero prior, the most uncertain comparison.
    pub const PAPER: Self = Self { empirical_bayes: false, acquisition: Acquisition::Uncertainty };
    /// What this project does.
    pub const OURS: Self = Self { empirical_bayes: true, acquisition: Acquisition::InformationGain };
    /// What asking well is measured against.
    pub const RANDOM: Self = Self { empirical_bayes: true, acquisition: Acquisition::Random };

    fn number(self) -> usize {
        Self::ALL.iter().position(|way| *way == self).expect("ALL holds every way there is a name for")
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prior = if self.empirical_bayes { "empirical Bayes" } else { "zero prior" };
        let asked = match self.acquisition {
            Acquisition::InformationGain => "information gain",
            Acquisition::DOptimal => "D-optimal",
            Acquisition::Uncertainty => "uncertainty (Eq. 9)",
            Acquisition::Random => "random",
        };
        f.pad(&format!("{prior}, {asked}"))
    }
}

/// Mean AUC over the new people of each seed.
#[derive(Debug, Clone)]
pub struct KnownPhi {
    seeds: Vec<Seed>,
}

#[derive(Debug, Clone)]
struct Seed {
    /// Of each way of [`Way::ALL`] after 0, 1, … [`MOST_ANSWERS`] answers.
    curves: Vec<Vec<f64>>,
    classic: f64,
    oracle: f64,
}

impl KnownPhi {
    /// Runs seeds 0…n−1.
    ///
    /// # Errors
    /// Never for the numbers drawn here; what `math` refuses is passed on.
    pub fn run(seeds: u64) -> Result<Self, EvaluateError> {
        Ok(Self { seeds: (0..seeds).map(Seed::run).collect::<Result<_, _>>()? })
    }

    /// AUC of a way after `answers` answers, with its standard error over seeds.
    pub fn auc(&self, way: Way, answers: usize) -> Option<Estimate> {
        self.over_seeds(|seed| seed.curves[way.number()].get(answers).copied().unwrap_or(f64::NAN))
    }

    /// By how much a way's AUC is above that of [`Way::OURS`] after `answers` answers, with the standard error of that
    /// difference over seeds.
    pub fn ahead_of_ours(&self, way: Way, answers: usize) -> Option<Estimate> {
        let auc = |seed: &Seed, way: Way| seed.curves[way.number()].get(answers).copied().unwrap_or(f64::NAN);
        self.over_seeds(|seed| auc(seed, way) - auc(seed, Way::OURS))
    }

    /// AUC of the one reward shared by all.
    pub fn classic(&self) -> Option<Estimate> {
        self.over_seeds(|seed| seed.classic)
    }

    /// AUC of the people's own λ.
    pub fn oracle(&self) -> Option<Estimate> {
        self.over_seeds(|seed| seed.oracle)
    }

    /// The fewest answers after which a way's mean AUC is that of random questions after `answers`; nothing where
    /// [`MOST_ANSWERS`] are too few.
    pub fn answers_needed(&self, way: Way, answers: usize) -> Option<usize> {
        let wanted = self.auc(Way::RANDOM, answers)?.mean;
        (0..=MOST_ANSWERS).find(|&n| self.auc(way, n).is_some_and(|auc| auc.mean >= wanted))
    }

    fn over_seeds(&self, figure: impl Fn(&Seed) -> f64) -> Option<Estimate> {
        mean_and_standard_error(&self.seeds.iter().map(figure).collect::<Vec<_>>())
    }
}

impl fmt::Display for KnownPhi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |estimate: Option<Estimate>| match estimate {
            Some(Estimate { mean, standard_error: Some(error), .. }) => format!("{mean:.3} ± {error:.3}"),
            Some(Estimate { mean, .. }) => format!("{mean:.3}"),
            None => "–".to_owned(),
        };
        let answers = [0, 1, 3, 5, 10, 15, 20, 30, 40];
        writeln!(
            f,
            "{} seeds; one shared reward {}, oracle {}\n",
            self.seeds.len(),
            figure(self.classic()),
            figure(self.oracle())
        )?;
        write!(f, "{:<38}", "AUC after answers")?;
        answers.iter().try_for_each(|n| write!(f, "{n:>15}"))?;
        writeln!(f, "{:>22}", "as random at 20 / 40")?;
        for way in Way::ALL {
            write!(f, "{way:<38}")?;
            answers.iter().try_for_each(|&n| write!(f, "{:>15}", figure(self.auc(way, n))))?;
            let needed = |n| self.answers_needed(way, n).map_or("–".to_owned(), |n| n.to_string());
            writeln!(f, "{:>22}", format!("{} / {}", needed(20), needed(40)))?;
        }
        write!(f, "\n{:<38}", "Ahead of the last, seed by seed")?;
        answers.iter().try_for_each(|n| write!(f, "{n:>18}"))?;
        writeln!(f)?;
        let difference = |estimate: Option<Estimate>| match estimate {
            Some(Estimate { mean, standard_error: Some(error), .. }) => format!("{mean:+.4} ± {error:.4}"),
            _ => "–".to_owned(),
        };
        for way in Way::ALL.into_iter().filter(|way| *way != Way::OURS) {
            write!(f, "{way:<38}")?;
            answers.iter().try_for_each(|&n| write!(f, "{:>18}", difference(self.ahead_of_ours(way, n))))?;
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Seed {
    fn run(seed: u64) -> Result<Self, EvaluateError> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut people = people();
        people.shuffle(&mut rng);
        let (train, new) = people.split_at(TRAINING_PEOPLE);
        let evidence: Vec<Vec<Evidence>> =
            train.iter().map(|lambda| judge(lambda, TRAINING_ANSWERS, &mut rng)).collect();
        let options = EmOptions { rounds: 30, tolerance: 0.0, pseudo_users: 0.0 };
        let learned = empirical_bayes(&evidence, DIMENSION, &options)?;
        let zero = Prior::isotropic(DIMENSION, 1.0)?;
        let shared = Posterior::fit(&evidence.concat(), &Prior::isotropic(DIMENSION, WEAK)?)?;

        // Drawn before anybody is asked, so that every way meets the same people.
        let new: Vec<Newcomer> = new.iter().map(|lambda| Newcomer::draw(lambda, &mut rng)).collect();
        let mean = |figures: Vec<f64>| figures.iter().sum::<f64>() / figures.len() as f64;
        let mut curves = Vec::with_capacity(Way::ALL.len());
        for (at, way) in Way::ALL.into_iter().enumerate() {
            let prior = if way.empirical_bayes { &learned } else { &zero };
            let asked: Vec<Vec<f64>> = new
                .par_iter()
                .enumerate()
                .map(|(person, newcomer)| {
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    rng.set_stream((1 + at * new.len() + person) as u64);
                    newcomer.learn(way.acquisition, prior, &mut rng)
                })
                .collect::<Result<_, EvaluateError>>()?;
            curves.push(
                (0..=MOST_ANSWERS).map(|n| mean(asked.iter().map(|curve| curve[n]).collect())).collect(),
            );
        }
        Ok(Self {
            curves,
            classic: mean(new.iter().map(|newcomer| newcomer.auc(shared.coefficients())).collect()),
            oracle: mean(new.iter().map(|newcomer| newcomer.auc(&newcomer.lambda)).collect()),
        })
    }
}

/// Somebody who was not in training.
struct Newcomer {
    lambda: DVector<f64>,
    /// What may be asked, with the answer.
    pool: Vec<Evidence>,
    test: Vec<Evidence>,
}

impl Newcomer {
    fn draw(lambda: &DVector<f64>, rng: &mut ChaCha8Rng) -> Self {
        Self { lambda: lambda.clone(), pool: judge(lambda, POOL, rng), test: judge(lambda, TEST, rng) }
    }

    /// AUC on the test comparisons; ½ where the coefficients tell nothing.
    fn auc(&self, coefficients: &DVector<f64>) -> f64 {
        let margin = |e: &Evidence| (2.0 * e.preference - 1.0) * coefficients.dot(&e.delta);
        auc(&self.test.iter().map(margin).collect::<Vec<_>>()).unwrap_or(0.5)
    }

    /// AUC after 0, 1, … [`MOST_ANSWERS`] answers.
    fn learn(
        &self,
        acquisition: Acquisition,
        prior: &Prior,
        rng: &mut ChaCha8Rng,
    ) -> Result<Vec<f64>, EvaluateError> {
        // Each comparison is a prompt with two responses, δ and the origin.
        let prompts: Vec<[DVector<f64>; 2]> =
            self.pool.iter().map(|e| [e.delta.clone(), DVector::zeros(DIMENSION)]).collect();
        let pool = Pool::new(&prompts)?;
        let (mut seen, mut evidence, mut curve) = (Seen::default(), Vec::new(), Vec::new());
        loop {
            let posterior = Posterior::fit(&evidence, prior)?;
            curve.push(self.auc(posterior.coefficients()));
            if curve.len() > MOST_ANSWERS {
                return Ok(curve);
            }
            let request = Request { acquisition, count: 1, seen: &seen, open: &[] };
            let question = choose(&pool, &posterior, &request, rng)?.questions[0];
            seen.insert(question.prompt, question.first, question.second);
            evidence.push(self.pool[question.prompt].clone());
        }
    }
}

/// The 84 kinds of people.
fn people() -> Vec<DVector<f64>> {
    let mut people = Vec::new();
    for a in 0..7 {
        for b in a + 1..7 {
            for (sign_a, sign_b) in [(1.0, 1.0), (1.0, -1.0), (-1.0, 1.0), (-1.0, -1.0)] {
                let mut lambda = DVector::zeros(DIMENSION);
                (lambda[a], lambda[b], lambda[7]) = (sign_a * TRAIT, sign_b * TRAIT, COMMON);
                people.push(lambda);
            }
        }
    }
    people
}

/// Comparisons δ ~ N(0, I) with a person's answers.
fn judge(lambda: &DVector<f64>, count: usize, rng: &mut ChaCha8Rng) -> Vec<Evidence> {
    let mut draw = || {
        let delta = DVector::from_fn(DIMENSION, |_, _| normal(rng));
        let preference = if rng.random::<f64>() < sigmoid(lambda.dot(&delta)) { 1.0 } else { 0.0 };
        Evidence { delta, preference, weight: 1.0 }
    };
    (0..count).map(|_| draw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figures of an independent program over thirty seeds; between seeds they differ by .010.
    #[test]
    fn three_seeds_meet_the_independent_programs_thirty() {
        let study = KnownPhi::run(3).unwrap();
        let two_errors = 0.012;
        for (way, expected) in [(Way::OURS, [0.770, 0.829, 0.873]), (Way::PAPER, [0.734, 0.811, 0.852])] {
            for (answers, expected) in [5, 10, 20].into_iter().zip(expected) {
                let auc = study.auc(way, answers).unwrap().mean;
                assert!((auc - expected).abs() < two_errors, "{way} after {answers}: {auc}");
            }
        }
        assert!((study.classic().unwrap().mean - 0.677).abs() < two_errors);
        assert!((study.oracle().unwrap().mean - 0.914).abs() < two_errors);
        let (ours, paper) = (study.auc(Way::OURS, 20).unwrap().mean, study.auc(Way::PAPER, 20).unwrap().mean);
        assert!((study.ahead_of_ours(Way::PAPER, 20).unwrap().mean - (paper - ours)).abs() < 1e-12);
        assert_eq!(study.answers_needed(Way::RANDOM, 20), Some(20));
        assert!(study.answers_needed(Way::OURS, 20).is_some_and(|n| n <= 12));
    }

    #[test]
    fn the_way_that_is_shown_is_the_way_that_was_run() {
        let names: Vec<String> = Way::ALL.iter().map(Way::to_string).collect();
        assert_eq!(names[Way::PAPER.number()], "zero prior, uncertainty (Eq. 9)");
        assert_eq!(names[Way::OURS.number()], "empirical Bayes, information gain");
        assert_eq!(names[Way::RANDOM.number()], "empirical Bayes, random");
    }
}
