use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::pair_index::PairIndex;
use super::{Engine, EngineError, ServingModel};
use crate::domain::{Candidates, Comparison, ModelVersion, PairKey, PoolName, TenantId};
use crate::math::questions::{Pool, Question, Seen};
use crate::store::PoolVersion;

/// Texts that go to the model in one call while a pool's features are built: a prompt's candidates stay together.
const BATCH_TEXTS: usize = 256;

/// Prompts with responses and their φ under one model: what a question is chosen from.
pub(super) struct PoolFeatures {
    version: PoolVersion,
    prompts: Vec<Candidates>,
    pub(super) features: Pool,
    pairs: PairIndex,
}

impl PoolFeatures {
    /// Builds the features. Responses to one prompt must differ.
    pub(super) async fn build(
        version: PoolVersion,
        prompts: Vec<Candidates>,
        model: &ServingModel,
    ) -> Result<Self, EngineError> {
        let is_small = prompts.len() == 1;
        let mut features = Vec::with_capacity(prompts.len());
        let mut batch = Vec::new();
        let mut waiting = Vec::new();
        for (index, candidates) in prompts.iter().enumerate() {
            batch.extend(
                candidates.responses.iter().map(|response| (candidates.prompt.clone(), response.clone())),
            );
            waiting.push(candidates.responses.len());
            if batch.len() >= BATCH_TEXTS || index + 1 == prompts.len() {
                let mut rows = model.resident.features(std::mem::take(&mut batch)).await?.into_iter();
                features.extend(
                    waiting.drain(..).map(|responses| rows.by_ref().take(responses).collect::<Vec<_>>()),
                );
            }
        }
        let built = move || -> Result<Self, EngineError> {
            Ok(Self { version, features: Pool::new(&features)?, pairs: PairIndex::new(&prompts), prompts })
        };
        // A few pairs take less time than another thread.
        if is_small { built() } else { tokio::task::spawn_blocking(built).await? }
    }

    /// The pairs of this pool among those that a user has seen.
    pub(super) fn seen(&self, keys: &HashSet<PairKey>) -> Seen {
        let mut seen = Seen::default();
        for (prompt, one, other) in keys.iter().filter_map(|key| self.pairs.find(key, &self.prompts)) {
            seen.insert(prompt, one, other);
        }
        seen
    }

    /// The texts of a question.
    pub(super) fn comparison(&self, question: &Question) -> Comparison {
        let candidates = &self.prompts[question.prompt];
        Comparison {
            prompt: candidates.prompt.clone(),
            response_a: candidates.responses[question.first].clone(),
            response_b: candidates.responses[question.second].clone(),
        }
    }
}

type Key = (TenantId, PoolName, ModelVersion);

/// Pools in memory, one entry for each (pool, model), rebuilt when the pool's revision has moved on.
#[derive(Default)]
pub(super) struct PoolCache {
    entries: RwLock<HashMap<Key, Arc<PoolFeatures>>>,
    /// One build at a time: a second caller finds what the first has built.
    building: tokio::sync::Mutex<()>,
}

impl PoolCache {
    fn get(&self, key: &Key, version: PoolVersion) -> Option<Arc<PoolFeatures>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let is_new =
            |pool: &PoolVersion| pool.created == version.created && pool.revision >= version.revision;
        entries.get(key).filter(|pool| is_new(&pool.version)).cloned()
    }

    /// Whether the pool is in memory, in whatever version.
    pub(super) fn holds(&self, tenant: &TenantId, pool: &PoolName) -> bool {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.keys().any(|(of, name, _)| (of, name) == (tenant, pool))
    }

    /// Keeps the newest features of a pool; those of models that no longer serve it go.
    fn put(&self, key: Key, pool: Arc<PoolFeatures>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(tenant, name, _), _| (tenant, name) != (&key.0, &key.1));
        entries.insert(key, pool);
    }

    pub(super) fn forget(&self, tenant: &TenantId, pool: &PoolName) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(of, name, _), _| (of, name) != (tenant, pool));
    }
}

impl Engine {
    /// The pool as it is in the store at `version` or later, with its features under `model`: no statement where nothing has
    /// changed.
    pub(super) async fn pool(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        version: Option<PoolVersion>,
        model: &ServingModel,
    ) -> Result<Arc<PoolFeatures>, EngineError> {
        let not_found = || EngineError::PoolNotFound(pool.clone());
        let version = version.ok_or_else(not_found)?;
        let key = (tenant.clone(), pool.clone(), model.version.clone());
        let cache = &self.shared.pools;
        if let Some(features) = cache.get(&key, version) {
            return Ok(features);
        }
        let _building = cache.building.lock().await;
        if let Some(features) = cache.get(&key, version) {
            return Ok(features);
        }
        let (version, prompts) = self.store().pool_candidates(tenant, pool).await?.ok_or_else(not_found)?;
        let features = Arc::new(PoolFeatures::build(version, prompts, model).await?);
        tracing::info!(
            pool.name = %pool, pool.revision = version.revision, pool.prompts = features.prompts.len(),
            pool.pairs = features.pairs.len(), "pool is in memory"
        );
        cache.put(key, features.clone());
        Ok(features)
    }
}
