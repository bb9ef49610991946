use super::sql::{Row, Tx, values};
use super::{Idempotent, Recall, Store, StoreError, UnixMillis};
use crate::domain::{RequestId, TenantId, UserId};

impl Store {
    /// What is known of a request id of a call about `user` (nobody: a call about no user).
    pub async fn recall(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        method: &str,
        request_id: RequestId,
        body_hash: &[u8; 32],
        now: UnixMillis,
    ) -> Result<Recall, StoreError> {
        let user = user.map_or("", UserId::as_str);
        let row = self.db.row(RECALL, values![tenant, user, method, request_id, now]).await?;
        row.map_or(Ok(Recall::New), |row| recalled_row(&row, body_hash))
    }

    /// Remembers a reply. Where the id is known already nothing is written, and that is what is answered; so of two
    /// calls that race with one id, one wins and both can give its reply.
    pub async fn remember(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        request: &Idempotent,
    ) -> Result<Recall, StoreError> {
        let mut tx = self.db.begin().await?;
        let recall = tx.remember(tenant, user, request).await?;
        tx.commit().await?;
        Ok(recall)
    }
}

impl Tx {
    /// [`Store::remember`] as part of the transaction that does what is replied to. Of two that race, the second
    /// waits here for the first to commit.
    pub(super) async fn remember(
        &mut self,
        tenant: &TenantId,
        user: Option<&UserId>,
        request: &Idempotent,
    ) -> Result<Recall, StoreError> {
        let user = user.map_or("", UserId::as_str);
        let written = self
            .execute(
                "INSERT INTO request (tenant, user_id, method, request_id, body_hash, reply, created, expires)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (tenant, user_id, method, request_id) DO UPDATE
                 SET body_hash = excluded.body_hash, reply = excluded.reply, created = excluded.created,
                     expires = excluded.expires
                 WHERE request.expires <= excluded.created",
                values![
                    tenant,
                    user,
                    request.method,
                    request.request_id,
                    request.body_hash.as_slice(),
                    request.reply.as_slice(),
                    request.created,
                    request.expires
                ],
            )
            .await?;
        if written == 1 {
            return Ok(Recall::New);
        }
        self.recall(tenant, user, request.method, request.request_id, &request.body_hash, request.created)
            .await
    }

    /// [`Store::recall`] as part of a transaction; `user` is empty for a call about no user.
    pub(super) async fn recall(
        &mut self,
        tenant: &TenantId,
        user: &str,
        method: &str,
        request_id: RequestId,
        body_hash: &[u8; 32],
        now: UnixMillis,
    ) -> Result<Recall, StoreError> {
        let row = self.row(RECALL, values![tenant, user, method, request_id, now]).await?;
        row.map_or(Ok(Recall::New), |row| recalled_row(&row, body_hash))
    }
}

const RECALL: &str = "SELECT body_hash, reply FROM request
     WHERE tenant = $1 AND user_id = $2 AND method = $3 AND request_id = $4 AND expires > $5";

/// What is known of a call, from the digest and the reply of the one that had its id first.
pub(super) fn recalled(
    first: &[u8],
    body_hash: &[u8; 32],
    reply: impl FnOnce() -> Result<Vec<u8>, StoreError>,
) -> Result<Recall, StoreError> {
    if first == body_hash { Ok(Recall::Replayed(reply()?)) } else { Ok(Recall::RequestIdReused) }
}

fn recalled_row(row: &Row, body_hash: &[u8; 32]) -> Result<Recall, StoreError> {
    recalled(&row.get::<Vec<u8>>(0)?, body_hash, || row.get(1))
}
