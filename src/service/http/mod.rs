//! HTTP, for OpenAI's clients, browsers and curl.
//!
//! OpenAI's chat completions: an existing chat frontend becomes personal by changing its base URL. And the RPCs, as JSON or as
//! gRPC-Web (`rpc.rs`).
//!
//! `POST /v1/chat/completions`, `GET /v1/models` and, of ours, `POST /v1/feedback`; errors in OpenAI's shape. Nothing is decided here:
//! a request becomes one of the engine's, and its events become chunks.

mod auth;
mod chat;
mod completion;
mod error;
mod feedback;
mod models;
mod names;
mod request;
mod rpc;
mod stream;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::extract::rejection::BytesRejection;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower_http::cors::{AllowHeaders, CorsLayer};

use super::answer::OVERLOADED;
use super::auth::Authenticator;
use super::convert::Limits;
use super::reason::Reason;
use super::tenant_limits::TenantLimits;
use super::{ServiceConfig, stack};
use crate::domain::Scope;
use crate::engine::Engine;
use error::HttpError;

/// What every handler has.
#[derive(Clone)]
struct Edge {
    engine: Engine,
    authenticator: Authenticator,
    tenants: TenantLimits,
    limits: Limits,
    /// One permit a call.
    calls: Arc<Semaphore>,
    /// Longest time until an answer, or until a stream begins.
    patience: Duration,
}

impl Edge {
    /// A call's place among all.
    fn permit(&self) -> Result<OwnedSemaphorePermit, HttpError> {
        let permit = self.calls.clone().try_acquire_owned();
        permit.map_err(|_| HttpError::new(Reason::Overloaded, OVERLOADED))
    }
}

/// A request's body, unless it is too large or breaks off.
fn whole(body: Result<Bytes, BytesRejection>) -> Result<Bytes, HttpError> {
    body.map_err(|refused| {
        let too_large = refused.status() == StatusCode::PAYLOAD_TOO_LARGE;
        let reason = if too_large { Reason::MessageTooLarge } else { Reason::MalformedMessage };
        HttpError::new(reason, refused.body_text())
    })
}

/// Answers HTTP calls until `stop`; calls that are under way then go on to their end.
pub async fn serve_http(
    listener: TcpListener,
    engine: Engine,
    config: &ServiceConfig,
    stop: CancellationToken,
) -> io::Result<()> {
    let edge = Edge {
        authenticator: Authenticator::new(engine.clone(), config.access.clone()),
        tenants: config.tenant_limits.clone(),
        engine,
        limits: config.limits,
        calls: Arc::new(Semaphore::new(config.concurrent_calls)),
        patience: config.call_timeout,
    };
    let authenticator = Authenticator::new(edge.engine.clone(), config.access.clone());
    let rpcs = rpc::Rpcs::new(stack::calls(&edge.engine, config, authenticator), config.limits.message_bytes);
    // What a path's credential has to be good for.
    let with = |scope: Scope| from_fn_with_state((edge.clone(), scope), auth::admit);
    let routes = Router::new()
        .route("/v1/chat/completions", post(chat::completions).layer(with(Scope::Generate)))
        .route("/v1/feedback", post(feedback::compare).layer(with(Scope::Feedback)))
        .route("/v1/models", get(models::list).layer(with(Scope::Generate)))
        .route("/v1/models/{id}", get(models::one).layer(with(Scope::Generate)))
        .route("/{service}/{method}", post(rpc::call).with_state(rpcs))
        .fallback(error::no_such_path)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::max(config.limits.message_bytes))
        // Outermost: a browser asks whether it may call before it does, and has no credential then.
        .layer(cors(&config.cors_origins))
        .with_state(edge);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Which pages of other origins a browser lets call. None: those of no other.
fn cors(origins: &[HeaderValue]) -> CorsLayer {
    if origins.is_empty() {
        return CorsLayer::new();
    }
    CorsLayer::new()
        .allow_origin(origins.to_vec())
        .allow_methods([Method::GET, Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        // What gRPC-Web says in headers.
        .expose_headers(
            ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static),
        )
}
