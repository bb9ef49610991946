//! Connections to Postgres, kept open between calls.
//!
//! sqlx has a pool, too. It asks a connection whether it lives each time one is given back, which is one more round trip a
//! statement, and waits for the answer without end where the other side has gone silent. Here a connection is given back as
//! it is when its statement came to an end, and closed when it did not: the caller gave up, the network failed, or nothing
//! came within the time that Postgres itself gives a statement.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::{StoreConfig, StoreError, database_time};

/// How long an idle connection is taken to be alive without asking it.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long a connection may take to say that it is alive.
const PING_PATIENCE: Duration = Duration::from_secs(2);
/// A connection is closed after so long, so that servers behind a changed address, or grown large, are left some time.
const LIFETIME: Duration = Duration::from_secs(30 * 60);
/// What an answer may take on its way, beyond the time that Postgres gives a statement.
const TRANSIT: Duration = Duration::from_secs(2);
/// Between two attempts to reach a database that is not there yet.
const PAUSE: Duration = Duration::from_millis(100);

/// At most so many connections to one database. Clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
}

struct Shared {
    options: PgConnectOptions,
    /// One permit a connection.
    permits: Arc<Semaphore>,
    connections: u32,
    /// The one used last is used first: the others may grow old.
    idle: Mutex<Vec<Idle>>,
    acquire_timeout: Duration,
    answer_timeout: Duration,
}

struct Idle {
    connection: PgConnection,
    opened: Instant,
    since: Instant,
}

/// A connection of one caller's, given back or closed when dropped.
pub(super) struct Lease {
    /// Nothing only while it is being dropped.
    connection: Option<PgConnection>,
    opened: Instant,
    /// Whether nothing is under way on it.
    clean: bool,
    /// When what is under way, or was last, began.
    began: Instant,
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// Opens the first connection, and waits for a database that is about to start.
    pub(super) async fn open(options: PgConnectOptions, config: &StoreConfig) -> Result<Self, StoreError> {
        let connections = Self {
            shared: Arc::new(Shared {
                options,
                permits: Arc::new(Semaphore::new(config.connections as usize)),
                connections: config.connections,
                idle: Mutex::default(),
                acquire_timeout: config.acquire_timeout,
                answer_timeout: config.statement_timeout + TRANSIT,
            }),
        };
        let begun = Instant::now();
        loop {
            match connections.acquire().await {
                Ok(_) => return Ok(connections),
                Err(StoreError::Unavailable(cause))
                    if matches!(*cause, sqlx::Error::Io(_))
                        && begun.elapsed() + PAUSE < config.acquire_timeout =>
                {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A connection that is alive as far as is known.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] at once where the database cannot be reached, and where none is free in time.
    pub(super) async fn acquire(&self) -> Result<Lease, StoreError> {
        let begun = Instant::now();
        let lease = timeout(self.shared.acquire_timeout, self.take()).await;
        database_time::spent(begun.elapsed());
        match lease {
            Ok(lease) => Ok(lease?),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        }
    }

    async fn take(&self) -> Result<Lease, sqlx::Error> {
        let shared = &self.shared;
        let permit = shared.permits.clone().acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        while let Some(Idle { mut connection, opened, since }) = shared.pop() {
            if since.elapsed() <= TRUSTED_IDLE || is_alive(&mut connection).await {
                return Ok(Lease {
                    connection: Some(connection),
                    opened,
                    clean: true,
                    began: Instant::now(),
                    shared: shared.clone(),
                    _permit: permit,
                });
            }
            // What cut this one off has most likely cut off the rest: they are not worth waiting for.
            shared.forget_older_than(since);
        }
        let connection = shared.options.connect().await?;
        Ok(Lease {
            connection: Some(connection),
            opened: Instant::now(),
            clean: true,
            began: Instant::now(),
            shared: shared.clone(),
            _permit: permit,
        })
    }

    /// How connections are made.
    pub(super) fn options(&self) -> &PgConnectOptions {
        &self.shared.options
    }

    /// Waits for calls under way, and closes all connections; whoever asks for one afterwards gets none.
    pub(super) async fn close(&self) {
        // Everybody who waits has their turn before.
        let all = self.shared.permits.acquire_many(self.shared.connections).await;
        self.shared.permits.close();
        drop(all);
        while let Some(Idle { connection, .. }) = self.shared.pop() {
            // The database hears of it one way or another.
            let _ = timeout(PING_PATIENCE, connection.close()).await;
        }
    }
}

impl Shared {
    fn pop(&self) -> Option<Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn forget_older_than(&self, since: Instant) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).retain(|idle| idle.since > since);
    }
}

impl Lease {
    /// The connection, for one exchange that has to end within [`Lease::patience`] and to be told to [`Lease::settle`]. Whoever
    /// drops the exchange half-way leaves an answer behind that nobody reads: the connection is closed then.
    pub(super) fn start(&mut self) -> &mut PgConnection {
        self.clean = false;
        self.began = Instant::now();
        self.connection.as_mut().expect("a lease has its connection until it is dropped")
    }

