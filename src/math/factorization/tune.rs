//! Hyperparameters from held-out judgments, by a few warm-started trials on one cut of the judgments or on several.

use nalgebra::DMatrix;

use super::cut::LogLikelihood;
use super::maximize::Limits;
use super::observer::{Observer, Progress};
use super::{Classic, Config, Cut, Hyperparameters, Started, Trial, Tuned, classic};
use crate::math::{MathError, SolverReport};

/// Trials at most, for the factorization and for the shared reward alike.
const TRIALS: usize = 20;
/// Trials are not run to their end: what matters is which is ahead.
const COLD: Limits = Limits { rounds: 20, tolerance: 0.5, expansions: 2 };
const WARM: Limits = Limits { rounds: 12, tolerance: 0.5, expansions: 0 };
/// Each trial multiplies or divides one hyperparameter by this; J moves as in [`more_or_fewer`].
const STRIDE: f64 = 3.0;
/// Mean log-likelihood in nats that a stride must gain; less is chance.
const LEAST_GAIN: f64 = 3e-4;
/// The largest J that is tried of itself.
const MOST_BASE_FUNCTIONS: usize = 32;
/// The first trial.
const AT: Hyperparameters = Hyperparameters {
    base_functions: MOST_BASE_FUNCTIONS,
    gamma: 1.0,
    // In the coordinates z of `Basis` it is a prior precision of weights, whatever the data's size.
    alpha: 500.0,
    kappa: 0.3,
    threshold: 0.1,
    tie_weight: 0.25,
    ridge: None,
    mean_scale: 1.0,
    beyond_scale: 1.0,
    spread_scale: 1.0,
};

pub(super) fn tune(cuts: &[Cut], config: &Config, observer: &mut dyn Observer) -> Result<Tuned, MathError> {
    let Some(first) = cuts.first() else { return Err(NO_CUTS) };
    let mut search = Search { cuts, config, trials: Vec::new(), observer };
    let mut climb = search.first(first)?;
    // J and the rest are chosen once the penalty fits.
    climb.along(|h, factor| h.alpha *= factor, &mut |h, states| search.warm(h, states))?;
    climb.along(|h, factor| h.kappa *= factor, &mut |h, states| search.warm(h, states))?;
    if climb.at.kappa != AT.kappa {
        climb.along(|h, factor| h.alpha *= factor, &mut |h, states| search.warm(h, states))?;
    }
    if config.base_functions.is_none() {
        climb.along(more_or_fewer, &mut |h, _| search.cold(h))?;
    }
    if cuts.iter().any(|cut| cut.problem.cells.has_ties()) {
        let stride = |h: &mut Hyperparameters, factor: f64| h.tie_weight = (h.tie_weight * factor).min(1.0);
        climb.along(stride, &mut |h, states| search.warm(h, states))?;
    }
    climb.along(|h, factor| h.gamma *= factor, &mut |h, states| search.warm(h, states))?;
    let trials = search.trials;

    let Climb { at, state, .. } = climb;
    let Some(mut started) = state.into_iter().next() else { return Err(NO_CUTS) };
    let likelihood = first.problem.likelihood(at.tie_weight);
    let report = likelihood.maximize(&mut started.state, &at, likelihood.limits(0), observer)?;
    let factorization = first.problem.finish(&likelihood, started, report, &at)?;
    Ok(Tuned { factorization, trials })
}

const NO_CUTS: MathError = MathError::Empty { what: "the list of cuts" };

struct Search<'a> {
    cuts: &'a [Cut],
    config: &'a Config,
    trials: Vec<Trial>,
    observer: &'a mut dyn Observer,
}

