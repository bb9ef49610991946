//! Hyperparameters from a validation split, by a few warm-started trials.

use nalgebra::DMatrix;

use super::cells::Cells;
use super::maximize::Limits;
use super::observer::{Observer, Progress, Stage};
use super::{Classic, Config, Hyperparameters, Observation, Problem, Started, Trial, Tuned, classic};
use crate::math::MathError;
use crate::math::logistic::binary_cross_entropy;

/// Trials at most, for the factorization and for the shared reward alike.
const TRIALS: usize = 20;
/// Trials are not run to their end: what matters is which is ahead.
const COLD: Limits = Limits { rounds: 20, tolerance: 0.5, expansions: 2 };
const WARM: Limits = Limits { rounds: 12, tolerance: 0.5, expansions: 0 };
/// Each trial multiplies or divides one hyperparameter by this.
const STRIDE: f64 = 3.0;
/// Mean log-likelihood in nats that a stride must gain; less is chance.
const LEAST_GAIN: f64 = 3e-4;
/// The largest J that is tried of itself.
const MOST_BASE_FUNCTIONS: usize = 32;
/// The first trial.
const AT: Hyperparameters = Hyperparameters {
    base_functions: MOST_BASE_FUNCTIONS,
    gamma: 1.0,
    // In the whitened coordinates it is a prior precision of weights, whatever the data's size.
    alpha: 500.0,
    kappa: 0.3,
    threshold: 0.1,
    tie_weight: 0.25,
    mean_scale: 1.0,
    spread_scale: 1.0,
};

/// Decided held-out judgments, as cells over the same texts.
struct HeldOut(Cells);

impl HeldOut {
    fn new(problem: &Problem, validation: &[Observation]) -> Result<Self, MathError> {
        let decided: Vec<Observation> = validation.iter().copied().filter(|o| o.preference != 0.5).collect();
        let cells = Cells::new(&decided, problem.basis.texts(), problem.cells.users())?;
        if !cells.has_decided() {
            return Err(MathError::Empty { what: "the list of decided validation judgments" });
        }
        Ok(Self(cells))
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
    let mut search = Search { problem, held_out: &held_out, config, trials: Vec::new(), observer };
    let mut climb = search.first()?;
    // J and the rest are chosen once the penalty fits.
    climb.along(|h, factor| h.alpha *= factor, &mut |h, state| search.warm(h, state))?;
    climb.along(|h, factor| h.kappa *= factor, &mut |h, state| search.warm(h, state))?;
    if climb.at.kappa != AT.kappa {
        climb.along(|h, factor| h.alpha *= factor, &mut |h, state| search.warm(h, state))?;
    }
    if config.base_functions.is_none() {
        climb.along(more_or_fewer, &mut |h, _| search.cold(h))?;
    }
    if problem.cells.has_ties() {
        let stride = |h: &mut Hyperparameters, factor: f64| h.tie_weight = (h.tie_weight * factor).min(1.0);
        climb.along(stride, &mut |h, state| search.warm(h, state))?;
    }
    climb.along(|h, factor| h.gamma *= factor, &mut |h, state| search.warm(h, state))?;
    let trials = search.trials;

    let Climb { at, state: mut started, .. } = climb;
    let likelihood = problem.likelihood(at.tie_weight);
    let report = likelihood.maximize(&mut started.state, &at, likelihood.limits(0), observer)?;
    let factorization = problem.finish(&likelihood, started, report, &at)?;
    Ok(Tuned { factorization, trials })
}

struct Search<'a> {
    problem: &'a Problem,
    held_out: &'a HeldOut,
    config: &'a Config,
    trials: Vec<Trial>,
    observer: &'a mut dyn Observer,
}

