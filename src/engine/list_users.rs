use super::{Engine, EngineError};
use crate::domain::{TenantId, UserId};
use crate::store::UserRow;

impl Engine {
    /// The tenant's users in the order of their names, those after `after`, at most `limit`. Their answers are counted
    /// where they have been fitted under the active model.
    pub async fn list_users(
        &self,
        tenant: &TenantId,
        after: Option<&UserId>,
        limit: u32,
    ) -> Result<Vec<UserRow>, EngineError> {
        let model = self.models().active(tenant).ok();
        Ok(self.store().list_users(tenant, model.as_ref().map(|model| &model.version), after, limit).await?)
    }
}
