//! Settings of the server: every one has a flag, an environment name and a doc comment.
//!
//! What clap reads is unchecked ([`ServeSettings`]); [`ServeSettings::check`] makes a [`Config`] of it or says which
//! setting cannot be taken. Nothing else here reads the environment.

mod access;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::domain::Invalid;
use crate::engine::EngineConfig;
use crate::model::{ArtifactLocation, BackboneOptions, DeviceChoice, ResidentConfig};
use crate::service::{Limits, ServiceConfig, TokenConfig};
use crate::store::{Database, StoreConfig};
use crate::telemetry::LogFormat;
pub use access::AccessSettings;

/// Where `pref serve` listens unless told otherwise.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:50051";

/// All settings of a server, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where to listen; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where OpenAI's chat completions are answered, if anywhere.
    pub http_listen: Option<SocketAddr>,
    /// Where metrics are shown, if anywhere.
    pub metrics_listen: Option<SocketAddr>,
    /// An artifact to activate at start.
    pub model: Option<PathBuf>,
    /// Language models to write completions with; the first is the default.
    pub generators: Vec<GeneratorSpec>,
    /// Most completions that a language model writes at once.
    pub generator_sequences: usize,
    /// Whether callers need a credential.
    pub guarded: bool,
    /// Which tokens are taken beside API keys, if any are.
    pub tokens: Option<TokenConfig>,
    /// The database.
    pub store: StoreConfig,
    /// The use cases.
    pub engine: EngineConfig,
    /// The edge.
    pub service: ServiceConfig,
}

