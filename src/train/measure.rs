use std::collections::BTreeMap;

use nalgebra::DVector;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::fit::{Fitted, Problem};
use super::split::split_rows;
use super::{Dataset, Quadrant, SplitConfig, TrainError};
use crate::math::logistic::binary_cross_entropy;
use crate::math::metrics::{auc, mean_and_standard_error};

/// Answers from which an unseen user's λ is fitted, at most.
const ANSWERS: usize = 10;

/// How well held-out choices are predicted in one quadrant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QuadrantScore {
    /// Mean over users of the AUC of their decided comparisons, each counted in both orders, under λ.
    pub auc: f64,
    /// Its standard error over users.
    pub auc_se: f64,
    /// The mean under one reward shared by all.
    pub classic_auc: f64,
    /// Mean over users of AUC less classic AUC.
    pub gain: f64,
    /// Its standard error over users.
    pub gain_se: f64,
    /// Users with a decided comparison in this quadrant.
    pub users: usize,
    /// Their decided comparisons.
    pub comparisons: usize,
}

/// The four quadrants of §5; nothing where no decided comparison lies in one.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Quadrants {
    /// Users and pairs seen in training, judgments held out.
    pub seen_users_seen_pairs: Option<QuadrantScore>,
    /// Users seen, pairs of unseen prompts.
    pub seen_users_unseen_pairs: Option<QuadrantScore>,
    /// Users not seen, λ from up to ten of their answers drawn at random; pairs of seen prompts.
    pub unseen_users_seen_pairs: Option<QuadrantScore>,
    /// The same users and λ, pairs of unseen prompts.
    pub unseen_users_unseen_pairs: Option<QuadrantScore>,
}

impl Quadrants {
    /// The quadrants by the names that metrics go by.
    pub fn named(&self) -> [(&'static str, Option<QuadrantScore>); 4] {
        [
            ("seen_users.seen_pairs", self.seen_users_seen_pairs),
            ("seen_users.unseen_pairs", self.seen_users_unseen_pairs),
            ("unseen_users.seen_pairs", self.unseen_users_seen_pairs),
            ("unseen_users.unseen_pairs", self.unseen_users_unseen_pairs),
        ]
    }
}

/// Rows to fit on, and people with rows to test on.
pub(super) struct HeldOut {
    /// What is fitted on: seen users, seen prompts, less a tenth.
    pub(super) train: Vec<usize>,
    seen: Vec<Person>,
    unseen: Vec<Person>,
}

/// A user's rows outside the fit.
#[derive(Default)]
struct Person {
    user: usize,
    /// What λ is fitted on; nothing for a seen user, whose λ comes from the factorization.
    answers: Option<Vec<usize>>,
    seen_pairs: Vec<usize>,
    unseen_pairs: Vec<usize>,
}

impl HeldOut {
    /// Draws a fifth of the users and of the prompts, a tenth of the seen users' judgments of seen prompts, and each
    /// unseen user's answers: up to ten of their judgments of seen prompts, at most half of them.
    pub(super) fn draw(data: &Dataset, rows: &[usize], seed: u64) -> Self {
        let split = split_rows(data, rows, &SplitConfig { seed, ..SplitConfig::default() });
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(1);
        let mut train = split.rows(Quadrant::Train).to_vec();
        train.shuffle(&mut rng);
        let mut set_aside = train.split_off(train.len() - train.len() / 10);
        train.sort_unstable();
        set_aside.sort_unstable();
        let seen = people(data, &set_aside, split.rows(Quadrant::Validation));
        let mut unseen = people(data, split.rows(Quadrant::Calibration), split.rows(Quadrant::Test));
        for person in &mut unseen {
            let answers = ANSWERS.min(person.seen_pairs.len() / 2);
            person.seen_pairs.shuffle(&mut rng);
            person.answers = Some(person.seen_pairs.drain(..answers).collect());
        }
        Self { train, seen, unseen }
    }

    /// Whether there is enough to fit on and enough to learn from the test.
    pub(super) fn is_usable(&self) -> bool {
        const FEWEST: usize = 20;
        let tested = |people: &[Person]| people.iter().map(|p| p.seen_pairs.len() + p.unseen_pairs.len()).sum::<usize>();
        self.train.len() >= FEWEST && tested(&self.seen) >= FEWEST && tested(&self.unseen) >= FEWEST
    }

