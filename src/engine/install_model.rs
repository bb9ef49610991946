use std::sync::Arc;

use super::{Engine, EngineError, ServingModel};
use crate::domain::TenantId;

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
        self.activate(tenant, &model).await?;
        Ok(model)
    }
}
