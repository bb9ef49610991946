use super::{Engine, EngineError};
use crate::domain::TenantId;
use crate::store::ModelState;

impl Engine {
    /// Loads the active models of all tenants, that of the default one first. One of another tenant that cannot be loaded
    /// is that tenant's trouble, and is logged.
    pub async fn load_active_models(&self) -> Result<(), EngineError> {
        let serving = self.store().all_serving_models().await?;
        // Before any is loaded: what is on its way is not "no model".
        for row in serving.iter().filter(|row| row.state == ModelState::Active) {
            self.models().expect_soon(&row.tenant, &row.model_version);
        }
        let default = TenantId::default_tenant();
        self.load_active_model(&default).await?;
        let mut tenants: Vec<_> = serving.into_iter().map(|row| row.tenant).collect();
        tenants.dedup();
        for tenant in tenants.iter().filter(|tenant| **tenant != default) {
            if self.models().send_away_if_full(tenant) {
                continue;
            }
            if let Err(error) = self.load_active_model(tenant).await {
                tracing::error!(%tenant, %error, "the tenant's model cannot be loaded");
            }
        }
        Ok(())
    }

    /// Loads the tenant's active model, if it has one; the server is ready, or known to have no model, afterwards.
    /// Takes up a change to another model that a server left half-way.
    pub async fn load_active_model(&self, tenant: &TenantId) -> Result<(), EngineError> {
        let serving = self.store().serving_models(tenant).await?;
        let of_state =
            |wanted| serving.iter().find(|row| row.state == wanted).map(|row| row.model_version.clone());
        match of_state(ModelState::Active) {
            Some(version) => {
                self.models().expect_soon(tenant, &version);
                let row = self.model_row(tenant, Some(&version)).await?;
                let model = self.models().load_registered(&row).await?;
                self.models().set_active(tenant, model);
            }
            None => {
                tracing::info!(%tenant, "no model is active yet");
                self.models().know_of_no_model();
            }
        }
        match of_state(ModelState::Activating) {
            Some(version) => self.resume_activation(tenant, &version).await,
            None => Ok(()),
        }
    }
}
