use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use reqwest::StatusCode;
use reqwest::header::RETRY_AFTER;
use secrecy::ExposeSecret;
use tokio::time::{sleep, timeout};

use super::breaker::CircuitBreaker;
use super::wire::{Body, Piece};
use super::{GenerateError, OpenAiConfig};

/// The wait before a second attempt; twice as long before each one after it, less up to a half by chance.
const BACKOFF: Duration = Duration::from_millis(250);
/// An upstream that asks for a longer wait than this is not waited for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// Characters of an upstream's refusal that are passed on.
const WORDS: usize = 300;

/// A language model behind an OpenAI-compatible address. Clones share connections and what is known of the upstream's health.
#[derive(Debug, Clone)]
pub struct OpenAi {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: OpenAiConfig,
    http: reqwest::Client,
    breaker: CircuitBreaker,
}

/// Why one attempt failed.
struct Failure {
    error: GenerateError,
    /// Least wait before another attempt; nothing where another would fail as well.
    again: Option<Duration>,
}

impl OpenAi {
    /// Calls nobody yet.
    ///
    /// # Errors
    /// A machine without certificates of authorities, where the address is https.
    pub fn new(config: OpenAiConfig) -> Result<Self, GenerateError> {
        // Whoever was first has installed the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            // A key goes to the address that it was given for, and nowhere else.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("pref/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| GenerateError::Failed(chain(&error)))?;
        let breaker = CircuitBreaker::new(config.failures, config.pause);
        Ok(Self { shared: Arc::new(Shared { config, http, breaker }) })
    }

    /// What the model replies at temperature 0.
    ///
    /// # Errors
    /// No connection, a refusal with its status and words, a reply without a text.
    pub async fn reply(&self, system: &str, user: &str) -> Result<String, GenerateError> {
        let reply = async {
            let response = self.post(&Body::reply(self.model(), system, user)).await?;
            let mut reply: Piece = response.json().await.map_err(|error| self.rubbish(chain(&error)))?;
            self.shared.breaker.succeeded();
            let text = reply.choices.first_mut().and_then(|choice| choice.text());
            text.ok_or_else(|| self.rubbish("choices[0].message.content is missing".to_owned()))
        };
        timeout(self.config().timeout, reply).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// The beginning of a successful reply, after as many attempts as are allowed.
    pub(super) async fn post(&self, body: &Body<'_>) -> Result<reqwest::Response, GenerateError> {
        let Shared { config, breaker, .. } = &*self.shared;
        breaker.admit(Instant::now()).map_err(|wait| {
            let why =
                format!("it failed {} times in a row, and is tried again in {wait:.0?}", config.failures);
            self.away(why)
        })?;
        let mut attempt = 1;
        loop {
            let Failure { error, again } = match self.attempt(body).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            let again = again.filter(|wait| attempt < config.attempts && *wait <= LONGEST_WAIT);
            let Some(least) = again else {
                if matches!(error, GenerateError::UpstreamAway { .. }) {
                    breaker.failed(Instant::now());
                }
                return Err(error);
            };
            let backoff = BACKOFF * 2u32.saturating_pow(attempt - 1);
            let wait = least.max(backoff.mul_f64(rand::rng().random_range(0.5..=1.0)));
            tracing::debug!(upstream = self.model(), %error, attempt, wait_ms = wait.as_millis() as u64, "trying again");
            sleep(wait).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, body: &Body<'_>) -> Result<reqwest::Response, Failure> {
        let Shared { config, http, .. } = &*self.shared;
        let mut request = http.post(format!("{}/{}", config.url, body.path())).json(body);
        if let Some(key) = &config.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let once_more = |error| Failure { error, again: Some(Duration::ZERO) };
        let response = match timeout(config.idle_timeout, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(once_more(self.away(chain(&error.without_url())))),
            Err(_) => return Err(once_more(self.stalled())),
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        let asked = asked.map(Duration::from_secs);
        let read = timeout(config.idle_timeout, response.text()).await;
        let words = words(&read.ok().and_then(Result::ok).unwrap_or_default());
        let model = self.model().to_owned();
        match status {
            StatusCode::TOO_MANY_REQUESTS => {
                let spent = words.contains("quota");
                let error = GenerateError::UpstreamBusy { model, words, retry_after: asked };
                Err(Failure { error, again: (!spent).then(|| asked.unwrap_or_default()) })
            }
            StatusCode::REQUEST_TIMEOUT => Err(once_more(self.away(format!("{status}: {words}")))),
            status if status.is_server_error() => Err(Failure {
                error: self.away(format!("{status}: {words}")),
                again: Some(asked.unwrap_or_default()),
            }),
            // Their words may repeat the key.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let words = "the key that this server has for it is not accepted".to_owned();
                let error = GenerateError::UpstreamRefused { model, status: status.as_u16(), words };
                Err(Failure { error, again: None })
            }
            status => {
                let error = GenerateError::UpstreamRefused { model, status: status.as_u16(), words };
                Err(Failure { error, again: None })
            }
        }
    }

    pub(super) fn config(&self) -> &OpenAiConfig {
        &self.shared.config
    }

    pub(super) fn model(&self) -> &str {
        &self.shared.config.model
    }

    /// How a reply ended that had begun.
    pub(super) fn note<T>(&self, ended: &Result<T, GenerateError>) {
        match ended {
            Ok(_) => self.shared.breaker.succeeded(),
            Err(GenerateError::UpstreamRubbish { .. }) => self.shared.breaker.failed(Instant::now()),
            Err(_) => {}
        }
    }

    /// Nothing came of it that a later try could not mend.
    pub(super) fn away(&self, why: String) -> GenerateError {
        GenerateError::UpstreamAway { model: self.model().to_owned(), why }
    }

    pub(super) fn stalled(&self) -> GenerateError {
        self.away(format!("nothing came for {:?}", self.config().idle_timeout))
    }

    pub(super) fn late(&self) -> GenerateError {
        self.away(format!("no whole reply within {:?}", self.config().timeout))
    }

    /// Something came that is not a reply.
    pub(super) fn rubbish(&self, why: String) -> GenerateError {
        GenerateError::UpstreamRubbish { model: self.model().to_owned(), why }
    }
}

/// An error with its causes: reqwest's own words say little.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told = format!("{told}: {error}");
        cause = error.source();
    }
    told
}

/// What a refusal says: OpenAI's `error.message`, or the beginning of whatever there is.
fn words(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json.pointer("/error/message")?.as_str());
    message.unwrap_or(body).trim().chars().take(WORDS).collect()
}
