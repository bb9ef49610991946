use super::{Engine, EngineError, Profile};
use crate::domain::{TenantId, UserId};
use crate::math::questions::CONVERGED_BITS;
use crate::store::Revision;

impl Engine {
    /// What is known of a user.
    pub async fn get_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        min_revision: Revision,
    ) -> Result<Profile, EngineError> {
        let model = self.models().active(tenant)?;
        let person = self.person(tenant, user, &model, min_revision).await?;
        let person = person.ok_or_else(|| EngineError::UserNotFound(user.clone()))?;
        let position = (person.answers, person.revision);
        let converged = self.is_converged(tenant, user).await?;
        Ok(Profile::new(user, &model, &person.posterior, position, converged))
    }

    /// Whether the best question that was chosen last told next to nothing.
    pub(super) async fn is_converged(&self, tenant: &TenantId, user: &UserId) -> Result<bool, EngineError> {
        let gain = self.store().latest_information_gain(tenant, user).await?;
        Ok(gain.is_some_and(|bits| bits < CONVERGED_BITS))
    }
}
