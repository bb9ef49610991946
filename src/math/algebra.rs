use nalgebra::{DMatrix, DVector, SymmetricEigen};

/// aᵀb of two vectors of one length.
#[inline]
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Eigenvalues of a symmetric matrix (n × n), descending, and their eigenvectors as columns in the same order.
pub fn eigenpairs(matrix: DMatrix<f64>) -> (DVector<f64>, DMatrix<f64>) {
    let SymmetricEigen { eigenvalues, eigenvectors } = matrix.symmetric_eigen();
    let mut order: Vec<usize> = (0..eigenvalues.len()).collect();
    order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
    (eigenvalues.select_rows(&order), eigenvectors.select_columns(&order))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_come_in_order_and_make_the_matrix_again() {
        let matrix = DMatrix::from_row_slice(3, 3, &[2.0, 1.0, 0.0, 1.0, -3.0, 0.5, 0.0, 0.5, 7.0]);
        let (values, vectors) = eigenpairs(matrix.clone());
        assert!(values[0] > values[1] && values[1] > values[2]);
        let again = &vectors * DMatrix::from_diagonal(&values) * vectors.transpose();
        assert!((again - matrix).norm() < 1e-12);
    }
}
