//! Runs the methods on people by the protocol.

use std::collections::BTreeMap;

use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::contestants::{Contestants, Entry};
use super::models::{Answer, Learned, Pair};
use super::protocol::{Cut, JudgedPair, Person, random_stream};
use super::report::{BASELINE, Report, Scores};
use super::{EvaluateError, Evaluation, Method};
use crate::domain::UserId;
use crate::math::metrics::auc;
use crate::train::Dataset;

/// What to run.
#[derive(Debug, Clone)]
pub struct Protocol {
    /// The methods, side by side on the same cuts.
    pub methods: Vec<Method>,
    /// Numbers of answers at which people are tested, ascending.
    pub answers: Vec<usize>,
    /// Seeds 0…n−1, each with its own cut of every person.
    pub seeds: u64,
}

impl Protocol {
    /// The baseline is always among the methods; methods and numbers of answers count once, answers ascending.
    pub fn new(mut methods: Vec<Method>, mut answers: Vec<usize>, seeds: u64) -> Self {
        methods.push(BASELINE);
        methods.sort_unstable();
        methods.dedup();
        answers.sort_unstable();
        answers.dedup();
        Self { methods, answers, seeds }
    }
}

/// An [`Evaluation`] of the people of one set.
///
/// # Errors
/// Nobody with enough decided comparisons.
pub fn evaluate(
    dataset: &Dataset,
    contestants: &Contestants,
    protocol: &Protocol,
    command: String,
) -> Result<Report, EvaluateError> {
    let mut evaluation = Evaluation::new(protocol.clone());
    evaluation.ask(dataset, contestants)?;
    Ok(evaluation.report(command))
}

/// People whose comparisons shaped a model are predicted well for the wrong reason.
///
/// # Errors
/// If somebody of the dataset is known.
pub fn refuse_known_people(
    dataset: &Dataset,
    version: &str,
    known: impl Fn(&UserId) -> bool,
) -> Result<(), EvaluateError> {
    let mut known = dataset.users().iter().filter(|user| known(user));
    let Some(first) = known.next() else { return Ok(()) };
    Err(EvaluateError::KnownPeople {
        version: version.to_owned(),
        overlap: 1 + known.count(),
        people: dataset.users().len(),
        first: first.to_string(),
    })
}

/// What was learned of one person at each number of answers that they can be asked.
type Path = BTreeMap<usize, Box<dyn Learned>>;

/// Tests every method on every person, at every number of answers, for every seed.
///
/// # Errors
/// If a person cannot be learned: features that are not finite.
pub(super) fn run(
    people: &[Person],
    contestants: &Contestants,
    protocol: &Protocol,
) -> Result<Scores, EvaluateError> {
    let mut scores = Scores::new();
    for seed in 0..protocol.seeds {
        let cuts: Vec<(&Person, Cut)> =
            people.iter().filter_map(|person| Some((person, person.cut(seed)?))).collect();
        for &method in &protocol.methods {
            let Some(entry) = contestants.get(method) else { continue };
            let paths: Vec<Path> = cuts
                .par_iter()
                .map(|(person, cut)| {
                    // Whoever asks at random asks the same.
                    let purpose = match (method, entry.asker.as_deref().unwrap_or(entry).model.chooses()) {
                        (Method::Shuffled, _) => Method::Pref.name(),
                        (_, false) => Method::Random.name(),
                        _ => method.name(),
                    };
                    let mut rng = random_stream(seed, person.user.as_str(), purpose);
                    learn(person, cut, entry, &protocol.answers, &mut rng)
                })
                .collect::<Result<_, EvaluateError>>()?;
            let found: Vec<Vec<(usize, f64)>> = cuts
                .par_iter()
                .enumerate()
                .map(|(index, (person, cut))| {
                    let scored = |n: usize, own: &dyn Learned| {
                        let learned = match method {
                            Method::Shuffled => donor(&paths, index, n, seed, person)?,
                            _ => own,
                        };
                        let margins = person.margins(cut, |pair| learned.logit(entry.pair(pair)));
                        auc(&margins).map(|auc| (n, auc))
                    };
                    paths[index].iter().filter_map(|(&n, own)| scored(n, own.as_ref())).collect()
                })
                .collect();
            for ((person, _), found) in cuts.iter().zip(found) {
                for (n, auc) in found {
                    scores.entry((method, n, person.user.clone())).or_default().push(auc);
                }
            }
        }
    }
    Ok(scores)
}

impl Entry {
    fn pair(&self, pair: &JudgedPair) -> Pair<'_> {
        Pair::of(&self.texts, pair.first, pair.second)
    }

    /// The person who judged these pairs so.
    fn learn(&self, given: &[(&JudgedPair, f64)]) -> Result<Box<dyn Learned>, EvaluateError> {
        let seen = |&(pair, preference): &(&JudgedPair, f64)| Answer { pair: self.pair(pair), preference };
        self.model.learn(&given.iter().map(seen).collect::<Vec<_>>())
    }
}

