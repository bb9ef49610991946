use super::{Engine, EngineError, Profile};
use crate::domain::{TenantId, UserId};
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
        Ok(Profile::new(user, &model, &person.posterior, position, false))
    }
}
