use std::sync::Arc;
use std::time::Instant;

use futures::{StreamExt, stream};

use super::idempotency::Call;
use super::model_summary::ModelSummary;
use super::patience::patiently;
use super::{Engine, EngineError, ServingModel};
use crate::domain::{ModelVersion, RequestId, TenantId, UserId};
use crate::store::StoreError;

/// Users that are looked up at once.
const PAGE: u32 = 256;
/// Users that are refitted side by side: few, so that the model's queue stays open to those who are served.
const SIDE_BY_SIDE: usize = 4;
/// Times that all who lag are gone through. People who answer under the old model meanwhile lag again, fewer each time;
/// whoever is left is refitted when they come next.
const PASSES: usize = 8;

impl Engine {
    /// Makes a model the one that serves the tenant: READY → ACTIVATING → ACTIVE, and the one before RETIRED.
    ///
    /// The model is loaded and warmed while the old one serves, then everybody whose log is ahead of their fit under it
    /// is refitted from their stored answers. Only then does it serve. A user who answers between their refit and the
    /// change is fitted again before they are served. Questions asked under the old model stay answerable.
    ///
    /// The work goes on if the caller goes away. Waits at most the configured time, and then tells how it stands.
    pub async fn activate_model(
        &self,
        tenant: &TenantId,
        version: &ModelVersion,
        request_id: Option<RequestId>,
    ) -> Result<ModelSummary, EngineError> {
        let call = Call::new("ActivateModel", request_id, version)?;
        if let Some(first) = self.recall(tenant, None, &call).await? {
            return Ok(first);
        }
        let row = self.model_row(tenant, Some(version)).await?;
        // A model that cannot be loaded is refused while nothing has changed.
        let model = self.models().load_registered(&row).await?;
        let work = self.spawn_activation(tenant.clone(), model);
        match tokio::time::timeout(self.config().activation_wait, work).await {
            Ok(ended) => ended??,
            Err(_) => tracing::info!(%tenant, model.version = %version, "activation goes on"),
        }
        let summary = self.get_model(tenant, Some(version)).await?;
        self.remember(tenant, None, &call, summary).await
    }

    /// Takes up an activation that a server left half-way.
    pub(super) async fn resume_activation(
        &self,
        tenant: &TenantId,
        version: &ModelVersion,
    ) -> Result<(), EngineError> {
        let row = self.model_row(tenant, Some(version)).await?;
        match self.models().load_registered(&row).await {
            Ok(model) => drop(self.spawn_activation(tenant.clone(), model)),
            Err(error) => {
                tracing::error!(%tenant, model.version = %version, %error, "cannot go on activating")
            }
        }
        Ok(())
    }

    fn spawn_activation(
        &self,
        tenant: TenantId,
        model: Arc<ServingModel>,
    ) -> tokio::task::JoinHandle<Result<(), EngineError>> {
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let stop = engine.draining().clone();
            tokio::select! {
                ended = engine.activate(&tenant, &model) => {
                    if let Err(error) = &ended {
                        tracing::error!(%tenant, model.version = %model.version, %error, "activation failed");
                    }
                    ended
                }
                // Taken up again at the next start.
                () = stop.cancelled() => Err(EngineError::Draining),
            }
        })
    }

    /// Changes the tenant over to a model that is in memory.
    pub(super) async fn activate(
        &self,
        tenant: &TenantId,
        model: &Arc<ServingModel>,
    ) -> Result<(), EngineError> {
        match self.store().begin_activation(tenant, &model.version, self.now()).await {
            Ok(true) => {}
            Ok(false) => {
                self.models().set_active(tenant, model.clone());
                return Ok(());
            }
            Err(StoreError::Missing { .. }) => return Err(EngineError::ModelNotFound(model.version.clone())),
            Err(error) => return Err(error.into()),
        }
        for _ in 0..PASSES {
            if self.refit_lagging(tenant, model).await? == 0 {
                break;
            }
        }
        let finished = self.store().finish_activation(tenant, &model.version, self.now()).await?;
        // Not finished: another call was quicker, or another model is being activated instead.
        if finished || self.active_version(tenant).await?.as_ref() == Some(&model.version) {
            self.models().set_active(tenant, model.clone());
        }
        Ok(())
    }

    /// Goes through the users whose fit under `model` is behind their log; how many were refitted. One who cannot be is
    /// passed over, and hears why when they come.
    async fn refit_lagging(&self, tenant: &TenantId, model: &ServingModel) -> Result<usize, EngineError> {
        let mut refitted = 0;
        // Other servers take an activation up that nobody has spoken of for a while.
        let mut told = Instant::now();
        let mut after: Option<UserId> = None;
        loop {
            let users = self.store().lagging_users(tenant, &model.version, after.as_ref(), PAGE).await?;
            let Some(last) = users.last() else { return Ok(refitted) };
            after = Some(last.clone());
            let fits: Vec<_> = users.iter().map(|user| self.refit_one(tenant, user, model)).collect();
            let mut fits = stream::iter(fits).buffer_unordered(SIDE_BY_SIDE);
            while let Some(fit) = fits.next().await {
                if told.elapsed() > self.config().job_lease / 6 {
                    self.store().touch_activation(tenant, &model.version, self.now()).await?;
                    told = Instant::now();
                }
                match fit {
                    Ok(()) => refitted += 1,
                    Err(error @ EngineError::Store(StoreError::Unavailable(_))) => return Err(error),
                    Err(error) => {
                        tracing::warn!(%tenant, model.version = %model.version, %error, "a user was not refitted")
                    }
                }
            }
        }
    }

    async fn refit_one(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ServingModel,
    ) -> Result<(), EngineError> {
        patiently(|| self.refit(tenant, user, model)).await.map(drop)
    }
}
