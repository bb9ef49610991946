//! Runs the methods on people by the protocol.

use std::collections::BTreeMap;

use nalgebra::DVector;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::protocol::{Cut, MIN_TEST, Person, people, random_stream};
use super::report::{BASELINE, Report, Scores, summarise};
use super::{EvaluateError, Method};
use crate::math::metrics::auc;
use crate::math::{Acquisition, Evidence, Posterior, Prior};
use crate::model::{Manifest, RewardModel, Text};
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

/// Predicts the choices of the people of `dataset`, who must be new to the model, by the protocol of the design.
///
/// # Errors
/// People who were in training, nobody with enough decided comparisons, a model without a shared reward to compare
/// with, texts that cannot be embedded.
pub fn evaluate(
    dataset: &Dataset,
    model: &RewardModel,
    protocol: &Protocol,
    command: String,
) -> Result<Report, EvaluateError> {
    let manifest = model.manifest();
    refuse_known_people(dataset, manifest)?;
    let prior = Prior::new(manifest.prior.mean(), manifest.prior.covariance())?;
    let people = people(dataset, &features(dataset, model)?);
    let tested = people.iter().filter(|person| person.cut(0).is_some()).count();
    if tested == 0 {
        return Err(EvaluateError::NobodyToTest { people: people.len(), least: MIN_TEST });
    }
    let scores = run(&people, &prior, protocol)?;
    let (curves, paired, cohort) = summarise(&scores, protocol);
    Ok(Report {
        curves,
        paired,
        cohort,
        command,
        model_version: manifest.version.clone(),
        data_digest: dataset.digest(),
        judgments: dataset.rows().len(),
        people: people.len(),
        left_out: people.len() - tested,
    })
}

fn refuse_known_people(dataset: &Dataset, manifest: &Manifest) -> Result<(), EvaluateError> {
    let mut known = dataset.users().iter().filter(|user| manifest.was_trained_on(user.as_str()));
    let Some(first) = known.next() else { return Ok(()) };
    Err(EvaluateError::KnownPeople {
        version: manifest.version.clone(),
        overlap: 1 + known.count(),
        people: dataset.users().len(),
        first: first.to_string(),
    })
}

/// (φ, single shared reward) of each text of the dataset.
fn features(dataset: &Dataset, model: &RewardModel) -> Result<Vec<(DVector<f64>, f64)>, EvaluateError> {
    let texts: Vec<Text<'_>> = (0..dataset.text_count())
        .map(|text| {
            let (prompt, response) = dataset.text(text);
            Text::new(prompt, response)
        })
        .collect();
    let embeddings = model.embed(&texts)?;
    let phi = model.features_of_embeddings(&embeddings)?;
    let classic = model
        .classic_of_embeddings(&embeddings)?
        .ok_or_else(|| EvaluateError::NoClassicHead { version: model.manifest().version.clone() })?;
    Ok(phi.into_iter().zip(classic).collect())
}

/// λ of one person at each number of answers that they can be asked.
type Path = BTreeMap<usize, DVector<f64>>;

/// Tests every method on every person, at every number of answers, for every seed.
///
/// # Errors
/// If a posterior cannot be fitted: features that are not finite.
fn run(people: &[Person], prior: &Prior, protocol: &Protocol) -> Result<Scores, EvaluateError> {
    let mut scores = Scores::new();
    for seed in 0..protocol.seeds {
        let cuts: Vec<(&Person, Cut)> =
            people.iter().filter_map(|person| Some((person, person.cut(seed)?))).collect();
        let paths = |acquisition: Acquisition, purpose: &str| -> Result<Vec<Path>, EvaluateError> {
            cuts.par_iter()
                .map(|(person, cut)| {
                    let mut rng = random_stream(seed, person.user.as_str(), purpose);
                    learn(person, cut, prior, acquisition, &protocol.answers, &mut rng)
                })
                .collect()
        };
        let informed = paths(Acquisition::InformationGain, Method::Pref.name())?;
        for &method in &protocol.methods {
            let learned = match method.acquisition() {
                Some(Acquisition::Random) => Some(paths(Acquisition::Random, method.name())?),
                _ => None,
            };
            for (index, (person, cut)) in cuts.iter().enumerate() {
                for &n in &protocol.answers {
                    let Some(own) = informed[index].get(&n) else { continue };
                    let lambda = match method {
                        Method::Classic => None,
                        Method::Pref => Some(own),
                        Method::Random => learned.as_ref().and_then(|paths| paths[index].get(&n)),
                        Method::Shuffled => {
                            let Some(other) = donor(&informed, index, n, seed, person) else { continue };
                            Some(other)
                        }
                    };
                    let margins = person.margins(cut, |pair| match lambda {
                        Some(lambda) => lambda.dot(&pair.delta),
                        None => pair.classic,
                    });
                    if let Some(auc) = auc(&margins) {
                        scores.entry((method, n, person.user.clone())).or_default().push(auc);
                    }
                }
            }
        }
    }
    Ok(scores)
}

