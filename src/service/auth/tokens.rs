use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::domain::{Caller, Invalid, Scopes, TenantId, UserId};
use crate::service::error::Refusal;
use crate::service::reason::Reason;

/// How far the clocks of issuer and server may be apart, in seconds.
const LEEWAY: u64 = 30;
/// Least time between two fetches that unknown key ids cause.
const PAUSE: Duration = Duration::from_secs(10);
/// How long fetching the keys may take, and how long the answer may be.
const FETCH_TIME: Duration = Duration::from_secs(5);
const FETCH_BYTES: usize = 1024 * 1024;

/// Which tokens (JWT) are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenConfig {
    /// The issuer's public keys (a JWK set): a file, or a URL.
    pub keys: KeySource,
    /// `iss` of every token.
    pub issuer: String,
    /// What `aud` of every token must be, or hold.
    pub audience: String,
    /// How often the keys are read again.
    pub refresh: Duration,
}

/// Where an issuer's public keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// A file.
    File(PathBuf),
    /// An `https` URL; `http` on this machine alone.
    Url(String),
}

impl KeySource {
    /// Takes a path or a URL. Keys that come over the network in plain text could be anybody's.
    pub fn parse(given: &str) -> Result<Self, Invalid> {
        let refused = || Invalid::new("jwks", given, "a file, https://…, or http:// on a loopback address");
        match given.split_once("://") {
            None => Ok(Self::File(PathBuf::from(given))),
            Some(("https", rest)) if !rest.is_empty() => Ok(Self::Url(given.to_owned())),
            Some(("http", rest)) => {
                let host = rest.split('/').next().unwrap_or_default();
                let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
                let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
                if local { Ok(Self::Url(given.to_owned())) } else { Err(refused()) }
            }
            Some(_) => Err(refused()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Why an issuer's keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("jwks: {source_name}: {why}")]
pub struct TokenError {
    source_name: String,
    why: String,
}

/// Checks tokens. The keys are read when it is opened, again as they age, and when a token names one that is not there.
#[derive(Debug)]
pub struct Tokens {
    config: TokenConfig,
    keys: RwLock<Arc<Vec<Key>>>,
    /// When keys were last asked for, by whoever does now.
    asked: Mutex<Option<Instant>>,
}

/// A public key and the algorithms that it is for: never those that a token alone asks for.
struct Key {
    id: String,
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<serde_json::Value>,
}

/// What a token says of its holder.
#[derive(Debug, Deserialize)]
struct Claims {
    /// Scopes with spaces between them.
    #[serde(default)]
    scope: String,
    /// Whose data; `default` where nothing is said.
    pref_tenant: Option<String>,
    /// The one person whom calls are about.
    pref_user: Option<String>,
}

impl Tokens {
    /// Reads the keys. A file must be there; a URL that does not answer yet is asked again by the first token.
    pub async fn open(config: TokenConfig) -> Result<Self, TokenError> {
        let required = matches!(config.keys, KeySource::File(_));
        let tokens = Self { config, keys: RwLock::default(), asked: Mutex::default() };
        match tokens.fetch().await {
            Ok(()) => {}
            Err(error) if required => return Err(error),
            Err(error) => tracing::warn!(%error, "the keys of tokens cannot be had yet"),
        }
        Ok(tokens)
    }

    /// Reads the keys again as they age; never returns. Where that fails, the old ones hold.
    pub(in crate::service) async fn keep_fresh(&self) {
        loop {
            tokio::time::sleep(self.config.refresh).await;
            let mut asked = self.asked.lock().await;
            *asked = Some(Instant::now());
            if let Err(error) = self.fetch().await {
                tracing::warn!(%error, "the keys of tokens cannot be read again; the old ones hold");
            }
        }
    }

    /// Who holds this token.
    pub(super) async fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        let header = decode_header(token).map_err(|error| refusal(&error))?;
        // RFC 7515, 4.1.11: what a token calls critical has to be understood, and nothing is.
        if header.crit.is_some() {
            return Err(invalid("crit: got extensions; allowed: none"));
        }
        let id = header
            .kid
            .ok_or_else(|| invalid("kid: got nothing; allowed: the id of one of the issuer's keys"))?;
        let keys = match self.keys_with(&id) {
            Some(keys) => keys,
            None => self.look_for(&id).await?,
        };
        let Some(key) = keys.iter().find(|key| key.id == id) else {
            return Err(invalid("kid: got an unknown key; allowed: one of the issuer's"));
        };
        let claims =
            decode::<Claims>(token, &key.key, &self.validation(key)).map_err(|error| refusal(&error))?;
        understand(claims.claims)
    }

    fn validation(&self, key: &Key) -> Validation {
        let mut validation = Validation::new(Algorithm::RS256);
        validation.algorithms.clone_from(&key.algorithms);
        validation.leeway = LEEWAY;
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn known(&self) -> Arc<Vec<Key>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keys_with(&self, id: &str) -> Option<Arc<Vec<Key>>> {
        Some(self.known()).filter(|keys| keys.iter().any(|key| key.id == id))
    }

    /// The issuer may have a new key: its keys are asked for, but no more often than every ten seconds, whatever ids
    /// callers make up.
    async fn look_for(&self, id: &str) -> Result<Arc<Vec<Key>>, Refusal> {
        let mut asked = self.asked.lock().await;
        if let Some(keys) = self.keys_with(id) {
            return Ok(keys);
        }
        if asked.is_none_or(|asked| asked.elapsed() >= PAUSE) {
            *asked = Some(Instant::now());
            if let Err(error) = self.fetch().await {
                tracing::warn!(%error, "the keys of tokens cannot be had");
            }
        }
        let keys = self.known();
        if keys.is_empty() {
            let told = "the keys that tokens are checked with cannot be had; try again";
            return Err(Refusal::new(Reason::TokenKeysUnavailable, told));
        }
        Ok(keys)
    }

    async fn fetch(&self) -> Result<(), TokenError> {
        let failed = |why: String| TokenError { source_name: self.config.keys.to_string(), why };
        let bytes = match &self.config.keys {
            KeySource::File(path) => {
                tokio::fs::read(path).await.map_err(|error| failed(error.to_string()))?
            }
            KeySource::Url(url) => download(url).await.map_err(|error| failed(in_full(&error)))?,
        };
        let keys = key_set(&bytes).map_err(failed)?;
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        Ok(())
    }
}

/// What lies at a URL, as far as it can be a key set. A redirection is not followed: the URL was checked, where it leads was
/// not.
async fn download(url: &str) -> reqwest::Result<Vec<u8>> {
    // Whoever was first has installed the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(FETCH_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("pref/", env!("CARGO_PKG_VERSION")))
        .build()?;
    let mut answer = client.get(url).send().await?.error_for_status()?;
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > FETCH_BYTES {
            break;
        }
    }
    Ok(bytes)
}

/// An error with its causes: reqwest's own words say little.
fn in_full(error: &reqwest::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

/// The keys of a set that this server can use; an issuer may have others in it, too.
fn key_set(bytes: &[u8]) -> Result<Vec<Key>, String> {
    let set: KeySet = serde_json::from_slice(bytes).map_err(|error| format!("is no JWK set: {error}"))?;
    let keys: Vec<_> = set
        .keys
        .into_iter()
        .filter_map(|key| serde_json::from_value::<Jwk>(key).ok())
        .filter_map(|key| usable(&key))
        .collect();
    if keys.is_empty() {
        return Err("has no key with an id for RS, PS, ES256, ES384 or EdDSA signatures".to_owned());
    }
    Ok(keys)
}

/// A key for signatures, with the algorithms of its kind. A shared secret is none: whoever checks with it could sign.
fn usable(jwk: &Jwk) -> Option<Key> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    if jwk.common.public_key_use.as_ref().is_some_and(|for_what| *for_what != PublicKeyUse::Signature) {
        return None;
    }
    let of_kind = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => vec![RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => vec![ES256],
            EllipticCurve::P384 => vec![ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![EdDSA],
        AlgorithmParameters::OctetKeyPair(_) | AlgorithmParameters::OctetKey(_) => return None,
    };
    let algorithms = match jwk.common.key_algorithm {
        None => of_kind,
        Some(own) => of_kind.into_iter().filter(|algorithm| is(own, *algorithm)).collect(),
    };
    let (id, key) = (jwk.common.key_id.clone()?, DecodingKey::from_jwk(jwk).ok()?);
    if algorithms.is_empty() { None } else { Some(Key { id, key, algorithms }) }
}

fn is(own: KeyAlgorithm, algorithm: Algorithm) -> bool {
    own.to_string() == format!("{algorithm:?}")
}

fn understand(claims: Claims) -> Result<Caller, Refusal> {
    let refused = |claim: &str, error: Invalid| invalid(&format!("{claim}: {error}"));
    let tenant = match claims.pref_tenant {
        None => TenantId::default_tenant(),
        Some(name) => TenantId::parse(name).map_err(|error| refused("pref_tenant", error))?,
    };
    let user =
        claims.pref_user.map(UserId::parse).transpose().map_err(|error| refused("pref_user", error))?;
    Ok(Caller { tenant, scopes: Scopes::of_claim(&claims.scope), user })
}

/// The parts of a token that are wrong are named, not repeated.
fn refusal(error: &jsonwebtoken::errors::Error) -> Refusal {
    let told = match error.kind() {
        ErrorKind::ExpiredSignature => {
            return Refusal::new(Reason::TokenExpired, "the token has expired; get a new one");
        }
        ErrorKind::ImmatureSignature => "nbf: got a time to come; allowed: one that is past",
        ErrorKind::InvalidIssuer => "iss: got another issuer; allowed: the one that the server was told",
        ErrorKind::InvalidAudience => "aud: got another audience; allowed: the one that the server was told",
        ErrorKind::MissingRequiredClaim(claim) => {
            return invalid(&format!("{claim}: got nothing; allowed: a token with exp, iss and aud"));
        }
        ErrorKind::InvalidAlgorithm | ErrorKind::InvalidAlgorithmName => {
            "alg: got another algorithm; allowed: those of the issuer's key (RS, PS, ES256, ES384, EdDSA)"
        }
        ErrorKind::InvalidSignature => "signature: got another one; allowed: that of the issuer's key",
        _ => "the token cannot be read; allowed: a signed JWT with exp, iss, aud and scope",
    };
    invalid(told)
}

fn invalid(told: &str) -> Refusal {
    Refusal::new(Reason::TokenInvalid, format!("token: {told}"))
}

/// Prints which key, not the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithms", &self.algorithms)
            .finish_non_exhaustive()
    }
}
