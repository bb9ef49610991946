use std::sync::Arc;

use super::{Engine, EngineError, ServingModel};
use crate::domain::{ModelVersion, TenantId};

/// Users that are refitted between two looks at who is left.
const PAGE: u32 = 256;

impl Engine {
    /// Registers the artifact at `location` as the tenant's and activates it. An artifact that is registered already
    /// is only activated.
    pub async fn install_model(
        &self,
        tenant: &TenantId,
        location: &str,
    ) -> Result<Arc<ServingModel>, EngineError> {
        let model = self.models().load(location).await?;
        let manifest = serde_json::to_string(model.manifest())?;
        self.store().register_model(Some(tenant), &model.version, &manifest, location, self.now()).await?;
        self.activate_model(tenant, &model.version).await
    }

    /// Makes a model the one that serves the tenant. Everybody is refitted under it before it does; whoever answers
    /// meanwhile is refitted when they are next looked at.
    pub async fn activate_model(
        &self,
        tenant: &TenantId,
        version: &ModelVersion,
    ) -> Result<Arc<ServingModel>, EngineError> {
        let not_found = || EngineError::ModelNotFound(version.clone());
        let row = self.store().model(tenant, version).await?.ok_or_else(not_found)?;
        let model = self.models().load(&row.location).await?;
        if self.store().begin_activation(tenant, version, self.now()).await? {
            self.refit_lagging(tenant, &model).await?;
            if !self.store().finish_activation(tenant, version, self.now()).await? {
                return Err(EngineError::LostRace);
            }
        }
        self.models().set_active(tenant, model.clone());
        Ok(model)
    }

    async fn refit_lagging(&self, tenant: &TenantId, model: &ServingModel) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let users = self.store().lagging_users(tenant, &model.version, after.as_ref(), PAGE).await?;
            let Some(last) = users.last() else { return Ok(()) };
            after = Some(last.clone());
            for user in &users {
                self.refit(tenant, user, model).await?;
            }
        }
    }
}
