//! What is particular to one engine: how it is opened, and how its absence shows.

use std::time::Duration;

use pref::store::{Database, Store, StoreConfig, StoreError};

use crate::fixture::{Fixture, Place, comparison, preference, tenant, user};

crate::on_both_engines!(data_survives_opening_again, migrating_again_changes_nothing);

async fn data_survives_opening_again(f: &Fixture) {
    f.answer(&user("ada"), preference(comparison("x", "a", "b"))).await;
    if let Place::Postgres(_) = f.place {
        // A second server beside the first.
        let second = Store::connect(&f.config).await.unwrap();
        second.ping().await.unwrap();
        assert_eq!(second.list_preferences(&tenant(), &user("ada"), 0, 10).await.unwrap().len(), 1);
        second.close().await;
    } else {
        // A copy of the files as a crash would leave them: the write-ahead log is read back.
        let Place::Sqlite(dir) = &f.place else { unreachable!() };
        let crashed = tempfile::tempdir().unwrap();
        for file in ["pref.db", "pref.db-wal"] {
            std::fs::copy(dir.path().join(file), crashed.path().join(file)).unwrap();
        }
        let config = StoreConfig::new(Database::Sqlite(crashed.path().join("pref.db")));
        let again = Store::connect(&config).await.unwrap();
        assert_eq!(again.list_preferences(&tenant(), &user("ada"), 0, 10).await.unwrap().len(), 1);
        again.close().await;
    }
}

async fn migrating_again_changes_nothing(f: &Fixture) {
    if let Place::Postgres(_) = f.place {
        assert_eq!(Store::migrate(&f.config).await.unwrap(), Store::migrate(&f.config).await.unwrap());
    } else {
        let in_use = Store::migrate(&f.config).await;
        assert!(matches!(in_use, Err(StoreError::InUse { .. })), "{in_use:?}");
    }
}

#[tokio::test]
async fn a_sqlite_file_is_opened_by_one_server_at_a_time() {
    let f = Fixture::sqlite().await;
    let second = Store::connect(&f.config).await;
    let message = second.map(drop).unwrap_err().to_string();
    assert!(message.contains("pref.db") && message.contains("in use"), "{message}");

    let config = f.config.clone();
    f.store.close().await;
    drop(f.store);
    Store::connect(&config).await.expect("the first one has let go").close().await;
}

#[tokio::test]
async fn a_path_that_cannot_be_opened_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("not/there/pref.db");
    let error = Store::connect(&StoreConfig::new(Database::Sqlite(path))).await.map(drop).unwrap_err();
    assert!(error.to_string().contains("not/there/pref.db"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pref.db");
    std::fs::write(&path, "This is a letter, not a database. ".repeat(100)).unwrap();
    let error = Store::connect(&StoreConfig::new(Database::Sqlite(path))).await.map(drop).unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_postgres_that_is_away_may_come_back() {
    // A port that was free a moment ago: nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://pref@127.0.0.1:{port}/pref");
    let mut config = StoreConfig::new(Database::Postgres(url.into()));
    config.acquire_timeout = Duration::from_millis(200);
    let error = Store::connect(&config).await.map(drop).unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused() {
    let config = StoreConfig::new(Database::Postgres("postgres://[".to_owned().into()));
    let error = Store::connect(&config).await.map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Url(_)), "{error:?}");
}
