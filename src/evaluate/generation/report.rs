use std::fmt;

use serde::Serialize;

use super::{Candidates, Duel, GenerationConfig, Judged, Outcome, Strategy};
use crate::evaluate::studies::Pictured;
use crate::evaluate::{Chart, Curve};
use crate::generate::LocalGenerator;
use crate::math::metrics::mean_and_standard_error;
use crate::model::RewardModel;

/// What personal generation was worth to simulated people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Generated {
    /// How many.
    pub people: usize,
    /// Prompts written for.
    pub prompts: usize,
    /// Unguided completions of each prompt, which rewards and wins are relative to.
    pub candidates: usize,
    /// The reward model.
    pub model_version: String,
    /// Who writes.
    pub language_model: String,
    /// By strategy and number of answers. Standard errors are over people, after averaging prompts.
    pub points: Vec<GenerationPoint>,
    /// What a language model says of them, where one was asked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub judged: Vec<Judged>,
    /// What it is asked.
    #[serde(skip)]
    pub duels: Vec<Duel>,
}

/// A strategy after a number of answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct GenerationPoint {
    /// Which.
    pub strategy: Strategy,
    /// How many.
    pub answers: usize,
    /// λ*ᵀφ, less that of the average unguided completion of the prompt.
    pub reward_mean: f64,
    /// Its standard error.
    pub reward_se: Option<f64>,
    /// How often λ*ᵀφ is larger than that of an unguided completion.
    pub win_rate_mean: f64,
    /// Its standard error.
    pub win_rate_se: Option<f64>,
    /// Log-likelihood of a token under the language model alone, less that of the average unguided completion; nats.
    pub log_likelihood_mean: f64,
    /// Its standard error.
    pub log_likelihood_se: Option<f64>,
    /// Seconds a completion: of best-of-N the N written side by side, of value-guided one by itself.
    pub seconds: f64,
}

impl Generated {
    pub(super) fn of(
        outcomes: &[(Strategy, usize, usize, Outcome)],
        config: &GenerationConfig,
        prompts: &[Candidates],
        model: &RewardModel,
        generator: &LocalGenerator,
    ) -> Self {
        let mut points = Vec::new();
        for &strategy in &config.strategies {
            for &answers in &config.answers {
                let of = |person: usize, value: fn(&Outcome) -> f64| {
                    let own = outcomes
                        .iter()
                        .filter(move |(of, at, who, _)| *of == strategy && *at == answers && *who == person);
                    let (sum, count) =
                        own.fold((0.0, 0), |(sum, count), (.., outcome)| (sum + value(outcome), count + 1));
                    sum / f64::from(count.max(1))
                };
                let over_people = |value: fn(&Outcome) -> f64| {
                    let means: Vec<_> = (0..config.people).map(|person| of(person, value)).collect();
                    mean_and_standard_error(&means)
                        .map_or((0.0, None), |found| (found.mean, found.standard_error))
                };
                let (reward_mean, reward_se) = over_people(|outcome| outcome.reward);
                let (win_rate_mean, win_rate_se) = over_people(|outcome| outcome.win);
                let (log_likelihood_mean, log_likelihood_se) = over_people(|outcome| outcome.log_likelihood);
                let (seconds, _) = over_people(|outcome| outcome.seconds);
                points.push(GenerationPoint {
                    strategy,
                    answers,
                    reward_mean,
                    reward_se,
                    win_rate_mean,
                    win_rate_se,
                    log_likelihood_mean,
                    log_likelihood_se,
                    seconds,
                });
            }
        }
        Self {
            people: config.people,
            prompts: prompts.len(),
            candidates: config.candidates,
            model_version: model.manifest().version.clone(),
            language_model: generator.model().id().to_owned(),
            points,
            judged: Vec::new(),
            duels: Vec::new(),
        }
    }

    /// Reward against what it costs in likelihood, after the most answers: a curve over N and one over β.
    pub fn trade_off(&self) -> Chart {
        let most = self.points.iter().map(|point| point.answers).max().unwrap_or(0);
        let curve = |name: &str, is: fn(Strategy) -> bool| {
            let of = self.points.iter().filter(|point| point.answers == most && is(point.strategy));
            let mut points: Vec<_> =
                of.map(|point| (-point.log_likelihood_mean, point.reward_mean, point.reward_se)).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Curve { name: name.to_owned(), points }
        };
        Chart {
            title: format!("Reward against likelihood after {most} answers"),
            horizontal: "likelihood given up, nats a token".into(),
            vertical: "true reward over unguided".into(),
            curves: vec![
                curve("value-guided, by β", |strategy| matches!(strategy, Strategy::ValueGuided(_))),
                curve("best of N, by N", |strategy| matches!(strategy, Strategy::BestOf(_))),
                curve("best of N, rejecting early", |strategy| matches!(strategy, Strategy::Rejecting(_))),
            ],
        }
    }
}

impl Pictured for Generated {
    fn chart(&self) -> Chart {
        let mut curves: Vec<Curve> = Vec::new();
        for point in &self.points {
            let (name, at) =
                (point.strategy.to_string(), (point.answers as f64, point.reward_mean, point.reward_se));
            match curves.iter_mut().find(|curve| curve.name == name) {
                Some(curve) => curve.points.push(at),
                None => curves.push(Curve { name, points: vec![at] }),
            }
        }
        Chart {
            title: format!("{} people, {} prompts, {}", self.people, self.prompts, self.language_model),
            horizontal: "answers".into(),
            vertical: "true reward over unguided".into(),
            curves,
        }
    }
}

impl fmt::Display for Generated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} people with known tastes, {} prompts, {} unguided completions of each by {}",
            self.people, self.prompts, self.candidates, self.language_model
        )?;
        writeln!(
            f,
            "{:>18}{:>9}{:>17}{:>17}{:>17}{:>9}",
            "strategy", "answers", "reward", "win rate", "nats a token", "seconds"
        )?;
        let cell = |mean: f64, error: Option<f64>| match error {
            Some(error) => format!("{mean:+.3} ± {error:.3}"),
            None => format!("{mean:+.3}"),
        };
        for point in &self.points {
            let (strategy, answers) = (point.strategy, point.answers);
            let reward = cell(point.reward_mean, point.reward_se);
            let wins = cell(point.win_rate_mean, point.win_rate_se);
            let likelihood = cell(point.log_likelihood_mean, point.log_likelihood_se);
            writeln!(
                f,
                "{strategy:>18}{answers:>9}{reward:>17}{wins:>17}{likelihood:>17}{:>9.2}",
                point.seconds
            )?;
        }
        if !self.judged.is_empty() {
            writeln!(
                f,
                "{:>18}{:>9}{:>17}{:>9}{:>16}",
                "judge: strategy", "pairs", "win rate", "ties", "contradictions"
            )?;
        }
        for Judged { strategy, pairs, win_rate_mean, win_rate_se, ties, contradictions } in &self.judged {
            let wins = cell(*win_rate_mean, *win_rate_se);
            writeln!(f, "{strategy:>18}{pairs:>9}{wins:>17}{ties:>9.2}{contradictions:>16.2}")?;
        }
        Ok(())
    }
}
