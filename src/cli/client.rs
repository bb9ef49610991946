//! Talking to a running server.

use anyhow::{Context, anyhow};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};
use tonic_types::StatusExt;

use super::in_words::BaseFunction;
use crate::config::DEFAULT_LISTEN;
use crate::domain::Invalid;
use crate::service::proto;
use proto::candidate_service_client::CandidateServiceClient;
use proto::training_service_client::TrainingServiceClient;

/// Which server a command talks to.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// A running `pref serve` or `pref quickstart`: its address, or http:// and its address
    #[arg(long, visible_alias = "address", env = "PREF_SERVER", default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    server: String,
}

impl ServerArgs {
    /// Opens a channel to the server.
    pub(super) async fn connect(&self) -> anyhow::Result<Channel> {
        let server = &self.server;
        endpoint(server)?
            .connect()
            .await
            .with_context(|| format!("no server answers at {server}; `pref quickstart` starts one"))
    }
}

/// A server as people write it: `127.0.0.1:50051` or `http://127.0.0.1:50051`.
pub(super) fn endpoint(server: &str) -> Result<Endpoint, Invalid> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    Some(url)
        .filter(|url| url.starts_with("http://"))
        .and_then(|url| Endpoint::from_shared(url).ok())
        .ok_or_else(|| Invalid::new("server", server, "such as 127.0.0.1:50051 or http://127.0.0.1:50051"))
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

/// A model's base reward functions, as they are put into words; of the active model where no version is given.
pub(super) async fn base_functions(channel: &Channel, version: &str) -> anyhow::Result<Vec<BaseFunction>> {
    let request = proto::DescribeModelRequest { version: version.to_owned(), examples: 1 };
    let reply = TrainingServiceClient::new(channel.clone())
        .describe_model(request)
        .await
        .map_err(explain)?
        .into_inner();
    let in_words = |function: proto::BaseFunction| BaseFunction {
        label: function.label,
        mean: function.prior_mean,
        deviation: function.prior_standard_deviation,
    };
    Ok(reply.base_functions.into_iter().map(in_words).collect())
}

/// Whether this is the UPPER_SNAKE reason that the server gave.
pub(super) fn has_reason(status: &Status, expected: &str) -> bool {
    reason(status).as_deref() == Some(expected)
}

fn reason(status: &Status) -> Option<String> {
    status.get_details_error_info().map(|info| info.reason)
}

/// A server's refusal as one line for a person.
pub(super) fn explain(status: Status) -> anyhow::Error {
    match reason(&status) {
        Some(reason) => anyhow!("{} ({reason})", status.message()),
        None => anyhow!("{} ({:?})", status.message(), status.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_its_url() {
        for server in ["127.0.0.1:50051", "http://127.0.0.1:50051", "localhost:1", "[::1]:50051"] {
            assert!(endpoint(server).is_ok(), "{server}");
        }
        for server in ["https://127.0.0.1:50051", "", "http://", "a b"] {
            assert_eq!(endpoint(server).unwrap_err().field, "server", "{server}");
        }
    }
}
