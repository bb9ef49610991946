//! Ridge regression of several outputs at once, from sums over rows that are never all in memory.

use nalgebra::{Cholesky, DMatrix};

use super::MathError;

/// Σ xxᵀ, Σ xyᵀ and Σ ‖y‖² over rows x ∈ Rᵈ, y ∈ Rᴶ.
#[derive(Debug, Clone)]
pub struct NormalEquations {
    /// d × d
    xx: DMatrix<f64>,
    /// d × J
    xy: DMatrix<f64>,
    /// Σ ‖y‖²
    yy: f64,
}

impl NormalEquations {
    /// No rows yet.
    pub fn new(d: usize, j: usize) -> Self {
        Self { xx: DMatrix::zeros(d, d), xy: DMatrix::zeros(d, j), yy: 0.0 }
    }

    /// Adds the rows of X (n × d) and Y (n × J).
    pub fn add(&mut self, x: &DMatrix<f64>, y: &DMatrix<f64>) {
        self.xx.gemm_tr(1.0, x, x, 1.0);
        self.xy.gemm_tr(1.0, x, y, 1.0);
        self.yy += y.norm_squared();
    }

    /// Adds the rows of another.
    pub fn merge(&mut self, other: &Self) {
        self.xx += &other.xx;
        self.xy += &other.xy;
        self.yy += other.yy;
    }

    /// V (J × d) that minimises Σ ‖y − Vx‖² + ρ (tr Σxxᵀ / d) ‖V‖²_F: ρ is relative to the mean square of a coordinate.
    ///
    /// # Errors
    /// ρ that is not positive, or no row that is not zero.
    pub fn solve(&self, rho: f64) -> Result<DMatrix<f64>, MathError> {
        if !(rho > 0.0 && rho.is_finite()) {
            return Err(MathError::OutOfRange {
                what: "the ridge".to_owned(),
                value: rho,
                allowed: "(0, ∞)",
            });
        }
        let d = self.xx.nrows();
        let mut system = self.xx.clone();
        let scale = rho * self.xx.trace() / d.max(1) as f64;
        (0..d).for_each(|i| system[(i, i)] += scale);
        let cholesky = Cholesky::new(system).ok_or(MathError::Empty { what: "what the regression is of" })?;
        Ok(cholesky.solve(&self.xy).transpose())
    }

    /// Σ ‖y − Vx‖² over the rows.
    pub fn residual(&self, v: &DMatrix<f64>) -> f64 {
        let explained = 2.0 * (v * &self.xy).trace() - (v * &self.xx * v.transpose()).trace();
        self.yy - explained
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_small_ridge_finds_the_truth_and_a_large_one_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut matrix = |rows, columns| DMatrix::from_fn(rows, columns, |_, _| rng.random::<f64>() - 0.5);
        let truth = matrix(2, 5);
        let (mut sums, mut other) = (NormalEquations::new(5, 2), NormalEquations::new(5, 2));
        for part in [&mut sums, &mut other] {
            let x = matrix(40, 5);
            part.add(&x, &(&x * truth.transpose()));
        }
        sums.merge(&other);
        let v = sums.solve(1e-12).unwrap();
        assert!((&v - &truth).norm() < 1e-8);
        assert!(sums.residual(&v).abs() < 1e-9 && sums.yy > 0.1);
        assert!(sums.solve(1e9).unwrap().norm() < 1e-7);
        assert_eq!(sums.residual(&DMatrix::zeros(2, 5)), sums.yy);
    }

    /// The gradient of the penalised loss at the solution is zero, by central differences of [`NormalEquations::residual`].
    #[test]
    fn the_solution_is_where_the_gradient_is_zero() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut matrix = |rows, columns| DMatrix::from_fn(rows, columns, |_, _| rng.random::<f64>() - 0.5);
        let mut sums = NormalEquations::new(4, 3);
        sums.add(&matrix(30, 4), &matrix(30, 3));
        let rho = 0.3;
        let loss = |v: &DMatrix<f64>| sums.residual(v) + rho * sums.xx.trace() / 4.0 * v.norm_squared();
        let v = sums.solve(rho).unwrap();
        for at in 0..v.len() {
            let (mut above, mut below) = (v.clone(), v.clone());
            above[at] += 1e-4;
            below[at] -= 1e-4;
            assert!(((loss(&above) - loss(&below)) / 2e-4).abs() < 1e-6);
        }
    }

    #[test]
    fn what_cannot_be_solved_is_refused() {
        let sums = NormalEquations::new(3, 1);
        assert!(sums.solve(0.0).unwrap_err().to_string().contains("the ridge is 0"));
        assert!(sums.solve(1.0).is_err());
    }
}
