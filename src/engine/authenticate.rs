use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

use super::{Engine, EngineError};
use crate::domain::{ApiKey, Caller};
use crate::store::{ApiKeyRow, UnixMillis};

/// Keys that are remembered; beyond that all are forgotten, and looked up again.
const REMEMBERED: usize = 65_536;
/// Look-ups side by side: whoever tries keys that do not exist leaves the database to the others.
const SIDE_BY_SIDE: usize = 4;

/// Keys as the store had them a moment ago, so that a call costs it no statement.
pub(super) struct KeyCache {
    known: RwLock<HashMap<String, Known>>,
    look_ups: Semaphore,
}

#[derive(Clone)]
struct Known {
    row: Arc<ApiKeyRow>,
    caller: Arc<Caller>,
    read: UnixMillis,
}

impl Default for KeyCache {
    fn default() -> Self {
        Self { known: RwLock::default(), look_ups: Semaphore::new(SIDE_BY_SIDE) }
    }
}

impl Engine {
    /// Who calls with this key. A key that was taken back is refused no later than [`EngineConfig::key_memory`] afterwards,
    /// on every server; one that was just made works at once.
    ///
    /// [`EngineConfig::key_memory`]: super::EngineConfig::key_memory
    pub async fn authenticate(&self, key: &ApiKey) -> Result<Arc<Caller>, EngineError> {
        let known = match self.remembered_key(key.id()) {
            Some(known) => known,
            None => self.look_up_key(key.id()).await?.ok_or(EngineError::ApiKeyUnknown)?,
        };
        // Whether the id or the secret is wrong is nobody's business.
        if !bool::from(known.row.hash.ct_eq(&key.digest())) {
            return Err(EngineError::ApiKeyUnknown);
        }
        if known.row.revoked.is_some() {
            return Err(EngineError::ApiKeyRevoked);
        }
        if known.row.expires.is_some_and(|expires| expires <= self.now()) {
            return Err(EngineError::ApiKeyExpired);
        }
        Ok(known.caller)
    }

    fn remembered_key(&self, key_id: &str) -> Option<Known> {
        let keys = self.shared.keys.known.read().unwrap_or_else(PoisonError::into_inner);
        let memory = i64::try_from(self.config().key_memory.as_millis()).unwrap_or(i64::MAX);
        keys.get(key_id).filter(|known| self.now().saturating_sub(known.read) < memory).cloned()
    }

    async fn look_up_key(&self, key_id: &str) -> Result<Option<Known>, EngineError> {
        let keys = &self.shared.keys;
        let _turn = keys.look_ups.acquire().await;
        // Of many calls with one key the first ones ask, and the rest find it here.
        if let Some(known) = self.remembered_key(key_id) {
            return Ok(Some(known));
        }
        // Read before asking: what is remembered is never newer than it claims.
        let read = self.now();
        let Some(row) = self.store().api_key(key_id).await? else { return Ok(None) };
        let caller = Caller { tenant: row.tenant.clone(), scopes: row.scopes, user: None };
        let known = Known { row: Arc::new(row), caller: Arc::new(caller), read };
        let mut remembered = keys.known.write().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        remembered.insert(key_id.to_owned(), known.clone());
        Ok(Some(known))
    }
}
