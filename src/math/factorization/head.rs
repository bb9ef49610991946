//! Learning W for given coefficients: Newton's method, its linear systems solved by preconditioned conjugate gradients.

use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use super::basis::Basis;
use super::cells::{ByPair, Outcome};
use crate::math::algebra::dot;
use crate::math::cholesky;
use crate::math::logistic::{binary_cross_entropy, sigmoid, sigmoid_derivative};
use crate::math::{SolverReport, Termination};

/// Who said what about each pair, and how users are weighted: what W̃ is fitted to.
///
/// F(W̃) = Σ_c w_c bce(σ(λ_iᵀδ_p), a_c) + ½ Σ_p δ_pᵀV_pδ_p + ½ tr(M W̃ R W̃ᵀ), δ_p = W̃(z₁ − z₂).
///
/// The second term stands for what is not known of λ: with λ_i ~ N(λ̂_i, C_i) the expected loss is larger than that at
/// λ̂_i by ½ w σ′(λ̂_iᵀδ) δᵀC_iδ to second order; V_p = Σ_c w_c σ′_c C_i with σ′_c held at its last value. R = diag(γ s +
/// α), and M = I + κμμᵀ, for κ = 1 the second moment of λ, makes the penalty the same in every basis.
pub(super) struct HeadProblem<'a> {
    pub(super) basis: &'a Basis,
    pub(super) pairs: &'a [(usize, usize)],
    /// Cells sorted by pair.
    pub(super) by_pair: &'a ByPair,
    /// Outcomes in the cells' own order.
    pub(super) outcomes: &'a [Outcome],
    /// λ_i as columns: J × users.
    pub(super) coefficients: &'a DMatrix<f64>,
    /// V_p, J × J column-major, pair after pair.
    pub(super) spread: Vec<f64>,
    /// M (J × J)
    pub(super) moment: DMatrix<f64>,
    /// diag R (r)
    pub(super) ridge: DVector<f64>,
}

/// Pairs per parallel piece.
const PIECE: usize = 256;
const MAX_CONJUGATE_STEPS: usize = 60;
/// A mean gradient a judgment of this size moves predictions by as little.
const GRADIENT_TOLERANCE: f64 = 1e-8;

