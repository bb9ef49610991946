use super::sql::values;
use super::{Store, StoreError, UnixMillis};

/// How long a question that nobody answered is kept after it expired, in milliseconds: 30 days.
const UNANSWERED_MEMORY: UnixMillis = 30 * 24 * 60 * 60 * 1000;

/// What a sweep threw away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Swept {
    /// Replies whose time was over.
    pub requests: u64,
    /// Questions that expired a month ago and were never answered.
    pub queries: u64,
    /// Choices of chat completions whose time was over.
    pub choices: u64,
}

impl Store {
    /// Throws away what has had its time, of all tenants; harmless to run from several servers, at any interval. An
    /// answer to a question that was thrown away is refused from then on.
    pub async fn sweep(&self, now: UnixMillis) -> Result<Swept, StoreError> {
        let requests = self.db.execute("DELETE FROM request WHERE expires <= $1", values![now]).await?;
        let queries = self
            .db
            .execute(
                "DELETE FROM query
                 WHERE expires <= $1
                   AND NOT EXISTS (SELECT 1 FROM preference p
                                   WHERE p.tenant = query.tenant AND p.user_id = query.user_id
                                     AND p.query_id = query.query_id)",
                values![now - UNANSWERED_MEMORY],
            )
            .await?;
        let choices = self.db.execute("DELETE FROM completion WHERE expires <= $1", values![now]).await?;
        Ok(Swept { requests, queries, choices })
    }
}