/// Asks up to the largest number of answers, one question at a time, each chosen for what is known so far.
fn learn(
    person: &Person,
    cut: &Cut,
    prior: &Prior,
    acquisition: Acquisition,
    answers: &[usize],
    rng: &mut impl Rng,
) -> Result<Path, EvaluateError> {
    let mut path = Path::new();
    let mut free = cut.askable.clone();
    let mut evidence: Vec<Evidence> = Vec::new();
    let last = answers.iter().copied().max().unwrap_or(0);
    let mut posterior = Posterior::of_prior(prior);
    loop {
        if answers.contains(&evidence.len()) {
            path.insert(evidence.len(), posterior.coefficients().clone());
        }
        if evidence.len() == last || free.is_empty() {
            return Ok(path);
        }
        let pair = free.remove(choose(person, &free, acquisition, &posterior, rng));
        evidence.push(Evidence {
            delta: person.pairs[pair].delta.clone(),
            preference: person.answer(pair, rng),
            weight: 1.0,
        });
        posterior = Posterior::fit(&evidence, prior)?;
    }
}

/// The position in `free` of the pair to ask: the best by the acquisition, the first of equals.
fn choose(
    person: &Person,
    free: &[usize],
    acquisition: Acquisition,
    posterior: &Posterior,
    rng: &mut impl Rng,
) -> usize {
    if acquisition == Acquisition::Random {
        return rng.random_range(0..free.len());
    }
    let score = |&pair: &usize| {
        let (z, v) = posterior.logit(&person.pairs[pair].delta);
        acquisition.score(z, v)
    };
    let scores: Vec<f64> = free.iter().map(score).collect();
    (1..scores.len()).fold(0, |best, next| if scores[next] > scores[best] { next } else { best })
}

/// λ of somebody else who answered n questions.
fn donor<'a>(
    paths: &'a [Path],
    own: usize,
    n: usize,
    seed: u64,
    person: &Person,
) -> Option<&'a DVector<f64>> {
    let others: Vec<usize> = (0..paths.len()).filter(|&i| i != own && paths[i].contains_key(&n)).collect();
    let mut rng = random_stream(seed, person.user.as_str(), "shuffled");
    let index = rng.random_range(0..others.len().max(1));
    others.get(index).and_then(|&i| paths[i].get(&n))
}

#[cfg(test)]
mod tests {
    use nalgebra::DMatrix;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::super::protocol::JudgedPair;
    use super::*;
    use crate::domain::UserId;
    use crate::math::logistic::sigmoid;

    /// 40 people who agree on the first coordinate and differ on the second and third, 60 comparisons each; the shared
    /// reward knows the first.
    fn population() -> (Vec<Person>, Prior) {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut normal = move || (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        let people = (0..40)
            .map(|at| {
                let lambda = DVector::from_vec(vec![1.0, 2.0 * normal(), 2.0 * normal()]);
                let pairs = (0..60)
                    .map(|_| {
                        let delta = DVector::from_fn(3, |_, _| normal());
                        let says = sigmoid(lambda.dot(&delta)) > 0.5;
                        JudgedPair { classic: delta[0], delta, outcomes: vec![if says { 1.0 } else { 0.0 }] }
                    })
                    .collect();
                Person { user: UserId::parse(format!("u{at}")).unwrap(), pairs }
            })
            .collect();
        let covariance = DMatrix::from_diagonal(&DVector::from_vec(vec![0.1, 4.0, 4.0]));
        (people, Prior::new(DVector::from_vec(vec![1.0, 0.0, 0.0]), covariance).unwrap())
    }

    #[test]
    fn learning_helps_the_person_and_nobody_else() {
        let (people, prior) = population();
        let protocol = Protocol::new(Method::ALL.to_vec(), vec![0, 10, 100], 2);
        let (curves, gains, _) = summarise(&run(&people, &prior, &protocol).unwrap(), &protocol);
        let gain = |method, n| gains.iter().find(|g| g.method == method && g.answers == n).unwrap().gain_mean;
        assert!(gain(Method::Pref, 10) > 0.2, "{gains:?}");
        assert!(gain(Method::Pref, 10) >= gain(Method::Random, 10), "{gains:?}");
        assert!(gain(Method::Shuffled, 10) < 0.0, "{gains:?}");
        // Without answers everybody is the average person, who knows the first coordinate only.
        assert!(gain(Method::Pref, 0).abs() < 1e-12, "{gains:?}");
        assert!(curves.iter().all(|point| point.answers < 100), "nobody can be asked 100 of 36 questions");
    }

    #[test]
    fn figures_do_not_depend_on_the_order_of_people() {
        let (mut people, prior) = population();
        let protocol = Protocol::new(vec![Method::Pref, Method::Random], vec![3], 1);
        let before = run(&people, &prior, &protocol).unwrap();
        people.reverse();
        assert_eq!(run(&people, &prior, &protocol).unwrap(), before);
    }
}