impl HeadProblem<'_> {
    /// Newton steps from `head` until the gradient vanishes beside the number of judgments, at most `limit`; no step
    /// raises the objective.
    pub(super) fn minimize(&self, head: &mut DMatrix<f64>, limit: usize) -> SolverReport {
        let tolerance = GRADIENT_TOLERANCE * self.outcomes.iter().map(|o| o.weight).sum::<f64>();
        let mut features = self.basis.project(head);
        let mut value = self.value(head, &features);
        let mut iterations = 0;
        loop {
            let (gradient, curvature) = self.derivatives(head, &features);
            let gradient_norm = gradient.amax();
            let report =
                |termination| SolverReport { termination, iterations, gradient_norm, objective: value };
            if gradient_norm <= tolerance {
                return report(Termination::Converged);
            }
            if iterations == limit {
                return report(Termination::IterationLimit);
            }
            let step = self.newton_step(&gradient, &curvature);
            let along = self.basis.project(&step);
            let slope = gradient.dot(&step);
            let mut t = 1.0;
            let lower = loop {
                let moved = &*head + &step * t;
                let moved_features = &features + &along * t;
                let lower = self.value(&moved, &moved_features);
                if lower <= value + 1e-4 * t * slope {
                    (*head, features) = (moved, moved_features);
                    break lower;
                }
                t *= 0.5;
                if t < 1e-10 {
                    return report(Termination::Stalled);
                }
            };
            value = lower;
            iterations += 1;
        }
    }

    /// F from W̃ and its features W̃z (J × texts).
    fn value(&self, head: &DMatrix<f64>, features: &DMatrix<f64>) -> f64 {
        let n = head.nrows();
        let pieces: Vec<f64> = self.map_pieces(|range, delta| {
            let mut sum = 0.0;
            for pair in range {
                self.delta(features, pair, delta);
                for &(cell, user) in self.by_pair.of(pair) {
                    let Outcome { preference, weight, .. } = self.outcomes[cell];
                    sum += weight * binary_cross_entropy(dot(self.lambda(user), delta), preference);
                }
                let spread = &self.spread[pair * n * n..][..n * n];
                sum += 0.5
                    * spread.chunks_exact(n).zip(&*delta).map(|(row, d)| d * dot(row, delta)).sum::<f64>();
            }
            sum
        });
        pieces.iter().sum::<f64>() + penalty(&self.moment, head, &self.ridge)
    }

    /// M W̃ R
    fn penalty_gradient(&self, head: &DMatrix<f64>) -> DMatrix<f64> {
        &self.moment * scale_columns(head, &self.ridge)
    }

    /// ∇F (J × r) and the curvature A_p = Σ_c w σ′ λλᵀ + V_p of every pair (J × J each): the Hessian is
    /// Σ_p A_p ⊗ (z₁ − z₂)(z₁ − z₂)ᵀ + M ⊗ R.
    fn derivatives(&self, head: &DMatrix<f64>, features: &DMatrix<f64>) -> (DMatrix<f64>, Vec<f64>) {
        let n = head.nrows();
        let pieces = self.map_pieces(|range, delta| {
            let mut slopes = vec![0.0; range.len() * n];
            let mut curvature = self.spread[range.start * n * n..range.end * n * n].to_vec();
            for (at, pair) in range.enumerate() {
                self.delta(features, pair, delta);
                let slope = &mut slopes[at * n..(at + 1) * n];
                let block = &mut curvature[at * n * n..(at + 1) * n * n];
                for (s, row) in slope.iter_mut().zip(block.chunks_exact(n)) {
                    *s = dot(row, delta);
                }
                for &(cell, user) in self.by_pair.of(pair) {
                    let Outcome { preference, weight, .. } = self.outcomes[cell];
                    let lambda = self.lambda(user);
                    let z = dot(lambda, delta);
                    let (r, c) = (weight * (sigmoid(z) - preference), weight * sigmoid_derivative(z));
                    for j in 0..n {
                        slope[j] += r * lambda[j];
                        let scaled = c * lambda[j];
                        block[j * n..(j + 1) * n].iter_mut().zip(lambda).for_each(|(b, l)| *b += scaled * l);
                    }
                }
            }
            (slopes, curvature)
        });
        let (mut slopes, mut curvature) = (Vec::new(), Vec::with_capacity(self.spread.len()));
        for (s, c) in pieces {
            slopes.extend(s);
            curvature.extend(c);
        }
        (self.gather(&slopes, n) + self.penalty_gradient(head), curvature)
    }

    /// Hessian times a direction (J × r).
    fn curvature_product(&self, curvature: &[f64], direction: &DMatrix<f64>) -> DMatrix<f64> {
        let n = direction.nrows();
        let features = self.basis.project(direction);
        let pieces = self.map_pieces(|range, delta| {
            let mut out = vec![0.0; range.len() * n];
            for (slope, pair) in out.chunks_exact_mut(n).zip(range) {
                self.delta(&features, pair, delta);
                let block = &curvature[pair * n * n..][..n * n];
                for (s, row) in slope.iter_mut().zip(block.chunks_exact(n)) {
                    *s = dot(row, delta);
                }
            }
            out
        });
        self.gather(&pieces.concat(), n) + self.penalty_gradient(direction)
    }

    /// −H⁻¹∇F by conjugate gradients, to a residual of a hundredth of ∇F (an inexact Newton step; Dembo, Eisenstat and
    /// Steihaug 1982), preconditioned by Σ_p A_p ⊗ diag(s) + M ⊗ R: exact if curvature and differences were independent.
    fn newton_step(&self, gradient: &DMatrix<f64>, curvature: &[f64]) -> DMatrix<f64> {
        let preconditioner = Preconditioner::new(self, curvature, gradient.nrows());
        let mut x = DMatrix::zeros(gradient.nrows(), gradient.ncols());
        let mut residual = -gradient;
        let mut conditioned = preconditioner.apply(&residual);
        let mut direction = conditioned.clone();
        let mut rho = residual.dot(&conditioned);
        let target = rho * 1e-4;
        for _ in 0..MAX_CONJUGATE_STEPS {
            if rho <= target {
                break;
            }
            let product = self.curvature_product(curvature, &direction);
            let alpha = rho / direction.dot(&product);
            x += &direction * alpha;
            residual -= product * alpha;
            conditioned = preconditioner.apply(&residual);
            let next = residual.dot(&conditioned);
            direction = &conditioned + direction * (next / rho);
            rho = next;
        }
        x
    }

    /// Σ_p s_p (z₁ − z₂)ᵀ for s (J a pair, flat).
    fn gather(&self, slopes: &[f64], n: usize) -> DMatrix<f64> {
        let mut texts = DMatrix::zeros(n, self.basis.texts());
        let flat = texts.as_mut_slice();
        for (slope, &(first, second)) in slopes.chunks_exact(n).zip(self.pairs) {
            for (j, s) in slope.iter().enumerate() {
                flat[first * n + j] += s;
                flat[second * n + j] -= s;
            }
        }
        self.basis.collect(&texts)
    }

    fn lambda(&self, user: usize) -> &[f64] {
        let n = self.coefficients.nrows();
        &self.coefficients.as_slice()[user * n..(user + 1) * n]
    }

    fn delta(&self, features: &DMatrix<f64>, pair: usize, delta: &mut [f64]) {
        let n = delta.len();
        let (first, second) = self.pairs[pair];
        let flat = features.as_slice();
        let (a, b) = (&flat[first * n..][..n], &flat[second * n..][..n]);
        delta.iter_mut().zip(a.iter().zip(b)).for_each(|(d, (a, b))| *d = a - b);
    }

    /// `f` of every piece of the pairs, in order; `f` is handed a buffer for δ.
    fn map_pieces<T: Send>(&self, f: impl Fn(std::ops::Range<usize>, &mut [f64]) -> T + Sync) -> Vec<T> {
        let n = self.coefficients.nrows();
        let pairs = self.pairs.len();
        (0..pairs.div_ceil(PIECE))
            .into_par_iter()
            .map(|piece| f(piece * PIECE..((piece + 1) * PIECE).min(pairs), &mut vec![0.0; n]))
            .collect()
    }
}