/// Asks up to the largest number of answers, one question at a time, each chosen for what is known so far by whoever asks.
fn learn(
    person: &Person,
    cut: &Cut,
    entry: &Entry,
    answers: &[usize],
    rng: &mut impl Rng,
) -> Result<Path, EvaluateError> {
    let asker = entry.asker.as_deref().unwrap_or(entry);
    let mut path = Path::new();
    let mut free = cut.askable.clone();
    let mut given: Vec<(&JudgedPair, f64)> = Vec::new();
    let last = answers.iter().copied().max().unwrap_or(0);
    loop {
        if answers.contains(&given.len()) {
            path.insert(given.len(), entry.learn(&given)?);
        }
        if given.len() == last || free.is_empty() {
            return Ok(path);
        }
        let at = if asker.model.chooses() {
            let known = asker.learn(&given)?;
            best(free.iter().map(|&pair| known.worth(asker.pair(&person.pairs[pair]))))
        } else {
            rng.random_range(0..free.len())
        };
        let pair = free.remove(at);
        given.push((&person.pairs[pair], person.answer(pair, rng)));
    }
}

/// The position of the largest; the first of equals.
fn best(worth: impl Iterator<Item = f64>) -> usize {
    let mut best = (0, f64::NEG_INFINITY);
    for (at, worth) in worth.enumerate() {
        if worth > best.1 {
            best = (at, worth);
        }
    }
    best.0
}

/// What was learned of somebody else who answered n questions.
fn donor<'a>(paths: &'a [Path], own: usize, n: usize, seed: u64, person: &Person) -> Option<&'a dyn Learned> {
    let others: Vec<usize> = (0..paths.len()).filter(|&i| i != own && paths[i].contains_key(&n)).collect();
    let mut rng = random_stream(seed, person.user.as_str(), "shuffled");
    let index = rng.random_range(0..others.len().max(1));
    others.get(index).and_then(|&i| paths[i].get(&n)).map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nalgebra::{DMatrix, DVector};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::contestants::Entry;
    use super::super::models::{Classic, Factored};
    use super::super::report::{Means, Summary, means, summarise};
    use super::*;
    use crate::math::Prior;
    use crate::math::logistic::sigmoid;

    /// 40 people who agree on the first coordinate and differ on the second and third, 60 comparisons each; the shared
    /// reward knows the first.
    fn population() -> (Vec<Person>, Contestants) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let texts = DMatrix::from_fn(3, 40 * 120, |_, _| 0.7 * normal());
        let people = (0..40)
            .map(|at| {
                let lambda = DVector::from_vec(vec![1.0, 2.0 * normal(), 2.0 * normal()]);
                let pairs = (0..60)
                    .map(|pair| {
                        let (first, second) = (at * 120 + 2 * pair, at * 120 + 2 * pair + 1);
                        let delta = texts.column(first) - texts.column(second);
                        let says = sigmoid(lambda.dot(&delta)) > 0.5;
                        JudgedPair { first, second, outcomes: vec![if says { 1.0 } else { 0.0 }] }
                    })
                    .collect();
                Person { user: UserId::parse(format!("u{at}")).unwrap(), pairs }
            })
            .collect();
        let covariance = DMatrix::from_diagonal(&DVector::from_vec(vec![0.1, 4.0, 4.0]));
        let prior = Arc::new(Prior::new(DVector::from_vec(vec![1.0, 0.0, 0.0]), covariance).unwrap());
        let shared = Arc::new(texts.rows(0, 1).into_owned());
        let texts = Arc::new(texts);
        let entry = |method: Method| {
            let entry = match method.acquisition() {
                Some(by) => Entry::new(Arc::new(Factored::served(prior.clone(), by, 0.0)), texts.clone()),
                None => Entry::new(Arc::new(Classic::new(DVector::from_element(1, 1.0))), shared.clone()),
            };
            (method, entry)
        };
        let methods = Method::ALL.into_iter().filter(|method| !method.needs_training());
        (people, Contestants::from_entries(methods.map(entry)))
    }

    #[test]
    fn learning_helps_the_person_and_nobody_else() {
        let (people, contestants) = population();
        let protocol = Protocol::new(Method::ALL.to_vec(), vec![0, 10, 100], 2);
        let scores = run(&people, &contestants, &protocol).unwrap();
        let mut by_person = Means::new();
        means(0, &scores, &mut by_person);
        let Summary { curves, paired: gains, .. } = summarise(&by_person, &protocol);
        let gain = |method, n| gains.iter().find(|g| g.method == method && g.answers == n).unwrap().gain_mean;
        assert!(gain(Method::Pref, 10) > 0.2, "{gains:?}");
        assert!(gain(Method::Pref, 10) >= gain(Method::Random, 10), "{gains:?}");
        assert!(gain(Method::DOptimal, 10) > 0.2 && gain(Method::Uncertainty, 10) > 0.2, "{gains:?}");
        assert!(gain(Method::Shuffled, 10) < 0.0, "{gains:?}");
        // Without answers everybody is the average person, who knows the first coordinate only.
        assert!(gain(Method::Pref, 0).abs() < 1e-12, "{gains:?}");
        assert!(curves.iter().all(|point| point.answers < 100), "nobody can be asked 100 of 36 questions");
    }

    #[test]
    fn figures_do_not_depend_on_the_order_of_people() {
        let (mut people, contestants) = population();
        let protocol = Protocol::new(vec![Method::Pref, Method::Random], vec![3], 1);
        let before = run(&people, &contestants, &protocol).unwrap();
        people.reverse();
        assert_eq!(run(&people, &contestants, &protocol).unwrap(), before);
    }
}
