use super::{Engine, EngineError};
use crate::domain::{TenantId, UserId};
use crate::store::{PreferenceRow, Revision};

impl Engine {
    /// The user's log, oldest first, the lines after position `after`, at most `limit`.
    pub async fn list_preferences(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Revision,
        limit: u32,
    ) -> Result<Vec<PreferenceRow>, EngineError> {
        let lines = self.store().list_preferences(tenant, user, after, limit).await?;
        if lines.is_empty() && self.store().user_revision(tenant, user).await?.is_none() {
            return Err(EngineError::UserNotFound(user.clone()));
        }
        Ok(lines)
    }
}
