use std::fs::File;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;
use sqlx::SqlitePool;
use sqlx::postgres::PgConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::postgres::Connections;
use super::sql::{Db, values};
use super::together::Together;
use super::{Database, StoreConfig, StoreError, UserHash};
use crate::domain::{TenantId, UserId};

/// The database of one deployment. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) db: Db,
    /// What answers and questions share; nothing on SQLite.
    pub(super) together: Option<Arc<Together>>,
    erasure_key: ErasureKey,
    /// Held while any clone lives: the advisory lock on a SQLite file.
    _lock: Option<Arc<File>>,
}

impl Store {
    /// Opens the database, brings its schema up to date and keeps its connections open.
    ///
    /// # Errors
    /// [`StoreError::InUse`] where another process holds the SQLite file, [`StoreError::Unavailable`] where the
    /// database does not answer, [`StoreError::Migration`] where its schema is not one of ours.
    pub async fn connect(config: &StoreConfig) -> Result<Self, StoreError> {
        let (db, lock) = open(config).await?;
        migrate(&db).await?;
        let erasure_key = ErasureKey::load_or_make(&db).await?;
        let together = Together::on(&db, config);
        Ok(Self { db, together, erasure_key, _lock: lock.map(Arc::new) })
    }

    /// Opens the database beside a server that may be running, also where that is SQLite: for changes that the server's
    /// caches do not depend on (keys). The schema is the server's affair while it runs.
    pub async fn connect_beside(config: &StoreConfig) -> Result<Self, StoreError> {
        match Self::connect(config).await {
            Err(StoreError::InUse { .. }) => {}
            opened => return opened,
        }
        let Database::Sqlite(path) = &config.database else { return Self::connect(config).await };
        let (writer, readers) = open_sqlite(path, config).await?;
        let db = Db::Sqlite { writer, readers };
        let erasure_key = ErasureKey::load_or_make(&db).await?;
        Ok(Self { db, together: None, erasure_key, _lock: None })
    }

    /// Brings the schema up to date and returns the version of its last migration.
    pub async fn migrate(config: &StoreConfig) -> Result<i64, StoreError> {
        let (db, _lock) = open(config).await?;
        let version = migrate(&db).await?;
        close(&db).await;
        Ok(version)
    }

    /// Whether the database answers: one round trip.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.db.row("SELECT 1", &[]).await.map(drop)
    }

    /// Waits for calls under way and closes all connections, so that a SQLite file is left without a log beside it.
    pub async fn close(&self) {
        close(&self.db).await;
    }

    /// HMAC-SHA256 of (tenant, user): all that is kept of an erased user.
    pub fn user_hash(&self, tenant: &TenantId, user: &UserId) -> UserHash {
        self.erasure_key.hash(tenant, user)
    }
}

async fn open(config: &StoreConfig) -> Result<(Db, Option<File>), StoreError> {
    match &config.database {
        Database::Postgres(url) => {
            Ok((Db::Postgres(open_postgres(url.expose_secret(), config).await?), None))
        }
        Database::Sqlite(path) => {
            let lock = lock_beside(path)?;
            let (writer, readers) = open_sqlite(path, config).await?;
            Ok((Db::Sqlite { writer, readers }, Some(lock)))
        }
    }
}

async fn open_postgres(url: &str, config: &StoreConfig) -> Result<Connections, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .map_err(StoreError::Url)?
        .application_name("pref")
        .options([("statement_timeout", config.statement_timeout.as_millis().to_string())]);
    Connections::open(options, config).await
}

/// WAL lets readers go on while the one writer writes; synchronous FULL waits for the disk at every commit, so that
/// an acknowledged answer survives a power cut; secure_delete overwrites what an erasure frees.
async fn open_sqlite(path: &Path, config: &StoreConfig) -> Result<(SqlitePool, SqlitePool), StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(config.acquire_timeout)
        .pragma("secure_delete", "ON");
    let writer = SqlitePoolOptions::new()
        .max_connections(1)
        .test_before_acquire(false)
        .acquire_timeout(config.acquire_timeout)
        .connect_with(options.clone())
        .await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(config.connections)
        .test_before_acquire(false)
        .acquire_timeout(config.acquire_timeout)
        .connect_with(options.pragma("query_only", "ON"))
        .await?;
    Ok((writer, readers))
}

