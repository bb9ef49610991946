//! The real server, and one helper for each RPC.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pref::domain::TenantId;
use pref::engine::{Engine, EngineConfig};
use pref::generate::Generator;
use pref::model::ArtifactLocation;
use pref::service::proto::candidate_service_client::CandidateServiceClient;
use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::training_service_client::TrainingServiceClient;
use pref::service::proto::*;
use pref::service::{Limits, ServeError, ServiceConfig, serve};
use pref::store::{Database, Store, StoreConfig};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use crate::artifact;
use crate::postgres::TestDatabase;
use crate::proxy::Proxy;

/// Longest text that the server under test takes.
pub(crate) const MAX_TEXT_BYTES: usize = 2000;
/// Largest message that it takes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A connection, on which a credential may go with each call.
pub(crate) type Wire = InterceptedService<Channel, Bearer>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Bearer(Option<MetadataValue<Ascii>>);

impl Bearer {
    pub(crate) fn of(authorization: &str) -> Self {
        Self(Some(authorization.parse().expect("a credential is a header's value")))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

pub(crate) struct TestApp {
    pub(crate) engine: Engine,
    pub(crate) channel: Wire,
    /// Where it listens.
    pub(crate) address: std::net::SocketAddr,
    stop: std::sync::Mutex<Option<oneshot::Sender<()>>>,
    server: tokio::sync::Mutex<Option<JoinHandle<Result<(), ServeError>>>>,
    folder: Arc<TempDir>,
    database: Option<Arc<TestDatabase>>,
}

impl TestApp {
    /// A server on SQLite with settings of its own, whose model serves the default tenant.
    pub(crate) async fn configured(settings: impl FnOnce(&mut EngineConfig, &mut ServiceConfig)) -> Self {
        let folder = folder();
        let store = StoreConfig::new(Database::Sqlite(sqlite_file(&folder)));
        let app = Self::start(store, folder, None, settings).await;
        app.install_model().await;
        app
    }

    /// The same on Postgres; nothing where there is none.
    pub(crate) async fn configured_on_postgres(
        test: &str,
        settings: impl FnOnce(&mut EngineConfig, &mut ServiceConfig),
    ) -> Option<Self> {
        let database = TestDatabase::create(test).await?;
        let store = StoreConfig::new(Database::Postgres(database.url()));
        let app = Self::start(store, folder(), Some(database), settings).await;
        app.install_model().await;
        Some(app)
    }

    /// The same on Postgres, with a proxy between.
    pub(crate) async fn behind_a_proxy(
        test: &str,
        settings: impl FnOnce(&mut StoreConfig, &mut ServiceConfig),
    ) -> Option<(Self, Proxy)> {
        let database = TestDatabase::create(test).await?;
        let proxy = Proxy::before(database.place()).await;
        let mut store = StoreConfig::new(Database::Postgres(database.url_by_way_of(proxy.address.port())));
        let mut service = ServiceConfig::default();
        settings(&mut store, &mut service);
        let service = move |engine: &mut EngineConfig, given: &mut ServiceConfig| {
            given.call_timeout = service.call_timeout;
            // Nothing is asked but for the test's own calls.
            given.training = false;
            engine.change_poll = Duration::from_secs(3600);
        };
        let app = Self::start(store, folder(), Some(database), service).await;
        app.install_model().await;
        Some((app, proxy))
    }

    /// The same server, for a caller with this `authorization`.
    pub(crate) fn caller(&self, authorization: &str) -> Self {
        let channel = Endpoint::try_from(format!("http://{}", self.address)).expect("an address makes a URL");
        Self {
            engine: self.engine.clone(),
            channel: InterceptedService::new(channel.connect_lazy(), Bearer::of(authorization)),
            address: self.address,
            stop: std::sync::Mutex::default(),
            server: tokio::sync::Mutex::default(),
            folder: self.folder.clone(),
            database: self.database.clone(),
        }
    }

    /// A server on SQLite whose model serves.
    pub(crate) async fn on_sqlite() -> Self {
        let app = Self::without_model_on_sqlite().await;
        app.install_model().await;
        app
    }

    /// A server on Postgres whose model serves; nothing where there is no Postgres.
    pub(crate) async fn on_postgres(test: &str) -> Option<Self> {
        let database = TestDatabase::create(test).await?;
        let store = StoreConfig::new(Database::Postgres(database.url()));
        let app = Self::start(store, folder(), Some(database), |_, _| {}).await;
        app.install_model().await;
        Some(app)
    }

    /// A server that has not been told yet which model serves.
    pub(crate) async fn without_model_on_sqlite() -> Self {
        let folder = folder();
        let store = StoreConfig::new(Database::Sqlite(sqlite_file(&folder)));
        Self::start(store, folder, None, |_, _| {}).await
    }

    /// A server on SQLite whose model serves, and which writes with these language models.
    pub(crate) async fn with_generators(generators: &[(&str, Arc<dyn Generator>)]) -> Self {
        let folder = folder();
        let store = StoreConfig::new(Database::Sqlite(sqlite_file(&folder)));
        let names: Vec<_> = generators.iter().map(|(name, _)| (*name).to_owned()).collect();
        let app = Self::start(store, folder, None, |engine, _| engine.generators = names).await;
        for (name, generator) in generators {
            app.engine.install_generator(name, generator.clone());
        }
        app.install_model().await;
        app
    }

    /// Where the database of [`Self::on_sqlite`] lies.
    pub(crate) fn sqlite_file(&self) -> PathBuf {
        sqlite_file(&self.folder)
    }

    /// The database of an app on Postgres.
    pub(crate) fn database_url(&self) -> secrecy::SecretString {
        self.database.as_ref().expect("this app is on Postgres").url()
    }

    async fn start(
        store: StoreConfig,
        folder: TempDir,
        database: Option<TestDatabase>,
        settings: impl FnOnce(&mut EngineConfig, &mut ServiceConfig),
    ) -> Self {
        let mut config = EngineConfig {
            models: ArtifactLocation::from(folder.path().join("models").as_path()),
            job_poll: Duration::from_millis(50),
            seed: Some(1),
            ..EngineConfig::default()
        };
        let mut service = ServiceConfig {
            limits: Limits {
                text_bytes: MAX_TEXT_BYTES,
                message_bytes: MAX_MESSAGE_BYTES,
                ..Limits::default()
            },
            drain_timeout: Duration::from_millis(300),
            ..ServiceConfig::default()
        };
        settings(&mut config, &mut service);
        let engine = Engine::new(Store::connect(&store).await.expect("the store opens"), config);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let served = engine.clone();
        let server = tokio::spawn(async move {
            let stopped = async { stopped.await.unwrap_or_default() };
            serve(listener, stopped, served, &service).await
        });
        let endpoint = Endpoint::try_from(format!("http://{address}")).expect("an address makes a URL");
        Self {
            engine,
            channel: InterceptedService::new(endpoint.connect_lazy(), Bearer::default()),
            address,
            stop: std::sync::Mutex::new(Some(stop)),
            server: tokio::sync::Mutex::new(Some(server)),
            folder: Arc::new(folder),
            database: database.map(Arc::new),
        }
    }

    /// Activates the artifact `test-1`.
    pub(crate) async fn install_model(&self) {
        let location = artifact::location().to_string_lossy();
        self.engine
            .install_model(&TenantId::default_tenant(), &location)
            .await
            .expect("the model can be activated");
    }

    /// Asks the server to stop.
    pub(crate) fn ask_to_stop(&self) {
        if let Some(stop) = self.stop.lock().unwrap().take() {
            // A server that is gone already needs no asking.
            let _ = stop.send(());
        }
    }

    /// Asks the server to stop, and waits until it has.
    pub(crate) async fn stop(&self) {
        self.ask_to_stop();
        if let Some(server) = self.server.lock().await.take() {
            server.await.expect("the server does not panic").expect("the server ends well");
        }
        self.engine.store().close().await;
    }

    pub(crate) fn personalization(&self) -> PersonalizationServiceClient<Wire> {
        PersonalizationServiceClient::new(self.channel.clone())
    }

    pub(crate) fn candidates(&self) -> CandidateServiceClient<Wire> {
        CandidateServiceClient::new(self.channel.clone())
    }

    pub(crate) fn training(&self) -> TrainingServiceClient<Wire> {
        TrainingServiceClient::new(self.channel.clone())
    }

    pub(crate) async fn next_query(&self, request: NextQueryRequest) -> Result<NextQueryResponse, Status> {
        Ok(self.personalization().next_query(request).await?.into_inner())
    }

    pub(crate) async fn submit(
        &self,
        request: SubmitPreferenceRequest,
    ) -> Result<SubmitPreferenceResponse, Status> {
        Ok(self.personalization().submit_preference(request).await?.into_inner())
    }

    /// The three events of a completion.
    pub(crate) async fn generate(
        &self,
        request: GenerateRequest,
    ) -> Result<(GenerateStarted, GenerateDelta, GenerateFinished), Status> {
        use generate_response::Event;
        let mut events = self.personalization().generate(request).await?.into_inner();
        let mut next = async || Ok::<_, Status>(events.message().await?.and_then(|message| message.event));
        let (Some(Event::Started(started)), Some(Event::Delta(delta)), Some(Event::Finished(finished)), None) =
            (next().await?, next().await?, next().await?, next().await?)
        else {
            panic!("a completion is started, delta, finished");
        };
        Ok((started, delta, finished))
    }

    pub(crate) async fn score(&self, request: ScoreRequest) -> Result<ScoreResponse, Status> {
        Ok(self.personalization().score(request).await?.into_inner())
    }

    pub(crate) async fn get_user(&self, user: &str) -> Result<UserProfile, Status> {
        let request = GetUserRequest { user_id: user.to_owned(), min_revision: 0 };
        let reply = self.personalization().get_user(request).await?.into_inner();
        Ok(reply.profile.expect("a reply has a profile"))
    }

    pub(crate) async fn list_users(
        &self,
        page_size: u32,
        page_token: &str,
    ) -> Result<ListUsersResponse, Status> {
        let request = ListUsersRequest { page_size, page_token: page_token.to_owned() };
        Ok(self.personalization().list_users(request).await?.into_inner())
    }

    pub(crate) async fn delete_user(&self, user: &str) -> Result<(), Status> {
        let request = DeleteUserRequest { user_id: user.to_owned(), request_id: String::new() };
        self.personalization().delete_user(request).await.map(drop)
    }

    pub(crate) async fn list_preferences(&self, user: &str) -> Result<Vec<Preference>, Status> {
        let request = ListPreferencesRequest { user_id: user.to_owned(), ..Default::default() };
        Ok(self.personalization().list_preferences(request).await?.into_inner().preferences)
    }

    /// All that is held of a person.
    pub(crate) async fn export(&self, user: &str) -> Result<Vec<export_user_response::Item>, Status> {
        let request = ExportUserRequest { user_id: user.to_owned() };
        let mut stream = self.personalization().export_user(request).await?.into_inner();
        let mut items = Vec::new();
        while let Some(response) = stream.message().await? {
            items.push(response.item.expect("a message has an item"));
        }
        Ok(items)
    }

    pub(crate) async fn delete_preference(
        &self,
        user: &str,
        preference_id: &str,
    ) -> Result<UserProfile, Status> {
        let request = DeletePreferenceRequest {
            user_id: user.to_owned(),
            preference_id: preference_id.to_owned(),
            request_id: String::new(),
        };
        let reply = self.personalization().delete_preference(request).await?.into_inner();
        Ok(reply.profile.expect("a reply has a profile"))
    }

    pub(crate) async fn import(
        &self,
        rows: Vec<ImportCandidatesRequest>,
    ) -> Result<ImportCandidatesResponse, Status> {
        Ok(self.candidates().import_candidates(tokio_stream::iter(rows)).await?.into_inner())
    }

    pub(crate) async fn list_pools(&self) -> Result<Vec<Pool>, Status> {
        Ok(self.candidates().list_pools(ListPoolsRequest::default()).await?.into_inner().pools)
    }

    pub(crate) async fn delete_pool(&self, pool: &str) -> Result<(), Status> {
        let request = DeletePoolRequest { pool: pool.to_owned(), request_id: String::new() };
        self.candidates().delete_pool(request).await.map(drop)
    }

    /// Imports the pool `topics`: four prompts with four responses each.
    pub(crate) async fn import_topics(&self) {
        let rows =
            PROMPTS.map(|prompt| row("topics", prompt, &RESPONSES.map(|words| format!("{prompt} {words}"))));
        self.import(rows.to_vec()).await.expect("the pool can be imported");
    }

    /// One question from the pool `topics`.
    pub(crate) async fn ask(&self, user: &str) -> Query {
        let mut reply = self.next_query(from_pool(user, "topics")).await.expect("a question is left");
        reply.queries.remove(0)
    }
}

fn sqlite_file(folder: &TempDir) -> PathBuf {
    folder.path().join("pref.sqlite")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

pub(crate) const PROMPTS: [&str; 4] = ["On tea:", "On rain:", "On maps:", "On bread:"];
pub(crate) const RESPONSES: [&str; 4] = [
    "Short.",
    "A few plain words, and then some more of them, until a long sentence is made.",
    "Incontrovertible multisyllabic terminology predominates throughout.",
    "One two. One two. One two. One two.",
];

pub(crate) fn row(pool: &str, prompt: &str, responses: &[String]) -> ImportCandidatesRequest {
    ImportCandidatesRequest {
        pool: pool.to_owned(),
        prompt: prompt.to_owned(),
        responses: responses.to_vec(),
        request_id: String::new(),
    }
}

pub(crate) fn from_pool(user: &str, pool: &str) -> NextQueryRequest {
    NextQueryRequest {
        user_id: user.to_owned(),
        source: Some(next_query_request::Source::Pool(pool.to_owned())),
        ..Default::default()
    }
}

pub(crate) fn answer(user: &str, query_id: &str, outcome: Outcome) -> SubmitPreferenceRequest {
    SubmitPreferenceRequest {
        user_id: user.to_owned(),
        target: Some(submit_preference_request::Target::QueryId(query_id.to_owned())),
        outcome: outcome.into(),
        ..Default::default()
    }
}

pub(crate) fn judge(
    user: &str,
    (prompt, a, b): (&str, &str, &str),
    outcome: Outcome,
) -> SubmitPreferenceRequest {
    SubmitPreferenceRequest {
        target: Some(submit_preference_request::Target::Comparison(Comparison {
            prompt: prompt.to_owned(),
            response_a: a.to_owned(),
            response_b: b.to_owned(),
        })),
        ..answer(user, "", outcome)
    }
}

pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// What a program goes by: the code and the reason.
pub(crate) fn refusal<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("the call is refused");
    let info = status.get_error_details().error_info().cloned().expect("every refusal has an ErrorInfo");
    assert_eq!(info.domain, "pref.dev");
    (status.code(), info.reason)
}

/// The field that a refusal names.
pub(crate) fn refused_field<T: std::fmt::Debug>(answer: Result<T, Status>) -> (Code, String) {
    let status = answer.expect_err("the call is refused");
    let request = status.get_error_details().bad_request().cloned().expect("the refusal names a field");
    (status.code(), request.field_violations[0].field.clone())
}
