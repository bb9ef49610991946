//! Hyperparameters by trial: the same number for every method.

use serde::Serialize;

/// Trials that every method is given, this project's own included.
pub(super) const TRIALS: usize = 20;

/// What was chosen for a method, and at what cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tuning {
    /// Trials made.
    pub trials: usize,
    /// The setting, in words.
    pub chosen: String,
    /// Mean log-likelihood in nats of the validation judgments under it.
    pub log_likelihood: Option<f64>,
}

/// Moves one hyperparameter of a setting up or down.
pub(super) type Stride<'a, H> = dyn Fn(&mut H, bool) + 'a;

/// The best setting found, what came of its trial, and how many trials were made.
pub(super) struct Found<H, T> {
    pub(super) setting: H,
    pub(super) outcome: T,
    pub(super) log_likelihood: f64,
    pub(super) trials: usize,
}

/// Climbs from `start` by strides along one hyperparameter at a time, each up and else down, as long as that helps; over
/// and over until none helps or [`TRIALS`] are spent. `trial` gives the validation log-likelihood of a setting.
///
/// # Errors
/// Those of a trial.
pub(super) fn search<H: Clone + PartialEq, T, E>(
    start: H,
    strides: &[&Stride<'_, H>],
    mut trial: impl FnMut(&H) -> Result<(f64, T), E>,
) -> Result<Found<H, T>, E> {
    let (log_likelihood, outcome) = trial(&start)?;
    let mut tried = vec![start.clone()];
    let mut best = Found { setting: start, outcome, log_likelihood, trials: 1 };
    let mut improved = true;
    while improved && best.trials < TRIALS {
        improved = false;
        for stride in strides {
            for up in [true, false] {
                let mut climbed = false;
                while best.trials < TRIALS {
                    let mut next = best.setting.clone();
                    stride(&mut next, up);
                    if tried.contains(&next) {
                        break;
                    }
                    tried.push(next.clone());
                    best.trials += 1;
                    let (log_likelihood, outcome) = trial(&next)?;
                    if log_likelihood.is_nan() || log_likelihood <= best.log_likelihood {
                        break;
                    }
                    best = Found { setting: next, outcome, log_likelihood, trials: best.trials };
                    (climbed, improved) = (true, true);
                }
                if climbed {
                    break;
                }
            }
        }
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    #[test]
    fn the_peak_is_climbed_within_the_trials_and_nothing_is_tried_twice() {
        let mut seen = Vec::new();
        let strides: [&Stride<'_, (i32, i32)>; 2] =
            [&|at, up| at.0 += if up { 1 } else { -1 }, &|at, up| at.1 += if up { 1 } else { -1 }];
        let found = search((0, 0), &strides, |&(x, y)| {
            assert!(!seen.contains(&(x, y)), "{x}, {y} twice");
            seen.push((x, y));
            Ok::<_, Infallible>((-f64::from((x - 3).pow(2) + (y + 2).pow(2)), x + y))
        });
        let Ok(found) = found;
        assert_eq!((found.setting, found.outcome), ((3, -2), 1));
        assert!(found.trials <= TRIALS && found.trials == seen.len());
    }
}
