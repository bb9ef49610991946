//! Servers that can be killed, and what clients do about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pref::domain::TenantId;
use pref::engine::{Engine, EngineConfig, RecentMetrics, ServingModel};
use pref::service::proto::candidate_service_client::CandidateServiceClient;
use pref::service::{ServiceConfig, serve};
use pref::store::{Database, Store, StoreConfig, StoreError};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::{RwLock, oneshot};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::app::{PROMPTS, RESPONSES, row};
use crate::artifact;
use crate::postgres::TestDatabase;

/// How often a call is made before the test fails: a killed server is back long before.
const ATTEMPTS: usize = 2000;

/// The servers of one database.
pub(super) struct World {
    store: StoreConfig,
    replicas: Vec<RwLock<Replica>>,
    /// The models `test-1` and `test-2`, to fit from scratch with.
    pub(super) models: [Arc<ServingModel>; 2],
    people: AtomicUsize,
    calls: AtomicUsize,
    attempts: AtomicUsize,
    kills: AtomicUsize,
    recent: RecentMetrics,
    _folders: Vec<TempDir>,
    _database: Option<TestDatabase>,
}

/// A server on a runtime of its own: it dies with it, at whatever point its calls are.
struct Replica {
    /// Nothing once it is dead.
    runtime: Option<Runtime>,
    channel: Channel,
}

impl World {
    pub(super) async fn on_postgres(test: &str) -> Option<Self> {
        let database = TestDatabase::create(test).await?;
        let store = StoreConfig::new(Database::Postgres(database.url()));
        Some(Self::start(store, 2, Vec::new(), Some(database)).await)
    }

    pub(super) async fn on_sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = StoreConfig::new(Database::Sqlite(folder.path().join("pref.sqlite")));
        Self::start(store, 1, vec![folder], None).await
    }

    async fn start(
        store: StoreConfig,
        replicas: usize,
        mut folders: Vec<TempDir>,
        database: Option<TestDatabase>,
    ) -> Self {
        let second = tempfile::tempdir().unwrap();
        artifact::save(
            second.path(),
            "test-2",
            &["sentence length", "hedging", "word length", "lexical diversity"],
        );
        let engine = Engine::new(Store::connect(&store).await.unwrap(), EngineConfig::default());
        let tenant = TenantId::default_tenant();
        let two = engine.install_model(&tenant, &second.path().to_string_lossy()).await.unwrap();
        let one = engine.install_model(&tenant, &artifact::location().to_string_lossy()).await.unwrap();
        engine.store().close().await;
        drop(engine);
        folders.push(second);

        let (mut started, recent) = (Vec::new(), RecentMetrics::default());
        for _ in 0..replicas {
            started.push(RwLock::new(Replica::start(&store, &recent).await));
        }
        let world = Self {
            store,
            replicas: started,
            models: [one, two],
            people: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            attempts: AtomicUsize::new(0),
            kills: AtomicUsize::new(0),
            recent,
            _folders: folders,
            _database: database,
        };
        let rows =
            PROMPTS.map(|prompt| row("topics", prompt, &RESPONSES.map(|words| format!("{prompt} {words}"))));
        let import = CandidateServiceClient::new(world.replicas[0].read().await.channel.clone())
            .import_candidates(tokio_stream::iter(rows))
            .await;
        import.expect("the pool can be imported");
        world
    }

    pub(super) fn replicas(&self) -> usize {
        self.replicas.len()
    }

    /// A name that no history had before.
    pub(super) fn somebody(&self) -> String {
        format!("person {}", self.people.fetch_add(1, Ordering::Relaxed))
    }

    /// How often what a server remembered of a person was right, and how often it was wrong.
    pub(super) fn guesses(&self) -> (u64, u64) {
        (self.recent.guesses(true), self.recent.guesses(false))
    }

    /// What was done so far.
    pub(super) fn summary(&self) -> String {
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        let (calls, attempts, kills) = (count(&self.calls), count(&self.attempts), count(&self.kills));
        let people = count(&self.people);
        let (right, wrong) = self.guesses();
        format!(
            "{calls} calls in {attempts} attempts, {kills} kills, {people} people; {right} of {} guesses right",
            right + wrong
        )
    }

    /// Makes a call until it is answered one way or the other, at `first` and then at the others in turn.
    pub(super) async fn call<T>(
        &self,
        first: usize,
        call: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Result<T, Status> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut last = None;
        for attempt in 0..ATTEMPTS {
            self.attempts.fetch_add(1, Ordering::Relaxed);
            let channel = self.replicas[(first + attempt) % self.replicas.len()].read().await.channel.clone();
            match call(channel).await {
                Err(status) if is_worth_a_retry(&status) => {
                    last = Some(status);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                answered => return answered,
            }
        }
        Err(last.unwrap_or_else(|| Status::unknown("never called")))
    }

    /// Ends a server wherever it is in its work, and starts it again.
    pub(super) async fn kill(&self, which: usize) {
        self.kills.fetch_add(1, Ordering::Relaxed);
        let mut replica = self.replicas[which].write().await;
        replica.die();
        *replica = Replica::start(&self.store, &self.recent).await;
    }

    pub(super) async fn stop(self) {
        for replica in self.replicas {
            replica.into_inner().die();
        }
    }
}

impl Replica {
    fn die(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    async fn start(store: &StoreConfig, recent: &RecentMetrics) -> Self {
        let runtime = runtime();
        let recent_metrics = recent.clone();
        let (tell, told) = oneshot::channel();
        let store = store.clone();
        runtime.spawn(async move {
            let store = loop {
                match Store::connect(&store).await {
                    Ok(store) => break store,
                    // The one that was killed is about to let go of the file.
                    Err(StoreError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(2)).await,
                    Err(error) => panic!("the store opens: {error}"),
                }
            };
            let config = EngineConfig {
                change_poll: Duration::from_millis(200),
                recent_metrics,
                ..EngineConfig::default()
            };
            let engine = Engine::new(store, config);
            engine.load_active_models().await.expect("the models load");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
            let _ = tell.send(listener.local_addr().expect("a bound listener has an address"));
            let config = ServiceConfig { training: false, ..ServiceConfig::default() };
            serve(listener, std::future::pending(), engine, &config).await
        });
        let address = told.await.expect("the server starts");
        let channel = Endpoint::try_from(format!("http://{address}")).unwrap().connect_lazy();
        Self { runtime: Some(runtime), channel }
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// What ERRORS.md says may be made again as it is; and what the transport says of a server that died.
fn is_worth_a_retry(status: &Status) -> bool {
    let told_why = status.get_error_details().error_info().is_some();
    !told_why || matches!(status.code(), Code::Unavailable | Code::Aborted | Code::DeadlineExceeded)
}
