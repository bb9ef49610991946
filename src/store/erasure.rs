use std::collections::HashSet;

use super::sql::{Db, Tx, values};
use super::{Change, Erasure, Store, StoreError, UnixMillis, UserHash};
use crate::domain::{ContentHash, ModelVersion, TenantId, UserId};

/// How long an erased user's late retries are refused, in milliseconds.
pub const ERASURE_MEMORY: UnixMillis = 24 * 60 * 60 * 1000;

impl Store {
    /// Erases every trace of the user, in one transaction: log, fits, questions, completions, replies, lines of datasets, and
    /// embeddings of their texts that are nobody's candidates. A keyed hash of the name remains. `trained_on` are the
    /// tenant's models whose training data had them; each counts one more erased person.
    pub async fn delete_user(
        &self,
        tenant: &TenantId,
        user: &UserId,
        trained_on: &[ModelVersion],
        now: UnixMillis,
    ) -> Result<Erasure, StoreError> {
        let mut tx = self.db.begin().await?;
        // First of all the lock of the log, so that no answer slips in between.
        let known = tx
            .execute(
                "UPDATE users SET updated = $3 WHERE tenant = $1 AND user_id = $2",
                values![tenant, user, now],
            )
            .await?;
        erase_embeddings(&mut tx, tenant, user).await?;
        tx.execute("DELETE FROM users WHERE tenant = $1 AND user_id = $2", values![tenant, user]).await?;
        tx.execute("DELETE FROM request WHERE tenant = $1 AND user_id = $2", values![tenant, user]).await?;
        let choices = tx
            .execute("DELETE FROM completion WHERE tenant = $1 AND user_id = $2", values![tenant, user])
            .await?;
        let lines = erase_dataset_rows(&mut tx, tenant, user, now).await?;
        let UserHash(hash) = self.user_hash(tenant, user);
        if known == 0 && lines == 0 && choices == 0 {
            let again = self.is_lately_erased(&mut tx, tenant, user, now).await?;
            return Ok(if again { Erasure::AlreadyErased } else { Erasure::NotFound });
        }
        tx.execute(
            "INSERT INTO erased_user (tenant, user_hash, erased) VALUES ($1, $2, $3)
             ON CONFLICT (tenant, user_hash) DO UPDATE SET erased = excluded.erased",
            values![tenant, hash.as_slice(), now],
        )
        .await?;
        for model in trained_on {
            tx.execute(
                "UPDATE model SET erased_users = erased_users + 1 WHERE tenant = $1 AND model_version = $2",
                values![tenant, model],
            )
            .await?;
        }
        tx.notify(&Change::Erased(self.user_hash(tenant, user))).await?;
        tx.commit().await?;
        self.truncate_log().await?;
        Ok(Erasure::Erased)
    }

    /// Which of `users` were ever erased: whom a training leaves out.
    pub async fn erased_among<'a>(
        &self,
        tenant: &TenantId,
        users: impl IntoIterator<Item = &'a UserId>,
    ) -> Result<HashSet<UserId>, StoreError> {
        let rows =
            self.db.rows("SELECT user_hash FROM erased_user WHERE tenant = $1", values![tenant]).await?;
        let erased = rows.iter().map(|row| row.get(0)).collect::<Result<HashSet<Vec<u8>>, _>>()?;
        if erased.is_empty() {
            return Ok(HashSet::new());
        }
        let is_erased = |user: &&UserId| erased.contains(&self.user_hash(tenant, user).0[..]);
        Ok(users.into_iter().filter(is_erased).cloned().collect())
    }

    /// Whether the user was erased less than a day before `now`: their questions are gone, and an answer to one of them
    /// is a retry from before.
    pub async fn was_lately_erased(
        &self,
        tenant: &TenantId,
        user: &UserId,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut tx = self.db.begin().await?;
        self.is_lately_erased(&mut tx, tenant, user, now).await
    }

    /// Whether the user was erased less than a day before `now`.
    pub(super) async fn is_lately_erased(
        &self,
        tx: &mut Tx,
        tenant: &TenantId,
        user: &UserId,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let UserHash(hash) = self.user_hash(tenant, user);
        let row = tx
            .row(
                "SELECT 1 FROM erased_user WHERE tenant = $1 AND user_hash = $2 AND erased > $3",
                values![tenant, hash.as_slice(), remembered_since(now)],
            )
            .await?;
        Ok(row.is_some())
    }

    /// SQLite's write-ahead log still holds what was erased until it is copied into the file and cut to nothing.
    /// A reader that is still on an older page keeps it for a moment longer: the next erasure or checkpoint gets it.
    async fn truncate_log(&self) -> Result<(), StoreError> {
        if let Db::Sqlite { writer, .. } = &self.db {
            sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(writer).await?;
        }
        Ok(())
    }
}

/// Erasures before this moment are forgotten at `now`.
pub(super) fn remembered_since(now: UnixMillis) -> UnixMillis {
    now - ERASURE_MEMORY
}

/// Embeddings of texts that the user answered or was asked about, unless they are a pool's. Where another user has
/// the same text, theirs goes, too: an embedding is a cache, and it is made again when it is needed.
async fn erase_embeddings(tx: &mut Tx, tenant: &TenantId, user: &UserId) -> Result<(), StoreError> {
    let rows = tx
        .rows(
            "SELECT prompt, response_a, response_b FROM preference WHERE tenant = $1 AND user_id = $2
             UNION
             SELECT prompt, response_a, response_b FROM query WHERE tenant = $1 AND user_id = $2
             UNION
             SELECT prompt, response_a, response_b FROM dataset_row WHERE tenant = $1 AND user_id = $2",
            values![tenant, user],
        )
        .await?;
    for row in &rows {
        let prompt: String = row.get(0)?;
        for response in [row.get::<String>(1)?, row.get::<String>(2)?] {
            drop_embedding(tx, tenant, &ContentHash::new(&prompt, &response)).await?;
        }
    }
    Ok(())
}

/// Drops a text's embeddings under every backbone, unless the text is still somebody's candidate.
pub(super) async fn drop_embedding(
    tx: &mut Tx,
    tenant: &TenantId,
    content: &ContentHash,
) -> Result<(), StoreError> {
    tx.execute(
        "DELETE FROM embedding
         WHERE tenant = $1 AND content_hash = $2
           AND NOT EXISTS (SELECT 1 FROM candidate c WHERE c.tenant = $1 AND c.content_hash = $2)",
        values![tenant, content],
    )
    .await?;
    Ok(())
}

async fn erase_dataset_rows(
    tx: &mut Tx,
    tenant: &TenantId,
    user: &UserId,
    now: UnixMillis,
) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE dataset SET updated = $3, rows = rows - (
             SELECT COUNT(*) FROM dataset_row r
             WHERE r.tenant = dataset.tenant AND r.dataset_id = dataset.dataset_id AND r.user_id = $2)
         WHERE tenant = $1 AND dataset_id IN (
             SELECT dataset_id FROM dataset_row WHERE tenant = $1 AND user_id = $2)",
        values![tenant, user, now],
    )
    .await?;
    let lines = tx
        .execute("DELETE FROM dataset_row WHERE tenant = $1 AND user_id = $2", values![tenant, user])
        .await?;
    Ok(lines)
}
