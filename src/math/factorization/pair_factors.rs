//! Factors of users and pairs when nothing is known of the texts (Eq. 5 with a free φ difference for every pair).

mod blocks;
mod gauge;
mod rows;
#[cfg(test)]
mod tests;

use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use blocks::Sweep;
use rows::Rows;

use super::config::positive;
use super::observer::{Observer, Progress};
use crate::math::logistic::binary_cross_entropy;
use crate::math::{MathError, SolverReport, Termination};

/// Most factors.
const MAX_FACTORS: usize = 32;
/// Rounds of subspace iteration that the start takes.
const START_ROUNDS: usize = 5;

/// One judgment of a pair, by indices. Twelve bytes and a weight: ten million take 160 MB.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairJudgment {
    /// Who judged.
    pub user: u32,
    /// What was judged: two texts in a fixed order.
    pub pair: u32,
    /// a ∈ \[0, 1\]: 1 if the first text was preferred.
    pub preference: f32,
    /// w ≥ 0
    pub weight: f32,
}

/// How many factors, how strongly held, and when to stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairOptions {
    /// J, 1 to 32
    pub factors: usize,
    /// α > 0: a user's factors are N(0, I/α) beforehand.
    pub user_ridge: f64,
    /// β > 0: a pair's factors are N(0, I/β) beforehand.
    pub pair_ridge: f64,
    /// Most sweeps over all judgments.
    pub sweeps: usize,
    /// A sweep that lowered the objective by less than this a judgment, in nats, is the last.
    pub tolerance: f64,
    /// Seed of the start.
    pub seed: u64,
}

/// The factors found.
#[derive(Debug, Clone)]
pub struct PairFactors {
    /// U (users × J)
    pub users: DMatrix<f64>,
    /// V (pairs × J): what stands for φ(x, y₁) − φ(x, y₂).
    pub pairs: DMatrix<f64>,
    /// How the fit ended; an iteration is a sweep.
    pub report: SolverReport,
}

/// Judgments made ready: sorted by user and, once more, by pair.
#[derive(Debug)]
pub struct PairProblem {
    by_user: Rows,
    by_pair: Rows,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self { factors: 8, user_ridge: 2.0, pair_ridge: 2.0, sweeps: 100, tolerance: 1e-6, seed: 0 }
    }
}

impl PairProblem {
    /// Checks and sorts judgments of `users` people about `pairs` pairs; either may be without judgments.
    ///
    /// # Errors
    /// Indices out of range, preferences outside \[0, 1\], weights negative or not finite, each by its line; no judgments.
    pub fn new(judgments: &[PairJudgment], users: usize, pairs: usize) -> Result<Self, MathError> {
        if judgments.is_empty() {
            return Err(MathError::Empty { what: "the list of judgments" });
        }
        let broken =
            judgments.par_iter().enumerate().find_map_first(|(line, j)| fault(line, j, users, pairs));
        if let Some(error) = broken {
            return Err(error);
        }
        let (by_user, by_pair) = rayon::join(
            || Rows::new(users, judgments, |j| (j.user, j.pair)),
            || Rows::new(pairs, judgments, |j| (j.pair, j.user)),
        );
        Ok(Self { by_user, by_pair })
    }

    /// U and V that minimise
    ///
    /// F(U, V) = Σ_c w_c bce(σ(u_iᵀv_p), a_c) + (α/2)‖U‖²_F + (β/2)‖V‖²_F,  c = (i, p),
    ///
    /// which over UVᵀ alone is the logistic loss with √(αβ) times the nuclear norm, of rank at most J. A sweep gives all
    /// pairs, then all users one Newton step, each of its own J × J system, and then turns both to the basis in which the
    /// penalties are least (`gauge`). The steps are as long as is certain not to raise F (`blocks`), so F falls from sweep
    /// to sweep without being computed. The start is the span of the leading singular vectors of the matrix of w(2a − 1),
    /// zero where nothing was observed (Algorithm 1, line 1).
    ///
    /// The work of a sweep is proportional to the judgments, and the result is the same for any number of threads.
    ///
    /// # Errors
    /// Options out of range; [`MathError::Cancelled`].
    pub fn fit(&self, options: &PairOptions, observer: &mut dyn Observer) -> Result<PairFactors, MathError> {
        options.check()?;
        // Padded with zeros, which stay zero, to a width that is known to the compiler.
        match options.factors {
            0..=8 => self.fit_padded::<8>(options, observer),
            9..=16 => self.fit_padded::<16>(options, observer),
            _ => self.fit_padded::<MAX_FACTORS>(options, observer),
        }
    }

