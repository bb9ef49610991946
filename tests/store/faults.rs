//! What goes wrong around the store: slow and vanishing databases, calls given up half-way.

use std::time::Duration;

use futures::poll;
use pref::store::{Append, NewPreference, Store, StoreConfig, StoreError};
use sqlx::ConnectOptions;

use crate::fixture::{Fixture, NOW, Place, comparison, connect, model, preference, tenant, user};

crate::on_both_engines!(
    a_log_locked_by_somebody_else_is_unavailable_and_then_works,
    a_call_given_up_half_way_leaves_all_or_nothing,
    what_a_closed_store_is_asked_is_unavailable,
);

async fn a_log_locked_by_somebody_else_is_unavailable_and_then_works(f: &Fixture) {
    f.store.ensure_user(&tenant(), &user("ada"), NOW).await.unwrap();
    let new = preference(comparison("x", "a", "b"));
    let patience = Duration::from_secs(1);
    let config = StoreConfig { statement_timeout: patience, acquire_timeout: patience, ..f.config.clone() };
    match &f.place {
        Place::Postgres(database) => {
            // With little patience for a statement, and as much as ever for a connection.
            let config = StoreConfig { acquire_timeout: f.config.acquire_timeout, ..config };
            let impatient = Store::connect(&config).await.unwrap();
            let mut other = connect(database).await;
            sqlx::raw_sql("BEGIN; SELECT 1 FROM users FOR UPDATE").execute(&mut other).await.unwrap();
            let error = impatient.append_preference(&tenant(), &user("ada"), &new).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
            let append = impatient.append_preference(&tenant(), &user("ada"), &new).await.unwrap();
            assert_eq!(append, Append::Appended { revision: 1 });
            impatient.close().await;
        }
        Place::Sqlite(dir) => {
            // A copy of the file, so that a store with less patience may open it.
            let copy = tempfile::tempdir().unwrap();
            f.store.close().await;
            std::fs::copy(dir.path().join("pref.db"), copy.path().join("pref.db")).unwrap();
            let file = copy.path().join("pref.db");
            let config = StoreConfig { database: pref::store::Database::Sqlite(file.clone()), ..config };
            let impatient = Store::connect(&config).await.unwrap();
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&file);
            let mut other = options.connect().await.unwrap();
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
            let error = impatient.append_preference(&tenant(), &user("ada"), &new).await.unwrap_err();
            assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
            // Who only reads does not wait.
            assert!(impatient.user(&tenant(), &user("ada"), &model("m1")).await.unwrap().is_some());
            sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
            let append = impatient.append_preference(&tenant(), &user("ada"), &new).await.unwrap();
            assert_eq!(append, Append::Appended { revision: 1 });
            impatient.close().await;
        }
    }
}

async fn a_call_given_up_half_way_leaves_all_or_nothing(f: &Fixture) {
    let (default, ada) = (tenant(), user("ada"));
    for steps in (0..14).map(|power| 1_u32 << power) {
        let before = f.store.user_revision(&tenant(), &ada).await.unwrap().unwrap_or(0);
        let new = NewPreference {
            expected_revision: before,
            ..preference(comparison("x", "a", &steps.to_string()))
        };
        {
            let mut call = std::pin::pin!(f.store.append_preference(&default, &ada, &new));
            for _ in 0..steps {
                if poll!(&mut call).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        // Whatever became of it, its retry counts it exactly once.
        let append = f.store.append_preference(&tenant(), &ada, &new).await.unwrap();
        let first = Append::Appended { revision: before + 1 };
        assert!(append == first || append == Append::Replayed(b"first reply".to_vec()), "{append:?}");
    }
    let snapshot = f.store.user_snapshot(&tenant(), &ada, &model("m1")).await.unwrap().unwrap();
    assert_eq!((snapshot.revision, snapshot.answers.len()), (14, 14));
    assert!(snapshot.answers.iter().all(|answer| answer.delta.is_some()));
    assert_eq!(snapshot.posterior.map(|posterior| posterior.revision), Some(14));
}

async fn what_a_closed_store_is_asked_is_unavailable(f: &Fixture) {
    f.store.close().await;
    let error = f.store.ping().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn connections_that_are_cut_are_replaced() {
    let Some(f) = Fixture::postgres("connections_that_are_cut_are_replaced").await else { return };
    let Place::Postgres(database) = &f.place else { unreachable!() };
    f.answer(&user("ada"), preference(comparison("x", "a", "b"))).await;
    let mut other = connect(database).await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'pref'";
    sqlx::query(cut).execute(&mut other).await.unwrap();

    // Each connection that was idle may fail one call, as a retryable error; then new ones take over.
    let mut failures = 0;
    while let Err(error) = f.store.ping().await {
        assert!(error.is_retryable(), "{error:?}");
        failures += 1;
        assert!(failures <= f.config.connections, "no new connection is opened");
    }
    f.answer(&user("ada"), preference(comparison("x", "a", "c"))).await;
    f.store.close().await;
}

#[tokio::test]
async fn two_servers_may_start_on_an_empty_database_at_once() {
    let test = "two_servers_may_start_on_an_empty_database_at_once";
    let Some(database) = crate::postgres::TestDatabase::create(test).await else { return };
    let config = StoreConfig::new(pref::store::Database::Postgres(database.url()));
    let (one, two) = tokio::join!(Store::connect(&config), Store::connect(&config));
    let (one, two) = (one.unwrap(), two.unwrap());
    one.ensure_user(&tenant(), &user("ada"), NOW).await.unwrap();
    one.delete_user(&tenant(), &user("ada"), &[], NOW).await.unwrap();
    // They agree on the key under which the erased are known.
    assert_eq!(two.erased_among(&tenant(), [&user("ada")]).await.unwrap().len(), 1);
    one.close().await;
    two.close().await;
}
