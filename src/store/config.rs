use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

/// Where the data lives and how it is reached.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Which engine.
    pub database: Database,
    /// Most connections that one server holds open.
    pub connections: u32,
    /// How long a call waits for a free connection before it is told that the database is away.
    pub acquire_timeout: Duration,
    /// How long Postgres may work on one statement.
    pub statement_timeout: Duration,
    /// Whether answers of several people, and questions to them, share their statements on Postgres.
    pub group_commit: bool,
}

/// One of the two engines.
#[derive(Debug, Clone)]
pub enum Database {
    /// A Postgres URL, `postgres://user:password@host/database`; secret, since it may hold the password.
    Postgres(SecretString),
    /// A SQLite file, made if it is not there. One server at a time.
    Sqlite(PathBuf),
}

impl StoreConfig {
    /// `database` with 16 connections, 5 s to get one and 10 s a statement, and group commit.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            connections: 16,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(10),
            group_commit: true,
        }
    }
}
