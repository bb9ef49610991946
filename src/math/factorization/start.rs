//! Where the alternation begins: the singular vectors of the filled-in matrix, or of the users' gradients.

use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Start;
use super::classic::fit_shared;
use super::maximize::{Likelihood, State};
use super::soft_impute::{Sparse, soft_impute};
use crate::math::eigenpairs;
use crate::math::logistic::sigmoid;

/// Below this share of pairs with two raters, the matrix of users × pairs says nothing about who agrees with whom.
const LEAST_OVERLAP: f64 = 0.2;
const ROUNDS: usize = 200;

/// A start for J base functions, with the singular values it was cut from.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) state: State,
    pub(super) spectrum: Vec<f64>,
    pub(super) start: Start,
}

pub(super) fn kind(overlap: f64) -> Start {
    if overlap < LEAST_OVERLAP { Start::UserGradients } else { Start::SoftImpute }
}

impl Likelihood<'_> {
    /// The start of a kind.
    ///
    /// Soft-impute: V are the pairs' factors and 2U diag(d) the users' (logits are twice the entries 2a − 1, to first
    /// order); the head meets the pairs' by ridge regression, W̃ = Σ_p v_p (z₁ − z₂)ᵀ (n diag(s) + α I)⁻¹ for n pairs
    /// (Algorithm 1, line 2).
    ///
    /// User gradients: with w the shared reward, g_i = Σ_s w_s (a − p)(z₁ − z₂) points to where user i differs from it,
    /// and the heads are w and the first J − 1 right singular vectors of the g_i, each coordinate scaled by how well it
    /// is known.
    pub(super) fn start(&self, kind: Start, j: usize, alpha: f64, threshold: f64, seed: u64) -> Started {
        let (mut head, mut coefficients, spectrum) = match kind {
            Start::SoftImpute => self.imputed_head(j, alpha, threshold, seed),
            Start::UserGradients => self.gradient_head(j, alpha),
            Start::Random => self.random_head(j, seed),
        };
        // Each base function's differences get second moment 1; rows of zeros stay.
        for (mut row, mut lambda) in head.row_iter_mut().zip(coefficients.row_iter_mut()) {
            let moment: f64 = row.iter().zip(self.basis.moments.iter()).map(|(w, s)| w * w * s).sum();
            if moment > 0.0 {
                row /= moment.sqrt();
                lambda *= moment.sqrt();
            }
        }
        let state = State { mean: DVector::zeros(head.nrows()), coefficients, head };
        Started { state, spectrum, start: kind }
    }

    /// Head (J × r), coefficients (J × users) and singular values.
    fn imputed_head(
        &self,
        j: usize,
        alpha: f64,
        threshold: f64,
        seed: u64,
    ) -> (DMatrix<f64>, DMatrix<f64>, Vec<f64>) {
        let sparse = Sparse::of_outcomes(&self.outcomes, self.user_starts, self.by_pair);
        let filled = soft_impute(&sparse, j, threshold, ROUNDS, seed);
        let mut texts = DMatrix::zeros(filled.values.len(), self.basis.texts());
        for (p, &(first, second)) in self.pairs.iter().enumerate() {
            for (k, v) in filled.pairs.row(p).iter().enumerate() {
                texts[(k, first)] += v;
                texts[(k, second)] -= v;
            }
        }
        let mut head = self.basis.collect(&texts);
        let pairs = self.pairs.len() as f64;
        for (mut column, s) in head.column_iter_mut().zip(self.basis.moments.iter()) {
            column /= pairs * s + alpha;
        }
        let coefficients = DMatrix::from_fn(filled.values.len(), filled.users.nrows(), |k, i| {
            2.0 * filled.values[k] * filled.users[(i, k)]
        });
        (head, coefficients, filled.values)
    }

    /// Head uniform in [−1, 1], nothing known of users, no spectrum.
    fn random_head(&self, j: usize, seed: u64) -> (DMatrix<f64>, DMatrix<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let head = DMatrix::from_fn(j, self.basis.rank(), |_, _| 2.0 * rng.random::<f64>() - 1.0);
        (head, DMatrix::zeros(j, self.user_starts.len() - 1), Vec::new())
    }

    fn gradient_head(&self, j: usize, alpha: f64) -> (DMatrix<f64>, DMatrix<f64>, Vec<f64>) {
        let users = self.user_starts.len() - 1;
        let mut shared = DMatrix::zeros(1, self.basis.rank());
        fit_shared(self, alpha, &mut shared);
        let reward = self.basis.project(&shared);
        let gradients: Vec<DVector<f64>> = (0..users)
            .into_par_iter()
            .map(|user| {
                let mut texts = DMatrix::zeros(1, self.basis.texts());
                for o in &self.outcomes[self.user_starts[user]..self.user_starts[user + 1]] {
                    let (first, second) = self.pairs[o.pair];
                    let r = o.weight * (o.preference - sigmoid(reward[first] - reward[second]));
                    texts[first] += r;
                    texts[second] -= r;
                }
                self.basis.collect(&texts).transpose().column(0).into_owned()
            })
            .collect();
        // Fisher information about coordinate k, all users together, is about N s_k / 4.
        let total: f64 = self.outcomes.iter().map(|o| o.weight).sum();
        let scale: Vec<f64> = self.basis.moments.iter().map(|s| (0.25 * total * s + alpha).sqrt()).collect();
        let matrix = DMatrix::from_fn(users, self.basis.rank(), |i, k| gradients[i][k] / scale[k]);
        let (vectors, spectrum) = right_singular_vectors(&matrix, j.saturating_sub(1));
        let mut head = DMatrix::zeros(vectors.nrows() + 1, self.basis.rank());
        head.row_mut(0).copy_from(&shared.row(0));
        for k in 0..vectors.nrows() {
            for (c, scale) in scale.iter().enumerate() {
                head[(k + 1, c)] = vectors[(k, c)] / scale;
            }
        }
        let mut coefficients = DMatrix::zeros(head.nrows(), users);
        coefficients.row_mut(0).fill(1.0);
        (head, coefficients, spectrum)
    }
}

/// The first k right singular vectors as rows, with all singular values, descending.
fn right_singular_vectors(matrix: &DMatrix<f64>, k: usize) -> (DMatrix<f64>, Vec<f64>) {
    // The smaller of the two Gram matrices has the same spectrum.
    let tall = matrix.nrows() > matrix.ncols();
    let gram = if tall { matrix.transpose() * matrix } else { matrix * matrix.transpose() };
    let (eigenvalues, eigenvectors) = eigenpairs(gram);
    let spectrum: Vec<f64> = eigenvalues.iter().map(|value| value.max(0.0).sqrt()).collect();
    let kept = k.min(spectrum.iter().filter(|&&s| s > 1e-9 * spectrum[0]).count());
    let mut vectors = eigenvectors.columns(0, kept).transpose();
    if !tall {
        vectors *= matrix;
        vectors.row_iter_mut().zip(&spectrum).for_each(|(mut row, value)| row /= *value);
    }
    (vectors, spectrum)
}
