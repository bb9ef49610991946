//! Settings of who is answered, how connections are encrypted, and what one tenant may ask for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderValue;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use super::at_least;
use crate::domain::Invalid;
use crate::service::{KeySource, TenantLimits, TokenConfig};

/// Who may call, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct AccessSettings {
    /// Answer only callers with an API key (`pref keys create` makes one), or with a token where --jwks is given. Without
    /// it anybody who reaches the server may do anything, and it takes loopback addresses only.
    #[arg(long, env = "PREF_REQUIRE_AUTH")]
    pub require_auth: bool,
    /// How long an API key is remembered without asking the database, in seconds: a revoked key works no longer than that.
    #[arg(long, env = "PREF_KEY_CACHE_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub key_cache_seconds: u64,
    /// Take tokens (JWT) that are signed with one of these keys: a JWK set, as a file or an https URL. Implies
    /// --require-auth. Claims: scope ("read feedback …"), pref_tenant (else default), pref_user (the one person whom its
    /// calls are about).
    #[arg(long, env = "PREF_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// Who must have made a token (its `iss`).
    #[arg(long, env = "PREF_JWT_ISSUER", value_name = "ISSUER")]
    pub jwt_issuer: Option<String>,
    /// For whom a token must be (its `aud`).
    #[arg(long, env = "PREF_JWT_AUDIENCE", value_name = "AUDIENCE")]
    pub jwt_audience: Option<String>,
    /// How often the JWK set is read again, in seconds. An unknown key id has it read at once, at most every 10 seconds.
    #[arg(long, env = "PREF_JWKS_REFRESH_SECONDS", default_value_t = 300, value_name = "SECONDS")]
    pub jwks_refresh_seconds: u64,

    /// The gRPC port's certificate chain (PEM); callers then use https. Read at the start.
    #[arg(long, env = "PREF_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of --tls-cert (PEM).
    #[arg(long, env = "PREF_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Let only callers connect to the gRPC port who have a certificate of this CA (PEM): mutual TLS. It says who may
    /// connect, not who they are: keys and tokens do.
    #[arg(long, env = "PREF_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// An origin whose web pages may call the HTTP port from a browser, such as https://chat.example.org; may be repeated,
    /// or separated by commas.
    #[arg(long = "cors-origin", env = "PREF_CORS_ORIGINS", value_delimiter = ',', value_name = "ORIGIN")]
    pub cors_origins: Vec<String>,

    /// Most calls of one tenant in a second on this server, of which two seconds' worth may come at once; 0: any number.
    #[arg(long, env = "PREF_TENANT_REQUESTS_PER_SECOND", default_value_t = 10_000, value_name = "N")]
    pub tenant_requests_per_second: u32,
    /// Most completions of one tenant under way on this server; 0: any number.
    #[arg(long, env = "PREF_TENANT_PENDING_GENERATIONS", default_value_t = 256, value_name = "N")]
    pub tenant_pending_generations: usize,
    /// Most people of one tenant. They are counted at most once a minute.
    #[arg(long, env = "PREF_TENANT_USERS", default_value_t = 10_000_000, value_name = "N")]
    pub tenant_users: u64,
}

impl AccessSettings {
    /// Whether callers need a credential.
    pub fn is_guarded(&self) -> bool {
        self.require_auth || self.jwks.is_some()
    }

    /// What one tenant may ask for.
    pub(super) fn tenant_limits(&self) -> TenantLimits {
        TenantLimits::new(self.tenant_requests_per_second, self.tenant_pending_generations)
    }

    /// Which tokens are taken, if any are.
    pub(super) fn tokens(&self) -> Result<Option<TokenConfig>, Invalid> {
        at_least("jwks_refresh_seconds", self.jwks_refresh_seconds as usize, 1)?;
        let named = [("jwt_issuer", &self.jwt_issuer), ("jwt_audience", &self.jwt_audience)];
        let Some(jwks) = &self.jwks else {
            return match named.into_iter().find(|(_, given)| given.is_some()) {
                Some((field, _)) => Err(Invalid::new(field, "a value", "nothing, where there is no --jwks")),
                None => Ok(None),
            };
        };
        let given = |(field, given): (&str, &Option<String>)| match given {
            Some(name) if !name.is_empty() => Ok(name.clone()),
            _ => Err(Invalid::new(
                field,
                "nothing",
                "a name: with --jwks, tokens of others must not pass for ours",
            )),
        };
        Ok(Some(TokenConfig {
            keys: KeySource::parse(jwks)?,
            issuer: given(named[0])?,
            audience: given(named[1])?,
            refresh: Duration::from_secs(self.jwks_refresh_seconds),
        }))
    }

    /// How the gRPC port is encrypted, if it is.
    pub(super) fn tls(&self) -> Result<Option<ServerTlsConfig>, Invalid> {
        let (certificate, key) = match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => (certificate, key),
            (None, None) if self.tls_client_ca.is_none() => return Ok(None),
            (None, _) => {
                return Err(Invalid::new("tls_cert", "nothing", "a PEM file, beside the other TLS settings"));
            }
            (Some(_), None) => {
                return Err(Invalid::new("tls_key", "nothing", "the PEM file of the key of --tls-cert"));
            }
        };
        let identity = Identity::from_pem(pem("tls_cert", certificate)?, pem("tls_key", key)?);
        let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
        Ok(Some(match &self.tls_client_ca {
            Some(ca) => tls.client_ca_root(Certificate::from_pem(pem("tls_client_ca", ca)?)),
            None => tls,
        }))
    }

    /// Whose pages may call.
    pub(super) fn cors_origins(&self) -> Result<Vec<HeaderValue>, Invalid> {
        let origin = |given: &String| {
            let host = given.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
            let is_origin = host.is_some_and(|(_, host)| !host.is_empty() && !host.contains(['/', '*', ' ']));
            let value = HeaderValue::from_str(given).ok().filter(|_| is_origin);
            let allowed = "an origin without path or asterisk, such as https://chat.example.org";
            value.ok_or_else(|| Invalid::new("cors_origin", format!("{given:?}"), allowed))
        };
        self.cors_origins.iter().map(origin).collect()
    }
}

/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

fn pem(field: &str, path: &Path) -> Result<Vec<u8>, Invalid> {
    let bytes = std::fs::read(path).map_err(|error| {
        Invalid::new(field, format!("{} ({error})", path.display()), "a PEM file that can be read")
    })?;
    let is_pem = bytes.windows(b"-----BEGIN ".len()).any(|window| window == b"-----BEGIN ");
    if is_pem { Ok(bytes) } else { Err(Invalid::new(field, path.display(), "a PEM file")) }
}
