//! From a backbone's name to the backbone.

use std::path::Path;
use std::sync::Arc;

use super::bert::BertBackbone;
use super::causal::CausalBackbone;
use super::concat::Concat;
use super::hub::locate;
use super::layout::{file_error, model_type};
use super::lexical::{self, Lexical};
use super::snapshot::Snapshot;
use super::static_embedding::StaticEmbedding;
use super::{Adapter, Backbone, BackboneOptions, ModelError};

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
