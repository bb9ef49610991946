use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::Invalid;

/// Why the store could not do what it was asked.
///
/// What a client did (a query answered twice, a lost race) is not an error here but a variant of the
/// method's own answer: these are the database's troubles.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away, full, overloaded or restarting. Trying again may help; shared, since calls that went to the
    /// database together fail together.
    #[error("the database is not available: {0}")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// Another process serves from this SQLite file.
    #[error(
        "{path} is in use by another process; one server at a time may open a SQLite store (use Postgres for more)"
    )]
    InUse {
        /// The lock file that is held.
        path: PathBuf,
    },
    /// The lock file beside the SQLite file cannot be made or locked.
    #[error("cannot open the store's lock file {path}: {source}")]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database URL cannot be read.
    #[error("the database URL is not valid: {0}")]
    Url(#[source] sqlx::Error),
    /// The schema cannot be brought up to date.
    #[error("the schema cannot be migrated: {0}")]
    Migration(#[source] sqlx::migrate::MigrateError),
    /// A row holds what the store never writes.
    #[error("a row of {table} is damaged: {invalid}")]
    Corrupt {
        /// Table of the row.
        table: &'static str,
        /// Column, what it holds and what it should.
        invalid: Invalid,
    },
    /// A row that the call needs is not there: the caller named a pool, a dataset, a job, a model or a user that
    /// does not exist, or that went away meanwhile.
    #[error("there is no {what} {name:?}")]
    Missing {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// A statement failed in a way that only a bug here explains.
    #[error("a statement failed: {0}")]
    Internal(#[source] sqlx::Error),
}

impl StoreError {
    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// A value of `table.column` that the domain does not take.
    pub(super) fn corrupt(table: &'static str, column: &'static str, mut invalid: Invalid) -> Self {
        column.clone_into(&mut invalid.field);
        Self::Corrupt { table, invalid }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_away(&error) { Self::Unavailable(Arc::new(error)) } else { Self::Internal(error) }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        use sqlx::migrate::MigrateError;
        match error {
            MigrateError::Execute(cause) if is_away(&cause) => Self::Unavailable(Arc::new(cause)),
            other => Self::Migration(other),
        }
    }
}

/// Whether the database, and not the statement, is at fault.
fn is_away(error: &sqlx::Error) -> bool {
    match error {
        // What is no protocol any more is what is left of a connection that was cut.
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => true,
        sqlx::Error::Database(cause) => {
            let code = cause.code().unwrap_or_default();
            match cause.try_downcast_ref::<sqlx::sqlite::SqliteError>() {
                Some(_) => code.parse::<u32>().is_ok_and(is_sqlite_away),
                None => is_postgres_away(&code),
            }
        }
        _ => false,
    }
}

/// SQLSTATE classes: 08 connection, 53 out of resources (disk full, too many connections), 57 operator intervention
/// (shutdown, statement timeout), 58 system error; and single codes: 25006 a standby after failover,
/// 40001 and 40P01 serialization and deadlock, 55P03 a lock not available.
fn is_postgres_away(code: &str) -> bool {
    ["08", "53", "57", "58"].iter().any(|class| code.starts_with(class))
        || ["25006", "40001", "40P01", "55P03"].contains(&code)
}

/// Primary result codes (the low byte): BUSY 5, LOCKED 6, IOERR 10, FULL 13, CANTOPEN 14.
fn is_sqlite_away(code: u32) -> bool {
    [5, 6, 10, 13, 14].contains(&(code & 0xff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_away_is_told_from_a_bug() {
        for code in ["08006", "53100", "53300", "57P01", "57014", "40P01"] {
            assert!(is_postgres_away(code), "{code}");
        }
        for code in ["23505", "42601", "22003"] {
            assert!(!is_postgres_away(code), "{code}");
        }
        // SQLITE_BUSY_SNAPSHOT, SQLITE_IOERR_WRITE, SQLITE_FULL; then SQLITE_CONSTRAINT_UNIQUE, SQLITE_ERROR.
        assert!([517, 778, 13].into_iter().all(is_sqlite_away));
        assert!(![2067, 1].into_iter().any(is_sqlite_away));
        assert!(StoreError::from(sqlx::Error::PoolTimedOut).is_retryable());
        assert!(!StoreError::from(sqlx::Error::RowNotFound).is_retryable());
    }
}
