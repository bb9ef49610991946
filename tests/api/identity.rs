//! Who may call what, with API keys.

use std::time::Duration;

use pref::domain::{ApiKey, Scope, Scopes, TenantId};
use pref::engine::EngineConfig;
use pref::service::proto::*;
use pref::service::{Access, ServiceConfig, TenantLimits};
use pref::store::ApiKeyRow;
use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_types::StatusExt;

use crate::app::{Bearer, TestApp, from_pool, judge, refusal, row};

const COMPARISON: (&str, &str, &str) = ("x", "Short.", "A few more words than that.");

/// A server that asks who calls, and asks its database at every call whether a key still holds.
pub(crate) fn guarded(engine: &mut EngineConfig, service: &mut ServiceConfig) {
    engine.key_memory = Duration::ZERO;
    service.access = Access::Credentials { tokens: None };
}

/// One method of the API, as its descriptor says.
pub(crate) struct Method {
    pub(crate) path: String,
    /// Whether its request names a person, as field 1.
    pub(crate) about_person: bool,
}

/// All methods of the API.
pub(crate) fn methods() -> Vec<Method> {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap().file;
    let ours: Vec<_> = files.iter().filter(|file| file.package() == "pref.v1").collect();
    let about_person = |name: &str| {
        let name = name.rsplit('.').next().unwrap();
        let message = ours.iter().flat_map(|file| &file.message_type).find(|message| message.name() == name);
        let user = message.unwrap().field.iter().find(|field| field.name() == "user_id");
        user.is_some_and(|field| {
            assert_eq!(field.number(), 1, "{name}");
            true
        })
    };
    let services = ours.iter().flat_map(|file| &file.service);
    services
        .flat_map(|service| service.method.iter().map(move |method| (service, method)))
        .map(|(service, method)| Method {
            path: format!("/pref.v1.{}/{}", service.name(), method.name()),
            about_person: about_person(method.input_type()),
        })
        .collect()
}

/// A request that names a person and nothing else, whatever the method.
#[derive(Clone, PartialEq, prost::Message)]
struct Anything {
    #[prost(string, tag = "1")]
    user_id: String,
}

impl TestApp {
    /// A new key of the tenant's; what it is sent as.
    pub(crate) async fn key(
        &self,
        tenant: &str,
        scopes: impl IntoIterator<Item = Scope>,
    ) -> (String, String) {
        let key = ApiKey::generate();
        let row = ApiKeyRow {
            key_id: key.id().to_owned(),
            tenant: TenantId::parse(tenant).unwrap(),
            hash: key.digest(),
            scopes: scopes.into_iter().collect::<Scopes>(),
            label: String::new(),
            created: self.engine.now(),
            expires: None,
            revoked: None,
        };
        self.engine.store().create_api_key(&row).await.unwrap();
        (row.key_id, format!("Bearer {}", key.expose()))
    }

    /// The server for a caller with a key of the tenant's that is good for everything.
    pub(crate) async fn holder(&self, tenant: &str) -> TestApp {
        self.caller(&self.key(tenant, Scope::ALL).await.1)
    }

