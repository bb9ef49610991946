//! One statement text on two engines: values go in, rows come out, and nothing else of the store knows which
//! engine is underneath.
//!
//! sqlx has an `Any` driver, but its errors and types are the least of what both engines can do; an enum over the
//! two real kinds costs short matches and keeps constraint names, statement caches and `BEGIN IMMEDIATE`.

use std::borrow::Cow;

use sqlx::{Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqlitePool, Transaction};

use super::StoreError;
use super::postgres::{self, Connections};
use crate::domain::{
    CompletionId, ContentHash, DatasetId, Invalid, JobId, ModelVersion, PairKey, PoolName, PreferenceId,
    QueryId, RequestId, TenantId, UserId,
};

/// A parameter of a statement. Its kind is known even when it is null, since Postgres asks for it.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// TEXT
    Text(Option<Cow<'a, str>>),
    /// BIGINT
    Int(Option<i64>),
    /// DOUBLE PRECISION
    Real(Option<f64>),
    /// BYTEA or BLOB
    Blob(Option<Cow<'a, [u8]>>),
}

impl Value<'_> {
    /// The same, for as long as anybody wants it.
    pub(super) fn into_owned(self) -> Value<'static> {
        match self {
            Self::Text(text) => Value::Text(text.map(|text| Cow::Owned(text.into_owned()))),
            Self::Int(int) => Value::Int(int),
            Self::Real(real) => Value::Real(real),
            Self::Blob(blob) => Value::Blob(blob.map(|blob| Cow::Owned(blob.into_owned()))),
        }
    }
}

/// The parameters of a statement, in the order of `$1`, `$2`, …
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::sql::Value::from($value)),*] };
}
pub(super) use values;

/// The two engines.
#[derive(Debug, Clone)]
pub(super) enum Db {
    /// Many connections, each may do anything.
    Postgres(Connections),
    /// SQLite has one writer at a time: its one connection is queued for here, in order, and not inside the
    /// engine, where waiters poll. Readers see the last commit and never wait.
    Sqlite {
        /// The one connection that writes.
        writer: SqlitePool,
        /// Connections that only read.
        readers: SqlitePool,
    },
}

/// A transaction on either engine; dropped without [`Tx::commit`] it is rolled back.
pub(super) enum Tx {
    /// READ COMMITTED
    Postgres(postgres::Transaction),
    /// BEGIN IMMEDIATE
    Sqlite(Transaction<'static, Sqlite>),
}

/// A row of either engine.
pub(super) enum Row {
    /// Of Postgres
    Postgres(sqlx::postgres::PgRow),
    /// Of SQLite
    Sqlite(sqlx::sqlite::SqliteRow),
}

/// `sql` with `values` bound, for the engine whose query type the context asks for.
macro_rules! bound {
    ($sql:expr, $values:expr) => {{
        let mut query = sqlx::query($sql);
        for value in $values {
            query = match value {
                Value::Text(text) => query.bind(text.as_deref()),
                Value::Int(int) => query.bind(*int),
                Value::Real(real) => query.bind(*real),
                Value::Blob(blob) => query.bind(blob.as_deref()),
            };
        }
        query
    }};
}

/// A query as one exchange on a connection of Postgres, ended by `$method` of sqlx's query. The raw error is kept.
macro_rules! on_lease {
    ($lease:expr, $query:expr, $method:ident) => {{
        let lease = &mut $lease;
        let patience = lease.patience();
        let answer = tokio::time::timeout(patience, $query.$method(lease.start())).await;
        lease.settle(answer)
    }};
}
pub(super) use on_lease;

impl Db {
    /// All rows of a statement that reads.
    pub(super) async fn rows(&self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.rows_of(sql.into_sql_str(), values).await
    }

    /// [`Db::rows`] for a text that was put together here.
    pub(super) async fn rows_of(&self, sql: SqlStr, values: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Postgres(connections) => {
                let rows = on_lease!(connections.acquire().await?, bound!(sql, values), fetch_all)?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Self::Sqlite { readers, .. } => {
                let rows = bound!(sql, values).fetch_all(readers).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
        })
    }

    /// The row of a statement that reads at most one.
    pub(super) async fn row(
        &self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Postgres(connections) => {
                let row = on_lease!(connections.acquire().await?, bound!(sql, values), fetch_optional)?;
                row.map(Row::Postgres)
            }
            Self::Sqlite { readers, .. } => {
                bound!(sql, values).fetch_optional(readers).await?.map(Row::Sqlite)
            }
        })
    }

    /// Runs one statement that writes, as a transaction of its own; returns the number of rows it touched.
    pub(super) async fn execute(&self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Postgres(connections) => {
                on_lease!(connections.acquire().await?, bound!(sql, values), execute)?.rows_affected()
            }
            Self::Sqlite { writer, .. } => bound!(sql, values).execute(writer).await?.rows_affected(),
        })
    }

    /// Opens a transaction that may write.
    pub(super) async fn begin(&self) -> Result<Tx, StoreError> {
        Ok(match self {
            Self::Postgres(connections) => Tx::Postgres(postgres::Transaction::begin(connections).await?),
            Self::Sqlite { writer, .. } => Tx::Sqlite(writer.begin_with("BEGIN IMMEDIATE").await?),
        })
    }
}