/// All settings of a server, as given.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeSettings {
    /// Address to listen on. Without authentication (--require-auth) only a loopback address is taken; port 0 lets the system
    /// choose.
    #[arg(long, env = "PREF_LISTEN", default_value = DEFAULT_LISTEN, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// Address that answers OpenAI's chat completions (POST /v1/chat/completions, GET /v1/models) over HTTP, and the RPCs as JSON
    /// and gRPC-Web (POST /pref.v1.PersonalizationService/NextQuery). Without authentication only a loopback address is taken. Plain text: for other machines, put what speaks TLS in front.
    /// Without it: none.
    #[arg(long, env = "PREF_HTTP_LISTEN", value_name = "ADDRESS")]
    pub http_listen: Option<SocketAddr>,
    /// Address that answers GET /metrics over HTTP, for Prometheus; no text or user is in them. Without it: none.
    #[arg(long, env = "PREF_METRICS_LISTEN", value_name = "ADDRESS")]
    pub metrics_listen: Option<SocketAddr>,
    /// Register the model artifact in this directory, and activate it, before serving.
    #[arg(long, env = "PREF_MODEL", value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Where the reward model runs: auto, cpu, cuda:N or metal:N.
    #[arg(long, env = "PREF_DEVICE", default_value = "auto")]
    pub device: DeviceChoice,
    /// Where files of the Hugging Face hub are kept.
    #[arg(long, env = "PREF_HUB_CACHE", value_name = "DIR")]
    pub hub_cache: Option<PathBuf>,
    /// Never ask the Hugging Face hub; use what its cache has.
    #[arg(long, env = "PREF_OFFLINE")]
    pub offline: bool,

    /// Who may call.
    #[command(flatten)]
    pub access: AccessSettings,

    /// The database.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// Longest prompt or response, in bytes.
    #[arg(long, env = "PREF_MAX_TEXT_BYTES", default_value_t = 65_536, value_name = "BYTES")]
    pub max_text_bytes: usize,
    /// Largest request message, in bytes.
    #[arg(long, env = "PREF_MAX_MESSAGE_BYTES", default_value_t = 4_194_304, value_name = "BYTES")]
    pub max_message_bytes: usize,
    /// Most responses to one prompt in one message.
    #[arg(long, env = "PREF_MAX_RESPONSES", default_value_t = 256, value_name = "N")]
    pub max_responses: usize,
    /// Most questions in one NextQuery.
    #[arg(long, env = "PREF_MAX_QUESTIONS", default_value_t = 100, value_name = "N")]
    pub max_questions: usize,

    /// Calls in flight at once; the next one is answered RESOURCE_EXHAUSTED.
    #[arg(long, env = "PREF_CONCURRENT_CALLS", default_value_t = 512, value_name = "N")]
    pub concurrent_calls: usize,
    /// Longest time until a call is answered, in seconds; a caller's own sooner deadline counts too.
    #[arg(long, env = "PREF_CALL_TIMEOUT_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub call_timeout_seconds: u64,
    /// How long calls in flight may go on once the server is asked to stop, in seconds.
    #[arg(long, env = "PREF_DRAIN_TIMEOUT_SECONDS", default_value_t = 20, value_name = "SECONDS")]
    pub drain_timeout_seconds: u64,
    /// How often an idle connection is asked whether the other side is still there, in seconds.
    #[arg(long, env = "PREF_KEEPALIVE_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub keepalive_seconds: u64,

    /// How long a question's pair is kept from being asked again, in seconds. A later answer still counts.
    #[arg(long, env = "PREF_QUERY_LIFETIME_SECONDS", default_value_t = 3600, value_name = "SECONDS")]
    pub query_lifetime_seconds: u64,
    /// How long a reply is kept for a repeat of its request id, in seconds.
    #[arg(long, env = "PREF_REPLY_LIFETIME_SECONDS", default_value_t = 86_400, value_name = "SECONDS")]
    pub reply_lifetime_seconds: u64,
    /// How long the choices of a chat completion are kept, so that they may be compared (POST /v1/feedback), in seconds;
    /// 0: not at all.
    #[arg(long, env = "PREF_COMPLETION_LIFETIME_SECONDS", default_value_t = 86_400, value_name = "SECONDS")]
    pub completion_lifetime_seconds: u64,
    /// Candidates of a best-of-N completion where the caller names no number.
    #[arg(long, env = "PREF_DEFAULT_CANDIDATES", default_value_t = 16, value_name = "N")]
    pub default_candidates: usize,

    /// Where trained models are written: a directory, or a URL of an object store. Without it: models in the data
    /// directory.
    #[arg(long, env = "PREF_MODELS", value_name = "PLACE")]
    pub models: Option<String>,
    /// Take no training jobs here; leave them to other servers.
    #[arg(long, env = "PREF_NO_TRAINING")]
    pub no_training: bool,
    /// How long a training job is its server's without a sign of life, in seconds; then another begins it again.
    #[arg(long, env = "PREF_JOB_LEASE_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub job_lease_seconds: u64,
    /// How often the database is asked for training jobs, in milliseconds.
    #[arg(long, env = "PREF_JOB_POLL_MS", default_value_t = 1000, value_name = "MS")]
    pub job_poll_ms: u64,

    /// How often the database is asked what other servers have changed, in seconds, beside what they tell of themselves; 1 to 60,
    /// since it is also how soon it is found that nothing is heard of them.
    #[arg(long, env = "PREF_CHANGE_POLL_SECONDS", default_value_t = 5, value_name = "SECONDS")]
    pub change_poll_seconds: u64,

    /// A language model to write completions with: NAME=local:DIR (Qwen2 or Llama in Hugging Face layout, or a hub id in place of
    /// the directory), or NAME=openai:URL#MODEL (an OpenAI-compatible address up to and with /v1, and what the model is called there;
    /// its key is in PREF_GENERATOR_KEY_NAME, or in the file named by PREF_GENERATOR_KEY_NAME_FILE). May be repeated, or separated
    /// by commas. The first is what Generate uses where a request names no generator. Without any: stored candidates.
    #[arg(long = "generator", env = "PREF_GENERATORS", value_delimiter = ',', value_name = "NAME=PLACE")]
    pub generators: Vec<GeneratorSpec>,
    /// Completions that a language model writes at once.
    #[arg(long, env = "PREF_GENERATOR_SEQUENCES", default_value_t = 64, value_name = "N")]
    pub generator_sequences: usize,

    /// Reward models that serve at once, of all tenants together; the one used longest ago makes room for another, and its
    /// tenants are answered MODEL_NOT_RESIDENT until it is loaded again.
    #[arg(long, env = "PREF_RESIDENT_MODELS", default_value_t = 8, value_name = "N")]
    pub resident_models: usize,
    /// Memory of candidate pools that questions are chosen from, in MiB; pools used longest ago make room for others.
    #[arg(long, env = "PREF_POOL_MEMORY_MIB", default_value_t = 4096, value_name = "MIB")]
    pub pool_memory_mib: usize,
    /// Memory of what people answered lately, in MiB, which spares an answer its read where a person's calls come to one
    /// server; given up by itself where they do not. 0: nothing is kept.
    #[arg(long, env = "PREF_RECENT_MEMORY_MIB", default_value_t = 64, value_name = "MIB")]
    pub recent_memory_mib: usize,
    /// Requests that may wait for the reward model; the next one is answered RESOURCE_EXHAUSTED.
    #[arg(long, env = "PREF_MODEL_QUEUE", default_value_t = 256, value_name = "N")]
    pub model_queue: usize,
    /// Texts that the reward model embeds together.
    #[arg(long, env = "PREF_MODEL_BATCH", default_value_t = 256, value_name = "N")]
    pub model_batch: usize,
    /// Texts whose features are remembered.
    #[arg(long, env = "PREF_MODEL_CACHE", default_value_t = 65_536, value_name = "N")]
    pub model_cache: usize,

    /// The log.
    #[command(flatten)]
    pub log: LogSettings,
}

