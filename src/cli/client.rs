//! Talking to a running server.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use secrecy::{ExposeSecret, SecretString};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use tonic_types::StatusExt;

use super::in_words::BaseFunction;
use crate::config::DEFAULT_LISTEN;
use crate::domain::Invalid;
use crate::service::proto;
use proto::candidate_service_client::CandidateServiceClient;
use proto::training_service_client::TrainingServiceClient;

/// Which server a command talks to, and how.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArgs {
    /// A running `pref serve` or `pref quickstart`: its address, or http:// or https:// and its address
    #[arg(long, visible_alias = "address", env = "PREF_SERVER", default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    server: String,
    /// An API key, or a token, where the server asks who calls
    #[arg(long, env = "PREF_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<SecretString>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// How a server is known behind https://, and how it knows this caller.
#[derive(Debug, clap::Args)]
pub(super) struct TlsArgs {
    /// The CA (PEM) that has signed the server's certificate; without it, the public ones
    #[arg(long, env = "PREF_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The name in the server's certificate, where it is reached by another
    #[arg(long, env = "PREF_TLS_SERVER_NAME", value_name = "NAME")]
    tls_server_name: Option<String>,
    /// This caller's own certificate (PEM), where the server asks for one
    #[arg(long, env = "PREF_TLS_OWN_CERT", value_name = "FILE", requires = "tls_own_key")]
    tls_own_cert: Option<PathBuf>,
    /// The private key of --tls-own-cert (PEM)
    #[arg(long, env = "PREF_TLS_OWN_KEY", value_name = "FILE", requires = "tls_own_cert")]
    tls_own_key: Option<PathBuf>,
}

/// A connection whose calls carry the credential, if there is one.
pub(super) type Server = InterceptedService<Channel, Credential>;

/// `authorization`, in each call.
#[derive(Debug, Clone)]
pub(super) struct Credential(Option<MetadataValue<Ascii>>);

impl Interceptor for Credential {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(bearer) = &self.0 {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        Ok(request)
    }
}

impl ServerArgs {
    /// Opens a channel to the server.
    pub(super) async fn connect(&self) -> anyhow::Result<Server> {
        let server = &self.server;
        let channel = endpoint(server, &self.tls)?
            .connect()
            .await
            .with_context(|| format!("no server answers at {server}; `pref quickstart` starts one"))?;
        Ok(InterceptedService::new(channel, self.credential()?))
    }

    fn credential(&self) -> Result<Credential, Invalid> {
        let Some(key) = self.api_key.as_ref().filter(|key| !key.expose_secret().is_empty()) else {
            return Ok(Credential(None));
        };
        let bearer = format!("Bearer {}", key.expose_secret().trim());
        let mut bearer = MetadataValue::try_from(bearer).map_err(|_| {
            Invalid::new("api_key", "something else", "a key of `pref keys create`, or a token, on one line")
        })?;
        bearer.set_sensitive(true);
        Ok(Credential(Some(bearer)))
    }
}

/// A server as people write it: `127.0.0.1:50051`, `http://127.0.0.1:50051` or `https://pref.example.org:443`.
pub(super) fn endpoint(server: &str, tls: &TlsArgs) -> anyhow::Result<Endpoint> {
    let url = if server.contains("://") { server.to_owned() } else { format!("http://{server}") };
    let encrypted = url.starts_with("https://");
    let endpoint = Some(url)
        .filter(|url| encrypted || url.starts_with("http://"))
        .and_then(|url| Endpoint::from_shared(url).ok())
        .ok_or_else(|| {
            Invalid::new("server", server, "such as 127.0.0.1:50051 or https://pref.example.org:443")
        })?;
    if !encrypted {
        return Ok(endpoint);
    }
    let read =
        |path: &PathBuf| std::fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let mut config = match &tls.tls_ca {
        Some(ca) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?)),
        None => ClientTlsConfig::new().with_webpki_roots(),
    };
    if let Some(name) = &tls.tls_server_name {
        config = config.domain_name(name);
    }
    if let (Some(certificate), Some(key)) = (&tls.tls_own_cert, &tls.tls_own_key) {
        config = config.identity(Identity::from_pem(read(certificate)?, read(key)?));
    }
    Ok(endpoint.tls_config(config)?)
}

/// The name of the server's first pool.
pub(super) async fn first_pool(channel: &Server) -> anyhow::Result<String> {
    let reply = CandidateServiceClient::new(channel.clone())
        .list_pools(proto::ListPoolsRequest::default())
        .await
        .map_err(explain)?;
    let pool = reply.into_inner().pools.into_iter().next();
    Ok(pool.context("the server has no pool to ask from; `pref import candidates` fills one")?.name)
}

/// A model's base reward functions, as they are put into words; of the active model where no version is given.
pub(super) async fn base_functions(channel: &Server, version: &str) -> anyhow::Result<Vec<BaseFunction>> {
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
    use clap::Parser;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        server: ServerArgs,
    }

    fn parse(arguments: &[&str]) -> ServerArgs {
        Command::parse_from(std::iter::once(&"pref").chain(arguments)).server
    }

    #[test]
    fn a_server_is_an_address_or_its_url() {
        let tls = parse(&[]).tls;
        for server in
            ["127.0.0.1:50051", "http://127.0.0.1:50051", "localhost:1", "[::1]:50051", "https://pref:443"]
        {
            assert!(endpoint(server, &tls).is_ok(), "{server}");
        }
        for server in ["ftp://127.0.0.1:50051", "", "http://", "a b"] {
            let refused = endpoint(server, &tls).unwrap_err().to_string();
            assert!(refused.starts_with("server: got"), "{server}: {refused}");
        }
    }

    #[test]
    fn a_key_goes_with_each_call_and_into_no_message() {
        let mut credential = parse(&["--api-key", "pref_1"]).credential().unwrap();
        let request = credential.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get("authorization").unwrap(), "Bearer pref_1");
        assert!(!format!("{credential:?}").contains("pref_1"), "{credential:?}");
        let none = parse(&["--api-key", ""]).credential().unwrap().call(Request::new(())).unwrap();
        assert!(none.metadata().is_empty());
        let refused = parse(&["--api-key", "pref_1\n2"]).credential().unwrap_err().to_string();
        assert!(!refused.contains("pref_1"), "{refused}");
    }
}
