//! The store's contract: every case runs on SQLite and on Postgres, each time in a database of its own.

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/skip.rs"]
mod skip;

mod api_keys;
mod citus;
mod completions;
mod datasets;
mod embeddings;
mod engines;
mod erasure;
mod faults;
mod fixture;
mod jobs;
mod models;
mod pools;
mod preferences;
mod queries;
mod races;
mod requests;
mod together;
mod users;

/// Runs each named case of a module, `async fn(&Fixture)`, on both engines.
macro_rules! on_both_engines {
    ($($case:ident),* $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let fixture = crate::fixture::Fixture::sqlite().await;
                super::$case(&fixture).await;
                fixture.store.close().await;
            })*
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let test = concat!(module_path!(), "::", stringify!($case));
                if let Some(fixture) = crate::fixture::Fixture::postgres(test).await {
                    super::$case(&fixture).await;
                    fixture.store.close().await;
                }
            })*
        }
    };
}
pub(crate) use on_both_engines;