/// A language model and the name that requests have for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratorSpec {
    /// 1 to 64 letters, digits, dots, hyphens or underscores; not `pool`.
    pub name: String,
    /// Where it is.
    pub place: GeneratorPlace,
}

/// Where a language model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneratorPlace {
    /// In this process: a directory in Hugging Face layout, or a hub id.
    Local(String),
    /// Behind an OpenAI-compatible address, `URL#MODEL`.
    OpenAi(String),
}

impl GeneratorSpec {
    /// The upstream's key: in the environment under PREF_GENERATOR_KEY_NAME (NAME in capitals, `_` for what is no letter or digit),
    /// or in the file that PREF_GENERATOR_KEY_NAME_FILE names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn key(&self) -> Result<Option<SecretString>, Invalid> {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let variable = format!("PREF_GENERATOR_KEY_{}", self.name.chars().map(plain).collect::<String>());
        let given = |variable: &str| std::env::var(variable).ok().filter(|value| !value.is_empty());
        if let Some(key) = given(&variable) {
            return Ok(Some(key.into()));
        }
        let variable = format!("{variable}_FILE");
        let Some(file) = given(&variable) else { return Ok(None) };
        let key = std::fs::read_to_string(&file).map_err(|error| {
            Invalid::new(&variable, format!("{file:?}: {error}"), "a file that can be read")
        })?;
        Ok(Some(key.trim().into()))
    }
}

impl FromStr for GeneratorSpec {
    type Err = Invalid;

    fn from_str(given: &str) -> Result<Self, Invalid> {
        let allowed = "NAME=local:DIR or NAME=openai:URL#MODEL, NAME of 1 to 64 letters, digits, dots, hyphens or underscores, and not pool";
        let refuse = || Invalid::new("generator", format!("{given:?}"), allowed);
        let (name, place) = given.split_once('=').ok_or_else(refuse)?;
        let place = match place.split_once(':').ok_or_else(refuse)? {
            ("local", place) if !place.is_empty() => GeneratorPlace::Local(place.to_owned()),
            ("openai", place) if place.starts_with("http://") || place.starts_with("https://") => {
                GeneratorPlace::OpenAi(place.to_owned())
            }
            _ => return Err(refuse()),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !(1..=64).contains(&name.len()) || !name.chars().all(is_plain) || name == "pool" {
            return Err(refuse());
        }
        Ok(Self { name: name.to_owned(), place })
    }
}

/// The database: Postgres where a URL is given, else a SQLite file in the data directory.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseSettings {
    /// postgres://user:password@host/database. Without it, data is kept in pref.sqlite in the data directory.
    #[arg(long, env = "PREF_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// Most connections to the database.
    #[arg(long, env = "PREF_DATABASE_CONNECTIONS", default_value_t = 16, value_name = "N")]
    pub database_connections: u32,
    /// How long a call waits for a free connection, in seconds.
    #[arg(long, env = "PREF_DATABASE_ACQUIRE_SECONDS", default_value_t = 5, value_name = "SECONDS")]
    pub database_acquire_seconds: u64,
    /// How long Postgres may work on one statement, in seconds.
    #[arg(long, env = "PREF_DATABASE_STATEMENT_SECONDS", default_value_t = 10, value_name = "SECONDS")]
    pub database_statement_seconds: u64,
    /// Store each answer and question by itself, where people who answer or are asked at the same time would share a statement. For
    /// Postgres behind Citus, which has each person on one of several machines.
    #[arg(long, env = "PREF_NO_GROUP_COMMIT")]
    pub no_group_commit: bool,
}

