use std::collections::HashSet;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::evaluate::{Contestants, Method, Protocol, evaluate};
use crate::math::metrics::auc;
use crate::model::{Backbone, Lexical, MEASURES, RewardModel, Text, interpretable_measures};
use crate::train::{Dataset, Quadrant, SplitConfig, TrainConfig, split, train};

fn population() -> Population {
    Population::new(Config::default(), 0).unwrap()
}

/// Margins of the decided judgments under a reward: positive where it agrees.
fn margins(population: &Population, person: &Person, reward: impl Fn(&Traits) -> f64) -> Vec<f64> {
    let judgments = population.judgments();
    let own = judgments.iter().filter(|j| j.user_id == person.id && j.is_decided());
    own.map(|judgment| {
        let Comparison { prompt, response_a, response_b } = &judgment.comparison;
        let value = |response| reward(population.traits(prompt, response).unwrap());
        (value(response_a) - value(response_b)) * (2.0 * judgment.preference - 1.0)
    })
    .collect()
}

#[test]
fn a_seed_gives_the_same_bytes_everywhere() {
    let population = population();
    let mut hasher = Sha256::new();
    for candidates in population.pool() {
        hasher.update(serde_json::to_vec(candidates).unwrap());
    }
    for judgment in population.judgments() {
        hasher.update(serde_json::to_vec(&judgment).unwrap());
    }
    let digest = hex::encode(&hasher.finalize()[..8]);
    assert_eq!(digest, "7f81a6cd0dc1fd3d", "a change of the bytes is a new VERSION");
    assert_ne!(Population::new(Config::default(), 1).unwrap().pool(), population.pool());
}

#[test]
fn every_prompt_has_distinct_answers_and_no_leftovers_of_the_grammar() {
    let population = population();
    assert!(population.pool().len() >= 150);
    for candidates in population.pool() {
        assert_eq!(candidates.responses.len(), RESPONSES);
        assert_eq!(candidates.responses.iter().collect::<HashSet<_>>().len(), RESPONSES);
        for text in &candidates.responses {
            assert!(!text.contains(['{', '}', '|']) && !text.contains("  "), "{text}");
            assert!(!text.contains("..") && !text.contains(" .") && !text.contains(",,"), "{text}");
            assert!(text.starts_with(|c: char| c.is_uppercase() || c.is_numeric() || c == '-'), "{text}");
            assert!(text.ends_with(['.', '!', '?']), "{text}");
            assert!(text.split_whitespace().count() >= 3, "{text}");
        }
    }
}

