use nalgebra::{DMatrix, DVector};

use super::cholesky;
use super::error::{MathError, finite};

/// The population prior N(μ, Σ) of user coefficients λ ∈ Rᴶ, with its precision P = Σ⁻¹.
///
/// Learned from the training users by empirical Bayes ([`super::factorization`]) and stored with the model. A user
/// with no answers is the average user: their coefficients are μ, their Hessian is P.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    mean: DVector<f64>,
    covariance: DMatrix<f64>,
    precision: DMatrix<f64>,
}

impl Prior {
    /// The prior with mean μ (J) and covariance Σ (J × J).
    ///
    /// # Errors
    /// Non-finite entries, Σ of another size than μ, Σ not symmetric positive definite.
    pub fn new(mean: DVector<f64>, covariance: DMatrix<f64>) -> Result<Self, MathError> {
        let n = mean.len();
        if n == 0 {
            return Err(MathError::Empty { what: "the prior mean" });
        }
        for (what, given) in [
            ("rows of the prior covariance", covariance.nrows()),
            ("columns of the prior covariance", covariance.ncols()),
        ] {
            if given != n {
                return Err(MathError::Dimension { what: what.to_owned(), expected: n, given });
            }
        }
        for (j, &value) in mean.iter().enumerate() {
            finite(value, || format!("prior mean[{j}]"))?;
        }
        let scale = covariance.amax();
        for i in 0..n {
            for j in 0..n {
                finite(covariance[(i, j)], || format!("prior covariance[{i}, {j}]"))?;
                if (covariance[(i, j)] - covariance[(j, i)]).abs() > 1e-9 * scale {
                    return Err(MathError::NotPositiveDefinite { what: "the prior covariance" });
                }
            }
        }
        let mut covariance = covariance;
        cholesky::symmetrize(&mut covariance);
        let l = cholesky::of(&covariance)
            .ok_or(MathError::NotPositiveDefinite { what: "the prior covariance" })?;
        let precision = cholesky::inverse(&l, n);
        Ok(Self { mean, covariance, precision })
    }

    /// N(0, s I): what one would assume of people before having seen any.
    ///
    /// # Errors
    /// J = 0, or a variance s that is not positive and finite.
    pub fn isotropic(dimension: usize, variance: f64) -> Result<Self, MathError> {
        Self::new(DVector::zeros(dimension), DMatrix::identity(dimension, dimension) * variance)
    }

    /// J
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// μ (J)
    pub fn mean(&self) -> &DVector<f64> {
        &self.mean
    }

    /// Σ (J × J)
    pub fn covariance(&self) -> &DMatrix<f64> {
        &self.covariance
    }

    /// P = Σ⁻¹ (J × J)
    pub fn precision(&self) -> &DMatrix<f64> {
        &self.precision
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_inverts_the_covariance() {
        let a = DMatrix::from_row_slice(3, 3, &[2.0, 0.3, -0.1, 0.3, 1.0, 0.2, -0.1, 0.2, 0.5]);
        let prior =
            Prior::new(DVector::from_vec(vec![1.0, 0.0, -1.0]), a.clone()).expect("positive definite");
        assert!((prior.precision() * a - DMatrix::identity(3, 3)).amax() < 1e-14);
    }

    #[test]
    fn what_is_no_covariance_is_refused_by_name() {
        let mean = DVector::zeros(2);
        let refused = |rows: &[f64]| {
            Prior::new(mean.clone(), DMatrix::from_row_slice(2, 2, rows)).unwrap_err().to_string()
        };
        assert_eq!(
            refused(&[1.0, 0.0, 0.0, -1.0]),
            "the prior covariance is not symmetric and positive definite"
        );
        assert_eq!(
            refused(&[1.0, 0.5, 0.0, 1.0]),
            "the prior covariance is not symmetric and positive definite"
        );
        assert_eq!(
            refused(&[1.0, f64::NAN, 0.0, 1.0]),
            "prior covariance[0, 1] is NaN; only finite numbers are allowed"
        );
        let other_size = Prior::new(mean.clone(), DMatrix::identity(3, 3)).unwrap_err();
        assert_eq!(other_size.to_string(), "rows of the prior covariance has length 3, not 2");
    }
}
