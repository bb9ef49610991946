//! What servers on one database tell each other, by LISTEN and NOTIFY: a hint to look. A notification
//! may be lost with its connection; whoever follows asks the tables now and then, too, and remembers nobody while it might not
//! hear who is erased.

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgListener, PgPoolOptions};

use super::sql::{Db, Tx, values};
use super::{Store, StoreError, UserHash};
use crate::domain::{PoolName, TenantId};

/// The name that servers listen on.
const CHANNEL: &str = "pref_changes";

/// Something that servers keep in memory has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Another model serves the tenant, or is about to.
    Model(TenantId),
    /// Candidates came to a pool, or the pool is gone.
    Pool(TenantId, PoolName),
    /// Somebody was erased.
    Erased(UserHash),
}

/// The changes from a moment on; see [`Store::changes`].
pub struct Changes {
    /// Nothing where there is one server only.
    listener: Option<PgListener>,
}

impl Store {
    /// Follows what servers change from now on, this one included. On SQLite, which has one server, nothing ever comes.
    pub async fn changes(&self) -> Result<Changes, StoreError> {
        let Db::Postgres(connections) = &self.db else { return Ok(Changes { listener: None }) };
        // A connection of its own: it is never given back.
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(connections.options().clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.eager_reconnect(false);
        listener.listen(CHANNEL).await?;
        Ok(Changes { listener: Some(listener) })
    }
}

impl Changes {
    /// The next change. What cannot be read is of a newer server, and passed over.
    ///
    /// # Errors
    /// The connection was lost, and what was told meanwhile with it: follow anew, and look at everything.
    pub async fn next(&mut self) -> Result<Change, StoreError> {
        let Some(listener) = &mut self.listener else { return std::future::pending().await };
        loop {
            let Some(told) = listener.try_recv().await? else {
                return Err(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into()).into());
            };
            match serde_json::from_str(told.payload()) {
                Ok(change) => return Ok(change),
                Err(error) => tracing::debug!(%error, "a change that this version does not know"),
            }
        }
    }

    /// Asks whether the connection still lives: one that nothing is sent on would never be missed.
    pub async fn check(&mut self) -> Result<(), StoreError> {
        let Some(listener) = &mut self.listener else { return Ok(()) };
        let patience = std::time::Duration::from_secs(2);
        match tokio::time::timeout(patience, sqlx::raw_sql("SELECT 1").execute(listener)).await {
            Ok(answered) => Ok(answered.map(drop)?),
            Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()).into()),
        }
    }
}

impl Tx {
    /// Tells all servers once the transaction is committed.
    pub(super) async fn notify(&mut self, change: &Change) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            let payload = serde_json::to_string(change).expect("names are texts");
            self.execute("SELECT pg_notify($1, $2)", values![CHANNEL, &payload]).await?;
        }
        Ok(())
    }
}
