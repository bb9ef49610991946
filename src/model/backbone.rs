use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{DeviceChoice, FloatType, ModelError};

/// A frozen text encoder: (x, y) ↦ h(x, y) ∈ Rᵈ.
///
/// The same texts give the same vectors on every machine that opens the same backbone (equal [`Backbone::hash`]),
/// up to rounding, whether they come alone or in a batch.
pub trait Backbone: Send + Sync {
    /// Short name for people, such as `lexical-v2` or `sentence-transformers/all-MiniLM-L6-v2`.
    fn id(&self) -> &str;

    /// Identifies weights, tokenizer, settings and version: hex SHA-256. Heads and cached embeddings belong to it.
    fn hash(&self) -> &str;

    /// d, the length of an embedding.
    fn dimension(&self) -> usize;

    /// h for each of `texts`, in their order.
    ///
    /// Texts of the same prompt are a group: where one of them is too long for the backbone, the prompt is cut from
    /// its left once for the whole group, reserving the longest response, so that responses are compared after the
    /// same prompt.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError>;

    /// Whether no text of the group has to be cut. Only then is an embedding a function of its own text alone, and
    /// may be cached under its content and batched with others.
    fn fits(&self, _texts: &[Text<'_>]) -> Result<bool, ModelError> {
        Ok(true)
    }

    /// What a manifest keeps, so that the same backbone can be opened again.
    fn record(&self) -> BackboneRecord {
        BackboneRecord {
            spec: self.id().to_owned(),
            id: self.id().to_owned(),
            hash: self.hash().to_owned(),
            dimension: self.dimension(),
            pooling: None,
            template: None,
            max_tokens: None,
            dtype: None,
            revision: None,
        }
    }
}

/// A response y to a prompt x, to be embedded together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Text<'a> {
    /// x; empty for a text that stands alone.
    pub prompt: &'a str,
    /// y
    pub response: &'a str,
}

impl<'a> Text<'a> {
    /// `response` after `prompt`.
    pub fn new(prompt: &'a str, response: &'a str) -> Self {
        Self { prompt, response }
    }

    /// A text that stands alone: no template is put around it.
    pub fn alone(text: &'a str) -> Self {
        Self { prompt: "", response: text }
    }
}

/// h(x, y).
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// d numbers.
    pub vector: Vec<f32>,
    /// Tokens that were read, special ones included; the backbone's own unit.
    pub tokens: usize,
}

/// A backbone as a model's manifest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackboneRecord {
    /// What [`open_backbone`] takes to open the same one again, revision pinned.
    pub spec: String,
    /// [`Backbone::id`].
    pub id: String,
    /// [`Backbone::hash`].
    pub hash: String,
    /// d
    pub dimension: usize,
    /// How token vectors become one: `mean`, `cls`, `max` or `last`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooling: Option<String>,
    /// How prompt and response become one text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Longest input, special tokens included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// What it is computed in; nothing: float32.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<FloatType>,
    /// Commit on the hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

/// How to open a backbone.
#[derive(Debug, Clone, Default)]
pub struct BackboneOptions {
    /// Where its weights lie.
    pub device: DeviceChoice,
    /// Prompt and response as one text, with `{prompt}` and `{response}`; nothing: `{prompt}\n\n{response}`; `chat`:
    /// a causal model's own chat template, with the prompt as the user's message and the response as the answer.
    pub template: Option<String>,
    /// What it is computed in.
    pub dtype: FloatType,
    /// Where files of the hub are kept; nothing: `HF_HOME`, else `~/.cache/huggingface`.
    pub cache_dir: Option<PathBuf>,
    /// Look in the cache only.
    pub offline: bool,
}