/// What is logged, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// What is logged to standard error: info, or such as pref=debug,sqlx=warn. Texts and keys never are.
    #[arg(long, env = "PREF_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// How log lines are written.
    #[arg(long, env = "PREF_LOG_FORMAT", value_enum, default_value = "text")]
    pub log_format: LogFormat,
}

impl ServeSettings {
    /// The settings of a server whose data lies in `data_dir`, or which one cannot be taken.
    pub fn check(&self, data_dir: &Path) -> Result<Config, Invalid> {
        let listens = [("listen", Some(self.listen)), ("http_listen", self.http_listen)];
        for (field, address) in listens {
            if let Some(address) = address.filter(|address| !address.ip().is_loopback())
                && !self.access.is_guarded()
            {
                let allowed = "a loopback address, such as 127.0.0.1:50051, unless callers are authenticated: --require-auth \
                               (PREF_REQUIRE_AUTH) with keys that `pref keys create` makes, or --jwks (PREF_JWKS)";
                return Err(Invalid::new(field, address, allowed));
            }
        }
        for (field, given) in [
            ("max_text_bytes", self.max_text_bytes),
            ("max_message_bytes", self.max_message_bytes),
            ("max_questions", self.max_questions),
            ("concurrent_calls", self.concurrent_calls),
            ("default_candidates", self.default_candidates),
            ("resident_models", self.resident_models),
            ("model_queue", self.model_queue),
            ("model_batch", self.model_batch),
            ("generator_sequences", self.generator_sequences),
        ] {
            at_least(field, given, 1)?;
        }
        at_least("max_responses", self.max_responses, 2)?;
        for (field, given) in [
            ("call_timeout_seconds", self.call_timeout_seconds),
            ("keepalive_seconds", self.keepalive_seconds),
            ("query_lifetime_seconds", self.query_lifetime_seconds),
            ("job_lease_seconds", self.job_lease_seconds),
            ("job_poll_ms", self.job_poll_ms),
            ("change_poll_seconds", self.change_poll_seconds),
        ] {
            at_least(field, given as usize, 1)?;
        }
        if self.change_poll_seconds > 60 {
            return Err(Invalid::new("change_poll_seconds", self.change_poll_seconds, "1 to 60"));
        }
        for (at, spec) in self.generators.iter().enumerate() {
            if self.generators[..at].iter().any(|other| other.name == spec.name) {
                return Err(Invalid::new("generator", format!("{} twice", spec.name), "a name once"));
            }
        }
        if !self.device.is_built_in() {
            let allowed =
                "auto or cpu: this build has no support for it (the cargo features `cuda` and `metal`)";
            return Err(Invalid::new("device", self.device, allowed));
        }
        if let Some(model) = &self.model
            && !model.join("manifest.json").is_file()
        {
            let allowed = "a directory that `pref train` wrote, with a manifest.json";
            return Err(Invalid::new("model", model.display(), allowed));
        }
        let models = match &self.models {
            Some(place) => ArtifactLocation::new(place),
            // The place is kept in the database, and the next start may be in another directory.
            None => {
                let models = data_dir.join("models");
                ArtifactLocation::from(std::path::absolute(&models).unwrap_or(models).as_path())
            }
        };
        models.check().map_err(|error| {
            let allowed = "a directory; s3://… in a build with the cargo feature `aws`, gs://… with `gcp`";
            Invalid::new("models", &models, format!("{allowed} ({error})"))
        })?;
        Ok(Config {
            listen: self.listen,
            http_listen: self.http_listen,
            metrics_listen: self.metrics_listen,
            model: self.model.clone(),
            generators: self.generators.clone(),
            generator_sequences: self.generator_sequences,
            guarded: self.access.is_guarded(),
            tokens: self.access.tokens()?,
            store: self.database.check(data_dir)?,
            engine: EngineConfig {
                query_lifetime: Duration::from_secs(self.query_lifetime_seconds),
                reply_lifetime: Duration::from_secs(self.reply_lifetime_seconds),
                completion_lifetime: Duration::from_secs(self.completion_lifetime_seconds),
                default_candidates: self.default_candidates,
                resident_models: self.resident_models,
                pool_bytes: self.pool_memory_mib.saturating_mul(1 << 20),
                recent_bytes: self.recent_memory_mib.saturating_mul(1 << 20),
                resident: ResidentConfig {
                    queue: self.model_queue,
                    batch_texts: self.model_batch,
                    cache_entries: self.model_cache,
                    ..ResidentConfig::default()
                },
                backbone: BackboneOptions {
                    device: self.device,
                    cache_dir: self.hub_cache.clone(),
                    offline: self.offline,
                    ..BackboneOptions::default()
                },
                generators: self.generators.iter().map(|spec| spec.name.clone()).collect(),
                models,
                job_lease: Duration::from_secs(self.job_lease_seconds),
                job_poll: Duration::from_millis(self.job_poll_ms),
                change_poll: Duration::from_secs(self.change_poll_seconds),
                key_memory: Duration::from_secs(self.access.key_cache_seconds),
                tenant_users: self.access.tenant_users,
                ..EngineConfig::default()
            },
            service: ServiceConfig {
                limits: Limits {
                    text_bytes: self.max_text_bytes,
                    responses: self.max_responses,
                    questions: self.max_questions,
                    message_bytes: self.max_message_bytes,
                },
                concurrent_calls: self.concurrent_calls,
                call_timeout: Duration::from_secs(self.call_timeout_seconds),
                drain_timeout: Duration::from_secs(self.drain_timeout_seconds),
                keepalive_interval: Duration::from_secs(self.keepalive_seconds),
                training: !self.no_training,
                tenant_limits: self.access.tenant_limits(),
                tls: self.access.tls()?,
                cors_origins: self.access.cors_origins()?,
                ..ServiceConfig::default()
            },
        })
    }
}

