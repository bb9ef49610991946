//! What other servers on the same database change: which model serves a tenant, what a pool holds, and who was
//! erased.
//!
//! A notification makes a change known within milliseconds. It is a hint only: every so often, and whenever the connection
//! that brings them was lost, the tables themselves are asked. How soon a server is up to date
//! rests on it: a pool's revision comes with every question, and who is served by the model before has their answers counted
//! under it. So does who may be remembered between calls, which is nobody while an erasure might go unheard.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::recent::Listening;
use super::{Engine, EngineError};
use crate::domain::{ModelVersion, PoolName, TenantId};
use crate::store::{Change, Changes, ModelState, ServingRow, StoreError};

/// An import tells of itself with every batch: the pool is made ready once nothing has come for so long.
const SETTLED: Duration = Duration::from_secs(1);
/// A server that changes a tenant over says so again more often than this, in leases of a job; else it has died.
const LEASES: i64 = 2;

impl Engine {
    /// Follows what other servers change until the engine drains, as one of its tasks.
    pub fn spawn_follower(&self) {
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let draining = engine.draining().clone();
            while !draining.is_cancelled() {
                let followed = draining.run_until_cancelled(engine.follow()).await;
                if let Some(Err(error)) = followed {
                    tracing::warn!(%error, "changes of other servers are not heard of; asking again shortly");
                }
                draining.run_until_cancelled(tokio::time::sleep(engine.config().change_poll)).await;
            }
        });
    }

    /// Follows over one connection, until it is lost.
    async fn follow(&self) -> Result<(), EngineError> {
        // Whatever happens once this listens will be heard; what happened before is looked at.
        let mut changes = self.heard().await;
        self.look_at_models().await?;
        let mut pools: HashMap<(TenantId, PoolName), Instant> = HashMap::new();
        let mut poll = tokio::time::interval(self.config().change_poll);
        let mut settle = tokio::time::interval(SETTLED);
        poll.reset();
        loop {
            tokio::select! {
                change = next(&mut changes) => match change? {
                    Change::Model(tenant) => asked_again(self.look_at_models_of(&tenant).await),
                    Change::Pool(tenant, pool) if self.shared.pools.holds(&tenant, &pool) => {
                        pools.insert((tenant, pool), Instant::now());
                    }
                    Change::Pool(..) => {}
                    Change::Erased(person) => self.shared.recent.erase(person),
                },
                () = self.models().wanted() => {
                    for tenant in self.models().waiting() {
                        asked_again(self.look_at_models_of(&tenant).await);
                    }
                }
                _ = settle.tick() => {
                    self.shared.recent.age();
                    pools.retain(|(tenant, pool), told| {
                        let settled = told.elapsed() >= SETTLED;
                        if settled {
                            self.spawn_pool(tenant, pool);
                        }
                        !settled
                    });
                }
                _ = poll.tick() => {
                    match &mut changes {
                        Ok(heard) => heard.changes.check().await?,
                        Err(_) => changes = self.heard().await,
                    }
                    // Where nothing is heard, asking is all there is.
                    asked_again(self.look_at_models().await);
                    self.models().forget_unused();
                    self.shared.pools.keep(|tenant, version| self.models().serves(tenant, version));
                }
            }
        }
    }

    async fn heard(&self) -> Result<Heard<'_>, StoreError> {
        let changes = self.store().changes().await?;
        Ok(Heard { changes, _listening: self.shared.recent.listen() })
    }

    async fn look_at_models(&self) -> Result<(), EngineError> {
        for row in self.store().all_serving_models().await? {
            self.look_at(row);
        }
        Ok(())
    }

    async fn look_at_models_of(&self, tenant: &TenantId) -> Result<(), EngineError> {
        for row in self.store().serving_models(tenant).await? {
            self.look_at(row);
        }
        Ok(())
    }

    /// Loads a model that serves and is not in memory, and takes up the work of a server that died.
    fn look_at(&self, row: ServingRow) {
        let ServingRow { tenant, model_version, state, changed } = row;
        let lease = i64::try_from(self.config().job_lease.as_millis()).unwrap_or(i64::MAX / LEASES);
        let needed = match state {
            ModelState::Active => self.models().needs(&tenant, &model_version),
            ModelState::Activating => self.now().saturating_sub(changed) > LEASES * lease,
            ModelState::Ready | ModelState::Retired => false,
        };
        let mut loading = self.shared.following.lock().unwrap_or_else(PoisonError::into_inner);
        if !needed || !loading.insert((tenant.clone(), model_version.clone())) {
            return;
        }
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let stop = engine.draining().clone();
            let work = async {
                match state {
                    ModelState::Active => engine.follow_model(&tenant, &model_version).await,
                    _ => engine.resume_activation(&tenant, &model_version).await,
                }
            };
            if let Some(Err(error)) = stop.run_until_cancelled(work).await {
                tracing::error!(%tenant, model.version = %model_version, %error, "the model that serves cannot be loaded");
            }
            let mut loading = engine.shared.following.lock().unwrap_or_else(PoisonError::into_inner);
            loading.remove(&(tenant, model_version));
        });
    }

    /// Brings a model into memory that another server has activated. Until it is there, the one before serves.
    async fn follow_model(&self, tenant: &TenantId, version: &ModelVersion) -> Result<(), EngineError> {
        self.models().expect_soon(tenant, version);
        let row = self.model_row(tenant, Some(version)).await?;
        let model = self.models().load_registered(&row).await?;
        // Another one may have been activated meanwhile, and be there before this one.
        if self.active_version(tenant).await?.as_ref() == Some(version) {
            self.models().set_active(tenant, model);
        }
        Ok(())
    }

    /// Makes a pool that has changed ready for the next question, or forgets one that is gone.
    fn spawn_pool(&self, tenant: &TenantId, pool: &PoolName) {
        let (engine, tenant, pool) = (self.clone(), tenant.clone(), pool.clone());
        self.shared.tasks.spawn(async move {
            let stop = engine.draining().clone();
            let work = async {
                let version = engine.store().pool_version(&tenant, &pool).await?;
                if version.is_none() {
                    engine.shared.pools.forget(&tenant, &pool);
                    return Ok(());
                }
                let model = engine.models().active(&tenant)?;
                engine.pool(&tenant, &pool, version, &model).await.map(drop)
            };
            if let Some(Err::<(), EngineError>(error)) = stop.run_until_cancelled(work).await {
                tracing::warn!(%tenant, pool.name = %pool, %error, "a pool is made ready with the next question");
            }
        });
    }
}

/// A look that failed is taken again with the next poll; what is heard meanwhile need not be lost for it.
fn asked_again(looked: Result<(), EngineError>) {
    if let Err(error) = looked {
        tracing::warn!(%error, "which models serve is asked again shortly");
    }
}

/// A connection that changes are heard on. While it lives, people may be remembered.
struct Heard<'a> {
    changes: Changes,
    _listening: Listening<'a>,
}

/// The next change; never, where there is nothing to hear it with.
async fn next(changes: &mut Result<Heard<'_>, StoreError>) -> Result<Change, StoreError> {
    match changes {
        Ok(heard) => heard.changes.next().await,
        Err(_) => std::future::pending().await,
    }
}
