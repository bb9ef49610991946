use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};

use nalgebra::DVector;

use super::last_used::{LastUsed, Uses};
use super::pair_index::PairIndex;
use super::patience::patiently;
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
                let texts = std::mem::take(&mut batch);
                // Whoever brings candidates of their own is told that there is no place in the queue.
                let rows = if is_small {
                    asked(texts, model).await?
                } else {
                    patiently(|| asked(texts.clone(), model)).await?
                };
                let mut rows = rows.into_iter();
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

    /// What it takes of memory.
    fn bytes(&self) -> usize {
        let texts = self.prompts.iter().flat_map(|c| c.responses.iter().chain([&c.prompt]));
        let texts: usize = texts.map(|text| text.capacity() + size_of::<String>()).sum();
        texts + self.features.bytes() + self.pairs.bytes()
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

async fn asked(texts: Vec<(String, String)>, model: &ServingModel) -> Result<Vec<DVector<f64>>, EngineError> {
    Ok(model.resident.features(texts).await?)
}

type Key = (TenantId, PoolName, ModelVersion);

/// Pools in memory, one entry for each (pool, model), rebuilt when the pool's revision has moved on.
pub(super) struct PoolCache {
    entries: RwLock<HashMap<Key, Entry>>,
    uses: Uses,
    /// What all of them may take.
    most_bytes: usize,
    /// One build at a time: a second caller finds what the first has built.
    building: Arc<tokio::sync::Mutex<()>>,
}

struct Entry {
    pool: Arc<PoolFeatures>,
    bytes: usize,
    used: LastUsed,
}

impl PoolCache {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self { entries: RwLock::default(), uses: Uses::default(), most_bytes, building: Arc::default() }
    }

    fn get(&self, key: &Key, version: PoolVersion) -> Option<Arc<PoolFeatures>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let is_new =
            |pool: &PoolVersion| pool.created == version.created && pool.revision >= version.revision;
        let entry = entries.get(key).filter(|entry| is_new(&entry.pool.version))?;
        self.uses.again(&entry.used);
        Some(entry.pool.clone())
    }

    /// Whether the pool is in memory, in whatever version.
    pub(super) fn holds(&self, tenant: &TenantId, pool: &PoolName) -> bool {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.keys().any(|(of, name, _)| (of, name) == (tenant, pool))
    }

    /// Keeps the newest features of a pool; those of models that no longer serve it go, and pools used longest ago where
    /// all of them take too much.
    fn put(&self, key: Key, pool: Arc<PoolFeatures>) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(tenant, name, _), _| (tenant, name) != (&key.0, &key.1));
        let bytes = pool.bytes();
        let mut total = bytes + entries.values().map(|entry| entry.bytes).sum::<usize>();
        while total > self.most_bytes
            && let Some(oldest) =
                entries.iter().min_by_key(|(_, entry)| entry.used.when()).map(|(key, _)| key.clone())
        {
            total -= entries.remove(&oldest).map_or(0, |entry| entry.bytes);
            tracing::info!(tenant = %oldest.0, pool.name = %oldest.1, "pool makes room for another");
        }
        entries.insert(key, Entry { pool, bytes, used: self.uses.first() });
    }

    /// Forgets pools of tenants under models that no longer serve them.
    pub(super) fn keep(&self, is_served: impl Fn(&TenantId, &ModelVersion) -> bool) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(tenant, _, version), _| is_served(tenant, version));
    }

    pub(super) fn forget(&self, tenant: &TenantId, pool: &PoolName) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(of, name, _), _| (of, name) != (tenant, pool));
    }
}

impl Engine {
    /// The pool as it is in the store at `version` or later, with its features under `model`: no statement where nothing has
    /// changed. Where it has to be built, that goes on if the caller goes away, so that a pool that takes longer than a call
    /// may is there in the end.
    pub(super) async fn pool(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        version: Option<PoolVersion>,
        model: &Arc<ServingModel>,
    ) -> Result<Arc<PoolFeatures>, EngineError> {
        let version = version.ok_or_else(|| EngineError::PoolNotFound(pool.clone()))?;
        let key = (tenant.clone(), pool.clone(), model.version.clone());
        let cache = &self.shared.pools;
        if let Some(features) = cache.get(&key, version) {
            return Ok(features);
        }
        let building = cache.building.clone().lock_owned().await;
        if let Some(features) = cache.get(&key, version) {
            return Ok(features);
        }
        let (engine, model) = (self.clone(), model.clone());
        let built = self.shared.tasks.spawn(async move {
            let _building = building;
            let stop = engine.draining().clone();
            stop.run_until_cancelled(engine.build_pool(key, &model))
                .await
                .unwrap_or(Err(EngineError::Draining))
        });
        built.await?
    }

    async fn build_pool(&self, key: Key, model: &ServingModel) -> Result<Arc<PoolFeatures>, EngineError> {
        let (tenant, pool, _) = &key;
        let stored = self.store().pool_candidates(tenant, pool).await?;
        let (version, prompts) = stored.ok_or_else(|| EngineError::PoolNotFound(pool.clone()))?;
        let features = Arc::new(PoolFeatures::build(version, prompts, model).await?);
        tracing::info!(
            pool.name = %pool, pool.revision = version.revision, pool.prompts = features.prompts.len(),
            pool.pairs = features.pairs.len(), pool.bytes = features.bytes(), "pool is in memory"
        );
        self.shared.pools.put(key, features.clone());
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: PoolVersion = PoolVersion { created: 1, revision: 1 };

    fn key(pool: &str) -> Key {
        (TenantId::default_tenant(), PoolName::parse(pool).unwrap(), ModelVersion::parse("v1").unwrap())
    }

    fn pool() -> Arc<PoolFeatures> {
        let responses = vec!["short".to_owned(), "rather longer".to_owned()];
        let prompts = vec![Candidates { prompt: "x".to_owned(), responses }];
        let features = [[1.0, 2.0].map(|phi| nalgebra::DVector::from_element(3, phi))];
        let (features, pairs) = (Pool::new(&features).unwrap(), PairIndex::new(&prompts));
        Arc::new(PoolFeatures { version: ONE, prompts, features, pairs })
    }

    #[test]
    fn the_pool_used_longest_ago_makes_room() {
        let two = 2 * pool().bytes();
        let cache = PoolCache::new(two);
        cache.put(key("a"), pool());
        cache.put(key("b"), pool());
        assert!(cache.get(&key("a"), ONE).is_some());
        cache.put(key("c"), pool());
        let held = ["a", "b", "c"].map(|name| cache.get(&key(name), ONE).is_some());
        assert_eq!(held, [true, false, true]);
        // One alone is kept, whatever it takes.
        let cache = PoolCache::new(0);
        cache.put(key("a"), pool());
        cache.put(key("b"), pool());
        assert_eq!(["a", "b"].map(|name| cache.get(&key(name), ONE).is_some()), [false, true]);
    }

    #[test]
    fn pools_of_models_that_serve_nobody_are_forgotten() {
        let cache = PoolCache::new(1 << 20);
        cache.put(key("a"), pool());
        cache.keep(|_, version| version.as_str() == "v1");
        assert!(cache.get(&key("a"), ONE).is_some());
        cache.keep(|_, _| false);
        assert!(!cache.holds(&TenantId::default_tenant(), &PoolName::parse("a").unwrap()));
    }
}