impl Search<'_> {
    /// The first trial, at the J configured or at the elbow of the spectrum.
    fn first(&mut self) -> Result<Climb<Hyperparameters, Started>, MathError> {
        let base_functions = self.config.base_functions.unwrap_or(MOST_BASE_FUNCTIONS);
        let mut at = Hyperparameters { base_functions, ..AT };
        at.check()?;
        if self.config.base_functions.is_none() {
            let likelihood = self.problem.likelihood(at.tie_weight);
            at.base_functions = elbow(&self.problem.start(&likelihood, &at, self.config).spectrum);
        }
        let (log_likelihood, state) = self.cold(&at)?;
        Ok(Climb { at, log_likelihood, state, trials: 1 })
    }

    /// A trial from a start of its own.
    fn cold(&mut self, h: &Hyperparameters) -> Result<(f64, Started), MathError> {
        let started = self.problem.start(&self.problem.likelihood(h.tie_weight), h, self.config);
        self.run(h, started, COLD)
    }

    /// A trial from where another ended.
    fn warm(&mut self, h: &Hyperparameters, started: &Started) -> Result<(f64, Started), MathError> {
        self.run(h, started.clone(), WARM)
    }

    fn run(
        &mut self,
        h: &Hyperparameters,
        mut started: Started,
        limits: Limits,
    ) -> Result<(f64, Started), MathError> {
        self.problem.likelihood(h.tie_weight).maximize(&mut started.state, h, limits, &mut ())?;
        let features = self.problem.basis.project(&started.state.head);
        let log_likelihood = self.held_out.log_likelihood(&features, &started.state.coefficients);
        self.trials.push(Trial { hyperparameters: *h, log_likelihood });
        let step = self.trials.len();
        let objective = Some(log_likelihood);
        self.observer.progress(Progress { stage: Stage::Tune, step, of: TRIALS, objective });
        if self.observer.is_cancelled() {
            return Err(MathError::Cancelled);
        }
        Ok((log_likelihood, started))
    }
}

/// J twice as large, or a third smaller, by one at least.
fn more_or_fewer(h: &mut Hyperparameters, factor: f64) {
    let j = h.base_functions;
    let fewer = (2 * j).div_ceil(3).min(j - 1).max(1);
    h.base_functions = if factor > 1.0 { (2 * j).min(MOST_BASE_FUNCTIONS) } else { fewer };
}

/// Where a descending spectrum stops falling steeply: its point farthest below the chord from first to last value.
fn elbow(spectrum: &[f64]) -> usize {
    let (Some(first), Some(last)) = (spectrum.first(), spectrum.last()) else { return 1 };
    let below = |k: usize| {
        let chord = first + (last - first) * k as f64 / (spectrum.len() - 1).max(1) as f64;
        chord - spectrum[k]
    };
    let best = (0..spectrum.len()).max_by(|&a, &b| below(a).total_cmp(&below(b)).then(b.cmp(&a)));
    best.map_or(1, |k| k + 1).clamp(1, MOST_BASE_FUNCTIONS)
}

pub(super) fn tune_classic(
    problem: &Problem,
    validation: &[Observation],
    observer: &mut dyn Observer,
) -> Result<Classic, MathError> {
    let held_out = HeldOut::new(problem, validation)?;
    let likelihood = problem.likelihood(AT.tie_weight);
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
    let (log_likelihood, state) = run(&AT.alpha, &(DMatrix::zeros(1, problem.basis.rank()), None))?;
    let mut climb = Climb { at: AT.alpha, log_likelihood, state, trials: 1 };
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
    /// Strides along one hyperparameter, up and else down, as long as that helps enough.
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
                if log_likelihood <= self.log_likelihood + LEAST_GAIN {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base_functions_climb_to_the_largest_and_down_to_one() {
        let path = |from: usize, factor: f64| {
            let mut h = Hyperparameters { base_functions: from, ..AT };
            let mut path = vec![from];
            for _ in 0..8 {
                more_or_fewer(&mut h, factor);
                path.push(h.base_functions);
            }
            path.dedup();
            path
        };
        assert_eq!(path(3, STRIDE), [3, 6, 12, 24, 32]);
        assert_eq!(path(8, 1.0 / STRIDE), [8, 6, 4, 3, 2, 1]);
    }

    #[test]
    fn the_elbow_is_where_the_fall_ends() {
        assert_eq!(elbow(&[10.0, 8.0, 1.0, 0.9, 0.8, 0.7]), 3);
        assert_eq!(elbow(&[5.0]), 1);
        assert_eq!(elbow(&[]), 1);
        assert_eq!(elbow(&[3.0, 3.0, 3.0]), 1);
    }
}
