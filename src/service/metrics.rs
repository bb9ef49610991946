use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use crate::engine::with_database_time;

/// Calls, by service, method and code, under the names that other gRPC servers have for them
/// (`grpc_server_handled_total`, `grpc_server_handling_seconds`), and what of their time is this server's own
/// (`grpc_server_overhead_seconds`). Clones are the same metrics.
#[derive(Debug, Clone)]
pub struct CallMetrics {
    handled: Family<Handled, Counter>,
    handling: Family<Method, Histogram>,
    overhead: Family<Method, Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    grpc_service: String,
    grpc_method: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    grpc_service: String,
    grpc_method: String,
    grpc_code: String,
}

impl Default for CallMetrics {
    fn default() -> Self {
        // From 0.1 ms to 15 s.
        let seconds: fn() -> Histogram = || Histogram::new(exponential_buckets(1e-4, 2.5, 14));
        // From 50 µs to 0.2 s, two for each doubling.
        let own: fn() -> Histogram =
            || Histogram::new(exponential_buckets(5e-5, std::f64::consts::SQRT_2, 25));
        Self {
            handled: Family::default(),
            handling: Family::new_with_constructor(seconds),
            overhead: Family::new_with_constructor(own),
        }
    }
}

impl CallMetrics {
    /// Makes them part of what `registry` shows.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("grpc_server");
        let help = "Calls answered; a stream counts when it begins";
        registry.register("handled", help, self.handled.clone());
        let help = "Time until a call is answered; for a stream, until it begins";
        registry.register_with_unit("handling", help, Unit::Seconds, self.handling.clone());
        let help = "The same, less the time that Postgres was waited for";
        registry.register_with_unit("overhead", help, Unit::Seconds, self.overhead.clone());
    }

    fn record(&self, path: &str, code: Code, taken: Duration, database: Duration) {
        // What a caller made up is no label.
        let path = if code == Code::Unimplemented { "" } else { path };
        let (service, method) =
            path.trim_start_matches('/').split_once('/').unwrap_or(("unknown", "unknown"));
        let (grpc_service, grpc_method) = (service.to_owned(), method.to_owned());
        let method = Method { grpc_service: grpc_service.clone(), grpc_method: grpc_method.clone() };
        self.handling.get_or_create(&method).observe(taken.as_secs_f64());
        self.overhead.get_or_create(&method).observe(taken.saturating_sub(database).as_secs_f64());
        let grpc_code = match code {
            Code::Ok => "OK".to_owned(),
            code => format!("{code:?}"),
        };
        self.handled.get_or_create(&Handled { grpc_service, grpc_method, grpc_code }).inc();
    }
}

impl<S> Layer<S> for CallMetrics {
    type Service = Metered<S>;

    fn layer(&self, inner: S) -> Metered<S> {
        Metered { inner, metrics: self.clone() }
    }
}

/// See [`CallMetrics`].
#[derive(Debug, Clone)]
pub struct Metered<S> {
    inner: S,
    metrics: CallMetrics,
}

impl<S, B, C> Service<Request<B>> for Metered<S>
where
    S: Service<Request<B>, Response = Response<C>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    C: 'static,
{
    type Response = Response<C>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<C>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (started, metrics) = (Instant::now(), self.metrics.clone());
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let (answer, database) = with_database_time(answer).await;
            // An answer without a body has its status in the headers; one with a body is fine so far.
            let code = match &answer {
                Ok(response) => {
                    Status::from_header_map(response.headers()).map_or(Code::Ok, |told| told.code())
                }
                Err(_) => Code::Unknown,
            };
            metrics.record(&path, code, started.elapsed(), database);
            answer
        })
    }
}

/// Answers `GET /metrics` with what `registry` shows, in the OpenMetrics text format, until `stop`.
pub async fn serve_metrics(
    listener: TcpListener,
    registry: Registry,
    stop: CancellationToken,
) -> io::Result<()> {
    let registry = Arc::new(registry);
    let scrape = move || async move {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &registry);
        ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text)
    };
    let routes = axum::Router::new().route("/metrics", get(scrape));
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}
