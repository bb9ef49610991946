//! What the parts of the factorization are worth (Figure 9): the whole, without the singular value decomposition, and
//! without the penalty on W, several models each, for seen and for new people.

use std::fmt;

use nalgebra::DMatrix;
use serde::Serialize;

use super::{Chart, Material, Pictured};
use crate::evaluate::corpus::Corpus;
use crate::evaluate::models::{Answer, Fit, Model, Pair};
use crate::evaluate::{Curve, EvaluateError, Method, Protocol, Training, evaluate};
use crate::math::SolverReport;
use crate::math::metrics::{auc, mean_and_standard_error};
use crate::train::{Quadrant, SplitConfig, split_rows};

/// All models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablations {
    /// Models of each method: training seeds 0…n−1, each with its own held-out prompts.
    pub models: u64,
    /// Questions that new people answered.
    pub answers: usize,
    /// A row a method.
    pub methods: Vec<Ablation>,
    /// Fits that differ in nothing but where W began: with the penalty, and without.
    pub starts: [Starts; 2],
}

/// How much it matters where W begins: the objective at the end of a fit, in nats a judgment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Starts {
    /// [`Method::Pref`], or [`Method::NoReg`].
    pub method: Method,
    /// From the singular vectors.
    pub singular_vectors: f64,
    /// From random draws, a number a draw.
    pub random: Vec<f64>,
    /// Their mean, and standard deviation.
    pub random_mean: f64,
    /// See [`Starts::random_mean`].
    pub random_spread: f64,
    /// Rounds from the singular vectors, and on average from a random draw.
    pub rounds: (usize, f64),
}

/// One method's models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ablation {
    /// Which.
    pub method: Method,
    /// AUC of people of the training on held-out prompts, a number a model.
    pub seen: Vec<f64>,
    /// Mean, and standard deviation between models.
    pub seen_mean: f64,
    /// See [`Ablation::seen_mean`].
    pub seen_spread: f64,
    /// AUC of new people, a number a model.
    pub new: Vec<f64>,
    /// Mean, and standard deviation between models.
    pub new_mean: f64,
    /// See [`Ablation::new_mean`].
    pub new_spread: f64,
}

const METHODS: [Method; 3] = [Method::Pref, Method::NoSvd, Method::NoReg];
/// The share of prompts on which people of the training are tested.
const HELD_OUT: f64 = 0.2;

/// Trains `models` models of each method.
///
/// # Errors
/// Those of training.
pub fn ablations(
    material: &Material<'_>,
    models: u64,
    answers: usize,
    seeds: u64,
    base_functions: Option<usize>,
) -> Result<Ablations, EvaluateError> {
    let mut found: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); METHODS.len()];
    for seed in 0..models {
        let config = SplitConfig { users: 0.0, prompts: HELD_OUT, seed };
        let split = split_rows(material.train, &material.rows(), &config);
        let (rows, held_out) = (split.rows(Quadrant::Train), split.rows(Quadrant::Validation));
        let training = Training { base_functions, seed };
        let protocol = Protocol::new(METHODS.to_vec(), vec![answers], seeds);
        let contestants = material.contestants(rows, &protocol.methods, &training)?;
        let report = evaluate(material.data, &contestants, &protocol, String::new())?;
        for (&method, (seen, new)) in METHODS.iter().zip(&mut found) {
            let point = report.curves.iter().find(|point| point.method == method);
            new.extend(point.map(|point| point.auc_mean));
            let Some(entry) = contestants.get(method) else { continue };
            let texts = entry.model.encode(material.train_embeddings);
            seen.extend(seen_people(material, &*entry.model, &texts, rows, held_out)?);
        }
    }
    let methods = METHODS
        .into_iter()
        .zip(found)
        .map(|(method, (seen, new))| {
            let ((seen_mean, seen_spread), (new_mean, new_spread)) = (moments(&seen), moments(&new));
            Ablation { method, seen, seen_mean, seen_spread, new, new_mean, new_spread }
        })
        .collect();
    let starts = starts(material, models, base_functions)?;
    Ok(Ablations { models, answers, methods, starts })
}

