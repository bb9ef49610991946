use nalgebra::{DMatrix, DVector};

use super::{Engine, EngineError, ServingModel};
use crate::domain::{TenantId, UserId};
use crate::math::Posterior;
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

    /// From a stored fit, if it is that of `revision`; nothing if the user has to be fitted again.
    pub(super) fn stored(
        model: &ServingModel,
        revision: Revision,
        posterior: Option<StoredPosterior>,
    ) -> Result<Option<Self>, EngineError> {
        match posterior {
            Some(stored) if stored.revision == revision => {
                let answers = stored.answers;
                Ok(Some(Self { posterior: unpack(stored)?, answers, revision }))
            }
            None if revision == 0 => Ok(Some(Self::average(model))),
            _ => Ok(None),
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
            Some(row) => match Person::stored(model, row.revision, row.posterior)? {
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

fn unpack(stored: StoredPosterior) -> Result<Posterior, EngineError> {
    let j = stored.coefficients.len();
    if stored.hessian.len() != j * j {
        return Err(crate::math::MathError::Dimension {
            what: "a stored Hessian".to_owned(),
            expected: j * j,
            given: stored.hessian.len(),
        }
        .into());
    }
    let hessian = DMatrix::from_row_slice(j, j, &stored.hessian);
    Ok(Posterior::from_parts(DVector::from_vec(stored.coefficients), hessian)?)
}