impl DatabaseSettings {
    /// Where the data of a server in `data_dir` is kept.
    pub fn check(&self, data_dir: &Path) -> Result<StoreConfig, Invalid> {
        at_least("database_connections", self.database_connections as usize, 1)?;
        let database = match &self.database_url {
            None => Database::Sqlite(data_dir.join("pref.sqlite")),
            Some(url) => {
                let scheme = url.expose_secret().split_once("://").map(|(scheme, _)| scheme);
                if !matches!(scheme, Some("postgres" | "postgresql")) {
                    // The URL itself may hold a password.
                    let given = scheme.map_or("no scheme".to_owned(), |scheme| format!("scheme {scheme:?}"));
                    let allowed = "postgres://user:password@host/database, or no URL for SQLite";
                    return Err(Invalid::new("database_url", given, allowed));
                }
                Database::Postgres(url.clone())
            }
        };
        Ok(StoreConfig {
            connections: self.database_connections,
            acquire_timeout: Duration::from_secs(self.database_acquire_seconds),
            statement_timeout: Duration::from_secs(self.database_statement_seconds),
            group_commit: !self.no_group_commit,
            ..StoreConfig::new(database)
        })
    }
}

fn at_least(field: &str, given: usize, least: usize) -> Result<(), Invalid> {
    if given < least { Err(Invalid::new(field, given, format!("at least {least}"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        settings: ServeSettings,
    }

    fn check(arguments: &[&str]) -> Result<Config, Invalid> {
        let arguments = std::iter::once("pref").chain(arguments.iter().copied());
        Command::parse_from(arguments).settings.check(Path::new("data"))
    }

    #[test]
    fn without_a_url_the_data_is_a_file_in_the_data_directory() {
        let config = check(&[]).unwrap();
        assert!(
            matches!(config.store.database, Database::Sqlite(path) if path == Path::new("data/pref.sqlite"))
        );
        let config = check(&["--database-url", "postgres://localhost/pref"]).unwrap();
        assert!(matches!(config.store.database, Database::Postgres(_)));
    }

    #[test]
    fn a_setting_that_cannot_be_taken_is_named_and_a_password_is_not_repeated() {
        let field = |arguments: &[&str]| check(arguments).unwrap_err().field;
        assert_eq!(field(&["--listen", "0.0.0.0:50051"]), "listen");
        assert_eq!(field(&["--http-listen", "0.0.0.0:8080"]), "http_listen");
        assert_eq!(field(&["--max-responses", "1"]), "max_responses");
        assert_eq!(field(&["--call-timeout-seconds", "0"]), "call_timeout_seconds");
        assert_eq!(field(&["--change-poll-seconds", "61"]), "change_poll_seconds");
        assert_eq!(field(&["--model", "nowhere"]), "model");
        if !cfg!(feature = "cuda") {
            assert_eq!(field(&["--device", "cuda:0"]), "device");
        }
        if !cfg!(feature = "aws") {
            assert_eq!(field(&["--models", "s3://bucket/models"]), "models");
        }
        assert_eq!(field(&["--models", "://"]), "models");
        assert_eq!(field(&["--generator", "a=local:x", "--generator", "a=local:y"]), "generator");
        for given in ["a", "a=x", "a=local:", "pool=local:x", "a b=local:x", "=local:x", "a=openai:host/v1"] {
            assert_eq!(given.parse::<GeneratorSpec>().unwrap_err().field, "generator");
        }
        let error = check(&["--database-url", "mysql://me:secret@host/pref"]).unwrap_err();
        assert_eq!((error.field.as_str(), error.given.as_str()), ("database_url", "scheme \"mysql\""));
    }

    #[test]
    fn only_a_server_that_asks_who_calls_is_reached_from_elsewhere() {
        let told = check(&["--listen", "0.0.0.0:50051"]).unwrap_err().to_string();
        assert!(told.contains("--require-auth") && told.contains("pref keys create"), "{told}");
        let config = check(&["--listen", "0.0.0.0:50051", "--require-auth"]).unwrap();
        assert!(config.guarded && config.tokens.is_none());
        let tokens = ["--jwks", "keys.json", "--jwt-issuer", "https://id.example", "--jwt-audience", "pref"];
        let config = check(&[&["--http-listen", "0.0.0.0:8080"], &tokens[..]].concat()).unwrap();
        assert!(config.guarded && config.tokens.is_some());

        let field = |arguments: &[&str]| check(arguments).unwrap_err().field;
        assert_eq!(field(&tokens[..2]), "jwt_issuer");
        assert_eq!(field(&tokens[..4]), "jwt_audience");
        assert_eq!(field(&tokens[2..]), "jwt_issuer");
        for place in ["http://id.example/keys", "ftp://x", "https://"] {
            assert_eq!(field(&[&["--jwks", place], &tokens[2..]].concat()), "jwks", "{place}");
        }
        for place in ["http://127.0.0.1:8000/keys", "https://id.example/keys"] {
            assert!(check(&[&["--jwks", place], &tokens[2..]].concat()).is_ok(), "{place}");
        }
        assert_eq!(field(&["--tls-cert", "Cargo.toml"]), "tls_key");
        assert_eq!(field(&["--tls-key", "Cargo.toml"]), "tls_cert");
        assert_eq!(field(&["--tls-client-ca", "Cargo.toml"]), "tls_cert");
        assert_eq!(field(&["--tls-cert", "Cargo.toml", "--tls-key", "nowhere"]), "tls_cert");
        for origin in ["*", "chat.example.org", "https://*.example.org", "https://chat.example.org/"] {
            assert_eq!(field(&["--cors-origin", origin]), "cors_origin", "{origin}");
        }
        assert_eq!(
            check(&["--cors-origin", "https://a.example,http://b:80"]).unwrap().service.cors_origins.len(),
            2
        );
    }

    #[test]
    fn the_defaults_of_flags_are_those_of_the_rooms() {
        let config = check(&[]).unwrap();
        assert_eq!(config.service.limits, Limits::default());
        assert_eq!(config.service.call_timeout, ServiceConfig::default().call_timeout);
        assert_eq!(config.service.concurrent_calls, ServiceConfig::default().concurrent_calls);
        assert_eq!(config.engine.query_lifetime, EngineConfig::default().query_lifetime);
        assert_eq!(config.engine.completion_lifetime, EngineConfig::default().completion_lifetime);
        assert_eq!(config.engine.job_lease, EngineConfig::default().job_lease);
        assert_eq!(config.engine.change_poll, EngineConfig::default().change_poll);
        assert_eq!(config.engine.job_poll, EngineConfig::default().job_poll);
        assert_eq!(config.engine.resident_models, EngineConfig::default().resident_models);
        assert_eq!(config.engine.pool_bytes, EngineConfig::default().pool_bytes);
        assert_eq!(config.engine.recent_bytes, EngineConfig::default().recent_bytes);
        assert_eq!(config.engine.resident.queue, ResidentConfig::default().queue);
        assert_eq!(config.engine.key_memory, EngineConfig::default().key_memory);
        assert_eq!(config.engine.tenant_users, EngineConfig::default().tenant_users);
        let limits = |config: &ServiceConfig| format!("{:?}", config.tenant_limits);
        assert_eq!(limits(&config.service), limits(&ServiceConfig::default()));
    }
}
