//! How much of a call's time the database has.

use std::cell::Cell;
use std::time::Duration;

tokio::task_local! {
    static SPENT: Cell<Duration>;
}

/// What `call` returns, and how long it waited for connections to Postgres and for its answers, in this task. SQLite, which is
/// part of the process, does not count.
pub async fn with_database_time<F: Future>(call: F) -> (F::Output, Duration) {
    SPENT
        .scope(Cell::default(), async {
            let output = call.await;
            (output, SPENT.with(Cell::get))
        })
        .await
}

/// Counts time spent waiting for Postgres, where somebody counts.
pub(super) fn spent(time: Duration) {
    let _ = SPENT.try_with(|spent| spent.set(spent.get() + time));
}
