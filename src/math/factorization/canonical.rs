//! The canonical basis: which of the equally good (W, Λ) is kept.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::math::cholesky::symmetrize;
use crate::math::{MathError, Prior, eigenpairs};

/// A change of basis of the base reward functions: φ ← Rφ, and λ ← R⁻ᵀλ so that λᵀφ stays.
pub(super) struct Canonical {
    /// R (J′ × J)
    pub(super) features: DMatrix<f64>,
    /// R⁻ᵀ (J′ × J); J′ < J where E[δδᵀ] is rank-deficient.
    pub(super) coefficients: DMatrix<f64>,
}

/// Eigenvalues of E[δδᵀ] below this share of the largest say that J was too large.
const RANK_TOLERANCE: f64 = 1e-10;

impl Canonical {
    /// The basis in which E[δδᵀ] = I and Σ is diagonal, descending, from E[δδᵀ] (J × J) and Σ (J × J).
    ///
    /// Λ and W are only defined up to an invertible R. With C = chol(E[δδᵀ]): W ← C⁻¹W, λ ← Cᵀλ; then, with
    /// Σ = QDQᵀ: W ← QᵀW, λ ← Qᵀλ.
    pub(super) fn new(second_moment: &DMatrix<f64>, covariance: &DMatrix<f64>) -> Result<Self, MathError> {
        let SymmetricEigen { eigenvalues, eigenvectors } = second_moment.clone().symmetric_eigen();
        let least = RANK_TOLERANCE * eigenvalues.max();
        let kept: Vec<usize> = (0..eigenvalues.len()).filter(|&j| eigenvalues[j] > least).collect();
        if kept.is_empty() {
            return Err(MathError::Empty { what: "the space of base functions: no pair differs in any" });
        }
        // Any square root of E[δδᵀ] does in the place of C: Q takes the difference away. √ of the eigenvalues also
        // serves when some are zero.
        let whiten = DMatrix::from_fn(kept.len(), eigenvalues.len(), |r, c| {
            eigenvectors[(c, kept[r])] / eigenvalues[kept[r]].sqrt()
        });
        let color = DMatrix::from_fn(kept.len(), eigenvalues.len(), |r, c| {
            eigenvectors[(c, kept[r])] * eigenvalues[kept[r]].sqrt()
        });
        let mut spread = &color * covariance * color.transpose();
        symmetrize(&mut spread);
        let turn = eigenpairs(spread).1.transpose();
        Ok(Self { features: &turn * whiten, coefficients: turn * color })
    }

    /// Turns base function j about where `negative` says so.
    pub(super) fn flip(&mut self, negative: &[bool]) {
        for (j, _) in negative.iter().enumerate().filter(|(_, flip)| **flip) {
            self.features.row_mut(j).neg_mut();
            self.coefficients.row_mut(j).neg_mut();
        }
    }

    /// N(μ, Σ) of the turned coefficients.
    pub(super) fn prior(&self, prior: &Prior) -> Result<Prior, MathError> {
        let mut covariance = &self.coefficients * prior.covariance() * self.coefficients.transpose();
        // Diagonal by construction; what is left beside it is rounding.
        covariance = DMatrix::from_diagonal(&covariance.diagonal());
        Prior::new(&self.coefficients * prior.mean(), covariance)
    }
}

/// For each base function (features: J × texts): whether it varies against the style measure over the pairs; without
/// one, or where it never differs, whether the largest weight of its head (J × d) is negative.
pub(super) fn negative_signs(
    features: &DMatrix<f64>,
    head: &DMatrix<f64>,
    pairs: &[(usize, usize)],
    style: Option<&[f64]>,
) -> Vec<bool> {
    let along_style = |j: usize, style: &[f64]| -> f64 {
        pairs.iter().map(|&(a, b)| (style[a] - style[b]) * (features[(j, a)] - features[(j, b)])).sum()
    };
    (0..head.nrows())
        .map(|j| {
            let covariance = style.map_or(0.0, |style| along_style(j, style));
            if covariance != 0.0 {
                return covariance < 0.0;
            }
            let largest = head.row(j).iter().fold(0.0_f64, |m, &w| if w.abs() > m.abs() { w } else { m });
            largest < 0.0
        })
        .collect()
}
