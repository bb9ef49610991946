use std::collections::BTreeMap;

use pref::domain::{
    Comparison, ModelVersion, Outcome, PoolName, PreferenceId, QueryId, RequestId, TenantId, UserId, Weight,
};
use pref::store::{Append, Database, Derived, Idempotent, NewPreference, QueryRow, Store, StoreConfig};
use secrecy::ExposeSecret;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use tempfile::TempDir;

use crate::postgres::TestDatabase;

/// An hour and a day, in milliseconds.
pub(crate) const HOUR: i64 = 3_600_000;
pub(crate) const DAY: i64 = 24 * HOUR;
/// When a test begins.
pub(crate) const NOW: i64 = 1_750_000_000_000;

/// A store on an empty database.
pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) config: StoreConfig,
    pub(crate) place: Place,
}

/// Where its data lies, for looking at it without the store.
#[expect(clippy::large_enum_variant, reason = "one a test")]
pub(crate) enum Place {
    Sqlite(TempDir),
    Postgres(TestDatabase),
}

impl Fixture {
    pub(crate) async fn sqlite() -> Self {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let config = StoreConfig::new(Database::Sqlite(dir.path().join("pref.db")));
        let store = Store::connect(&config).await.expect("SQLite opens");
        Self { store, config, place: Place::Sqlite(dir) }
    }

    pub(crate) async fn postgres(test: &str) -> Option<Self> {
        let database = TestDatabase::create(test).await?;
        let config = StoreConfig::new(Database::Postgres(database.url()));
        let store = Store::connect(&config).await.expect("Postgres opens");
        Some(Self { store, config, place: Place::Postgres(database) })
    }

    /// All bytes that the database holds: each row of each table in Postgres, the files of SQLite.
    pub(crate) async fn everything(&self) -> Vec<u8> {
        match &self.place {
            Place::Sqlite(dir) => {
                let files = std::fs::read_dir(dir.path()).expect("the directory is there");
                files
                    .flat_map(|file| std::fs::read(file.expect("a file").path()).expect("it can be read"))
                    .collect()
            }
            Place::Postgres(database) => {
                let mut connection = connect(database).await;
                let tables = sqlx::query("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'")
                    .fetch_all(&mut connection)
                    .await
                    .expect("tables can be listed");
                let mut bytes = Vec::new();
                for table in tables {
                    let table: String = table.get(0);
                    let rows = sqlx::query(AssertSqlSafe(format!("SELECT t::text FROM {table} t")))
                        .fetch_all(&mut connection)
                        .await
                        .expect("a table can be read");
                    rows.iter().for_each(|row| bytes.extend(row.get::<String, _>(0).into_bytes()));
                }
                bytes
            }
        }
    }

    /// How many rows each table has about the user, of all tables that the catalog says have users.
    pub(crate) async fn rows_about(&self, user: &UserId) -> BTreeMap<String, i64> {
        let mut rows = BTreeMap::new();
        let count = |table: &str| AssertSqlSafe(format!("SELECT COUNT(*) FROM {table} WHERE user_id = $1"));
        match &self.place {
            Place::Sqlite(dir) => {
                let options =
                    SqliteConnectOptions::new().filename(dir.path().join("pref.db")).read_only(true);
                let mut connection = options.connect().await.expect("SQLite opens once more");
                let catalog = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                               WHERE m.type = 'table' AND c.name = 'user_id'";
                let tables: Vec<String> =
                    sqlx::query_scalar(catalog).fetch_all(&mut connection).await.expect("tables");
                for table in tables {
                    let query = sqlx::query_scalar(count(&table)).bind(user.as_str());
                    rows.insert(table, query.fetch_one(&mut connection).await.expect("a count"));
                }
            }
            Place::Postgres(database) => {
                let mut connection = connect(database).await;
                let catalog = "SELECT table_name::text FROM information_schema.columns
                               WHERE table_schema = 'public' AND column_name = 'user_id'";
                let tables: Vec<String> =
                    sqlx::query_scalar(catalog).fetch_all(&mut connection).await.expect("tables");
                for table in tables {
                    let query = sqlx::query_scalar(count(&table)).bind(user.as_str());
                    rows.insert(table, query.fetch_one(&mut connection).await.expect("a count"));
                }
            }
        }
        rows
    }

