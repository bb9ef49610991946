//! The statements of an answer and of a question, each shared with those of other people that come meanwhile: see
//! [`Batcher`]. A round trip is waited for by a person, and taken from what else the machine could do.

use std::sync::Arc;
use std::time::Duration;

use super::arrays::{place, rows_on};
use super::asking::{self, Found};
use super::batcher::{Batcher, Exchange};
use super::postgres::Connections;
use super::sql::{Db, Row, Value};
use super::{StoreConfig, StoreError, SubmissionSnapshot, submission};

/// Texts up to which a line shares a statement, bytes: a message to Postgres stays small.
pub(super) const SHARED_BYTES: usize = 64 * 1024;

/// What is shared.
pub(super) struct Together {
    /// What an answer needs to know.
    pub(super) submissions: Batcher<Reads<SubmissionSnapshot, 4>>,
    /// Answers.
    pub(super) appends: Batcher<Writes<22>>,
    /// What a question needs to know.
    pub(super) askings: Batcher<Reads<Found, 7>>,
    /// Questions.
    pub(super) saves: Batcher<Writes<20>>,
}

impl Together {
    /// Nothing on SQLite, which is no round trip away, and where everybody is to be by themselves.
    pub(super) fn on(db: &Db, config: &StoreConfig) -> Option<Arc<Self>> {
        let Db::Postgres(connections) = db else { return None };
        if !config.group_commit {
            return None;
        }
        let patience = config.acquire_timeout;
        Some(Arc::new(Self {
            submissions: Reads::of(connections, submission::SNAPSHOT, patience),
            appends: Writes::by(connections, submission::APPEND, patience),
            askings: Reads::of(connections, asking::SNAPSHOT, patience),
            saves: Writes::by(connections, asking::SAVE, patience),
        }))
    }
}

impl std::fmt::Debug for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Together(..)")
    }
}

/// A statement that reads what is known of a person.
pub(super) struct Reading<T, const WIDTH: usize> {
    /// For one.
    pub(super) alone: &'static str,
    /// For many, in their order, each row with whose it is as its last column.
    pub(super) together: &'static str,
    /// Where that column is.
    pub(super) place: usize,
    /// Adds a row to what is known.
    pub(super) add: fn(&mut T, &Row) -> Result<(), StoreError>,
}

impl<T: Default, const WIDTH: usize> Reading<T, WIDTH> {
    /// What is known of one.
    pub(super) async fn of(&self, db: &Db, key: &[Value<'_>; WIDTH]) -> Result<T, StoreError> {
        let mut known = T::default();
        for row in &db.rows(self.alone, key).await? {
            (self.add)(&mut known, row)?;
        }
        Ok(known)
    }
}

/// A [`Reading`] of many; of one in the plainer words, which are quicker.
pub(super) struct Reads<T, const WIDTH: usize> {
    connections: Connections,
    reading: Reading<T, WIDTH>,
}

impl<T: Default + Send + 'static, const WIDTH: usize> Reads<T, WIDTH> {
    fn of(connections: &Connections, reading: Reading<T, WIDTH>, patience: Duration) -> Batcher<Self> {
        Batcher::new(Self { connections: connections.clone(), reading }, patience)
    }
}

impl<T: Default + Send + 'static, const WIDTH: usize> Exchange for Reads<T, WIDTH> {
    type Job = [Value<'static>; WIDTH];
    type Done = T;

    async fn run(&self, jobs: Vec<Self::Job>) -> Result<Vec<Option<T>>, StoreError> {
        let Reading { together, place: column, add, .. } = self.reading;
        if let [key] = &jobs[..] {
            return Ok(vec![Some(self.reading.of(&Db::Postgres(self.connections.clone()), key).await?)]);
        }
        let mut known: Vec<_> = jobs.iter().map(|_| Ok(None)).collect();
        for row in &rows_on(&self.connections, together, &jobs).await?? {
            if let Some(known) = known.get_mut(place(row, column)?)
                && let Ok(begun) = known
                && let Err(damaged) = add(begun.get_or_insert_default(), row)
            {
                *known = Err(damaged);
            }
        }
        // Of whom nothing was found, or what is damaged, is read again: there is nobody of this name, or their log is long.
        Ok(known.into_iter().map(|known: Result<_, StoreError>| known.ok().flatten()).collect())
    }
}

/// Many lines, which `sql` writes, and says by their numbers which of them.
pub(super) struct Writes<const WIDTH: usize> {
    connections: Connections,
    sql: &'static str,
}

impl<const WIDTH: usize> Writes<WIDTH> {
    fn by(connections: &Connections, sql: &'static str, patience: Duration) -> Batcher<Self> {
        Batcher::new(Self { connections: connections.clone(), sql }, patience)
    }
}

impl<const WIDTH: usize> Exchange for Writes<WIDTH> {
    type Job = [Value<'static>; WIDTH];
    type Done = ();

    async fn run(&self, jobs: Vec<Self::Job>) -> Result<Vec<Option<()>>, StoreError> {
        let mut done = vec![None; jobs.len()];
        for row in &rows_on(&self.connections, self.sql, &jobs).await?? {
            if let Some(done) = done.get_mut(place(row, 0)?) {
                *done = Some(());
            }
        }
        Ok(done)
    }
}
