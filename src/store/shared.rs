//! A statement that several people share, for a [`Batcher`]: one that reads, and one that writes.

use std::time::Duration;

use super::StoreError;
use super::arrays::{place, rows_on};
use super::batcher::{Batcher, Exchange};
use super::postgres::Connections;
use super::sql::{Db, Row, Value};

/// Texts up to which a line shares a statement, bytes: a message to Postgres stays small.
pub(super) const SHARED_BYTES: usize = 64 * 1024;

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
    pub(super) fn of(
        connections: &Connections,
        reading: Reading<T, WIDTH>,
        patience: Duration,
    ) -> Batcher<Self> {
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
    pub(super) fn by(connections: &Connections, sql: &'static str, patience: Duration) -> Batcher<Self> {
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
