//! Talking to a running server.

use anyhow::{Context, anyhow};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

use crate::service::proto;
use proto::candidate_service_client::CandidateServiceClient;
use proto::training_service_client::TrainingServiceClient;

/// Opens a channel to `server`, such as `http://127.0.0.1:50051`.
pub(super) async fn connect(server: &str) -> anyhow::Result<Channel> {
    Endpoint::from_shared(server.to_owned())
        .with_context(|| format!("--server: got {server:?}; allowed: a URL such as http://127.0.0.1:50051"))?
        .connect()
        .await
        .with_context(|| format!("no server answers at {server}; `pref quickstart` starts one"))
}

/// The name of the server's first pool.
pub(super) async fn first_pool(channel: &Channel) -> anyhow::Result<String> {
    let reply = CandidateServiceClient::new(channel.clone())
        .list_pools(proto::ListPoolsRequest::default())
        .await
        .map_err(explain)?;
    let pool = reply.into_inner().pools.into_iter().next();
    Ok(pool.context("the server has no pool to ask from; `pref import candidates` fills one")?.name)
}

/// What each base reward function of a model measures, in words.
pub(super) async fn labels(channel: &Channel, version: &str) -> anyhow::Result<Vec<String>> {
    let request = proto::DescribeModelRequest { version: version.to_owned(), ..Default::default() };
    let reply = TrainingServiceClient::new(channel.clone())
        .describe_model(request)
        .await
        .map_err(explain)?
        .into_inner();
    Ok(reply.base_functions.into_iter().map(|function| function.label).collect())
}

/// The UPPER_SNAKE reason that the server gave.
pub(super) fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A server's refusal as one line for a person.
pub(super) fn explain(status: Status) -> anyhow::Error {
    match reason(&status) {
        Some(reason) => anyhow!("{} ({reason})", status.message()),
        None => anyhow!("{} ({:?})", status.message(), status.code()),
    }
}
