use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::{Engine, EngineError};
use crate::domain::{RequestId, TenantId, UserId};
use crate::store::{Idempotent, Recall, UnixMillis};

/// One call of a mutation, as its repeats are known by: scope (tenant, user or none, method), id, and a digest of all
/// that was asked.
pub(super) struct Call {
    method: &'static str,
    request_id: Option<RequestId>,
    pub(super) body_hash: [u8; 32],
}

impl Call {
    /// `body` is everything that the caller asked for but the request id.
    pub(super) fn new(
        method: &'static str,
        request_id: Option<RequestId>,
        body: &impl Serialize,
    ) -> Result<Self, EngineError> {
        let body_hash = Sha256::digest(serde_json::to_vec(body)?).into();
        Ok(Self { method, request_id, body_hash })
    }
}

impl Engine {
    /// The first reply, if the call is a repeat.
    pub(super) async fn recall<R: DeserializeOwned>(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        call: &Call,
    ) -> Result<Option<R>, EngineError> {
        let Some(request_id) = call.request_id else { return Ok(None) };
        let known =
            self.store().recall(tenant, user, call.method, request_id, &call.body_hash, self.now()).await?;
        replay(known)
    }

    /// Remembers the reply of a call whose effect is idempotent by itself, and gives the reply that counts: the first.
    pub(super) async fn remember<R: Serialize + DeserializeOwned>(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        call: &Call,
        reply: R,
    ) -> Result<R, EngineError> {
        let Some(request) = self.remembered(call, &reply)? else { return Ok(reply) };
        Ok(replay(self.store().remember(tenant, user, &request).await?)?.unwrap_or(reply))
    }

    /// What the store needs to remember the call with its reply; nothing where the caller gave no id.
    pub(super) fn remembered(
        &self,
        call: &Call,
        reply: &impl Serialize,
    ) -> Result<Option<Idempotent>, EngineError> {
        let Some(request_id) = call.request_id else { return Ok(None) };
        let created = self.now();
        Ok(Some(Idempotent {
            method: call.method,
            request_id,
            body_hash: call.body_hash,
            reply: serde_json::to_vec(reply)?,
            created,
            expires: self.reply_expires(created),
        }))
    }

    /// Until when a reply of `created` is kept for repeats.
    pub(super) fn reply_expires(&self, created: UnixMillis) -> UnixMillis {
        let lifetime = i64::try_from(self.config().reply_lifetime.as_millis()).unwrap_or(i64::MAX);
        created.saturating_add(lifetime)
    }
}

/// The first reply where there is one; nothing where the call is new.
pub(super) fn replay<R: DeserializeOwned>(known: Recall) -> Result<Option<R>, EngineError> {
    match known {
        Recall::New => Ok(None),
        Recall::Replayed(reply) => Ok(Some(serde_json::from_slice(&reply)?)),
        Recall::RequestIdReused => Err(EngineError::RequestIdReused),
    }
}
