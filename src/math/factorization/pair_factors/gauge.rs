//! The basis of the factors: (UR, VR⁻ᵀ) predicts the same for every invertible R.

use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::math::eigenpairs;

/// Rows in a parallel piece: fixed, so that sums do not depend on the number of threads.
const PIECE: usize = 1024;
/// What is added to a Gram matrix so that it can be inverted, beside its mean diagonal.
const JITTER: f64 = 1e-12;

/// Turns the first J columns of both to the basis in which αUᵀU = βVᵀV is diagonal, descending, and tells by how much the
/// penalty (α/2)‖U‖²_F + (β/2)‖V‖²_F fell.
///
/// No other basis has a lower one: it is √(αβ) times the sum of the singular values of UVᵀ. Alternation alone would take
/// many sweeps to get there, as each half keeps the other's basis. With UᵀU = LLᵀ and LᵀVᵀVL = QΘQᵀ, Θ^½ holds those
/// singular values, and U ← U L⁻ᵀQΘ^¼c, V ← V LQΘ^−¼/c with c⁴ = β/α.
pub(super) fn balance<const N: usize>(
    u: &mut [[f32; N]],
    v: &mut [[f32; N]],
    j: usize,
    alpha: f64,
    beta: f64,
) -> f64 {
    let (of_u, of_v) = (gram(u, j), gram(v, j));
    let Some((r, inverse)) = balancing(&of_u, &of_v, (beta / alpha).powf(0.25)) else { return 0.0 };
    let before = 0.5 * (alpha * of_u.trace() + beta * of_v.trace());
    let after = 0.5
        * (alpha * (r.transpose() * of_u * &r).trace()
            + beta * (&inverse * of_v * inverse.transpose()).trace());
    if after >= before {
        return 0.0;
    }
    multiply(u, &r);
    multiply(v, &inverse.transpose());
    before - after
}

/// R and R⁻¹; none where a factor is zero.
fn balancing(of_u: &DMatrix<f64>, of_v: &DMatrix<f64>, c: f64) -> Option<(DMatrix<f64>, DMatrix<f64>)> {
    let l = lower(of_u)?;
    let inverse = l.clone().try_inverse()?;
    let (eigenvalues, q) = eigenpairs(l.transpose() * of_v * &l);
    let largest = eigenvalues.max();
    let root = eigenvalues.map(|value| c * value.max(JITTER * largest).powf(0.25));
    let r = inverse.transpose() * &q * DMatrix::from_diagonal(&root);
    let back = DMatrix::from_diagonal(&root.map(f64::recip)) * q.transpose() * l.transpose();
    (largest > 0.0).then_some((r, back))
}

/// An orthonormal basis of the span of the first J columns, where they have one; nearly null directions stay small.
pub(super) fn orthonormalize<const N: usize>(a: &mut [[f32; N]], j: usize) {
    if let Some(inverse) = lower(&gram(a, j)).and_then(DMatrix::try_inverse) {
        multiply(a, &inverse.transpose());
    }
}

fn lower(gram: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let n = gram.nrows();
    let jitter = DMatrix::identity(n, n) * (JITTER * gram.trace() / n as f64);
    Some((gram + jitter).cholesky()?.l())
}

/// AᵀA of the first J columns.
fn gram<const N: usize>(a: &[[f32; N]], j: usize) -> DMatrix<f64> {
    let pieces: Vec<[[f64; N]; N]> = a
        .par_chunks(PIECE)
        .map(|rows| {
            let mut sum = [[0.0_f64; N]; N];
            for row in rows {
                let row = row.map(f64::from);
                for (sum, x) in sum.iter_mut().zip(&row) {
                    sum.iter_mut().zip(&row).for_each(|(s, y)| *s += x * y);
                }
            }
            sum
        })
        .collect();
    DMatrix::from_fn(j, j, |a, b| pieces.iter().map(|piece| piece[a][b]).sum())
}

/// A ← AR in the first J columns.
fn multiply<const N: usize>(a: &mut [[f32; N]], r: &DMatrix<f64>) {
    let mut rows = [[0.0_f64; N]; N];
    for k in 0..r.nrows() {
        for l in 0..r.ncols() {
            rows[k][l] = r[(k, l)];
        }
    }
    a.par_chunks_mut(PIECE).flatten().for_each(|row| {
        let mut product = [0.0_f64; N];
        for (x, r) in row.iter().zip(&rows) {
            product.iter_mut().zip(r).for_each(|(p, r)| *p += f64::from(*x) * r);
        }
        *row = product.map(|x| x as f32);
    });
}