#[test]
fn both_directions_of_each_attribute_show_in_a_measure_of_the_text() {
    let population = population();
    let cases = [
        (Attribute::Length, "length", 1.0),
        (Attribute::Formality, "formal vocabulary", 1.0),
        (Attribute::Formality, "contractions", -1.0),
        (Attribute::Humour, "humour words", 1.0),
        (Attribute::Humour, "gravity", -1.0),
        (Attribute::Elicitation, "ends with a question", 1.0),
        (Attribute::Elicitation, "closing remarks", -1.0),
        (Attribute::Politeness, "politeness", 1.0),
        (Attribute::Politeness, "bluntness", -1.0),
        (Attribute::Enthusiasm, "enthusiasm", 1.0),
        (Attribute::Enthusiasm, "dullness", -1.0),
        (Attribute::Confidence, "certainty", 1.0),
        (Attribute::Confidence, "hedging", -1.0),
    ];
    for (attribute, measure, direction) in cases {
        let at = MEASURES.iter().position(|m| m.name == measure).unwrap();
        let mean = |level: f64| {
            let values: Vec<f64> = texts(&population)
                .filter(|(.., traits)| traits.level(attribute) == level)
                .map(|(prompt, response, _)| interpretable_measures(prompt, response)[at])
                .collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        let (opposite, middle, some, full) =
            (mean(-direction), mean(0.0), mean(0.5 * direction), mean(direction));
        assert!(full > some && some > middle, "{measure}: {middle} {some} {full}");
        assert!(full > opposite + 0.5, "{measure}: {opposite} {full}");
    }
}

#[test]
fn true_traits_are_linear_in_the_lexical_embedding_on_unseen_prompts() {
    let population = population();
    let lexical = Lexical::new();
    let rows: Vec<(Vec<f64>, [f64; FEATURES])> = texts(&population)
        .map(|(prompt, response, traits)| {
            let vector = lexical.embed(&[Text::new(prompt, response)]).unwrap().remove(0).vector;
            (vector.into_iter().map(f64::from).chain([1.0]).collect(), traits.features())
        })
        .collect();
    let (seen, unseen): (Vec<_>, Vec<_>) =
        rows.into_iter().enumerate().partition(|(at, _)| !(at / RESPONSES).is_multiple_of(5));
    let d = lexical.dimension() + 1;
    let design =
        nalgebra::DMatrix::from_row_iterator(seen.len(), d, seen.iter().flat_map(|(_, r)| r.0.clone()));
    let target =
        nalgebra::DMatrix::from_row_iterator(seen.len(), FEATURES, seen.iter().flat_map(|(_, r)| r.1));
    let gram = design.transpose() * &design + nalgebra::DMatrix::from_diagonal_element(d, d, 10.0);
    let weights = gram.cholesky().unwrap().solve(&(design.transpose() * target));
    for at in 0..FEATURES {
        let (mut error, mut spread) = (0.0, 0.0);
        for (_, (vector, features)) in &unseen {
            let predicted: f64 = vector.iter().zip(weights.column(at).iter()).map(|(h, w)| h * w).sum();
            error += (predicted - features[at]).powi(2);
            spread += features[at].powi(2);
        }
        assert!(1.0 - error / spread > 0.7, "feature {at}: R² {}", 1.0 - error / spread);
    }
}

#[test]
fn constants_are_calibrated() {
    let population = Population::new(Config { overlap: 1.0, ..Config::default() }, 3).unwrap();
    let judgments = population.judgments();
    let (mut own, mut shared) = (0.0, 0.0);
    for person in population.people() {
        let mine = |reward: &dyn Fn(&Traits) -> f64| {
            let margins: Vec<f64> = judgments
                .iter()
                .filter(|j| j.user_id == person.id && j.is_decided())
                .map(|judgment| {
                    let Comparison { prompt, response_a, response_b } = &judgment.comparison;
                    let value = |response| reward(population.traits(prompt, response).unwrap());
                    (value(response_a) - value(response_b)) * (2.0 * judgment.preference - 1.0)
                })
                .collect();
            auc(&margins).unwrap()
        };
        own += mine(&|traits| person.reward(traits));
        shared += mine(&|traits| traits.quality);
    }
    let people = population.people().len() as f64;
    let (own, shared) = (own / people, shared / people);
    assert!((0.88..=0.92).contains(&own), "the judge's own reward: {own}");
    assert!((0.64..=0.70).contains(&shared), "one shared reward: {shared}");
}

#[test]
fn what_is_learned_from_some_people_predicts_others_after_ten_answers() {
    let data = Dataset::from_judgments(&population().judgments());
    let parts = split(&data, &SplitConfig::default()).unwrap();
    let seen = data.select(parts.rows(Quadrant::Train).iter().copied());
    let unseen = data.select(parts.rows(Quadrant::Test).iter().copied());
    let trained = train(
        &seen,
        &TrainConfig { base_functions: Some(8), ..TrainConfig::default() },
        &Lexical::new(),
        &mut (),
    )
    .unwrap();
    let model =
        RewardModel::new(trained.artifact, Arc::new(Lexical::new()), &candle_core::Device::Cpu).unwrap();
    let protocol = Protocol::new(vec![Method::Pref], vec![10], 3);
    let contestants = Contestants::of_model(&model, &unseen, &protocol.methods).unwrap();
    let report = evaluate(&unseen, &contestants, &protocol, String::new()).unwrap();
    let gain = report.paired.iter().find(|gain| gain.method == Method::Pref && gain.answers == 10).unwrap();
    assert!(gain.gain_mean >= 0.1, "over one shared reward: {} ± {:?}", gain.gain_mean, gain.gain_se);
}

#[test]
fn the_judge_is_symmetric_in_order_and_errs_less_with_less_noise() {
    let population = population();
    let quiet = Population::new(Config { noise: 0.0, ..Config::default() }, 0).unwrap();
    let person = &population.people()[17];
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut sum, mut turned, mut count) = (0.0, 0.0, 0.0);
    for comparison in population.comparisons() {
        let other = Comparison {
            prompt: comparison.prompt.clone(),
            response_a: comparison.response_b.clone(),
            response_b: comparison.response_a.clone(),
        };
        for _ in 0..20 {
            sum += population.judge(person, comparison, &mut rng).unwrap();
            turned += 1.0 - population.judge(person, &other, &mut rng).unwrap();
            count += 1.0;
        }
        let calm = quiet.judge(person, comparison, &mut rng).unwrap();
        assert_eq!(calm, 1.0 - quiet.judge(person, &other, &mut rng).unwrap());
        let gain = quiet.true_reward(person, &comparison.prompt, &comparison.response_a).unwrap()
            - quiet.true_reward(person, &comparison.prompt, &comparison.response_b).unwrap();
        assert!((2.0 * calm - 1.0) * gain >= 0.0);
    }
    // 20,400 draws with a deviation below one half: 0.02 is four standard errors of the difference.
    assert!(f64::abs(sum - turned) / count < 0.02, "{sum} {turned} of {count}");
    assert!(population.judge(person, &Comparison::parse("x", "y", "z").unwrap(), &mut rng).is_none());
    let noisy = Population::new(Config { noise: 3.0, ..Config::default() }, 0).unwrap();
    let agreement = |p: &Population| auc(&margins(p, &p.people()[17], |t| p.people()[17].reward(t))).unwrap();
    assert!(agreement(&noisy) < agreement(&population) && agreement(&population) < agreement(&quiet));
}

#[test]
fn sizes_are_those_asked_for() {
    let config = Config { users: 100, pairs: 1_200, overlap: 0.03, noise: 1.0 };
    let population = Population::new(config, 9).unwrap();
    assert_eq!(population.judgments().len(), 100 * 36);
    let keys: HashSet<_> = population.comparisons().map(Comparison::pair_key).collect();
    assert_eq!(keys.len(), 1_200);
    assert_eq!(population.people()[84].taste, population.people()[0].taste);
    assert_eq!(population.person(&population.people()[99].id), Some(&population.people()[99]));
    let refused = [
        (Config { users: 0, ..config }, "users"),
        (Config { pairs: 1_000_000, ..config }, "pairs"),
        (Config { overlap: f64::NAN, ..config }, "overlap"),
        (Config { noise: -1.0, ..config }, "noise"),
    ];
    for (config, field) in refused {
        assert_eq!(Population::new(config, 0).unwrap_err().field, field);
    }
}

/// Prompt, answer and traits of the whole pool.
fn texts(population: &Population) -> impl Iterator<Item = (&str, &str, &Traits)> {
    population.pool().iter().flat_map(move |candidates| {
        candidates.responses.iter().map(move |response| {
            let traits = population.traits(&candidates.prompt, response).unwrap();
            (candidates.prompt.as_str(), response.as_str(), traits)
        })
    })
}
