use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::GenerateError;

/// A language model behind an OpenAI-compatible address (OpenAI, vLLM, llama.cpp, Ollama, …).
#[derive(Debug, Clone)]
pub struct OpenAi {
    agent: ureq::Agent,
    url: String,
    model: String,
    key: Option<String>,
}

/// Longest wait for one reply.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Characters of an upstream's refusal that are passed on.
const REFUSAL: usize = 300;

impl OpenAi {
    /// `url` is the base before `/chat/completions`, such as `http://localhost:8000/v1`; `key` goes into the header
    /// `Authorization`, if there is one.
    ///
    /// # Errors
    /// An address that is not http or https.
    pub fn new(url: &str, model: &str, key: Option<String>) -> Result<Self, GenerateError> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(GenerateError::Address { given: url.to_owned() });
        }
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false);
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().into(), url, model: model.to_owned(), key })
    }

    /// What the model replies at temperature 0. Blocks.
    ///
    /// # Errors
    /// No connection, a refusal with its status and words, a reply without a text.
    pub fn reply(&self, system: &str, user: &str) -> Result<String, GenerateError> {
        let failed = |why: String| GenerateError::Upstream { url: self.url.clone(), why };
        let mut request = self.agent.post(format!("{}/chat/completions", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let messages = [Message { role: "system", content: system }, Message { role: "user", content: user }];
        let request_body = ChatRequest { model: &self.model, temperature: 0.0, messages };
        let mut response = request.send_json(&request_body).map_err(|error| failed(error.to_string()))?;
        let status = response.status();
        if !status.is_success() {
            let words = response.body_mut().read_to_string().unwrap_or_default();
            let words: String = words.trim().chars().take(REFUSAL).collect();
            return Err(failed(format!("{status}: {words}")));
        }
        let reply: ChatReply = response.body_mut().read_json().map_err(|error| failed(error.to_string()))?;
        let text = reply.choices.into_iter().next().and_then(|choice| choice.message.content);
        text.ok_or_else(|| {
            failed("the reply holds no text: choices[0].message.content is missing".to_owned())
        })
    }
}

#[derive(Serialize)]
struct ChatRequest<'a> {
    model: &'a str,
    temperature: f64,
    messages: [Message<'a>; 2],
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Deserialize)]
struct ChatReply {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Reply,
}

#[derive(Deserialize)]
struct Reply {
    content: Option<String>,
}
