//! Language models behind an OpenAI-compatible address: OpenAI, vLLM, llama.cpp, Ollama, another `pref`, …

mod breaker;
mod client;
mod events;
mod generator;
mod wire;

use std::time::Duration;

use secrecy::SecretString;

pub use client::OpenAi;

use super::GenerateError;

/// An upstream, and how much patience there is with it.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Its base, before `/chat/completions`: `http://localhost:8000/v1`.
    pub url: String,
    /// What the upstream calls the language model.
    pub model: String,
    /// Goes into the header `Authorization`; never shown.
    pub key: Option<SecretString>,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the beginning of a reply, and then for each piece of it.
    pub idle_timeout: Duration,
    /// Longest wait for a whole reply, attempts included.
    pub timeout: Duration,
    /// Attempts at a reply before a failure is told; none is made once text has come.
    pub attempts: u32,
    /// Failed replies in a row after which the upstream is left alone.
    pub failures: u32,
    /// For how long.
    pub pause: Duration,
}

impl OpenAiConfig {
    /// Of `URL#MODEL`; without `#MODEL` the language model is called `name`.
    ///
    /// # Errors
    /// An address that is not http or https, a name that is empty.
    pub fn parse(place: &str, name: &str, key: Option<SecretString>) -> Result<Self, GenerateError> {
        let (url, model) = place.rsplit_once('#').unwrap_or((place, name));
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if host.is_none_or(str::is_empty) || model.is_empty() {
            return Err(GenerateError::Address { given: place.to_owned() });
        }
        Ok(Self {
            url: url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            key,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(120),
            attempts: 3,
            failures: 5,
            pause: Duration::from_secs(15),
        })
    }
}
