//! Cholesky factors of the small matrices of one user (J ≤ a few tens), on flat row-major storage, so that refitting
//! a person allocates a handful of times and not once an iteration.

use nalgebra::DMatrix;

/// A symmetric positive definite n × n matrix A = LLᵀ, in place: the lower triangle of `a` becomes L.
/// False if A is not positive definite.
pub(super) fn factor(a: &mut [f64], n: usize) -> bool {
    for j in 0..n {
        for i in j..n {
            let mut sum = a[i * n + j];
            for k in 0..j {
                sum -= a[i * n + k] * a[j * n + k];
            }
            if i == j {
                if !(sum > 0.0 && sum.is_finite()) {
                    return false;
                }
                a[j * n + j] = sum.sqrt();
            } else {
                a[i * n + j] = sum / a[j * n + j];
            }
        }
    }
    true
}

/// x ← L⁻¹x.
pub(super) fn solve_lower(l: &[f64], n: usize, x: &mut [f64]) {
    for i in 0..n {
        let mut sum = x[i];
        for k in 0..i {
            sum -= l[i * n + k] * x[k];
        }
        x[i] = sum / l[i * n + i];
    }
}

/// x ← A⁻¹x = L⁻ᵀL⁻¹x.
pub(super) fn solve(l: &[f64], n: usize, x: &mut [f64]) {
    solve_lower(l, n, x);
    for i in (0..n).rev() {
        let mut sum = x[i];
        for k in i + 1..n {
            sum -= l[k * n + i] * x[k];
        }
        x[i] = sum / l[i * n + i];
    }
}

/// log |A| = 2 Σ log L_jj.
pub(super) fn log_determinant(l: &[f64], n: usize) -> f64 {
    2.0 * (0..n).map(|j| l[j * n + j].ln()).sum::<f64>()
}

/// The factor L of a symmetric matrix, row-major; `None` if it is not positive definite.
pub(super) fn of(matrix: &DMatrix<f64>) -> Option<Vec<f64>> {
    let n = matrix.nrows();
    // Symmetric: column-major and row-major are the same.
    let mut l = matrix.as_slice().to_vec();
    factor(&mut l, n).then_some(l)
}

/// A⁻¹, symmetric to the last bit.
pub(super) fn inverse(l: &[f64], n: usize) -> DMatrix<f64> {
    let mut inverse = DMatrix::zeros(n, n);
    let mut column = vec![0.0; n];
    for j in 0..n {
        column.fill(0.0);
        column[j] = 1.0;
        solve(l, n, &mut column);
        for i in 0..n {
            inverse[(i, j)] = column[i];
        }
    }
    symmetrize(&mut inverse);
    inverse
}

/// A ← (A + Aᵀ) / 2.
pub(super) fn symmetrize(matrix: &mut DMatrix<f64>) {
    for j in 0..matrix.ncols() {
        for i in 0..j {
            let mean = 0.5 * (matrix[(i, j)] + matrix[(j, i)]);
            matrix[(i, j)] = mean;
            matrix[(j, i)] = mean;
        }
    }
}
