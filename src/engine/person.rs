use nalgebra::{DMatrix, DVector};

use super::{Engine, EngineError, ServingModel};
use crate::domain::{TenantId, UserId};
use crate::math::{MathError, Posterior};
use crate::store::{Revision, StoredPosterior};

/// A user as the verbs that read need them: what is known at one revision, under one model.
pub(super) struct Person {
    pub(super) posterior: Posterior,
    pub(super) answers: i64,
    pub(super) revision: Revision,
}

impl Person {
    /// Somebody of whom nothing is known: the average user.
    pub(super) fn average(model: &ServingModel) -> Self {
        Self { posterior: Posterior::of_prior(&model.prior), answers: 0, revision: 0 }
    }

    /// From a stored fit, if it is that of `revision`; nothing if the user has to be fitted again, as where the fit cannot be
    /// used: it follows from the log, which is the truth.
    pub(super) fn stored(
        model: &ServingModel,
        revision: Revision,
        posterior: Option<StoredPosterior>,
    ) -> Option<Self> {
        match posterior {
            Some(stored) if stored.revision == revision => {
                let answers = stored.answers;
                match unpack(stored) {
                    Ok(posterior) => Some(Self { posterior, answers, revision }),
                    Err(error) => {
                        tracing::warn!(%error, "a stored fit cannot be used, and is made again");
                        None
                    }
                }
            }
            None if revision == 0 => Some(Self::average(model)),
            _ => None,
        }
    }
}

impl Engine {
    /// The user at their newest revision, which must be at least `min_revision`; nothing if there is no such user.
    ///
    /// One statement, unless the model came to be active after the user's last answer: then they are fitted first.
    pub(super) async fn person(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ServingModel,
        min_revision: Revision,
    ) -> Result<Option<Person>, EngineError> {
        let person = match self.store().user(tenant, user, &model.version).await? {
            None => None,
            Some(row) => match Person::stored(model, row.revision, row.posterior) {
                Some(person) => Some(person),
                None => self.refit(tenant, user, model).await?,
            },
        };
        let revision = person.as_ref().map_or(0, |person| person.revision);
        if revision < min_revision {
            return Err(EngineError::RevisionNotReached { user: user.clone(), revision, min_revision });
        }
        Ok(person)
    }
}

fn unpack(stored: StoredPosterior) -> Result<Posterior, MathError> {
    let j = stored.coefficients.len();
    if stored.hessian.len() != j * j {
        let what = "a stored Hessian".to_owned();
        return Err(MathError::Dimension { what, expected: j * j, given: stored.hessian.len() });
    }
    let hessian = DMatrix::from_row_slice(j, j, &stored.hessian);
    Posterior::from_parts(DVector::from_vec(stored.coefficients), hessian)
}