    /// Mean log loss of held-out judgments (nats, ties included), averaged over each person's, then over people, with
    /// seen and unseen users counting alike. What hyperparameters are chosen by.
    pub(super) fn loss(&self, problem: &Problem<'_>, fitted: &Fitted) -> Result<f64, TrainError> {
        let mut means = [0.0; 2];
        for (mean, people) in means.iter_mut().zip([&self.seen, &self.unseen]) {
            let mut losses = Vec::with_capacity(people.len());
            for person in people {
                let lambda = person.coefficients(problem, fitted)?;
                let rows = person.seen_pairs.iter().chain(&person.unseen_pairs);
                let own: Vec<f64> = (rows.map(|&row| &problem.data.rows()[row]))
                    .map(|row| binary_cross_entropy(lambda.dot(&fitted.delta(problem.data, row)), row.preference))
                    .collect();
                if !own.is_empty() {
                    losses.push(own.iter().sum::<f64>() / own.len() as f64);
                }
            }
            *mean = losses.iter().sum::<f64>() / losses.len().max(1) as f64;
        }
        Ok((means[0] + means[1]) / 2.0)
    }

    /// AUC in the four quadrants, beside the shared reward.
    pub(super) fn quadrants(&self, problem: &Problem<'_>, fitted: &Fitted) -> Result<Quadrants, TrainError> {
        let score = |people: &[Person], rows: fn(&Person) -> &[usize]| score(problem, fitted, people, rows);
        Ok(Quadrants {
            seen_users_seen_pairs: score(&self.seen, |person| &person.seen_pairs)?,
            seen_users_unseen_pairs: score(&self.seen, |person| &person.unseen_pairs)?,
            unseen_users_seen_pairs: score(&self.unseen, |person| &person.seen_pairs)?,
            unseen_users_unseen_pairs: score(&self.unseen, |person| &person.unseen_pairs)?,
        })
    }
}

impl Person {
    fn coefficients(&self, problem: &Problem<'_>, fitted: &Fitted) -> Result<DVector<f64>, TrainError> {
        match &self.answers {
            None => Ok(fitted.factorization.coefficients.row(self.user).transpose()),
            Some(answers) => fitted.coefficients(problem.data, answers),
        }
    }
}

/// The rows of two quadrants by user; rows come sorted by user.
fn people(data: &Dataset, seen_pairs: &[usize], unseen_pairs: &[usize]) -> Vec<Person> {
    let mut people: BTreeMap<usize, Person> = BTreeMap::new();
    let mut person = |row: usize| {
        let user = data.rows()[row].user;
        people.entry(user).or_insert_with(|| Person { user, ..Person::default() })
    };
    seen_pairs.iter().for_each(|&row| person(row).seen_pairs.push(row));
    unseen_pairs.iter().for_each(|&row| person(row).unseen_pairs.push(row));
    people.into_values().collect()
}

fn score(
    problem: &Problem<'_>,
    fitted: &Fitted,
    people: &[Person],
    rows: fn(&Person) -> &[usize],
) -> Result<Option<QuadrantScore>, TrainError> {
    let (mut own, mut classic, mut gains, mut comparisons) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for person in people {
        let decided = rows(person).iter().map(|&row| &problem.data.rows()[row]).filter(|row| row.is_decided());
        let lambda = person.coefficients(problem, fitted)?;
        let (mut margins, mut classic_margins) = (Vec::new(), Vec::new());
        for row in decided {
            let sign = if row.preference > 0.5 { 1.0 } else { -1.0 };
            margins.push(sign * lambda.dot(&fitted.delta(problem.data, row)));
            classic_margins.push(sign * fitted.classic_difference(problem.data, row));
        }
        if margins.is_empty() {
            continue;
        }
        comparisons += margins.len();
        own.push(auc(&margins));
        classic.push(auc(&classic_margins));
        gains.push(auc(&margins) - auc(&classic_margins));
    }
    if own.is_empty() {
        return Ok(None);
    }
    let (auc, auc_se) = mean_and_standard_error(&own);
    let (classic_auc, _) = mean_and_standard_error(&classic);
    let (gain, gain_se) = mean_and_standard_error(&gains);
    Ok(Some(QuadrantScore { auc, auc_se, classic_auc, gain, gain_se, users: own.len(), comparisons }))
}
