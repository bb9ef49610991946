use super::{Engine, EngineError};
use crate::domain::{ModelVersion, TenantId, UserId};
use crate::model::Manifest;
use crate::store::Erasure;

/// Models that are looked through at once for those that the user was part of.
const PAGE: u32 = 100;

impl Engine {
    /// Erases every trace of a user. A repeat within a day succeeds.
    pub async fn delete_user(&self, tenant: &TenantId, user: &UserId) -> Result<(), EngineError> {
        let _turn = self.turn(tenant, user).await;
        let trained_on = self.models_trained_on(tenant, user).await?;
        match self.store().delete_user(tenant, user, &trained_on, self.now()).await? {
            Erasure::Erased | Erasure::AlreadyErased => {
                self.shared.recent.erase(self.store().user_hash(tenant, user));
                Ok(())
            }
            Erasure::NotFound => Err(EngineError::UserNotFound(user.clone())),
        }
    }

    /// The models whose training saw the user's comparisons, by the salted hashes of their manifests.
    async fn models_trained_on(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Vec<ModelVersion>, EngineError> {
        let mut trained_on = Vec::new();
        let mut after: Option<ModelVersion> = None;
        loop {
            let page = self.store().list_models(tenant, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(trained_on) };
            after = Some(last.model_version.clone());
            for row in page {
                let manifest: Manifest = serde_json::from_str(&row.manifest)?;
                if manifest.was_trained_on(user.as_str()) {
                    trained_on.push(row.model_version);
                }
            }
        }
    }
}
