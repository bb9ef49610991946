//! More calls than the server takes, and calls that take too long.

use std::time::Duration;

use pref::domain::TenantId;
use pref::service::proto::candidate_service_client::CandidateServiceClient;
use pref::service::proto::personalization_service_client::PersonalizationServiceClient;
use pref::service::proto::*;
use pref::service::{ServeError, ServiceConfig, serve};
use sqlx::ConnectOptions;
use tonic::Code;
use tonic_types::StatusExt;

use crate::app::{TestApp, judge, refusal, row};

const COMPARISON: (&str, &str, &str) = ("x", "Many more words than there have to be in one.", "Few.");

/// Rows that an import writes together.
const BATCH: usize = 256;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_its_hands_full_refuses_the_next_call_and_says_when_to_try_again() {
    let app = TestApp::on_sqlite().await;
    let config = ServiceConfig { concurrent_calls: 1, ..ServiceConfig::default() };
    let (address, server) = serve_beside(&app, config).await;

    let mut client = CandidateServiceClient::connect(address).await.unwrap();
    let (rows, received) = tokio::sync::mpsc::channel(BATCH);
    for index in 0..BATCH {
        rows.send(row("p", &format!("x {index}"), &["a".to_owned()])).await.unwrap();
    }
    let stream = tokio_stream::wrappers::ReceiverStream::new(received);
    let import = tokio::spawn({
        let mut client = client.clone();
        async move { client.import_candidates(stream).await }
    });
    // The import is in flight once its first batch is in the store.
    while app.engine.list_pools(&TenantId::default_tenant(), None, 1).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }

    let status = client.list_pools(ListPoolsRequest::default()).await.unwrap_err();
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert_eq!(refusal::<()>(Err(status)), (Code::ResourceExhausted, "OVERLOADED".to_owned()));

    drop(rows);
    assert_eq!(import.await.unwrap().unwrap().into_inner().rows, BATCH as u64);
    assert_eq!(client.list_pools(ListPoolsRequest::default()).await.unwrap().into_inner().pools.len(), 1);
    app.stop().await;
    server.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_takes_longer_than_it_may_is_told_so() {
    let app = TestApp::on_sqlite().await;
    let config = ServiceConfig { call_timeout: Duration::from_millis(100), ..ServiceConfig::default() };
    let (address, server) = serve_beside(&app, config).await;
    let mut impatient = PersonalizationServiceClient::connect(address).await.unwrap();

    // Whoever writes waits for this one.
    let mut other =
        sqlx::sqlite::SqliteConnectOptions::new().filename(app.sqlite_file()).connect().await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let refused = refusal(impatient.submit_preference(judge("ada", COMPARISON, Outcome::First)).await);
    assert_eq!(refused, (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned()));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();

    app.submit(judge("ada", COMPARISON, Outcome::First)).await.unwrap();
    app.stop().await;
    server.await.unwrap().unwrap();
}

/// A second server on the app's engine, with settings of its own, which stops with the app's.
async fn serve_beside(
    app: &TestApp,
    config: ServiceConfig,
) -> (String, tokio::task::JoinHandle<Result<(), ServeError>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let engine = app.engine.clone();
    let config = ServiceConfig { training: false, drain_timeout: Duration::from_millis(300), ..config };
    let server = tokio::spawn(async move {
        let draining = engine.draining().clone();
        serve(listener, draining.cancelled_owned(), engine, &config).await
    });
    (address, server)
}