/// A J × J Cholesky factor for each of the r coordinates.
struct Preconditioner {
    factors: Vec<f64>,
    n: usize,
}

impl Preconditioner {
    fn new(problem: &HeadProblem<'_>, curvature: &[f64], n: usize) -> Self {
        let mut total = vec![0.0; n * n];
        for block in curvature.chunks_exact(n * n) {
            total.iter_mut().zip(block).for_each(|(t, b)| *t += b);
        }
        let moment = problem.moment.as_slice();
        let mut factors = Vec::with_capacity(problem.basis.rank() * n * n);
        for (&s, &ridge) in problem.basis.moments.iter().zip(problem.ridge.iter()) {
            let mut block: Vec<f64> = total.iter().zip(moment).map(|(t, m)| s * t + ridge * m).collect();
            let definite = cholesky::factor(&mut block, n);
            debug_assert!(definite, "M and R are positive definite");
            factors.extend(block);
        }
        Self { factors, n }
    }

    fn apply(&self, residual: &DMatrix<f64>) -> DMatrix<f64> {
        let mut result = residual.clone();
        let columns = result.as_mut_slice().chunks_exact_mut(self.n);
        columns
            .zip(self.factors.chunks_exact(self.n * self.n))
            .for_each(|(x, l)| cholesky::solve(l, self.n, x));
        result
    }
}