impl Tx {
    /// All rows of a statement.
    pub(super) async fn rows(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        Ok(match self {
            Self::Postgres(tx) => {
                let rows = on_lease!(tx.lease(), bound!(sql, values), fetch_all)?;
                rows.into_iter().map(Row::Postgres).collect()
            }
            Self::Sqlite(tx) => {
                let rows = bound!(sql, values).fetch_all(&mut **tx).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
        })
    }

    /// The row of a statement that returns at most one.
    pub(super) async fn row(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(match self {
            Self::Postgres(tx) => {
                on_lease!(tx.lease(), bound!(sql, values), fetch_optional)?.map(Row::Postgres)
            }
            Self::Sqlite(tx) => bound!(sql, values).fetch_optional(&mut **tx).await?.map(Row::Sqlite),
        })
    }

    /// Runs a statement; returns the number of rows it touched. The raw error is kept, so that a caller can ask
    /// which constraint was violated.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<u64, sqlx::Error> {
        self.execute_of(sql.into_sql_str(), values).await
    }

    /// Keeps the user's log as it is until the transaction ends: whoever appends to it passes it over or waits. On SQLite a
    /// transaction that writes is alone anyway.
    pub(super) async fn lock_user(&mut self, tenant: &TenantId, user: &UserId) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            let lock = "SELECT 1 FROM users WHERE tenant = $1 AND user_id = $2 FOR NO KEY UPDATE";
            self.row(lock, values![tenant, user]).await?;
        }
        Ok(())
    }

    /// Waits for whoever is changing the tenant's model, and keeps others from it until the transaction ends: of two that begin
    /// at once neither would find the other. On SQLite a transaction that writes is alone anyway.
    pub(super) async fn lock_activations(&mut self, tenant: &TenantId) -> Result<(), StoreError> {
        if let Self::Postgres(_) = self {
            let lock = "SELECT pg_advisory_xact_lock(hashtextextended('activation of ' || $1, 0))";
            self.row(lock, values![tenant]).await?;
        }
        Ok(())
    }

    async fn execute_of(&mut self, sql: SqlStr, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        Ok(match self {
            Self::Postgres(tx) => on_lease!(tx.lease(), bound!(sql, values), execute)?.rows_affected(),
            Self::Sqlite(tx) => bound!(sql, values).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Runs `insert` (`INSERT INTO t (a, b) VALUES `) over many rows and ends it with `conflict`
    /// (` ON CONFLICT DO NOTHING`); returns how many rows it touched.
    ///
    /// Rows go [`BATCH`] to a statement, so that at most two texts of each kind are ever prepared: the full batch
    /// and the single row.
    pub(super) async fn insert_many<'a, const WIDTH: usize>(
        &mut self,
        insert: &'static str,
        conflict: &'static str,
        rows: &[[Value<'a>; WIDTH]],
    ) -> Result<u64, sqlx::Error> {
        let mut touched = 0;
        let full = rows.chunks_exact(BATCH);
        let rest = full.remainder();
        for batch in full.chain(rest.chunks(1)) {
            let sql = format!("{insert}{}{conflict}", placeholder_rows(batch.len(), WIDTH));
            // Only texts written in this room and numbered placeholders went into it.
            let sql = sqlx::AssertSqlSafe(sql).into_sql_str();
            touched += self.execute_of(sql, batch.as_flattened()).await?;
        }
        Ok(touched)
    }

    /// Makes everything since [`Db::begin`] durable.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.commit().await?,
            Self::Sqlite(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Forgets everything since [`Db::begin`].
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        match self {
            Self::Postgres(tx) => tx.rollback().await?,
            Self::Sqlite(tx) => tx.rollback().await?,
        }
        Ok(())
    }
}

impl Row {
    /// The column at `index`, counted from 0 in the order in which the statement lists them.
    pub(super) fn get<T>(&self, index: usize) -> Result<T, StoreError>
    where
        T: for<'r> sqlx::Decode<'r, Postgres>
            + sqlx::Type<Postgres>
            + for<'r> sqlx::Decode<'r, Sqlite>
            + sqlx::Type<Sqlite>,
    {
        Ok(match self {
            Self::Postgres(row) => row.try_get(index)?,
            Self::Sqlite(row) => row.try_get(index)?,
        })
    }

    /// A text, where the row has it.
    fn text(&self, index: usize) -> Result<Option<&str>, StoreError> {
        Ok(match self {
            Self::Postgres(row) => row.try_get(index)?,
            Self::Sqlite(row) => row.try_get(index)?,
        })
    }

    /// Bytes, where the row has them.
    fn bytes(&self, index: usize) -> Result<Option<&[u8]>, StoreError> {
        Ok(match self {
            Self::Postgres(row) => row.try_get(index)?,
            Self::Sqlite(row) => row.try_get(index)?,
        })
    }

    /// A vector: f64, little-endian, one after the other.
    pub(super) fn numbers(&self, index: usize) -> Result<Option<Vec<f64>>, StoreError> {
        Ok(self
            .bytes(index)?
            .map(|bytes| bytes.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x)).collect()))
    }

    /// A digest or key of 32 bytes.
    pub(super) fn digest(
        &self,
        index: usize,
        table: &'static str,
        column: &'static str,
    ) -> Result<[u8; 32], StoreError> {
        self.get::<Vec<u8>>(index)?.try_into().map_err(|bytes: Vec<u8>| {
            StoreError::corrupt(
                table,
                column,
                Invalid::new(column, format!("{} bytes", bytes.len()), "32 bytes"),
            )
        })
    }

    /// A text that the domain parses.
    pub(super) fn parsed<T>(
        &self,
        index: usize,
        table: &'static str,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<T, StoreError> {
        self.parsed_option(index, table, column, parse)?
            .ok_or_else(|| StoreError::corrupt(table, column, Invalid::new(column, "nothing", "a text")))
    }

    /// A text that may be null and that the domain parses.
    pub(super) fn parsed_option<T>(
        &self,
        index: usize,
        table: &'static str,
        column: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<Option<T>, StoreError> {
        let text = self.text(index)?;
        text.map(|text| parse(text).map_err(|invalid| StoreError::corrupt(table, column, invalid)))
            .transpose()
    }
}

/// Rows of one statement with many rows, or keys of one statement with many keys.
pub(super) const BATCH: usize = 64;

/// `$first, $first+1, …` for one full batch of keys.
pub(super) fn placeholders(first: usize) -> String {
    (first..first + BATCH).map(|n| format!("${n}")).collect::<Vec<_>>().join(", ")
}

fn placeholder_rows(rows: usize, width: usize) -> String {
    let row = |r: usize| {
        let row = (1..=width).map(|c| format!("${}", r * width + c)).collect::<Vec<_>>();
        format!("({})", row.join(", "))
    };
    (0..rows).map(row).collect::<Vec<_>>().join(", ")
}

macro_rules! text_values {
    ($($type:ty),*) => { $(
        impl<'a> From<&'a $type> for Value<'a> {
            fn from(name: &'a $type) -> Self {
                Self::Text(Some(Cow::Borrowed(name.as_str())))
            }
        }
        impl<'a> From<Option<&'a $type>> for Value<'a> {
            fn from(name: Option<&'a $type>) -> Self {
                Self::Text(name.map(|name| Cow::Borrowed(name.as_str())))
            }
        }
    )* };
}
text_values!(TenantId, UserId, PoolName, DatasetId, ModelVersion, String);

