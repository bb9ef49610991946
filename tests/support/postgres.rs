//! A Postgres database of its own for a test.
//!
//! `PREF_TEST_DATABASE_URL` names a database of a cluster in which the tests may make others (`make test` starts such
//! a cluster and stops it afterwards). Without it the tests on Postgres skip themselves, which CI does not take; a test
//! binary that has this module has `mod skip` (tests/support/skip.rs), too.

use secrecy::SecretString;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};
use std::str::FromStr;

/// An empty database, dropped with this value.
pub(crate) struct TestDatabase {
    admin: PgConnectOptions,
    name: String,
}

impl TestDatabase {
    /// Makes a database; nothing, with a line about it, where there is no cluster to make it in.
    pub(crate) async fn create(test: &str) -> Option<Self> {
        let Ok(url) = std::env::var("PREF_TEST_DATABASE_URL") else {
            crate::skip::skip(test, "PREF_TEST_DATABASE_URL is not set");
            return None;
        };
        let admin = PgConnectOptions::from_str(&url).expect("PREF_TEST_DATABASE_URL is a Postgres URL");
        let name = format!("pref_test_{}", uuid::Uuid::new_v4().simple());
        let mut connection = admin.connect().await.expect("the cluster of PREF_TEST_DATABASE_URL answers");
        run(&mut connection, format!("CREATE DATABASE {name}")).await;
        connection.close().await.expect("the connection closes");
        Some(Self { admin, name })
    }

    /// Where its cluster listens.
    #[allow(dead_code, reason = "for tests that put something in between")]
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.admin.get_host(), self.admin.get_port())
    }

    /// Its URL for who reaches it by way of `port` on this machine.
    #[allow(dead_code, reason = "for tests that put something in between")]
    pub(crate) fn url_by_way_of(&self, port: u16) -> SecretString {
        let way = self.admin.clone().host("127.0.0.1").port(port);
        way.database(&self.name).to_url_lossy().to_string().into()
    }

    /// Its URL.
    pub(crate) fn url(&self) -> SecretString {
        self.admin.clone().database(&self.name).to_url_lossy().to_string().into()
    }
}

impl Drop for TestDatabase {
    /// On a thread of its own, since a test's runtime may be gone by now.
    fn drop(&mut self) {
        let (admin, name) = (self.admin.clone(), self.name.clone());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                let mut connection = admin.connect().await.expect("the cluster still answers");
                run(&mut connection, format!("DROP DATABASE {name} WITH (FORCE)")).await;
            });
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the database {} could not be dropped", self.name);
        }
    }
}

async fn run(connection: &mut PgConnection, sql: String) {
    // Names cannot be parameters; this one was made above.
    sqlx::query(AssertSqlSafe(sql)).execute(connection).await.expect("databases can be made and dropped");
}