impl Search<'_> {
    /// The first trial, at the J configured or at the elbow of the spectrum.
    fn first(&mut self, cut: &Cut) -> Result<Climb<Hyperparameters, Vec<Started>>, MathError> {
        let base_functions = self.config.base_functions.unwrap_or(MOST_BASE_FUNCTIONS);
        let mut at = Hyperparameters { base_functions, ..AT };
        at.check()?;
        if self.config.base_functions.is_none() {
            let likelihood = cut.problem.likelihood(at.tie_weight);
            at.base_functions = elbow(&cut.problem.start(&likelihood, &at, self.config).spectrum);
        }
        let (reached, state) = self.cold(&at)?;
        Ok(Climb { at, reached, state, trials: 1 })
    }

    /// A trial from a start of its own.
    fn cold(&mut self, h: &Hyperparameters) -> Result<(f64, Vec<Started>), MathError> {
        let start = |cut: &Cut| cut.problem.start(&cut.problem.likelihood(h.tie_weight), h, self.config);
        let starts = self.cuts.iter().map(start).collect();
        self.run(h, starts, COLD)
    }

    /// A trial from where another ended.
    fn warm(&mut self, h: &Hyperparameters, starts: &[Started]) -> Result<(f64, Vec<Started>), MathError> {
        self.run(h, starts.to_vec(), WARM)
    }

    fn run(
        &mut self,
        h: &Hyperparameters,
        mut starts: Vec<Started>,
        limits: Limits,
    ) -> Result<(f64, Vec<Started>), MathError> {
        let mut reached = LogLikelihood::default();
        for (cut, Started { state, .. }) in self.cuts.iter().zip(&mut starts) {
            cut.problem.likelihood(h.tie_weight).maximize(state, h, limits, &mut ())?;
            let lambda = |user| state.coefficients.column(user);
            reached.add(cut.log_likelihood(&state.head, |user, delta| lambda(user).dot(delta)));
            if self.observer.is_cancelled() {
                return Err(MathError::Cancelled);
            }
        }
        let log_likelihood = reached.mean();
        self.trials.push(Trial { hyperparameters: *h, log_likelihood });
        let step = self.trials.len();
        let objective = Some(log_likelihood);
        self.observer.progress(Progress { step, of: TRIALS, objective });
        Ok((log_likelihood, starts))
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

pub(super) fn tune_classic(cuts: &[Cut], observer: &mut dyn Observer) -> Result<Classic, MathError> {
    let Some(first) = cuts.first() else { return Err(NO_CUTS) };
    let likelihoods: Vec<_> = cuts.iter().map(|cut| cut.problem.likelihood(classic::TIE_WEIGHT)).collect();
    let mut step = 0;
    let mut run = |&ridge: &f64, starts: &Vec<(DMatrix<f64>, Option<SolverReport>)>| {
        let (mut fits, mut reached) = (Vec::new(), LogLikelihood::default());
        for ((cut, likelihood), (start, _)) in cuts.iter().zip(&likelihoods).zip(starts) {
            let mut head = start.clone();
            let report = classic::fit_shared(likelihood, ridge, &mut head);
            reached.add(cut.log_likelihood(&head, |_, delta| delta[0]));
            fits.push((head, Some(report)));
        }
        let log_likelihood = reached.mean();
        step += 1;
        observer.progress(Progress { step, of: TRIALS, objective: Some(log_likelihood) });
        if observer.is_cancelled() {
            return Err(MathError::Cancelled);
        }
        Ok((log_likelihood, fits))
    };
    let zeros = cuts.iter().map(|cut| (DMatrix::zeros(1, cut.problem.basis.rank()), None)).collect();
    let (reached, state) = run(&AT.alpha, &zeros)?;
    let mut climb = Climb { at: AT.alpha, reached, state, trials: 1 };
    climb.along(|ridge, factor| *ridge *= factor, &mut run)?;
    let Climb { at: ridge, reached, state, .. } = climb;
    let Some((head, Some(report))) = state.into_iter().next() else { return Err(NO_CUTS) };
    Ok(Classic {
        weights: first.problem.basis.unfold_one(&head),
        ridge,
        log_likelihood: Some(reached),
        report,
    })
}

/// The best trial so far, and how many were made.
struct Climb<H, S> {
    at: H,
    /// In nats a judgment.
    reached: f64,
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
                let (reached, state) = run(&next, &self.state)?;
                if reached <= self.reached + LEAST_GAIN {
                    break;
                }
                (self.at, self.reached, self.state, improved) = (next, reached, state, true);
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