macro_rules! id_values {
    ($($type:ty),*) => { $(
        impl From<$type> for Value<'_> {
            fn from(id: $type) -> Self {
                Self::Text(Some(Cow::Owned(id.to_string())))
            }
        }
        impl From<Option<$type>> for Value<'_> {
            fn from(id: Option<$type>) -> Self {
                Self::Text(id.map(|id| Cow::Owned(id.to_string())))
            }
        }
    )* };
}
id_values!(CompletionId, PreferenceId, QueryId, RequestId, JobId);

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'a> From<Option<&'a str>> for Value<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text.map(Cow::Borrowed))
    }
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(Some(int))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(int: Option<i64>) -> Self {
        Self::Int(int)
    }
}

impl From<f64> for Value<'_> {
    fn from(real: f64) -> Self {
        Self::Real(Some(real))
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self::Blob(Some(Cow::Borrowed(bytes)))
    }
}

impl<'a> From<Option<&'a [u8]>> for Value<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        Self::Blob(bytes.map(Cow::Borrowed))
    }
}

impl<'a> From<&'a PairKey> for Value<'a> {
    fn from(key: &'a PairKey) -> Self {
        Self::from(key.0.as_slice())
    }
}

impl<'a> From<&'a ContentHash> for Value<'a> {
    fn from(hash: &'a ContentHash) -> Self {
        Self::from(hash.0.as_slice())
    }
}

/// Numbers as f64, little-endian, one after the other.
impl From<&[f64]> for Value<'_> {
    fn from(numbers: &[f64]) -> Self {
        Self::Blob(Some(Cow::Owned(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())))
    }
}

/// Numbers as f32, little-endian, one after the other.
impl From<&[f32]> for Value<'_> {
    fn from(numbers: &[f32]) -> Self {
        Self::Blob(Some(Cow::Owned(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())))
    }
}
