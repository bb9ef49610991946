use std::collections::BTreeMap;

use nalgebra::DVector;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::fit::Fitted;
use super::split::split_rows;
use super::{Dataset, Quadrant, SplitConfig, TrainError};
use crate::math::metrics::{auc, mean_and_standard_error, mean_log_likelihood};

/// Answers from which an unseen user's λ is fitted, at most.
const ANSWERS: usize = 10;

/// How well held-out choices are predicted in one quadrant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct QuadrantScore {
    /// Mean over users of the AUC of their decided comparisons, each counted in both orders, under λ.
    pub auc: f64,
    /// Its standard error over users; nothing for one user.
    pub auc_se: Option<f64>,
    /// The mean under one reward shared by all.
    pub classic_auc: f64,
    /// Mean over users of AUC less classic AUC.
    pub gain: f64,
    /// Its standard error over users; nothing for one user.
    pub gain_se: Option<f64>,
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

/// How well the judgments are predicted that were held out first when hyperparameters were chosen: the same people, other prompts.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ValidationScore {
    /// Mean log-likelihood of decided judgments, nats.
    pub log_likelihood: f64,
    /// AUC over all of them together, each counted in both orders.
    pub auc: f64,
    /// How many they are.
    pub comparisons: usize,
}

impl ValidationScore {
    /// Of (logit, outcome) of decided judgments; NaN where there are none.
    pub(super) fn new(predictions: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let (logits, outcomes): (Vec<f64>, Vec<f64>) = predictions.into_iter().unzip();
        let margins: Vec<f64> =
            logits.iter().zip(&outcomes).map(|(z, &a)| if a > 0.5 { *z } else { -z }).collect();
        Self {
            log_likelihood: mean_log_likelihood(&logits, &outcomes).unwrap_or(f64::NAN),
            auc: auc(&margins).unwrap_or(f64::NAN),
            comparisons: logits.len(),
        }
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

    /// AUC in the four quadrants, beside the shared reward.
    pub(super) fn quadrants(&self, data: &Dataset, fitted: &Fitted) -> Result<Quadrants, TrainError> {
        let score = |people: &[Person], rows: fn(&Person) -> &[usize]| score(data, fitted, people, rows);
        Ok(Quadrants {
            seen_users_seen_pairs: score(&self.seen, |person| &person.seen_pairs)?,
            seen_users_unseen_pairs: score(&self.seen, |person| &person.unseen_pairs)?,
            unseen_users_seen_pairs: score(&self.unseen, |person| &person.seen_pairs)?,
            unseen_users_unseen_pairs: score(&self.unseen, |person| &person.unseen_pairs)?,
        })
    }
}

impl Person {
    fn coefficients(&self, data: &Dataset, fitted: &Fitted) -> Result<DVector<f64>, TrainError> {
        match &self.answers {
            None => Ok(fitted.factorization.coefficients.row(self.user).transpose()),
            Some(answers) => fitted.coefficients(data, answers),
        }
    }
}

/// The rows of two quadrants by user.
fn people(data: &Dataset, seen_pairs: &[usize], unseen_pairs: &[usize]) -> Vec<Person> {
    let mut people: BTreeMap<usize, Person> = BTreeMap::new();
    for (rows, unseen) in [(seen_pairs, false), (unseen_pairs, true)] {
        for &row in rows {
            let user = data.rows()[row].user;
            let person = people.entry(user).or_insert_with(|| Person { user, ..Person::default() });
            if unseen { person.unseen_pairs.push(row) } else { person.seen_pairs.push(row) }
        }
    }
    people.into_values().collect()
}

fn score(
    data: &Dataset,
    fitted: &Fitted,
    people: &[Person],
    rows: fn(&Person) -> &[usize],
) -> Result<Option<QuadrantScore>, TrainError> {
    let (mut own, mut classic, mut gains, mut comparisons) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for person in people {
        let decided = rows(person).iter().map(|&row| &data.rows()[row]).filter(|row| row.is_decided());
        let lambda = person.coefficients(data, fitted)?;
        let (mut margins, mut classic_margins) = (Vec::new(), Vec::new());
        for row in decided {
            let sign = if row.preference > 0.5 { 1.0 } else { -1.0 };
            margins.push(sign * lambda.dot(&fitted.delta(data, row)));
            classic_margins.push(sign * fitted.classic_difference(data, row));
        }
        let (Some(own_auc), Some(classic_auc)) = (auc(&margins), auc(&classic_margins)) else { continue };
        comparisons += margins.len();
        own.push(own_auc);
        classic.push(classic_auc);
        gains.push(own_auc - classic_auc);
    }
    let estimates =
        (mean_and_standard_error(&own), mean_and_standard_error(&classic), mean_and_standard_error(&gains));
    let (Some(auc), Some(classic), Some(gain)) = estimates else { return Ok(None) };
    Ok(Some(QuadrantScore {
        auc: auc.mean,
        auc_se: auc.standard_error,
        classic_auc: classic.mean,
        gain: gain.mean,
        gain_se: gain.standard_error,
        users: own.len(),
        comparisons,
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::{Comparison, Judgment, UserId};

    /// Every user judges one pair of each prompt.
    fn data(users: usize, prompts: usize) -> Dataset {
        let judgment = |user: usize, prompt: usize| Judgment {
            user_id: UserId::parse(format!("u{user}")).unwrap(),
            comparison: Comparison::parse(format!("x{prompt}"), "a", "b").unwrap(),
            preference: 1.0,
            group: String::new(),
        };
        let all: Vec<Judgment> =
            (0..users).flat_map(|user| (0..prompts).map(move |prompt| judgment(user, prompt))).collect();
        Dataset::from_judgments(&all)
    }

    #[test]
    fn every_row_is_in_one_part_and_unseen_users_are_not_fitted_on() {
        let data = data(20, 30);
        let all: Vec<usize> = (0..data.rows().len()).collect();
        let held_out = HeldOut::draw(&data, &all, 3);
        assert_eq!((held_out.seen.len(), held_out.unseen.len()), (16, 4));
        let tested = |people: &[Person]| -> Vec<usize> {
            people.iter().flat_map(|p| p.seen_pairs.iter().chain(&p.unseen_pairs)).copied().collect()
        };
        let answers = held_out.unseen.iter().flat_map(|p| p.answers.iter().flatten()).copied();
        let mut rows: Vec<usize> = held_out.train.clone();
        rows.extend(tested(&held_out.seen));
        rows.extend(tested(&held_out.unseen));
        rows.extend(answers);
        rows.sort_unstable();
        assert_eq!(rows, all);
        let fitted: HashSet<usize> = held_out.train.iter().map(|&row| data.rows()[row].user).collect();
        assert!(held_out.unseen.iter().all(|person| !fitted.contains(&person.user)));
    }

    #[test]
    fn an_unseen_user_answers_ten_times_and_at_most_half_of_what_they_judged() {
        let answers = |prompts: usize| -> Vec<usize> {
            let data = data(10, prompts);
            let all: Vec<usize> = (0..data.rows().len()).collect();
            let held_out = HeldOut::draw(&data, &all, 0);
            held_out.unseen.iter().map(|person| person.answers.as_ref().map_or(0, Vec::len)).collect()
        };
        assert_eq!(answers(40), [10, 10]);
        assert_eq!(answers(10), [4, 4], "of eight judgments of seen prompts");
    }
}
