use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::{Engine, EngineError, ServingModel};
use crate::domain::{Candidates, Comparison, ModelVersion, PairKey, PoolName, TenantId};
use crate::math::questions::{Pool, Question, Seen};
use crate::store::Revision;

/// Texts that go to the model in one call while a pool's features are built: a prompt's candidates stay together.
const BATCH_TEXTS: usize = 256;

/// Prompts with responses and their φ under one model: what a question is chosen from.
pub(super) struct PoolFeatures {
    revision: Revision,
    prompts: Vec<Candidates>,
    pub(super) features: Pool,
    /// Where each pair is, so that what a user has seen is masked without looking at the rest.
    pairs: HashMap<PairKey, (usize, usize, usize)>,
}

impl PoolFeatures {
    /// Builds the features. Responses to one prompt must differ.
    pub(super) async fn build(
        revision: Revision,
        prompts: Vec<Candidates>,
        model: &ServingModel,
    ) -> Result<Self, EngineError> {
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
        Ok(Self { revision, features: Pool::new(&features)?, pairs: pairs(&prompts), prompts })
    }

    /// The pairs of this pool among those that a user has seen.
    pub(super) fn seen(&self, keys: &HashSet<PairKey>) -> Seen {
        let mut seen = Seen::default();
        for &(prompt, one, other) in keys.iter().filter_map(|key| self.pairs.get(key)) {
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

fn pairs(prompts: &[Candidates]) -> HashMap<PairKey, (usize, usize, usize)> {
    let mut pairs = HashMap::new();
    for (p, Candidates { prompt, responses }) in prompts.iter().enumerate() {
        for (i, one) in responses.iter().enumerate() {
            for (j, other) in responses.iter().enumerate().skip(i + 1) {
                pairs.insert(PairKey::new(prompt, one, other), (p, i, j));
            }
        }
    }
    pairs
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
    fn get(&self, key: &Key, revision: Revision) -> Option<Arc<PoolFeatures>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(key).filter(|pool| pool.revision >= revision).cloned()
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
    /// The pool as it is in the store now, with its features under `model`: one statement where nothing has changed.
    pub(super) async fn pool(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        model: &ServingModel,
    ) -> Result<Arc<PoolFeatures>, EngineError> {
        let not_found = || EngineError::PoolNotFound(pool.clone());
        let revision = self.store().pool_revision(tenant, pool).await?.ok_or_else(not_found)?;
        let key = (tenant.clone(), pool.clone(), model.version.clone());
        let cache = &self.shared.pools;
        if let Some(features) = cache.get(&key, revision) {
            return Ok(features);
        }
        let _building = cache.building.lock().await;
        if let Some(features) = cache.get(&key, revision) {
            return Ok(features);
        }
        let (revision, prompts) = self.store().pool_candidates(tenant, pool).await?.ok_or_else(not_found)?;
        let features = Arc::new(PoolFeatures::build(revision, prompts, model).await?);
        tracing::info!(
            pool.name = %pool, pool.revision = revision, pool.prompts = features.prompts.len(),
            pool.pairs = features.pairs.len(), "pool is in memory"
        );
        cache.put(key, features.clone());
        Ok(features)
    }
}
