use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::proto::candidate_service_server::SERVICE_NAME as CANDIDATES;
use super::proto::personalization_service_server::SERVICE_NAME as PERSONALIZATION;
use super::proto::training_service_server::SERVICE_NAME as TRAINING;
use crate::engine::{Engine, Readiness};

/// What the health service says of the whole server ("") and of each service.
///
/// Nothing serves before the active model is warm, and nothing while the server drains. Where no model is active
/// yet, there is nothing to warm: a model can be trained and pools imported, but nobody can be personalised for.
pub(super) async fn announce(health: &HealthReporter, readiness: Option<Readiness>) {
    let (others, personalization) = match readiness {
        None | Some(Readiness::Starting) => (ServingStatus::NotServing, ServingStatus::NotServing),
        Some(Readiness::NoModel) => (ServingStatus::Serving, ServingStatus::NotServing),
        Some(Readiness::Serving) => (ServingStatus::Serving, ServingStatus::Serving),
    };
    for service in ["", CANDIDATES, TRAINING] {
        health.set_service_status(service, others).await;
    }
    health.set_service_status(PERSONALIZATION, personalization).await;
}

/// Announces every change of readiness; never returns. Language models count: until the last is there, the server starts.
pub(super) async fn follow(health: &HealthReporter, engine: &Engine) {
    let mut readiness = engine.models().readiness();
    loop {
        let now = *readiness.borrow_and_update();
        let now = if engine.generators_are_resident() { now } else { Readiness::Starting };
        announce(health, Some(now)).await;
        if readiness.changed().await.is_err() {
            // The registry lives as long as the engine that is served.
            std::future::pending::<()>().await;
        }
    }
}