    /// Calls any method about a person.
    pub(crate) async fn call(&self, path: &str, user_id: &str) -> Result<(), Status> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<Anything, Anything>::default();
        let request = tonic::Request::new(Anything { user_id: user_id.to_owned() });
        client.unary(request, path.parse().unwrap(), codec).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_method_answers_a_stranger_but_health_and_reflection_do() {
    let app = TestApp::configured(guarded).await;
    let unknown = ApiKey::generate();
    let (_, known) = app.key("default", Scope::ALL).await;
    // The right id with another secret: as good as unknown.
    let forged =
        format!("{}{}", &known[..known.len() - 4], if known.ends_with("0000") { "1111" } else { "0000" });
    for Method { path, .. } in methods() {
        for (caller, reason) in [
            (None, "CREDENTIAL_MISSING"),
            (Some(format!("Bearer {}", unknown.expose())), "API_KEY_UNKNOWN"),
            (Some(forged.clone()), "API_KEY_UNKNOWN"),
            (Some(known.replace("Bearer", "Basic")), "CREDENTIAL_MALFORMED"),
            (Some("Bearer sk-secret".to_owned()), "CREDENTIAL_MALFORMED"),
            (Some("Bearer".to_owned()), "CREDENTIAL_MALFORMED"),
        ] {
            let refused = match &caller {
                None => app.call(&path, "ada").await,
                Some(authorization) => app.caller(authorization).call(&path, "ada").await,
            };
            let told = refused.as_ref().unwrap_err().message().to_owned();
            assert_eq!(refusal(refused), (Code::Unauthenticated, reason.to_owned()), "{path} {caller:?}");
            assert!(!told.contains("secret") && !told.contains(unknown.expose()), "{told}");
        }
    }
    let health = HealthClient::new(app.channel.clone()).check(HealthCheckRequest::default()).await;
    assert!(health.is_ok(), "{health:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_method_asks_for_one_scope_and_names_it() {
    let app = TestApp::configured(guarded).await;
    let mut demanded = Vec::new();
    for Method { path, .. } in methods() {
        let mut demands = Vec::new();
        for scope in Scope::ALL {
            let others = Scope::ALL.into_iter().filter(|other| *other != scope);
            let caller = app.caller(&app.key("default", others).await.1);
            let refused = caller.call(&path, "nobody").await;
            let details = refused.as_ref().err().map(|status| status.get_error_details());
            let info = details.as_ref().and_then(|details| details.error_info().cloned());
            if info.as_ref().is_some_and(|info| info.reason == "SCOPE_MISSING") {
                assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
                assert_eq!(info.unwrap().metadata["scope"], scope.as_str());
                demands.push(scope);
            }
        }
        assert_eq!(demands.len(), 1, "{path} {demands:?}");
        demanded.extend(demands);
    }
    assert!(Scope::ALL.into_iter().all(|scope| demanded.contains(&scope)), "each is good for something");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_opens_its_tenant_until_it_is_revoked_or_expires() {
    let app = TestApp::configured(guarded).await;
    let (id, authorization) = app.key("default", [Scope::Feedback, Scope::Read]).await;
    let caller = app.caller(&authorization);
    caller.submit(judge("ada", COMPARISON, Outcome::First)).await.unwrap();
    assert_eq!(caller.get_user("ada").await.unwrap().answers, 1);

    assert!(app.engine.store().revoke_api_key(&id, app.engine.now()).await.unwrap());
    assert_eq!(refusal(caller.get_user("ada").await), (Code::Unauthenticated, "API_KEY_REVOKED".to_owned()));

    let key = ApiKey::generate();
    let row = ApiKeyRow {
        key_id: key.id().to_owned(),
        tenant: TenantId::default_tenant(),
        hash: key.digest(),
        scopes: Scopes::all(),
        label: "for a moment".to_owned(),
        created: 0,
        expires: Some(app.engine.now()),
        revoked: None,
    };
    app.engine.store().create_api_key(&row).await.unwrap();
    let late = app.caller(&format!("Bearer {}", key.expose())).get_user("ada").await;
    assert_eq!(refusal(late), (Code::Unauthenticated, "API_KEY_EXPIRED".to_owned()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remembered_key_costs_the_database_nothing() {
    let remembering = |engine: &mut EngineConfig, service: &mut ServiceConfig| {
        guarded(engine, service);
        engine.key_memory = Duration::from_secs(3600);
    };
    let app = TestApp::configured(remembering).await;
    let (id, authorization) = app.key("default", Scope::ALL).await;
    let caller = app.caller(&authorization);
    let list = ListModelsRequest { page_size: 1001, ..Default::default() };
    let refused = caller.training().list_models(list.clone()).await;
    assert_eq!(refusal(refused), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    // Even the database's being away shows only in what needs it.
    app.engine.store().revoke_api_key(&id, app.engine.now()).await.unwrap();
    app.engine.store().close().await;
    let refused = caller.training().list_models(list).await;
    assert_eq!(refusal(refused), (Code::InvalidArgument, "INVALID_FIELD".to_owned()));
    let stranger = app.caller(&format!("Bearer {}", ApiKey::generate().expose())).get_user("ada").await;
    assert_eq!(refusal(stranger), (Code::Unavailable, "DATABASE_UNAVAILABLE".to_owned()));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_beyond_its_share_is_told_when_to_come_again() {
    let tight = |engine: &mut EngineConfig, service: &mut ServiceConfig| {
        guarded(engine, service);
        engine.tenant_users = 2;
        service.tenant_limits = TenantLimits::new(1_000, 1);
        service.limits.text_bytes = 50_000;
        service.limits.message_bytes = 1 << 20;
    };
    let app = TestApp::configured(tight).await;
    let caller = app.holder("default").await;
    caller.import_topics().await;
    // People.
    caller.submit(judge("ada", COMPARISON, Outcome::First)).await.unwrap();
    caller.next_query(from_pool("bob", "topics")).await.unwrap();
    let full = (Code::ResourceExhausted, "TOO_MANY_USERS".to_owned());
    assert_eq!(refusal(caller.submit(judge("eve", COMPARISON, Outcome::First)).await), full);
    assert_eq!(refusal(caller.next_query(from_pool("eve", "topics")).await), full);
    caller.submit(judge("ada", COMPARISON, Outcome::Second)).await.unwrap();
    // Completions: the second of two at once. The first cannot end while its caller takes no more than a kilobyte of it: of its
    // text and what follows, each more than tonic puts into one chunk (32 KiB), the second waits until the first is taken.
    let long = ["a", "b", "c", "d"].map(|word| word.repeat(40_000));
    caller.import(vec![row("long", "A long one:", &long)]).await.unwrap();
    let slow =
        Endpoint::try_from(format!("http://{}", app.address)).unwrap().initial_stream_window_size(1024);
    let slow =
        InterceptedService::new(slow.connect_lazy(), Bearer::of(&app.key("default", Scope::ALL).await.1));
    let mut slow = personalization_service_client::PersonalizationServiceClient::new(slow);
    let request =
        GenerateRequest { prompt: "A long one:".to_owned(), include_candidates: true, ..Default::default() };
    let first = slow.generate(request.clone()).await.unwrap();
    let refused = caller.personalization().generate(request.clone()).await.map(drop);
    assert_eq!(refusal(refused), (Code::ResourceExhausted, "TOO_MANY_GENERATIONS".to_owned()));
    let mut events = first.into_inner();
    while events.message().await.unwrap().is_some() {}
    caller.generate(request).await.unwrap();
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_hurries_does_not_slow_another() {
    let tight = |engine: &mut EngineConfig, service: &mut ServiceConfig| {
        guarded(engine, service);
        service.tenant_limits = TenantLimits::new(1, 0);
    };
    let app = TestApp::configured(tight).await;
    let (hurried, other) = (app.holder("hurried").await, app.holder("other").await);
    let mut refused = None;
    for _ in 0..4 {
        refused = hurried.list_pools().await.err().or(refused);
    }
    let refused = refused.expect("four calls at once are more than two seconds' worth");
    assert!(refused.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert_eq!(refusal::<()>(Err(refused)), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    assert_eq!(other.list_pools().await.unwrap(), []);
    app.stop().await;
}
