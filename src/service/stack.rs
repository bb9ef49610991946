//! What a call passes on either port.

use tonic::body::Body;
use tonic::codegen::http::{Request, Response};
use tonic::service::Routes;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

use super::ServiceConfig;
use super::auth::Authenticator;
use super::candidates::Candidates;
use super::personalization::Personalization;
use super::proto::candidate_service_server::CandidateServiceServer;
use super::proto::personalization_service_server::PersonalizationServiceServer;
use super::proto::training_service_server::TrainingServiceServer;
use super::training::Training;
use crate::engine::Engine;

/// Calls that last as long as their callers send.
pub(super) const IMPORTS: [&str; 2] =
    ["/pref.v1.CandidateService/ImportCandidates", "/pref.v1.TrainingService/ImportPreferences"];

/// The layers, as a `ServiceBuilder` whose type nobody can write down. A call passes them from top to bottom, its answer from
/// bottom to top. The deadline holds for finding out who calls, too; strangers take no place among the calls in flight.
macro_rules! layers {
    ($config:expr, $authenticator:expr) => {
        tower::ServiceBuilder::new()
            .layer(
                tower_http::trace::TraceLayer::new_for_grpc()
                    .make_span_with(|request: &tonic::codegen::http::Request<_>| {
                        tracing::info_span!("call", rpc = request.uri().path())
                    })
                    .on_response(tower_http::trace::DefaultOnResponse::new().level(tracing::Level::DEBUG))
                    .on_failure(tower_http::trace::DefaultOnFailure::new().level(tracing::Level::DEBUG)),
            )
            .layer($config.metrics.clone())
            .map_result($crate::service::answer::in_our_words)
            .layer($crate::service::deadline::DeadlineLayer::new(
                $config.call_timeout,
                &$crate::service::stack::IMPORTS,
            ))
            .layer($crate::service::auth::AuthLayer::new($authenticator, $config.tenant_limits.clone()))
            .load_shed()
            .concurrency_limit($config.concurrent_calls)
    };
}
pub(super) use layers;

/// The services behind their layers, to be called in place.
pub(super) type Calls = BoxCloneSyncService<Request<Body>, Response<Body>, BoxError>;

/// Our three services.
pub(super) fn services(engine: &Engine, config: &ServiceConfig) -> Routes {
    let (limits, largest, patience) = (config.limits, config.limits.message_bytes, config.call_timeout);
    let tenants = config.tenant_limits.clone();
    let personalization = Personalization { engine: engine.clone(), limits, tenants };
    let candidates = Candidates { engine: engine.clone(), limits, patience };
    let training = Training { engine: engine.clone(), limits, patience };
    Routes::new(PersonalizationServiceServer::new(personalization).max_decoding_message_size(largest))
        .add_service(CandidateServiceServer::new(candidates).max_decoding_message_size(largest))
        .add_service(TrainingServiceServer::new(training).max_decoding_message_size(largest))
}

/// The same services, for calls that come another way than over a gRPC connection.
pub(super) fn calls(engine: &Engine, config: &ServiceConfig, authenticator: Authenticator) -> Calls {
    let layered = layers!(config, authenticator).service(services(engine, config));
    BoxCloneSyncService::new(layered.map_response(|answer| answer.map(Body::new)))
}
