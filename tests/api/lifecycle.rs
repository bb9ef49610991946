//! From start to stop: health, reflection, drain.

use std::time::Duration;

use pref::domain::TenantId;
use pref::service::proto::*;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::app::{TestApp, from_pool, judge, refusal, row};
use crate::on_both_stores;

/// Rows that an import writes together.
const IMPORT_BATCH: usize = 256;
const SERVICES: [&str; 3] =
    ["pref.v1.PersonalizationService", "pref.v1.CandidateService", "pref.v1.TrainingService"];

async fn health(app: &TestApp, service: &str) -> ServingStatus {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(app.channel.clone()).check(request).await.unwrap().into_inner().status()
}

/// Follows the health of a service until it is `wanted`.
async fn until(app: &TestApp, service: &str, wanted: ServingStatus) {
    let request = HealthCheckRequest { service: service.to_owned() };
    let mut changes = HealthClient::new(app.channel.clone()).watch(request).await.unwrap().into_inner();
    while let Some(change) = changes.message().await.unwrap() {
        if change.status() == wanted {
            return;
        }
    }
    panic!("{service:?} never became {wanted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_serves_before_the_model_is_warm_and_nothing_while_draining() {
    let app = TestApp::without_model_on_sqlite().await;
    for service in SERVICES.into_iter().chain([""]) {
        assert_eq!(health(&app, service).await, ServingStatus::NotServing, "{service:?}");
    }

    app.engine.load_active_model(&TenantId::default_tenant()).await.unwrap();
    until(&app, "", ServingStatus::Serving).await;
    until(&app, SERVICES[2], ServingStatus::Serving).await;
    assert_eq!(
        health(&app, SERVICES[0]).await,
        ServingStatus::NotServing,
        "there is no model to personalise with"
    );
    let refused = refusal(app.submit(judge("ada", ("x", "a", "b"), Outcome::First)).await);
    assert_eq!(refused, (Code::FailedPrecondition, "NO_ACTIVE_MODEL".to_owned()));
    assert_eq!(refusal(app.next_query(from_pool("ada", "p")).await).1, "NO_ACTIVE_MODEL");
    assert_eq!(refusal(app.get_user("ada").await).1, "NO_ACTIVE_MODEL");
    assert_eq!(app.list_users(0, "").await.unwrap().users, [], "lists need no model");
    app.import_topics().await;

    app.install_model().await;
    for service in SERVICES.into_iter().chain([""]) {
        until(&app, service, ServingStatus::Serving).await;
    }
    app.ask("ada").await;

    let request = HealthCheckRequest { service: String::new() };
    let mut changes = HealthClient::new(app.channel.clone()).watch(request).await.unwrap().into_inner();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
    app.ask_to_stop();
    assert_eq!(changes.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    app.stop().await;
}

on_both_stores! {
    async fn a_restart_finds_the_model_and_the_people(app) {
        let before = app.submit(judge("ada", ("x", "a b c", "d"), Outcome::First)).await.unwrap().profile.unwrap();
        let engine = pref::engine::Engine::new(app.engine.store().clone(), Default::default());
        let tenant = TenantId::default_tenant();
        engine.load_active_model(&tenant).await.unwrap();
        let user = pref::domain::UserId::parse("ada").unwrap();
        let after = UserProfile::from(engine.get_user(&tenant, &user, 1).await.unwrap());
        assert_eq!(after, before);
    }
}

on_both_stores! {
    async fn a_stream_that_idles_does_not_hold_up_the_drain(app) {
        let request = HealthCheckRequest { service: String::new() };
        let mut idle = HealthClient::new(app.channel.clone()).watch(request).await.unwrap().into_inner();
        idle.message().await.unwrap();
        let stopped = tokio::time::timeout(Duration::from_secs(30), app.stop()).await;
        assert!(stopped.is_ok(), "the drain has a deadline of its own");
    }
}

on_both_stores! {
    async fn a_call_in_flight_is_finished_before_the_server_stops(app) {
        let (rows, received) = tokio::sync::mpsc::channel(IMPORT_BATCH);
        let mut client = app.candidates();
        let stream = tokio_stream::wrappers::ReceiverStream::new(received);
        let call = tokio::spawn(async move { client.import_candidates(stream).await });
        for index in 0..IMPORT_BATCH {
            rows.send(row("p", &format!("x {index}"), &["a".to_owned()])).await.unwrap();
        }
        // The call has begun once its first batch is in the store.
        while app.engine.list_pools(&TenantId::default_tenant(), None, 1).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        app.ask_to_stop();
        app.engine.draining().cancelled().await;
        rows.send(row("p", "the last", &["a".to_owned()])).await.unwrap();
        drop(rows);
        let imported = call.await.unwrap().unwrap().into_inner();
        assert_eq!((imported.rows, imported.imported_responses), (IMPORT_BATCH as u64 + 1, IMPORT_BATCH as u64 + 1));
    }
}

on_both_stores! {
    async fn reflection_lists_every_service_and_method_in_both_versions(app) {
        use tonic_reflection::pb::{v1, v1alpha};
        let v1_request = v1::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
        };
        let mut client = v1::server_reflection_client::ServerReflectionClient::new(app.channel.clone());
        let mut replies =
            client.server_reflection_info(tokio_stream::iter([v1_request])).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
        let v1::server_reflection_response::MessageResponse::ListServicesResponse(listed) = reply else {
            panic!("a list of services");
        };
        let names: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
        for service in SERVICES.into_iter().chain(["grpc.health.v1.Health"]) {
            assert!(names.iter().any(|name| name == service), "{service} is not among {names:?}");
        }

        let request = v1alpha::ServerReflectionRequest {
            host: String::new(),
            message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
                "pref.v1.PersonalizationService".to_owned(),
            )),
        };
        let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(app.channel.clone());
        let mut replies = client.server_reflection_info(tokio_stream::iter([request])).await.unwrap().into_inner();
        let reply = replies.message().await.unwrap().unwrap().message_response.unwrap();
        let v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = reply else {
            panic!("a file descriptor");
        };
        let file: prost_types::FileDescriptorProto =
            prost::Message::decode(files.file_descriptor_proto[0].as_slice()).unwrap();
        let methods: Vec<_> = file.service[0].method.iter().map(|method| method.name()).collect();
        assert_eq!(methods.len(), 10, "{methods:?}");
        assert!(methods.contains(&"SubmitPreference"));
    }
}
