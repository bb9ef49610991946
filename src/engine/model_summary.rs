use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Engine, EngineError};
use crate::domain::{ModelVersion, Reliability, TenantId};
use crate::model::Manifest;
use crate::store::{ModelRow, ModelState, UnixMillis};

/// A model, as a tenant sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelSummary {
    /// Its name.
    pub version: ModelVersion,
    /// Whether it serves this tenant.
    pub state: ModelState,
    /// Whether every tenant may use it.
    pub shared: bool,
    /// J
    pub base_functions: usize,
    /// The backbone's name.
    pub backbone: String,
    /// When it was trained.
    pub created: UnixMillis,
    /// Figures of its training by name.
    pub metrics: BTreeMap<String, f64>,
    /// People it was trained on.
    pub users: usize,
    /// Judgments it was trained on.
    pub comparisons: u64,
    /// People it was trained on who have been erased since.
    pub erased_users: i64,
    /// Digest of the data.
    pub data_digest: String,
    /// Log position of the data, where the log was used.
    pub log_position: Option<i64>,
    /// Weight of a TIE.
    pub tie_weight: f64,
    /// How far answers hold.
    #[serde(default)]
    pub reliability: Reliability,
}

impl Engine {
    /// A model; the active one where no version is given.
    pub async fn get_model(
        &self,
        tenant: &TenantId,
        version: Option<&ModelVersion>,
    ) -> Result<ModelSummary, EngineError> {
        ModelSummary::read(self.model_row(tenant, version).await?).map(|(summary, _)| summary)
    }

    /// The tenant's models in the order of their names, those after `after`, at most `limit`.
    pub async fn list_models(
        &self,
        tenant: &TenantId,
        after: Option<&ModelVersion>,
        limit: u32,
    ) -> Result<Vec<ModelSummary>, EngineError> {
        let rows = self.store().list_models(tenant, after, limit).await?;
        rows.into_iter().map(|row| ModelSummary::read(row).map(|(summary, _)| summary)).collect()
    }

    pub(super) async fn model_row(
        &self,
        tenant: &TenantId,
        version: Option<&ModelVersion>,
    ) -> Result<ModelRow, EngineError> {
        let version = match version {
            Some(version) => version.clone(),
            None => self.active_version(tenant).await?.ok_or(EngineError::NoActiveModel)?,
        };
        self.store().model(tenant, &version).await?.ok_or(EngineError::ModelNotFound(version))
    }

    /// The version that serves the tenant, by the store.
    pub(super) async fn active_version(
        &self,
        tenant: &TenantId,
    ) -> Result<Option<ModelVersion>, EngineError> {
        let serving = self.store().serving_models(tenant).await?;
        let active = serving.into_iter().find(|row| row.state == ModelState::Active);
        Ok(active.map(|row| row.model_version))
    }
}

impl ModelSummary {
    /// Of a row of the registry, with the manifest that it holds.
    pub(super) fn read(row: ModelRow) -> Result<(Self, Manifest), EngineError> {
        let manifest: Manifest = serde_json::from_str(&row.manifest)?;
        let figures =
            manifest.metrics.iter().filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)));
        let summary = Self {
            version: row.model_version,
            state: row.state,
            shared: row.owner.is_none(),
            base_functions: manifest.base_functions,
            backbone: manifest.backbone.id.clone(),
            created: manifest.created_unix_ms,
            metrics: figures.collect(),
            users: manifest.training_users.hashes.len(),
            comparisons: manifest.metrics.get("judgments").and_then(|count| count.as_u64()).unwrap_or(0),
            erased_users: row.erased_users,
            data_digest: manifest.data_digest.clone(),
            log_position: manifest.log_position,
            tie_weight: manifest.tie_weight,
            reliability: manifest.reliability,
        };
        Ok((summary, manifest))
    }
}
