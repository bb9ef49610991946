//! Hyperparameters from a validation split, by a few warm-started trials.

use super::cells::Cells;
use super::maximize::{Likelihood, Limits, State};
use super::observer::{Observer, Progress, Stage};
use super::{
    Classic, Config, Hyperparameters, Observation, Problem, Start, Started, Trial, Tuned, classic, start,
};
use crate::math::MathError;
use crate::math::logistic::binary_cross_entropy;
use nalgebra::DMatrix;

/// Trials made for each of pref and classic.
const TRIALS: usize = 12;
const TRIAL: Limits = Limits { rounds: 12, tolerance: 1e-4 };

/// Held-out judgments, as cells over the same texts.
struct HeldOut {
    cells: Cells,
}

impl HeldOut {
    fn new(problem: &Problem, validation: &[Observation]) -> Result<Self, MathError> {
        let decided: Vec<Observation> = validation.iter().copied().filter(|o| o.preference != 0.5).collect();
        if decided.is_empty() {
            return Err(MathError::Empty { what: "the list of decided validation judgments" });
        }
        Ok(Self { cells: Cells::new(&decided, problem.basis.texts(), problem.cells.users())? })
    }

    /// Mean log-likelihood in nats under features (J × texts) and coefficients (J × users).
    fn log_likelihood(&self, features: &DMatrix<f64>, coefficients: &DMatrix<f64>) -> f64 {
        let (mut total, mut weight) = (0.0, 0.0);
        let outcomes = self.cells.outcomes(0.0);
        for user in 0..self.cells.users() {
            for o in &outcomes[self.cells.user_starts[user]..self.cells.user_starts[user + 1]] {
                let (first, second) = self.cells.pairs[o.pair];
                let delta = features.column(first) - features.column(second);
                total -= o.weight * binary_cross_entropy(coefficients.column(user).dot(&delta), o.preference);
                weight += o.weight;
            }
        }
        total / weight
    }
}

/// A climb over one hyperparameter at a time: doubles or halves (by `factor`) as long as that helps.
pub(super) fn tune(
    problem: &Problem,
    validation: &[Observation],
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<Tuned, MathError> {
    let held_out = HeldOut::new(problem, validation)?;
    let base_functions = config.base_functions.unwrap_or(8);
    let first = Hyperparameters { base_functions, gamma: 1.0, alpha: 30.0, threshold: 0.1, tie_weight: 0.25 };
    first.check()?;
    let likelihood = problem.likelihood(first.tie_weight);
    let started = problem.start(&likelihood, &first, config);
    let mut search = Search { problem, held_out: &held_out, trials: Vec::new(), observer };
    let mut best = search.run(&first, started.state.clone())?;
    best = search.climb(best, 3.0, |h, f| h.alpha *= f)?;
    best = search.climb(best, 3.0, |h, f| h.gamma *= f)?;
    if problem.cells.has_ties() {
        best = search.climb(best, 2.0, |h, f| h.tie_weight = (h.tie_weight * f).min(1.0))?;
    }
    let trials = search.trials;
    let likelihood = problem.likelihood(best.0.tie_weight);
    let mut started = Started { state: best.2, ..started };
    let report = likelihood.maximize(&mut started.state, &best.0, super::FINAL, observer)?;
    Ok(Tuned { factorization: problem.finish(&likelihood, started, report, &best.0)?, trials })
}

type Best = (Hyperparameters, f64, State);

struct Search<'a> {
    problem: &'a Problem,
    held_out: &'a HeldOut,
    trials: Vec<Trial>,
    observer: &'a mut dyn Observer,
}

impl Search<'_> {
    fn run(&mut self, hyperparameters: &Hyperparameters, mut state: State) -> Result<Best, MathError> {
        let likelihood: Likelihood<'_> = self.problem.likelihood(hyperparameters.tie_weight);
        likelihood.maximize(&mut state, hyperparameters, TRIAL, &mut ())?;
        let features = self.problem.basis.project(&state.head);
        let log_likelihood = self.held_out.log_likelihood(&features, &state.coefficients);
        self.trials.push(Trial { hyperparameters: *hyperparameters, log_likelihood });
        let step = self.trials.len();
        self.observer.progress(Progress {
            stage: Stage::Tune,
            step,
            of: TRIALS,
            objective: Some(log_likelihood),
        });
        Ok((*hyperparameters, log_likelihood, state))
    }

    fn climb(
        &mut self,
        mut best: Best,
        factor: f64,
        set: impl Fn(&mut Hyperparameters, f64),
    ) -> Result<Best, MathError> {
        for factor in [factor, 1.0 / factor] {
            let mut improved = false;
            while self.trials.len() < TRIALS {
                let mut next = best.0;
                set(&mut next, factor);
                if next == best.0 {
                    break;
                }
                let trial = self.run(&next, best.2.clone())?;
                if trial.1 <= best.1 {
                    break;
                }
                (best, improved) = (trial, true);
            }
            if improved {
                break;
            }
        }
        Ok(best)
    }
}

pub(super) fn tune_classic(
    problem: &Problem,
    validation: &[Observation],
    observer: &mut dyn Observer,
) -> Result<Classic, MathError> {
    let held_out = HeldOut::new(problem, validation)?;
    let likelihood = problem.likelihood(0.25);
    let ones = DMatrix::repeat(1, problem.cells.users(), 1.0);
    let mut best: Option<Classic> = None;
    let mut ridge = 1.0;
    for step in 1..=TRIALS {
        let (head, report) = classic::fit_shared(&likelihood, ridge);
        let log_likelihood = held_out.log_likelihood(&problem.basis.project(&head), &ones);
        observer.progress(Progress {
            stage: Stage::Classic,
            step,
            of: TRIALS,
            objective: Some(log_likelihood),
        });
        if best.as_ref().is_none_or(|b| b.log_likelihood < Some(log_likelihood)) {
            let weights = problem.basis.unfold(&head).transpose().column(0).into_owned();
            best = Some(Classic { weights, ridge, log_likelihood: Some(log_likelihood), report });
        }
        ridge *= 2.0;
    }
    best.ok_or(MathError::Empty { what: "the list of trials" })
}
#[expect(unused_imports, reason = "experiment")]
use {Start as _, start as _};
