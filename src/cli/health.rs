use std::time::Duration;

use anyhow::{Context, bail};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::Global;
use super::client::{TlsArgs, endpoint};
use crate::config::DEFAULT_LISTEN;

/// Ask a server whether it serves; exit code 0 only if it does. For a container's health check.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The server: its address, or http:// and its address.
    #[arg(long, visible_alias = "server", env = "PREF_LISTEN", default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    address: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// One service, such as pref.v1.PersonalizationService; by default the server as a whole.
    #[arg(long, default_value = "", hide_default_value = true)]
    service: String,
    /// How long the answer may take, in seconds.
    #[arg(long, default_value_t = 5, value_name = "SECONDS")]
    timeout_seconds: u64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, _global: &Global) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(check(&args))?;
    let name = status.as_str_name();
    if args.json {
        println!("{}", serde_json::json!({ "status": name }));
    } else {
        println!("{name}");
    }
    if status != ServingStatus::Serving {
        bail!("{} says {name}", args.address);
    }
    Ok(())
}

async fn check(args: &Args) -> anyhow::Result<ServingStatus> {
    let limit = Duration::from_secs(args.timeout_seconds);
    let endpoint = endpoint(&args.address, &args.tls)?.connect_timeout(limit).timeout(limit);
    let channel = endpoint.connect().await.with_context(|| format!("cannot reach {}", args.address))?;
    let request = HealthCheckRequest { service: args.service.clone() };
    let reply = HealthClient::new(channel).check(request).await;
    let reply = reply.map_err(|status| anyhow::anyhow!("{:?}: {}", status.code(), status.message()))?;
    Ok(reply.into_inner().status())
}
