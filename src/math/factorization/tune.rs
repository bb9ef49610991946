//! Hyperparameters from a validation split, by a few warm-started trials.

use nalgebra::DMatrix;

use super::cells::Cells;
use super::maximize::{Limits, State};
use super::observer::{Observer, Progress, Stage};
use super::{Classic, Config, Hyperparameters, Observation, Problem, Started, Trial, Tuned, classic};
use crate::math::MathError;
use crate::math::logistic::binary_cross_entropy;

/// Trials at most, for the factorization and for the shared reward alike.
const TRIALS: usize = 12;
const COLD: Limits = Limits { rounds: 20, tolerance: 0.5, expansions: 2 };
const WARM: Limits = Limits { rounds: 12, tolerance: 0.5, expansions: 0 };
/// Each trial multiplies or divides one hyperparameter by this.
const STRIDE: f64 = 3.0;
/// Ridge to begin with, a judgment.
const RIDGE_PER_JUDGMENT: f64 = 0.03;
const TIE_WEIGHT: f64 = 0.25;

/// Decided held-out judgments, as cells over the same texts.
struct HeldOut(Cells);

impl HeldOut {
    fn new(problem: &Problem, validation: &[Observation]) -> Result<Self, MathError> {
        let decided: Vec<Observation> = validation.iter().copied().filter(|o| o.preference != 0.5).collect();
        if decided.is_empty() {
            return Err(MathError::Empty { what: "the list of decided validation judgments" });
        }
        Cells::new(&decided, problem.basis.texts(), problem.cells.users()).map(Self)
    }

    /// Mean log-likelihood in nats under features (J × texts) and coefficients (J × users).
    fn log_likelihood(&self, features: &DMatrix<f64>, coefficients: &DMatrix<f64>) -> f64 {
        let Self(cells) = self;
        let outcomes = cells.outcomes(0.0);
        let (mut total, mut weight) = (0.0, 0.0);
        for user in 0..cells.users() {
            for o in &outcomes[cells.user_starts[user]..cells.user_starts[user + 1]] {
                let (first, second) = cells.pairs[o.pair];
                let delta = features.column(first) - features.column(second);
                total -= o.weight * binary_cross_entropy(coefficients.column(user).dot(&delta), o.preference);
                weight += o.weight;
            }
        }
        total / weight
    }
}

pub(super) fn tune(
    problem: &Problem,
    validation: &[Observation],
    config: &Config,
    observer: &mut dyn Observer,
) -> Result<Tuned, MathError> {
    let held_out = HeldOut::new(problem, validation)?;
    let first = Hyperparameters {
        base_functions: config.base_functions.unwrap_or(8),
        gamma: 1.0,
        alpha: RIDGE_PER_JUDGMENT * problem.judgments(),
        threshold: 0.1,
        tie_weight: TIE_WEIGHT,
    };
    first.check()?;
    let started = problem.start(&problem.likelihood(first.tie_weight), &first, config);
    let mut trials = Vec::new();
    let mut run = |h: &Hyperparameters, state: &State, limits: Limits| -> Result<(f64, State), MathError> {
        let mut state = state.clone();
        problem.likelihood(h.tie_weight).maximize(&mut state, h, limits, &mut ())?;
        let log_likelihood =
            held_out.log_likelihood(&problem.basis.project(&state.head), &state.coefficients);
        trials.push(Trial { hyperparameters: *h, log_likelihood });
        let step = trials.len();
        observer.progress(Progress { stage: Stage::Tune, step, of: TRIALS, objective: Some(log_likelihood) });
        Ok((log_likelihood, state))
    };
    let (log_likelihood, state) = run(&first, &started.state, COLD)?;
    let mut climb = Climb { at: first, log_likelihood, state, trials: 1 };
    let mut run = |h: &Hyperparameters, state: &State| run(h, state, WARM);
    climb.along(|h, factor| h.alpha *= factor, &mut run)?;
    if problem.cells.has_ties() {
        climb.along(|h, factor| h.tie_weight = (h.tie_weight * factor).min(1.0), &mut run)?;
    }
    climb.along(|h, factor| h.gamma *= factor, &mut run)?;
    let Climb { at, state, .. } = climb;
    let likelihood = problem.likelihood(at.tie_weight);
    let mut started = Started { state, ..started };
    let limits = Limits { expansions: 0, ..super::FINAL };
    let report = likelihood.maximize(&mut started.state, &at, limits, observer)?;
    Ok(Tuned { factorization: problem.finish(&likelihood, started, report, &at)?, trials })
}

pub(super) fn tune_classic(
    problem: &Problem,
    validation: &[Observation],
    observer: &mut dyn Observer,
) -> Result<Classic, MathError> {
    let held_out = HeldOut::new(problem, validation)?;
    let likelihood = problem.likelihood(TIE_WEIGHT);
    let everybody = DMatrix::repeat(1, problem.cells.users(), 1.0);
    let mut step = 0;
    let mut run = |&ridge: &f64, (start, _): &(DMatrix<f64>, _)| {
        let mut head = start.clone();
        let report = classic::fit_shared(&likelihood, ridge, &mut head);
        let log_likelihood = held_out.log_likelihood(&problem.basis.project(&head), &everybody);
        step += 1;
        observer.progress(Progress {
            stage: Stage::Classic,
            step,
            of: TRIALS,
            objective: Some(log_likelihood),
        });
        Ok((log_likelihood, (head, Some(report))))
    };
    let first = RIDGE_PER_JUDGMENT * problem.judgments();
    let (log_likelihood, state) = run(&first, &(DMatrix::zeros(1, problem.basis.rank()), None))?;
    let mut climb = Climb { at: first, log_likelihood, state, trials: 1 };
    climb.along(|ridge, factor| *ridge *= factor, &mut run)?;
    let Climb { at: ridge, log_likelihood, state: (head, report), .. } = climb;
    let report = report.ok_or(MathError::Empty { what: "the list of trials" })?;
    Ok(Classic {
        weights: problem.basis.unfold_one(&head),
        ridge,
        log_likelihood: Some(log_likelihood),
        report,
    })
}

/// The best trial so far, and how many were made.
struct Climb<H, S> {
    at: H,
    log_likelihood: f64,
    state: S,
    trials: usize,
}

impl<H: Clone + PartialEq, S> Climb<H, S> {
    /// Strides along one hyperparameter, up and else down, as long as that helps.
    fn along(
        &mut self,
        stride: impl Fn(&mut H, f64),
        run: &mut impl FnMut(&H, &S) -> Result<(f64, S), MathError>,
    ) -> Result<(), MathError> {
        for factor in [STRIDE, 1.0 / STRIDE] {
            let mut improved = false;
            while self.trials < TRIALS {
                let mut next = self.at.clone();
                stride(&mut next, factor);
                if next == self.at {
                    break;
                }
                self.trials += 1;
                let (log_likelihood, state) = run(&next, &self.state)?;
                if log_likelihood <= self.log_likelihood {
                    break;
                }
                (self.at, self.log_likelihood, self.state, improved) = (next, log_likelihood, state, true);
            }
            if improved {
                break;
            }
        }
        Ok(())
    }
}
