//! OpenAI's chat completions over HTTP: an existing chat frontend becomes personal by changing its base URL.
//!
//! `POST /v1/chat/completions` and `GET /v1/models`, errors in OpenAI's shape. Nothing is decided here: a request becomes
//! one of the engine's, and its events become chunks.

mod chat;
mod error;
mod models;
mod request;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::ServiceConfig;
use super::convert::Limits;
use crate::engine::Engine;

/// What every handler has.
#[derive(Clone)]
struct Edge {
    engine: Engine,
    limits: Limits,
    /// One permit a call.
    calls: Arc<Semaphore>,
    /// Longest time until an answer, or until a stream begins.
    patience: Duration,
}

/// Answers HTTP calls until `stop`; calls that are under way then go on to their end.
pub async fn serve_http(
    listener: TcpListener,
    engine: Engine,
    config: &ServiceConfig,
    stop: CancellationToken,
) -> io::Result<()> {
    let edge = Edge {
        engine,
        limits: config.limits,
        calls: Arc::new(Semaphore::new(config.concurrent_calls)),
        patience: config.call_timeout,
    };
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::completions))
        .route("/v1/models", get(models::list))
        .route("/v1/models/{id}", get(models::one))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::max(config.limits.message_bytes))
        .with_state(edge);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}