    /// Whether any row holds `text`, as text or within bytes.
    pub(crate) async fn holds(&self, text: &str) -> bool {
        let everything = self.everything().await;
        let find = |needle: &[u8]| everything.windows(needle.len()).any(|window| window == needle);
        find(text.as_bytes()) || find(hex::encode(text).as_bytes())
    }

    /// Appends an answer on top of the user's present revision, which must work.
    pub(crate) async fn answer(&self, user: &UserId, new: NewPreference) -> PreferenceId {
        let snapshot = self.store.user_snapshot(&tenant(), user, &model("m1")).await.expect("a snapshot");
        let expected_revision = snapshot.map_or(0, |snapshot| snapshot.revision);
        let id = new.preference_id;
        let append =
            self.store.append_preference(&tenant(), user, &NewPreference { expected_revision, ..new }).await;
        assert_eq!(append.expect("an answer"), Append::Appended { revision: expected_revision + 1 });
        id
    }

    /// Stores one question to the user.
    pub(crate) async fn ask(&self, user: &UserId, comparison: Comparison) -> QueryRow {
        let query = question(comparison);
        let save = self.store.save_queries(&tenant(), user, std::slice::from_ref(&query), None, NOW).await;
        assert_eq!(save.expect("a question"), pref::store::Recall::New);
        query
    }
}

/// A connection beside the store's.
pub(crate) async fn connect(database: &TestDatabase) -> PgConnection {
    PgConnection::connect(database.url().expose_secret()).await.expect("Postgres answers")
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::parse(name).expect("a name")
}

pub(crate) fn model(version: &str) -> ModelVersion {
    ModelVersion::parse(version).expect("a version")
}

pub(crate) fn pool(name: &str) -> PoolName {
    PoolName::parse(name).expect("a name")
}

pub(crate) fn comparison(prompt: &str, a: &str, b: &str) -> Comparison {
    Comparison::parse(prompt, a, b).expect("a comparison")
}

/// An answer FIRST without a question or request id, with a fit under model `m1`.
pub(crate) fn preference(comparison: Comparison) -> NewPreference {
    NewPreference {
        preference_id: PreferenceId::random(),
        request_id: None,
        body_hash: [1; 32],
        query_id: None,
        comparison,
        outcome: Outcome::First,
        weight: Weight::ONE,
        created: NOW,
        expires: NOW + HOUR,
        expected_revision: 0,
        derived: vec![derived("m1", 1)],
        reply: b"first reply".to_vec(),
    }
}

/// The same as an answer to `query`.
pub(crate) fn answer_to(query: &QueryRow) -> NewPreference {
    NewPreference { query_id: Some(query.query_id), ..preference(query.comparison.clone()) }
}

pub(crate) fn derived(version: &str, answers: i64) -> Derived {
    Derived {
        model_version: model(version),
        delta: Some(vec![0.5, -0.25]),
        coefficients: vec![1.0 + answers as f64, f64::MIN_POSITIVE],
        hessian: vec![2.0, 0.1, 0.1, 3.0],
        answers,
    }
}

/// A question under model `m1` that is open for an hour.
pub(crate) fn question(comparison: Comparison) -> QueryRow {
    QueryRow {
        query_id: QueryId::random(),
        comparison,
        model_version: model("m1"),
        delta: vec![1.5, -2.5],
        information_gain: 0.4,
        predicted_preference: 0.6,
        created: NOW,
        expires: NOW + HOUR,
        answered: None,
    }
}

pub(crate) fn request(request_id: RequestId, body: u8, reply: &str) -> Idempotent {
    Idempotent {
        method: "NextQuery",
        request_id,
        body_hash: [body; 32],
        reply: reply.as_bytes().to_vec(),
        created: NOW,
        expires: NOW + DAY,
    }
}