/// ½ tr(M W̃ R W̃ᵀ) for R = diag(ridge).
pub(super) fn penalty(moment: &DMatrix<f64>, head: &DMatrix<f64>, ridge: &DVector<f64>) -> f64 {
    0.5 * head.dot(&(moment * scale_columns(head, ridge)))
}

/// W̃ R for R = diag(ridge).
pub(super) fn scale_columns(head: &DMatrix<f64>, ridge: &DVector<f64>) -> DMatrix<f64> {
    let mut scaled = head.clone();
    scaled.column_iter_mut().zip(ridge.iter()).for_each(|(mut column, &ridge)| column *= ridge);
    scaled
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const HEADS: usize = 2;

    /// Three users, six texts in four dimensions, five pairs.
    fn with_problem(check: impl FnOnce(&HeadProblem<'_>, &mut dyn FnMut() -> f64)) {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut draw = move || 2.0 * rng.random::<f64>() - 1.0;
        let embeddings = DMatrix::from_fn(6, 4, |_, _| draw());
        let pairs = [(0, 1), (0, 2), (1, 4), (2, 3), (4, 5)];
        let basis = Basis::new(&embeddings, &pairs);
        let outcome = |pair, preference| Outcome { pair, preference, weight: 1.5 };
        let outcomes = [
            outcome(0, 1.0),
            outcome(1, 0.0),
            outcome(4, 0.5),
            outcome(0, 0.0),
            outcome(2, 1.0),
            outcome(3, 0.3),
        ];
        let by_pair = ByPair::new(&outcomes, &[0, 3, 4, 6], pairs.len());
        let coefficients = DMatrix::from_fn(HEADS, 3, |_, _| 2.0 * draw());
        let spread = [0.3, 0.1, 0.1, 0.2].repeat(pairs.len());
        let moment = DMatrix::from_row_slice(2, 2, &[2.0, 0.4, 0.4, 1.0]);
        let ridge = basis.moments.map(|s| 0.3 * s + 0.2);
        let problem = HeadProblem {
            basis: &basis,
            pairs: &pairs,
            by_pair: &by_pair,
            outcomes: &outcomes,
            coefficients: &coefficients,
            spread,
            moment,
            ridge,
        };
        check(&problem, &mut draw);
    }

    #[test]
    fn gradient_and_curvature_meet_finite_differences() {
        with_problem(|problem, draw| {
            let rank = problem.basis.rank();
            let head = DMatrix::from_fn(HEADS, rank, |_, _| draw());
            let direction = DMatrix::from_fn(HEADS, rank, |_, _| draw());
            let value = |head: &DMatrix<f64>| problem.value(head, &problem.basis.project(head));
            let derivatives = |head: &DMatrix<f64>| problem.derivatives(head, &problem.basis.project(head));
            let (gradient, curvature) = derivatives(&head);
            let step = 1e-5;
            let (up, down) = (&head + &direction * step, &head - &direction * step);
            let slope = (value(&up) - value(&down)) / (2.0 * step);
            assert!((gradient.dot(&direction) - slope).abs() < 1e-8 * slope.abs().max(1.0));
            let change = (derivatives(&up).0 - derivatives(&down).0) / (2.0 * step);
            let product = problem.curvature_product(&curvature, &direction);
            assert!((product - &change).amax() < 1e-8 * change.amax().max(1.0));
        });
    }

    #[test]
    fn newton_ends_where_the_gradient_vanishes_and_never_climbs() {
        with_problem(|problem, _| {
            let mut head = DMatrix::zeros(HEADS, problem.basis.rank());
            let mut last = f64::INFINITY;
            for _ in 0..30 {
                let report = problem.minimize(&mut head, 1);
                assert!(report.objective <= last);
                last = report.objective;
                if report.termination == Termination::Converged {
                    assert!(report.gradient_norm < 1e-7);
                    return;
                }
            }
            panic!("no convergence in 30 steps");
        });
    }
}