/// Takes `<file>.lock`. The system lets go of it when the process ends, however it ends.
fn lock_beside(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let lock = |source| StoreError::Lock { path: path.clone(), source };
    let file = File::options().create(true).write(true).truncate(false).open(&path).map_err(lock)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(StoreError::InUse { path }),
        Err(std::fs::TryLockError::Error(source)) => Err(lock(source)),
    }
}

async fn migrate(db: &Db) -> Result<i64, StoreError> {
    let migrator = match db {
        Db::Postgres(connections) => {
            let migrator = sqlx::migrate!("migrations/postgres");
            migrator.run_direct(None, connections.acquire().await?.start(), false).await?;
            migrator
        }
        Db::Sqlite { writer, .. } => {
            let migrator = sqlx::migrate!("migrations/sqlite");
            migrator.run(writer).await?;
            migrator
        }
    };
    Ok(migrator.iter().map(|migration| migration.version).max().unwrap_or(0))
}

async fn close(db: &Db) {
    match db {
        Db::Postgres(connections) => connections.close().await,
        Db::Sqlite { writer, readers } => {
            readers.close().await;
            writer.close().await;
        }
    }
}

/// 32 random bytes, made with the database and shared by all its servers. They keep a copy of `erased_user` alone
/// from being searched for a known name; they do not hide it from somebody who holds the whole database.
#[derive(Clone)]
struct ErasureKey([u8; 32]);

impl ErasureKey {
    async fn load_or_make(db: &Db) -> Result<Self, StoreError> {
        let fresh: [u8; 32] = rand::random();
        db.execute(
            "INSERT INTO setting (name, value) VALUES ('erasure_key', $1) ON CONFLICT (name) DO NOTHING",
            values![fresh.as_slice()],
        )
        .await?;
        let row = db.row("SELECT value FROM setting WHERE name = 'erasure_key'", &[]).await?;
        let row =
            row.ok_or_else(|| StoreError::Missing { what: "setting", name: "erasure_key".to_owned() })?;
        Ok(Self(row.digest(0, "setting", "value")?))
    }

    fn hash(&self, tenant: &TenantId, user: &UserId) -> UserHash {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(&(tenant.as_str().len() as u64).to_le_bytes());
        mac.update(tenant.as_str().as_bytes());
        mac.update(user.as_str().as_bytes());
        UserHash(mac.finalize().into_bytes().into())
    }
}

/// Prints no key.
impl std::fmt::Debug for ErasureKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ErasureKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What an acknowledged answer rests on: <https://sqlite.org/pragma.html#pragma_synchronous>.
    #[tokio::test]
    async fn sqlite_connections_wait_for_the_disk_and_check_references() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pref.db");
        let config = StoreConfig::new(Database::Sqlite(path.clone()));
        let (writer, readers) = open_sqlite(&path, &config).await.unwrap();
        let pragma = async |pool: &SqlitePool, name: &'static str| {
            sqlx::query_scalar::<_, i64>(name).fetch_one(pool).await.unwrap()
        };
        let full = 2;
        assert_eq!(pragma(&writer, "PRAGMA synchronous").await, full);
        assert_eq!(pragma(&writer, "PRAGMA foreign_keys").await, 1);
        assert_eq!(pragma(&writer, "PRAGMA secure_delete").await, 1);
        assert_eq!(pragma(&writer, "PRAGMA query_only").await, 0);
        assert_eq!(pragma(&readers, "PRAGMA query_only").await, 1);
        let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&writer).await.unwrap();
        assert_eq!(mode, "wal");
    }

    #[test]
    fn an_erasure_key_tells_tenants_and_users_apart_and_is_not_printed() {
        let key = ErasureKey([7; 32]);
        let hash = |tenant: &str, user: &str| {
            key.hash(&TenantId::parse(tenant).unwrap(), &UserId::parse(user).unwrap())
        };
        assert_eq!(hash("ab", "c"), hash("ab", "c"));
        assert_ne!(hash("ab", "c"), hash("a", "bc"));
        assert_ne!(
            hash("ab", "c"),
            ErasureKey([8; 32]).hash(&TenantId::parse("ab").unwrap(), &UserId::parse("c").unwrap())
        );
        assert_eq!(format!("{key:?}"), "ErasureKey(..)");
    }
}
