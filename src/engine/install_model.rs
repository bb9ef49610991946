use std::sync::Arc;

use super::{Engine, EngineError, ServingModel};
use crate::domain::TenantId;
use crate::model::Manifest;

impl Engine {
    /// Registers the artifact at `location` as the tenant's and activates it. An artifact that is registered already
    /// is only activated.
    ///
    /// # Errors
    /// An artifact that cannot be loaded; another one registered under its version.
    pub async fn install_model(
        &self,
        tenant: &TenantId,
        location: &str,
    ) -> Result<Arc<ServingModel>, EngineError> {
        let model = self.models().load(location).await?;
        let manifest = serde_json::to_string(model.manifest())?;
        let new = self
            .store()
            .register_model(Some(tenant), &model.version, &manifest, location, self.now())
            .await?;
        if !new {
            let registered = self.model_row(tenant, Some(&model.version)).await?;
            let known: Manifest = serde_json::from_str(&registered.manifest)?;
            if !known.is_same_model(model.manifest()) {
                return Err(EngineError::VersionTaken {
                    version: model.version.clone(),
                    location: registered.location,
                });
            }
        }
        self.activate(tenant, &model).await?;
        Ok(model)
    }
}