    fn fit_padded<const N: usize>(
        &self,
        options: &PairOptions,
        observer: &mut dyn Observer,
    ) -> Result<PairFactors, MathError> {
        let &PairOptions { factors: j, user_ridge: alpha, pair_ridge: beta, .. } = options;
        let enough = options.tolerance * self.by_user.total_weight();
        let (mut u, mut v) = self.start::<N>(options);
        let (mut sweeps, mut termination) = (0, Termination::IterationLimit);
        while sweeps < options.sweeps {
            let gained = Sweep { rows: &self.by_pair, other: &u, ridge: beta }.newton(&mut v)
                + Sweep { rows: &self.by_user, other: &v, ridge: alpha }.newton(&mut u)
                + gauge::balance(&mut u, &mut v, j, alpha, beta);
            sweeps += 1;
            observer.progress(Progress { step: sweeps, of: options.sweeps, objective: None });
            if observer.is_cancelled() {
                return Err(MathError::Cancelled);
            }
            if gained <= enough {
                termination = Termination::Converged;
                break;
            }
        }
        let of_users = Sweep { rows: &self.by_user, other: &v, ridge: alpha };
        let of_pairs = Sweep { rows: &self.by_pair, other: &u, ridge: beta };
        let (loss, by_users) = of_users.evaluate::<true>(&u);
        let (_, by_pairs) = of_pairs.evaluate::<false>(&v);
        let report = SolverReport {
            termination,
            iterations: sweeps,
            gradient_norm: by_users.max(by_pairs),
            objective: loss + penalty(&u, alpha) + penalty(&v, beta),
        };
        Ok(PairFactors { users: unpadded(&u, j), pairs: unpadded(&v, j), report })
    }

    /// V spans the leading right singular vectors, with unit second moment; U is a Newton step from zero.
    fn start<const N: usize>(&self, options: &PairOptions) -> (Vec<[f32; N]>, Vec<[f32; N]>) {
        let j = options.factors;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut u = vec![[0.0; N]; self.by_user.len()];
        let mut v = vec![[0.0; N]; self.by_pair.len()];
        u.iter_mut().for_each(|row| row[..j].fill_with(|| rng.random::<f32>() - 0.5));
        for round in 0..=START_ROUNDS {
            Sweep { rows: &self.by_pair, other: &u, ridge: 0.0 }.multiply(&mut v);
            gauge::orthonormalize(&mut v, j);
            if round < START_ROUNDS {
                Sweep { rows: &self.by_user, other: &v, ridge: 0.0 }.multiply(&mut u);
                gauge::orthonormalize(&mut u, j);
            }
        }
        let scale = (v.len() as f32).sqrt();
        v.iter_mut().for_each(|row| row.iter_mut().for_each(|x| *x *= scale));
        u.fill([0.0; N]);
        Sweep { rows: &self.by_user, other: &v, ridge: options.user_ridge }.newton(&mut u);
        gauge::balance(&mut u, &mut v, j, options.user_ridge, options.pair_ridge);
        (u, v)
    }
}

impl PairFactors {
    /// z = u_iᵀv_p.
    ///
    /// # Panics
    /// For a user or a pair that the problem did not have.
    pub fn logit(&self, user: usize, pair: usize) -> f64 {
        self.users.row(user).dot(&self.pairs.row(pair))
    }

    /// Weighted mean of bce(σ(z), a) in nats over judgments of the same users and pairs.
    ///
    /// # Panics
    /// For a user or a pair that the problem did not have.
    pub fn mean_loss(&self, judgments: &[PairJudgment]) -> f64 {
        // Rows side by side in memory.
        let (u, v) = (self.users.transpose(), self.pairs.transpose());
        let sums: Vec<(f64, f64)> = judgments
            .par_chunks(4096)
            .map(|chunk| {
                chunk.iter().fold((0.0, 0.0), |(loss, weight), j| {
                    let z = u.column(j.user as usize).dot(&v.column(j.pair as usize));
                    let w = f64::from(j.weight);
                    (loss + w * binary_cross_entropy(z, f64::from(j.preference)), weight + w)
                })
            })
            .collect();
        let (loss, weight) = sums.iter().fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        loss / weight
    }
}

impl PairOptions {
    fn check(&self) -> Result<(), MathError> {
        if !(1..=MAX_FACTORS).contains(&self.factors) {
            let (what, value) = ("the number of factors".to_owned(), self.factors as f64);
            return Err(MathError::OutOfRange { what, value, allowed: "1 to 32" });
        }
        positive("the ridge on users' factors", self.user_ridge)?;
        positive("the ridge on pairs' factors", self.pair_ridge)?;
        if !(self.tolerance >= 0.0 && self.tolerance.is_finite()) {
            let what = "the tolerance".to_owned();
            return Err(MathError::OutOfRange { what, value: self.tolerance, allowed: "[0, ∞)" });
        }
        Ok(())
    }
}

/// What is wrong with a judgment, if anything.
fn fault(line: usize, j: &PairJudgment, users: usize, pairs: usize) -> Option<MathError> {
    for (name, index, limit) in [("user", j.user, users), ("pair", j.pair, pairs)] {
        let index = index as usize;
        if index >= limit {
            return Some(MathError::Index { what: format!("the {name} of judgment {line}"), index, limit });
        }
    }
    if !(0.0..=1.0).contains(&j.preference) {
        let what = format!("the preference of judgment {line}");
        return Some(MathError::OutOfRange { what, value: j.preference.into(), allowed: "[0, 1]" });
    }
    if !(0.0..f32::INFINITY).contains(&j.weight) {
        let what = format!("the weight of judgment {line}");
        return Some(MathError::OutOfRange { what, value: j.weight.into(), allowed: "[0, ∞)" });
    }
    None
}

fn penalty<const N: usize>(factors: &[[f32; N]], ridge: f64) -> f64 {
    0.5 * ridge * factors.iter().flatten().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>()
}

fn unpadded<const N: usize>(factors: &[[f32; N]], j: usize) -> DMatrix<f64> {
    DMatrix::from_fn(factors.len(), j, |i, k| f64::from(factors[i][k]))
}
