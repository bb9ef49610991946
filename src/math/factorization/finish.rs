//! From the head found to what is kept: the population prior and the canonical basis.

use nalgebra::DMatrix;

use super::canonical::{Canonical, negative_signs};
use super::maximize::Likelihood;
use super::population::{EmOptions, expectation_maximization, fit_all};
use super::start::Started;
use super::{Factorization, Hyperparameters, Problem};
use crate::math::{MathError, Prior, SolverReport};

/// The spread of two more people, the same in every direction: what few users leave uncertain is not taken for certain.
const EM: EmOptions = EmOptions { rounds: 60, tolerance: 1e-4, pseudo_users: 2.0 };

impl Problem {
    /// The factorization kept: N(μ, Σ) by EM for the head found, scaled to N(b(m + r(μ − m)), cΣ)
    /// ([`Scales`](super::Scales)), the classic reward in the span of φ, in the canonical basis.
    pub(super) fn finish(
        &self,
        likelihood: &Likelihood<'_>,
        started: Started,
        report: SolverReport,
        hyperparameters: &Hyperparameters,
    ) -> Result<Factorization, MathError> {
        let Started { state, spectrum, start } = started;
        let j = state.head.nrows();
        let fitted = Prior::new(state.mean, DMatrix::identity(j, j))?;
        let second_moment =
            &state.head * DMatrix::from_diagonal(&self.basis.moments) * state.head.transpose();
        // The EM is run where E[δδᵀ] = I, so that its shrinkage towards the same spread in every direction means the
        // same spread of logits.
        let whitened = Canonical::new(&second_moment, fitted.covariance())?;
        let fitted = whitened.prior(&fitted)?;
        let mut head = &whitened.features * &state.head;
        let along_classic =
            hyperparameters.ridge.and_then(|ridge| self.take_in_classic(ridge, &fitted, &mut head));
        let rows = likelihood.rows(&head);
        let (population, posteriors) = expectation_maximization(&rows, fitted, &EM)?;
        let shared = along_classic.map(|v| &v * v.dot(population.mean()));
        let prior = hyperparameters.scales().of(&population, shared.as_ref())?;

        let k = head.nrows();
        let mut canonical = Canonical::new(&DMatrix::identity(k, k), prior.covariance())?;
        let turned = &canonical.features * &head;
        let features = self.basis.project(&turned);
        let unfolded = self.basis.unfold(&turned);
        canonical.flip(&negative_signs(&features, &unfolded, &self.cells.pairs, self.style.as_deref()));

        let starts: Vec<_> = posteriors.iter().map(|p| p.coefficients().clone()).collect();
        let mut coefficients = DMatrix::zeros(posteriors.len(), k);
        for (i, posterior) in fit_all(&rows, &prior, &DMatrix::from_columns(&starts)).iter().enumerate() {
            let lambda = &canonical.coefficients * posterior.coefficients();
            coefficients.row_mut(i).copy_from(&lambda.transpose());
        }
        Ok(Factorization {
            head: self.basis.unfold(&(&canonical.features * &head)),
            coefficients,
            prior: canonical.prior(&prior)?,
            shared: shared.map(|shared| &canonical.coefficients * shared),
            spectrum,
            start,
            report,
            hyperparameters: *hyperparameters,
        })
    }
}
