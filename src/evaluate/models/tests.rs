//! Every method learns on a small population what it must.

use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::domain::{Comparison, Judgment, UserId};
use crate::evaluate::corpus::Corpus;
use crate::math::logistic::sigmoid;
use crate::math::metrics::auc;
use crate::math::{Acquisition, factorization::Start};
use crate::train::Dataset;

const PROMPTS: usize = 60;
const DIMENSION: usize = 4;

/// Everybody likes the first coordinate; people with even numbers want the second near 1, the others near −1.
pub(super) struct Population {
    pub(super) data: Dataset,
    pub(super) embeddings: DMatrix<f64>,
}

impl Population {
    pub(super) fn new() -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        // Two texts a prompt, which sort as they are numbered.
        let embeddings = DMatrix::from_fn(2 * PROMPTS, DIMENSION, |_, _| 3.0 * rng.random::<f64>() - 1.5);
        let mut judgments = Vec::new();
        for user in 0..20 {
            for prompt in 0..PROMPTS {
                let gain = reward(&embeddings, 2 * prompt, user) - reward(&embeddings, 2 * prompt + 1, user);
                let liked = rng.random::<f64>() < sigmoid(gain);
                judgments.push(Judgment {
                    user_id: UserId::parse(format!("u{user:02}")).unwrap(),
                    comparison: Comparison::parse(format!("x{prompt:02}"), "a", "b").unwrap(),
                    preference: if liked { 1.0 } else { 0.0 },
                    group: String::new(),
                });
            }
        }
        Self { data: Dataset::from_judgments(&judgments), embeddings }
    }

    pub(super) fn corpus(&self) -> Corpus<'_> {
        let rows: Vec<usize> = (0..self.data.rows().len()).collect();
        Corpus::new(&self.data, &self.embeddings, &rows, 0).unwrap()
    }
}

fn reward(embeddings: &DMatrix<f64>, text: usize, user: usize) -> f64 {
    let ideal = if user.is_multiple_of(2) { 1.0 } else { -1.0 };
    1.5 * embeddings[(text, 0)] - 2.0 * (embeddings[(text, 1)] - ideal).powi(2)
}

/// A new person of a kind, after some answers that follow their reward, and how well fresh comparisons are predicted.
pub(super) fn meet(model: &dyn Model, kind: usize, answers: usize) -> (Box<dyn Learned>, f64) {
    let mut rng = ChaCha8Rng::seed_from_u64(77);
    let fresh = DMatrix::from_fn(2 * (answers + 200), DIMENSION, |_, _| 3.0 * rng.random::<f64>() - 1.5);
    let texts = model.encode(&fresh);
    let pair = |at: usize| Pair::of(&texts, 2 * at, 2 * at + 1);
    let prefers_first = |at: usize| reward(&fresh, 2 * at, kind) > reward(&fresh, 2 * at + 1, kind);
    let given: Vec<Answer<'_>> = (0..answers)
        .map(|at| Answer { pair: pair(at), preference: if prefers_first(at) { 1.0 } else { 0.0 } })
        .collect();
    let learned = model.learn(&given).unwrap();
    let margins: Vec<f64> = (answers..answers + 200)
        .map(|at| if prefers_first(at) { 1.0 } else { -1.0 } * learned.logit(pair(at)))
        .collect();
    let auc = auc(&margins).unwrap();
    (learned, auc)
}

/// A pair that the two kinds judge differently: alike in all but the second coordinate, 1 and −1.
pub(super) fn divisive(model: &dyn Model) -> DMatrix<f64> {
    model.encode(&DMatrix::from_fn(2, DIMENSION, |text, k| match (text, k) {
        (0, 1) => 1.0,
        (1, 1) => -1.0,
        _ => 0.0,
    }))
}

/// Both kinds are told apart by ten answers, and predicted better than before.
fn tells_kinds_apart(model: &dyn Model) {
    let texts = divisive(model);
    let pair = Pair::of(&texts, 0, 1);
    for kind in [0, 1] {
        let sign = if kind == 0 { 1.0 } else { -1.0 };
        let ((_, before), (learned, after)) = (meet(model, kind, 0), meet(model, kind, 10));
        assert!(sign * learned.logit(pair) > 0.5, "kind {kind}: {}", learned.logit(pair));
        assert!(after > before + 0.05 && after > 0.8, "kind {kind}: {before} {after}");
    }
}

#[test]
fn factored_models_tell_kinds_apart_with_and_without_their_parts() {
    let population = Population::new();
    let corpus = population.corpus();
    let (fit, tuning) = Fit::train(&corpus, Some(2), None).unwrap();
    assert!(tuning.trials > 1 && tuning.log_likelihood.unwrap() > -0.69);
    tells_kinds_apart(&fit.asking(Acquisition::InformationGain));
    let (random, _) = Fit::train(&corpus, Some(2), Some(Start::Random)).unwrap();
    tells_kinds_apart(&random.asking(Acquisition::DOptimal));
    let free = fit.without_penalty(&corpus).unwrap().asking(Acquisition::Random);
    assert!(!free.chooses() && meet(&free, 0, 10).1 > 0.7);
}

#[test]
fn classic_knows_what_all_like_and_learns_nothing_more() {
    let population = Population::new();
    let (model, _) = Classic::train(&population.corpus()).unwrap();
    let ((_, before), (_, after)) = (meet(&model, 0, 0), meet(&model, 0, 10));
    assert!((0.55..0.8).contains(&before), "{before}");
    let texts = divisive(&model);
    assert!(meet(&model, 0, 10).0.logit(Pair::of(&texts, 0, 1)).abs() < 0.5);
    assert!((before - after).abs() < 0.1, "other comparisons, the same reward: {before} {after}");
}

#[test]
fn the_released_way_starts_from_indifference_and_learns() {
    let population = Population::new();
    let (model, _) = Paper::train(&population.corpus()).unwrap();
    assert!(model.chooses());
    assert_eq!(meet(&model, 0, 0).1, 0.5);
    tells_kinds_apart(&model);
}

#[test]
fn a_model_per_user_beats_chance_with_many_answers() {
    let population = Population::new();
    let (model, _) = PerUser::train(&population.corpus()).unwrap();
    assert_eq!(meet(&model, 0, 0).1, 0.5);
    let (few, many) = (meet(&model, 1, 3).1, meet(&model, 1, 100).1);
    assert!(many > few && many > 0.85, "{few} {many}");
}

#[test]
fn lore_mixes_rewards_by_a_persons_answers() {
    let population = Population::new();
    let (model, _) = Lore::train(&population.corpus()).unwrap();
    tells_kinds_apart(&model);
}

#[test]
fn pal_places_the_two_kinds_at_two_ideal_points() {
    let population = Population::new();
    let (model, _) = Pal::train(&population.corpus()).unwrap();
    tells_kinds_apart(&model);
}
