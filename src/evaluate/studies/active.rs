//! How many answers well-chosen questions save (Figure 7): where the curve of random questions ends up, how much earlier
//! chosen ones are there.

use std::collections::BTreeMap;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Chart, Pictured, cell};
use crate::evaluate::{Curve, EvaluateError, Evaluation, Method, Protocol};
use crate::math::metrics::mean_and_standard_error;

/// Curves of chosen and of random questions over the same people, and what choosing saves.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Active {
    /// People who can be asked all the questions.
    pub users: usize,
    /// Mean AUC of pref and random, with standard errors, by answers from 0.
    pub curves: Vec<(Method, usize, f64, Option<f64>)>,
    /// For each number of random questions of interest.
    pub ratios: Vec<Ratio>,
}

/// Answers that reach the same.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Ratio {
    /// Answers to random questions.
    pub random: usize,
    /// Mean AUC after them.
    pub auc_mean: f64,
    /// Answers to chosen questions with the same mean AUC, between whole numbers by the line; nothing where more than were asked
    /// are needed.
    pub chosen: Option<f64>,
    /// 2.5th and 97.5th percentile of the same over resampled people.
    pub interval: (Option<f64>, Option<f64>),
}

/// Chosen and random.
const METHODS: [Method; 2] = [Method::Pref, Method::Random];
/// Resamples of people for the interval.
const RESAMPLES: usize = 1000;

impl Active {
    /// What [`active`] needs an [`Evaluation`] to have asked: every number of answers up to the largest of `counts`.
    pub fn protocol(counts: &[usize], seeds: u64) -> Protocol {
        Protocol::new(METHODS.to_vec(), (0..=most(counts)).collect(), seeds)
    }

    /// Questions that everybody answered.
    fn asked(&self) -> usize {
        self.curves.iter().map(|(_, n, ..)| *n).max().unwrap_or(0)
    }
}

/// Compares chosen and random questions over the people of an evaluation, resampled in pairs of curves.
///
/// # Errors
/// Nobody who can be asked as many as the largest of `counts`.
pub fn active(evaluation: &Evaluation, counts: &[usize]) -> Result<Active, EvaluateError> {
    let most = most(counts);
    let cohort = evaluation.paths(METHODS, most);
    if cohort.is_empty() {
        return Err(EvaluateError::NobodyToAsk { people: evaluation.people(), questions: most });
    }
    let mean = |of: &[usize], method: usize| -> Vec<f64> {
        let sum = |n: usize| of.iter().map(|&at| cohort[at][method][n]).sum::<f64>();
        (0..=most).map(|n| sum(n) / of.len() as f64).collect()
    };
    let everybody: Vec<usize> = (0..cohort.len()).collect();
    let (chosen, random) = (mean(&everybody, 0), mean(&everybody, 1));
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut resampled: BTreeMap<usize, Vec<Option<f64>>> = BTreeMap::new();
    for _ in 0..RESAMPLES {
        let drawn: Vec<usize> = everybody.iter().map(|_| rng.random_range(0..cohort.len())).collect();
        let (chosen, random) = (mean(&drawn, 0), mean(&drawn, 1));
        for &n in counts {
            resampled.entry(n).or_default().push(reached(&chosen, random[n]));
        }
    }
    let ratios = resampled
        .into_iter()
        .map(|(n, mut found)| {
            let last = |found: &Option<f64>| found.unwrap_or(f64::INFINITY);
            found.sort_by(|one, other| last(one).total_cmp(&last(other)));
            let at = |share: f64| found[(share * (found.len() - 1) as f64).round() as usize];
            let interval = (at(0.025), at(0.975));
            Ratio { random: n, auc_mean: random[n], chosen: reached(&chosen, random[n]), interval }
        })
        .collect();
    let mut curves = Vec::new();
    for (place, method) in METHODS.into_iter().enumerate() {
        for n in 0..=most {
            let aucs: Vec<f64> = cohort.iter().map(|person| person[place][n]).collect();
            if let Some(auc) = mean_and_standard_error(&aucs) {
                curves.push((method, n, auc.mean, auc.standard_error));
            }
        }
    }
    Ok(Active { users: cohort.len(), curves, ratios })
}

fn most(counts: &[usize]) -> usize {
    counts.iter().copied().max().unwrap_or(0)
}

/// Where a curve first reaches a height, between its points by the line; nothing where it never does.
fn reached(curve: &[f64], height: f64) -> Option<f64> {
    let at = curve.iter().position(|&auc| auc >= height)?;
    let Some(before) = at.checked_sub(1) else { return Some(0.0) };
    Some(before as f64 + (height - curve[before]) / (curve[at] - curve[before]))
}

impl Pictured for Active {
    fn chart(&self) -> Chart {
        let curve = |method: Method, name: &str| Curve {
            name: name.to_owned(),
            points: (self.curves.iter())
                .filter(|(of, ..)| *of == method)
                .map(|&(_, n, mean, se)| (n as f64, mean, se))
                .collect(),
        };
        Chart {
            title: "Chosen and random questions".into(),
            horizontal: "answers".into(),
            vertical: "AUC-ROC, held-out comparisons".into(),
            curves: vec![curve(Method::Pref, "information gain"), curve(Method::Random, "random")],
        }
    }
}

impl fmt::Display for Active {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} people who can be asked them all", self.users)?;
        writeln!(f, "{:>10}{:>12}{:>12}{:>20}{:>10}", "random", "AUC", "chosen", "95 % interval", "ratio")?;
        for Ratio { random, auc_mean, chosen, interval } in &self.ratios {
            let answers =
                |n: &Option<f64>| n.map_or_else(|| format!("> {}", self.asked()), |n| format!("{n:.1}"));
            let interval = format!("{} – {}", answers(&interval.0), answers(&interval.1));
            let ratio =
                chosen.map_or("–".to_owned(), |chosen| format!("{:.2}", chosen / (*random).max(1) as f64));
            let (auc, chosen) = (cell(*auc_mean, None, false), answers(chosen));
            writeln!(f, "{random:>10}{auc:>12}{chosen:>12}{interval:>20}{ratio:>10}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_height_is_reached_between_points_or_not_at_all() {
        let curve = [0.5, 0.6, 0.8];
        assert_eq!(reached(&curve, 0.4), Some(0.0));
        assert!((reached(&curve, 0.7).unwrap() - 1.5).abs() < 1e-12);
        assert_eq!(reached(&curve, 0.9), None);
    }
}
