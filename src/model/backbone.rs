use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use candle_core::Device;
use serde::{Deserialize, Serialize};

use super::bert::BertBackbone;
use super::causal::CausalBackbone;
use super::concat::Concat;
use super::hub::{Snapshot, locate};
use super::layout::{file_error, model_type};
use super::lexical::{self, Lexical};
use super::static_embedding::StaticEmbedding;
use super::{Adapter, FloatType, ModelError};

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

/// The device that was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first GPU where this build and machine have one, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The NVIDIA GPU of this number.
    Cuda(usize),
    /// The Apple GPU of this number.
    Metal(usize),
}

impl DeviceChoice {
    /// Whether this build knows such devices; the machine may still have none.
    pub fn is_built_in(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => true,
            Self::Cuda(_) => cfg!(feature = "cuda"),
            Self::Metal(_) => cfg!(feature = "metal"),
        }
    }

    /// The device itself.
    pub fn open(self) -> Result<Device, ModelError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok([Device::cuda_if_available(0), Device::metal_if_available(0)]
                .into_iter()
                .flatten()
                .find(|device| !device.is_cpu())
                .unwrap_or(Device::Cpu)),
            Self::Cuda(ordinal) => self.gpu(Device::new_cuda(ordinal)),
            Self::Metal(ordinal) => self.gpu(Device::new_metal(ordinal)),
        }
    }
}

impl DeviceChoice {
    fn gpu(self, opened: candle_core::Result<Device>) -> Result<Device, ModelError> {
        opened.map_err(|error| ModelError::Device {
            given: self.to_string(),
            reason: match self.is_built_in() {
                true => error.to_string(),
                false => "this build has no support for it".to_owned(),
            },
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
            Self::Metal(ordinal) => write!(f, "metal:{ordinal}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = ModelError;

    fn from_str(name: &str) -> Result<Self, ModelError> {
        match name {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            "metal" => Ok(Self::Metal(0)),
            _ => {
                let numbered = name.split_once(':').and_then(|(kind, ordinal)| {
                    let ordinal = ordinal.parse().ok()?;
                    match kind {
                        "cuda" => Some(Self::Cuda(ordinal)),
                        "metal" => Some(Self::Metal(ordinal)),
                        _ => None,
                    }
                });
                numbered.ok_or_else(|| ModelError::Device {
                    given: name.to_owned(),
                    reason: "no such device".to_owned(),
                })
            }
        }
    }
}

/// Opens a backbone by name: `lexical`, a directory in Hugging Face layout, a GGUF file, a hub id (`organisation/name`, optionally
/// `@revision`), a known short name (`minilm`), or several of these joined by `+`, whose embeddings are concatenated.
pub fn open_backbone(spec: &str, options: &BackboneOptions) -> Result<Arc<dyn Backbone>, ModelError> {
    if is_several(spec) {
        let parts: Vec<_> =
            spec.split('+').map(|part| open_backbone(part.trim(), options)).collect::<Result<_, _>>()?;
        return Ok(Arc::new(Concat::new(parts)));
    }
    if is_lexical(spec) {
        return Ok(Arc::new(Lexical::new()));
    }
    let snapshot = locate(spec, options)?;
    if let Some(table) = StaticEmbedding::find(&snapshot, options)? {
        return Ok(Arc::new(table));
    }
    open_network(snapshot, options, None)
}

/// Opens a backbone with what tuning made of its weights. Its [`Backbone::hash`] is another than that of the backbone
/// which was tuned.
///
/// # Errors
/// As [`open_backbone`]; a backbone that cannot be tuned, or that has not the weights which were.
pub fn open_tuned(
    spec: &str,
    options: &BackboneOptions,
    adapter: &Adapter,
) -> Result<Arc<dyn Backbone>, ModelError> {
    open_network(locate_network(spec, options)?, options, Some(adapter))
}

/// Whether a backbone of this name may be tuned, by the name alone.
pub fn has_weights(spec: &str) -> bool {
    !is_several(spec) && !is_lexical(spec)
}

/// The folder of a backbone whose weights can be trained.
pub(super) fn locate_network(spec: &str, options: &BackboneOptions) -> Result<Snapshot, ModelError> {
    let refused = |reason: &str| ModelError::NotTunable { spec: spec.to_owned(), reason: reason.to_owned() };
    if is_several(spec) {
        return Err(refused("it is several backbones"));
    }
    if is_lexical(spec) {
        return Err(refused("it has no weights"));
    }
    let snapshot = locate(spec, options)?;
    if snapshot.gguf.is_some() {
        return Err(refused("its weights are quantised"));
    }
    match StaticEmbedding::find(&snapshot, options)? {
        Some(_) => Err(refused("it is a table of static vectors")),
        None => Ok(snapshot),
    }
}

/// A network that reads texts.
pub(super) enum Network {
    Bert,
    Causal,
}

impl Network {
    /// By the folder's `config.json`.
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self, ModelError> {
        if snapshot.gguf.is_some() {
            return Ok(Self::Causal);
        }
        match model_type(&snapshot.directory)?.as_str() {
            "bert" | "modernbert" => Ok(Self::Bert),
            "qwen2" | "llama" => Ok(Self::Causal),
            other => Err(file_error(
                &snapshot.directory.join("config.json"),
                format!("model_type: got {other:?}; allowed: bert, llama, modernbert, qwen2"),
            )),
        }
    }
}

fn open_network(
    snapshot: Snapshot,
    options: &BackboneOptions,
    adapter: Option<&Adapter>,
) -> Result<Arc<dyn Backbone>, ModelError> {
    match Network::of(&snapshot)? {
        Network::Bert => Ok(Arc::new(BertBackbone::open(snapshot, options, adapter)?)),
        Network::Causal => Ok(Arc::new(CausalBackbone::open(snapshot, options, adapter)?)),
    }
}

fn is_lexical(spec: &str) -> bool {
    spec == "lexical" || spec == lexical::ID
}

/// A directory may have a plus sign in its name.
fn is_several(spec: &str) -> bool {
    spec.contains('+') && !Path::new(spec).is_dir()
}
