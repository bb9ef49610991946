use nalgebra::{DMatrix, DVector, SymmetricEigen};
use rayon::prelude::*;

/// Columns per parallel piece. Fixed, so that results do not depend on the number of threads.
const PIECE: usize = 64;

/// Embeddings in the coordinates in which learning W is nearly diagonal.
///
/// Let S = E[(h₁ − h₂)(h₁ − h₂)ᵀ] over distinct pairs, D² = m √diag S with m the mean of √diag S, and
/// D⁻¹SD⁻¹ = U diag(s) Uᵀ. Then z = UᵀD⁻¹h has second moment diag(s) over the pairs, and a head W̃ (J × r) on z is the
/// head W = W̃UᵀD⁻¹ on h. Coordinates in which no pair differs are left out: nothing can be learned of them, and W is
/// zero there. Both penalties of the objective become diagonal, Σ_k (γ s_k + α) ‖w̃_k‖².
///
/// D is half way between two extremes. A plain ridge on W (D² = m² I) trusts a feature by its variance, and one that
/// happens to be measured in thousands drowns the rest; standardised features (D² = diag S) count alike, rare n-grams
/// as much as length. Embeddings of any overall scale give the same fit.
#[derive(Debug)]
pub(super) struct Basis {
    /// z of every text (r × texts).
    z: DMatrix<f64>,
    /// The same transposed (texts × r).
    z_transposed: DMatrix<f64>,
    /// s (r), descending.
    pub(super) moments: DVector<f64>,
    /// UᵀD⁻¹ (r × d)
    fold: DMatrix<f64>,
}

impl Basis {
    /// The basis of embeddings (texts × d) for pairs of texts.
    pub(super) fn new(embeddings: &DMatrix<f64>, pairs: &[(usize, usize)]) -> Self {
        let d = embeddings.ncols();
        let mut moment = second_moment(embeddings, pairs);
        let deviation: Vec<f64> = (0..d).map(|k| moment[(k, k)].sqrt()).collect();
        let floor = 1e-12 * deviation.iter().fold(0.0_f64, |m, &x| m.max(x));
        let mean = deviation.iter().sum::<f64>() / d as f64;
        let scale: Vec<f64> =
            deviation.iter().map(|&x| if x > floor { 1.0 / (x * mean).sqrt() } else { 0.0 }).collect();
        for j in 0..d {
            for i in 0..d {
                moment[(i, j)] *= scale[i] * scale[j];
            }
        }
        let SymmetricEigen { eigenvalues, eigenvectors } = moment.symmetric_eigen();
        let mut order: Vec<usize> = (0..d).collect();
        order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
        let least = 1e-9 * order.first().map_or(0.0, |&k| eigenvalues[k]);
        order.retain(|&k| eigenvalues[k] > least);
        let fold = DMatrix::from_fn(order.len(), d, |k, i| eigenvectors[(i, order[k])] * scale[i]);
        let z_transposed = embeddings * fold.transpose();
        let moments = DVector::from_iterator(order.len(), order.iter().map(|&k| eigenvalues[k]));
        Self { z: z_transposed.transpose(), z_transposed, moments, fold }
    }

    /// r
    pub(super) fn rank(&self) -> usize {
        self.moments.len()
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.z.ncols()
    }

    /// W̃z of every text: J × texts.
    pub(super) fn project(&self, head: &DMatrix<f64>) -> DMatrix<f64> {
        product(head, &self.z)
    }

    /// Σ_t o_t z_tᵀ for o (J × texts): J × r.
    pub(super) fn collect(&self, o: &DMatrix<f64>) -> DMatrix<f64> {
        product(o, &self.z_transposed)
    }

    /// W = W̃UᵀD⁻¹ (J × d)
    pub(super) fn unfold(&self, head: &DMatrix<f64>) -> DMatrix<f64> {
        head * &self.fold
    }

    /// w (d) of a single w̃ (1 × r).
    pub(super) fn unfold_one(&self, head: &DMatrix<f64>) -> DVector<f64> {
        self.unfold(head).row(0).transpose()
    }
}

/// E[(h₁ − h₂)(h₁ − h₂)ᵀ] over pairs: d × d.
fn second_moment(embeddings: &DMatrix<f64>, pairs: &[(usize, usize)]) -> DMatrix<f64> {
    let d = embeddings.ncols();
    let mut moment = DMatrix::zeros(d, d);
    for piece in pairs.chunks(1024) {
        let differences = DMatrix::from_fn(piece.len(), d, |p, k| {
            embeddings[(piece[p].0, k)] - embeddings[(piece[p].1, k)]
        });
        moment += differences.transpose() * &differences;
    }
    moment / pairs.len().max(1) as f64
}

/// A B, pieces of B's columns in parallel.
fn product(a: &DMatrix<f64>, b: &DMatrix<f64>) -> DMatrix<f64> {
    let mut result = DMatrix::zeros(a.nrows(), b.ncols());
    let rows = a.nrows();
    if rows == 0 || b.ncols() == 0 {
        return result;
    }
    result.as_mut_slice().par_chunks_mut(rows * PIECE).enumerate().for_each(|(piece, out)| {
        let columns = out.len() / rows;
        let part = a * b.columns(piece * PIECE, columns);
        out.copy_from_slice(part.as_slice());
    });
    result
}
