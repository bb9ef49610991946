use std::pin::Pin;
use std::time::Duration;

use tokio::net::TcpListener;
use tonic::codegen::http::HeaderValue;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};

use super::auth::{Access, Authenticator};
use super::convert::Limits;
use super::health::{announce, follow};
use super::metrics::CallMetrics;
use super::proto::FILE_DESCRIPTOR_SET;
use super::stack::{layers, services};
use super::tenant_limits::TenantLimits;
use crate::engine::Engine;

/// What a server is told once.
#[derive(Debug, Clone)]
pub struct ServiceConfig {
    /// The largest requests that it takes.
    pub limits: Limits,
    /// Calls in flight at once, over all connections; the next one is refused.
    pub concurrent_calls: usize,
    /// Longest time until a call is answered (a stream: until it begins; an import: until its next message).
    pub call_timeout: Duration,
    /// How long calls in flight may go on once the server is asked to stop.
    pub drain_timeout: Duration,
    /// Whether training jobs are taken here.
    pub training: bool,
    /// How often an idle connection is asked whether the other side is still there.
    pub keepalive_interval: Duration,
    /// How long it may take to say so.
    pub keepalive_timeout: Duration,
    /// Where calls are counted and timed.
    pub metrics: CallMetrics,
    /// Who is answered.
    pub access: Access,
    /// What one tenant may ask for.
    pub tenant_limits: TenantLimits,
    /// Certificate and key of the gRPC port, and whose certificates its callers must have; without it: plain text.
    pub tls: Option<ServerTlsConfig>,
    /// Origins of web pages that may call the HTTP edge from a browser.
    pub cors_origins: Vec<HeaderValue>,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            concurrent_calls: 512,
            call_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(20),
            training: true,
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            metrics: CallMetrics::default(),
            access: Access::default(),
            tenant_limits: TenantLimits::default(),
            tls: None,
            cors_origins: Vec::new(),
        }
    }
}

/// Why a server ended, other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptors of the API cannot be served by reflection.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// Certificate, key or the CA of callers cannot be used.
    #[error("TLS: {0}; allowed: PEM files of a certificate chain, its private key, and of the CA of callers")]
    Tls(#[source] tonic::transport::Error),
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves until `shutdown` is ready, then drains: health says NOT_SERVING, no connection is accepted any more, endless
/// streams are ended, and calls in flight go on for at most `drain_timeout`. (tonic itself would wait for a client
/// that keeps a stream open, however long that takes.)
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
    engine: Engine,
    config: &ServiceConfig,
) -> Result<(), ServeError> {
    drive(listener, Box::pin(shutdown), engine, config).await
}

/// [`serve`], generic in nothing, so that the whole stack is compiled once and not again in each caller.
async fn drive(
    listener: TcpListener,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send + '_>>,
    engine: Engine,
    config: &ServiceConfig,
) -> Result<(), ServeError> {
    let (health, health_service) = tonic_health::server::health_reporter();
    announce(&health, None).await;

    let authenticator = Authenticator::new(engine.clone(), config.access.clone());
    let stack = layers!(config, authenticator);
    let draining = engine.draining().clone();
    let mut builder = Server::builder();
    if let Some(tls) = &config.tls {
        builder = builder.tls_config(tls.clone()).map_err(ServeError::Tls)?;
    }
    let server = builder
        .http2_keepalive_interval(Some(config.keepalive_interval))
        .http2_keepalive_timeout(Some(config.keepalive_timeout))
        .layer(stack)
        .add_routes(
            services(&engine, config)
                .add_service(health_service)
                .add_service(reflection().build_v1()?)
                .add_service(reflection().build_v1alpha()?),
        )
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            draining.clone().cancelled_owned(),
        );
    let mut server = std::pin::pin!(server);
    if config.training {
        engine.spawn_training_worker();
    }
    engine.spawn_sweeper();
    engine.spawn_follower();

    tokio::select! {
        ended = &mut server => return Ok(ended?),
        () = follow(&health, &engine) => {}
        () = keep_fresh(&config.access) => {}
        () = shutdown => {}
    }
    tracing::info!(drain.timeout_ms = config.drain_timeout.as_millis() as u64, "draining");
    announce(&health, None).await;
    draining.cancel();
    let ended = async { tokio::join!(server, engine.finish_tasks()).0 };
    match tokio::time::timeout(config.drain_timeout, ended).await {
        Ok(ended) => ended?,
        Err(_) => tracing::warn!("calls that did not end in time are cut off"),
    }
    Ok(())
}

/// Reads the keys of tokens again as they age; never returns.
async fn keep_fresh(access: &Access) {
    match access {
        Access::Credentials { tokens: Some(tokens) } => tokens.keep_fresh().await,
        Access::Open | Access::Credentials { tokens: None } => std::future::pending().await,
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