/// One setting of hyperparameters, fitted from several starts on all judgments.
fn starts(
    material: &Material<'_>,
    draws: u64,
    base_functions: Option<usize>,
) -> Result<[Starts; 2], EvaluateError> {
    let rows = material.rows();
    let corpus = Corpus::new(material.train, material.train_embeddings, &rows, 0)?;
    let (fit, _) = Fit::train(&corpus, base_functions, None)?;
    let ends = |method: Method| -> Result<Starts, EvaluateError> {
        let (first, random) = fit.restarts(&corpus, draws, method == Method::Pref)?;
        let a_judgment = |report: &SolverReport| report.objective / rows.len() as f64;
        let rounds = random.iter().map(|report| report.iterations as f64).sum::<f64>() / draws.max(1) as f64;
        let ended: Vec<f64> = random.iter().map(a_judgment).collect();
        let (random_mean, random_spread) = moments(&ended);
        Ok(Starts {
            method,
            singular_vectors: a_judgment(&first),
            random: ended,
            random_mean,
            random_spread,
            rounds: (first.iterations, rounds),
        })
    };
    Ok([ends(Method::Pref)?, ends(Method::NoReg)?])
}

/// Mean AUC over people of the training, each learned from all their judgments trained on, on those held out.
fn seen_people(
    material: &Material<'_>,
    model: &dyn Model,
    texts: &DMatrix<f64>,
    rows: &[usize],
    held_out: &[usize],
) -> Result<Option<f64>, EvaluateError> {
    let users = material.train.users().len();
    let by_user = |rows: &[usize]| {
        let mut of: Vec<Vec<Answer<'_>>> = (0..users).map(|_| Vec::new()).collect();
        for row in rows.iter().map(|&row| &material.train.rows()[row]).filter(|row| row.is_decided()) {
            let pair = material.train.pairs()[row.pair];
            of[row.user]
                .push(Answer { pair: Pair::of(texts, pair.first, pair.second), preference: row.preference });
        }
        of
    };
    let mut aucs = Vec::new();
    for (given, tested) in by_user(rows).iter().zip(&by_user(held_out)) {
        let learned = model.learn(given)?;
        let margins: Vec<f64> =
            tested.iter().map(|t| (2.0 * t.preference - 1.0) * learned.logit(t.pair)).collect();
        aucs.extend(auc(&margins));
    }
    Ok(mean_and_standard_error(&aucs).map(|auc| auc.mean))
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let estimate = mean_and_standard_error(values);
    estimate.map_or((f64::NAN, 0.0), |e| (e.mean, e.standard_error.unwrap_or(0.0) * (e.count as f64).sqrt()))
}

impl Pictured for Ablations {
    /// Every model of every method: the spread is what the eye sees.
    fn chart(&self) -> Chart {
        let mut curves = Vec::new();
        for ablation in &self.methods {
            for (kind, aucs) in [("seen people", &ablation.seen), ("new people", &ablation.new)] {
                let points = aucs.iter().enumerate().map(|(model, &auc)| (model as f64, auc, None)).collect();
                curves.push(Curve { name: format!("{}, {kind}", ablation.method), points });
            }
        }
        Chart {
            title: format!("Ablations; new people after {} answers", self.answers),
            horizontal: "model".into(),
            vertical: "AUC-ROC".into(),
            curves,
        }
    }
}

impl fmt::Display for Ablations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} models each, AUC-ROC, mean (standard deviation between models)", self.models)?;
        let new = format!("new, {} answers", self.answers);
        writeln!(f, "{:12}{:>20}{new:>20}", "", "seen people")?;
        for a in &self.methods {
            let cell = |mean: f64, spread: f64| format!("{mean:.3} ({spread:.4})");
            let (seen, new) = (cell(a.seen_mean, a.seen_spread), cell(a.new_mean, a.new_spread));
            writeln!(f, "{:12}{seen:>20}{new:>20}", a.method)?;
        }
        writeln!(f, "\nwhere a fit ends, by where W begins: objective in nats a judgment (rounds)")?;
        writeln!(f, "{:12}{:>20}{:>32}", "", "singular vectors", "random draws")?;
        for Starts { method, singular_vectors, random_mean, random_spread, rounds, .. } in &self.starts {
            let (first, mean) = rounds;
            let first = format!("{singular_vectors:.5} ({first})");
            let random = format!("{random_mean:.5} ± {random_spread:.5} ({mean:.0})");
            writeln!(f, "{method:12}{first:>20}{random:>32}")?;
        }
        Ok(())
    }
}
