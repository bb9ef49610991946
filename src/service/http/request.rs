use serde::Deserialize;
use serde_json::Value;

use super::Edge;
use super::error::HttpError;
use super::models;
use super::names::Names;
use crate::domain::{CompletionId, Invalid};
use crate::engine::{EngineError, Generate, Remembered};
use crate::service::convert;
use crate::service::proto;

/// `POST /v1/chat/completions`: OpenAI's fields, and `pref`, of ours.
#[derive(Debug, Deserialize)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    messages: Vec<ChatMessage>,
    #[serde(default)]
    pub(super) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    n: Option<u32>,
    stop: Option<Stop>,
    seed: Option<i64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    /// Whose taste; without it, the average person's.
    #[serde(default, deserialize_with = "or_nobody")]
    pub(super) user: String,
    #[serde(default)]
    pref: PrefOptions,
    tools: Option<Value>,
    functions: Option<Value>,
    response_format: Option<Value>,
    logprobs: Option<Value>,
}

/// What OpenAI's fields have no place for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PrefOptions {
    /// `best_of_n` (the default), `value_guided`, `style_guided` or `unguided`.
    strategy: Option<String>,
    candidates: Option<u32>,
    guidance_scale: Option<f64>,
    risk_aversion: Option<f64>,
    min_revision: u64,
    top_k: Option<u32>,
    min_p: Option<f64>,
    reject_early: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct ChatMessage {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Stop {
    One(String),
    Several(Vec<String>),
}

/// `null` is what some clients send for nothing.
pub(super) fn or_nobody<'de, D: serde::Deserializer<'de>>(given: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(given)?.unwrap_or_default())
}

/// A request, understood.
pub(super) struct Asked {
    pub(super) generate: Generate,
    /// Choices to return.
    pub(super) choices: usize,
    /// Whether a stream ends with the usage.
    pub(super) usage: bool,
}

impl ChatRequest {
    pub(super) fn read(body: &[u8]) -> Result<Self, HttpError> {
        serde_json::from_slice(body).map_err(|error| {
            HttpError::invalid("body", error, "JSON of OpenAI's chat completions: model, messages, …")
        })
    }

    /// How errors are to name the fields.
    pub(super) fn names(&self) -> Names {
        let n = self.n.is_some() && self.pref.candidates.is_none();
        Names { n, max_completion_tokens: self.max_completion_tokens.is_some() }
    }

    /// Through the same door as a gRPC request: every bound of the one is a bound of the other.
    pub(super) fn understand(self, edge: &Edge, id: CompletionId) -> Result<Asked, HttpError> {
        let names = self.names();
        for (field, given) in [
            ("tools", &self.tools),
            ("functions", &self.functions),
            ("response_format", &self.response_format),
            ("logprobs", &self.logprobs),
        ] {
            let nothing = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(format) => format.get("type").is_some_and(|kind| kind == "text"),
                _ => false,
            };
            if !given.as_ref().is_none_or(nothing) {
                return Err(HttpError::invalid(field, "a value", "nothing: this server writes plain text"));
            }
        }
        let choices = self.n.unwrap_or(1);
        if choices == 0 {
            return Err(HttpError::invalid("n", choices, "at least 1"));
        }
        if choices as usize > edge.limits.responses {
            let invalid = Invalid::new("n", choices, format!("at most {}", edge.limits.responses));
            return Err(EngineError::TooLarge(invalid).into());
        }
        if self.messages.is_empty() {
            return Err(HttpError::invalid("messages", "none", "at least one, a user's at the end"));
        }
        let strategy = match self.pref.strategy.as_deref() {
            None | Some("best_of_n") => proto::GenerationStrategy::BestOfN,
            Some("value_guided") => proto::GenerationStrategy::ValueGuided,
            Some("style_guided") => proto::GenerationStrategy::StyleGuided,
            Some("unguided") => proto::GenerationStrategy::Unguided,
            Some(other) => {
                let allowed = "best_of_n, value_guided, style_guided or unguided";
                return Err(HttpError::invalid("pref.strategy", format!("{other:?}"), allowed));
            }
        };
        // Of the best of N, n are returned; otherwise n are written.
        use proto::GenerationStrategy::{BestOfN, StyleGuided};
        let candidates = match (strategy, self.pref.candidates) {
            (BestOfN | StyleGuided, Some(candidates)) if candidates < choices => {
                let allowed = format!("at least n, {choices}");
                return Err(HttpError::invalid("pref.candidates", candidates, &allowed));
            }
            (BestOfN | StyleGuided, candidates) => {
                let default = u32::try_from(edge.engine.config().default_candidates).unwrap_or(u32::MAX);
                candidates.unwrap_or(default.max(choices))
            }
            (_, candidates) => candidates.unwrap_or(choices).max(choices),
        };
        let messages = self.messages.into_iter().enumerate().map(|(at, message)| message.understand(at));
        let stop = match self.stop {
            None => Vec::new(),
            Some(Stop::One(stop)) => vec![stop],
            Some(Stop::Several(stops)) => stops,
        };
        let request = proto::GenerateRequest {
            user_id: self.user,
            messages: messages.collect::<Result<_, _>>()?,
            strategy: strategy.into(),
            candidates,
            guidance_scale: self.pref.guidance_scale,
            risk_aversion: self.pref.risk_aversion,
            sampling: Some(proto::Sampling {
                temperature: self.temperature,
                top_p: self.top_p,
                top_k: self.pref.top_k,
                min_p: self.pref.min_p,
                max_tokens: self.max_completion_tokens.or(self.max_tokens),
                stop,
                // Any 64 bits are a seed.
                seed: self.seed.map(i64::cast_unsigned),
            }),
            min_revision: self.pref.min_revision,
            reject_early: self.pref.reject_early,
            generator: if self.model == models::DEFAULT { String::new() } else { self.model },
            ..Default::default()
        };
        let mut generate = convert::generate(request, &edge.limits).map_err(|error| names.error(error))?;
        let choices = choices as usize;
        generate.remembered = Some(Remembered { id, choices });
        Ok(Asked { generate, choices, usage: self.stream_options.include_usage })
    }
}

impl Asked {
    /// Whether the text is known while it is written, and not only when all candidates are there.
    pub(super) fn is_written_live(&self) -> bool {
        self.choices == 1 && self.generate.strategy.takes_the_first()
    }
}

impl ChatMessage {
    fn understand(self, at: usize) -> Result<proto::Message, HttpError> {
        // OpenAI's newer name for the same.
        let role = if self.role == "developer" { "system".to_owned() } else { self.role };
        let content = match self.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let mut whole = String::new();
                for part in parts {
                    match part.text {
                        Some(text) if part.r#type == "text" => whole.push_str(&text),
                        _ => {
                            let field = format!("messages[{at}].content");
                            return Err(HttpError::invalid(
                                &field,
                                format!("{:?}", part.r#type),
                                "parts of type text",
                            ));
                        }
                    }
                }
                whole
            }
        };
        Ok(proto::Message { role, content })
    }
}
