use serde::{Deserialize, Serialize};

use crate::generate::{Finish, Prompt, Request};

/// What is asked of `/chat/completions`, or of `/completions` for the beginning of a text. Fields beyond OpenAI's own are left out
/// unless they say something, since some upstreams refuse what they do not know.
#[derive(Debug, Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages: Option<Vec<Turn<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<&'a str>,
    #[serde(skip_serializing_if = "is_one")]
    n: usize,
    temperature: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<usize>,
    /// OpenAI's newer name for the same, which its own service wants.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<usize>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<i64>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Serialize)]
struct Turn<'a> {
    role: &'a str,
    content: &'a str,
}

#[derive(Debug, Serialize)]
struct StreamOptions {
    include_usage: bool,
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

impl<'a> Body<'a> {
    /// `n` completions, streamed; `seed` is that of the first.
    pub(super) fn streamed(model: &'a str, url: &str, request: &'a Request, n: usize, seed: u64) -> Self {
        let sampling = &request.sampling;
        let turns = |turns: &'a [(String, String)]| {
            turns.iter().map(|(role, content)| Turn { role, content }).collect()
        };
        let (messages, prompt) = match &request.prompt {
            Prompt::User(text) => (Some(vec![Turn { role: "user", content: text }]), None),
            Prompt::Chat(messages) => (Some(turns(messages)), None),
            Prompt::Raw(text) => (None, Some(text.as_str())),
        };
        let newer = prompt.is_none() && url.starts_with("https://api.openai.com/");
        Self {
            model,
            messages,
            prompt,
            n,
            temperature: sampling.temperature,
            top_p: (sampling.top_p < 1.0).then_some(sampling.top_p),
            top_k: sampling.top_k,
            min_p: (sampling.min_p > 0.0).then_some(sampling.min_p),
            repetition_penalty: (sampling.repetition_penalty != 1.0).then_some(sampling.repetition_penalty),
            max_tokens: (!newer).then_some(sampling.max_tokens),
            max_completion_tokens: newer.then_some(sampling.max_tokens),
            stop: &sampling.stop,
            // Upstreams take signed numbers.
            seed: Some((seed & (u64::MAX >> 1)).cast_signed()),
            stream: true,
            stream_options: Some(StreamOptions { include_usage: true }),
        }
    }

    /// One reply to `user`, the likeliest, whole.
    pub(super) fn reply(model: &'a str, system: &'a str, user: &'a str) -> Self {
        let turns = [("system", system), ("user", user)];
        Self {
            model,
            messages: Some(turns.map(|(role, content)| Turn { role, content }).into()),
            prompt: None,
            n: 1,
            temperature: 0.0,
            top_p: None,
            top_k: None,
            min_p: None,
            repetition_penalty: None,
            max_tokens: None,
            max_completion_tokens: None,
            stop: &[],
            seed: None,
            stream: false,
            stream_options: None,
        }
    }

    /// Where it goes, after the base.
    pub(super) fn path(&self) -> &'static str {
        if self.prompt.is_some() { "completions" } else { "chat/completions" }
    }
}

/// A whole reply, or a piece of a streamed one.
#[derive(Debug, Deserialize)]
pub(super) struct Piece {
    #[serde(default)]
    pub(super) choices: Vec<Choice>,
    pub(super) usage: Option<Usage>,
    /// In the place of a piece, where something went wrong on the way.
    pub(super) error: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Choice {
    #[serde(default)]
    pub(super) index: usize,
    delta: Option<Said>,
    message: Option<Said>,
    text: Option<String>,
    finish_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Said {
    content: Option<String>,
}

/// Tokens, as the upstream counts them.
#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) struct Usage {
    #[serde(default)]
    pub(super) prompt_tokens: usize,
    #[serde(default)]
    pub(super) completion_tokens: usize,
}

impl Choice {
    /// What it says or goes on with; nothing where it has no place for a text.
    pub(super) fn text(&mut self) -> Option<String> {
        let said = self.delta.take().or(self.message.take());
        said.map_or(self.text.take(), |said| said.content)
    }

    /// Why it is over, if it is.
    pub(super) fn finish(&self) -> Option<Finish> {
        match self.finish_reason.as_deref() {
            None => None,
            Some("length") => Some(Finish::Length),
            Some("content_filter") => Some(Finish::Filtered),
            Some(_) => Some(Finish::Stop),
        }
    }
}