    /// How long an exchange may take.
    pub(super) fn patience(&self) -> Duration {
        self.shared.answer_timeout
    }

    /// How the exchange ended, after which the connection may be as good as before.
    pub(super) fn settle<T>(
        &mut self,
        answer: Result<Result<T, sqlx::Error>, Elapsed>,
    ) -> Result<T, sqlx::Error> {
        database_time::spent(self.began.elapsed());
        let answer = answer.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        self.clean = match &answer {
            Ok(_) => true,
            // A statement was refused. Class 57 ends the connection, but for a statement's own timeout, 57014.
            Err(sqlx::Error::Database(cause)) => {
                let code = cause.code().unwrap_or_default();
                !code.starts_with("57") || code == "57014"
            }
            Err(_) => false,
        };
        answer
    }

    /// One statement without parameters or answer: BEGIN, COMMIT, ROLLBACK.
    async fn command(&mut self, command: &'static str) -> Result<(), sqlx::Error> {
        let patience = self.patience();
        let answer = timeout(patience, self.start().execute(command)).await;
        self.settle(answer).map(drop)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.clean && self.opened.elapsed() < LIFETIME && !self.shared.permits.is_closed() {
            let idle = Idle { connection, opened: self.opened, since: Instant::now() };
            self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(idle);
        }
    }
}

/// An open transaction, rolled back when it is dropped.
pub(super) struct Transaction {
    /// Nothing once it has ended.
    lease: Option<Lease>,
}

impl Transaction {
    /// BEGIN, at READ COMMITTED.
    pub(super) async fn begin(connections: &Connections) -> Result<Self, StoreError> {
        let mut lease = connections.acquire().await?;
        lease.command("BEGIN").await?;
        Ok(Self { lease: Some(lease) })
    }

    /// The connection that it is open on.
    pub(super) fn lease(&mut self) -> &mut Lease {
        self.lease.as_mut().expect("a transaction has its connection until it ends")
    }

    /// COMMIT
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.end("COMMIT").await
    }

    /// ROLLBACK
    pub(super) async fn rollback(mut self) -> Result<(), StoreError> {
        self.end("ROLLBACK").await
    }

    async fn end(&mut self, how: &'static str) -> Result<(), StoreError> {
        let mut lease = self.lease.take().expect("a transaction ends once");
        Ok(lease.command(how).await?)
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut lease) = self.lease.take() else { return };
        let clean = std::mem::take(&mut lease.clean);
        // Without a runtime, or with an answer outstanding, the connection is closed, which rolls back too.
        if clean && let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                if let Err(error) = lease.command("ROLLBACK").await {
                    tracing::debug!(%error, "a connection could not roll back");
                }
            });
        }
    }
}

async fn is_alive(connection: &mut PgConnection) -> bool {
    matches!(timeout(PING_PATIENCE, connection.ping()).await, Ok(Ok(())))
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("connections", &self.shared.connections).finish_non_exhaustive()
    }
}
