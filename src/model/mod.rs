//! Backbones, reward heads, artifacts and the resident model thread, on candle.
//!
//! A [`Backbone`] turns (prompt, response) into h(x, y); a [`RewardModel`] is a backbone with the head W, so that
//! φ(x, y) = W h(x, y); an [`Artifact`] is what training leaves behind and serving loads; a [`ResidentModel`] is a
//! reward model on a thread of its own behind a bounded queue. A [`TunableBackbone`] is a backbone whose weights are
//! variables, and an [`Adapter`] what tuning made of them.
//!
//! `model` never sees a user's coefficients, a row or a socket, and nothing here is trained: losses, steps and fits
//! are the business of `train`.

mod adapter;
mod artifact;
mod backbone;
mod batches;
mod bert;
mod by_name;
mod causal;
mod chat_template;
mod concat;
mod decoder_config;
mod decoder_files;
mod device;
#[cfg(test)]
mod drawn_weights;
mod encoder_config;
mod error;
mod examples;
mod feature_cache;
mod float_type;
mod gguf;
#[cfg(test)]
mod gradients;
mod hub;
mod kernels;
mod language_model;
mod layout;
mod lexical;
mod location;
mod manifest;
mod memory;
mod metrics;
mod modern_bert_config;
mod open_backbones;
mod opening;
mod packed_bert;
mod packed_decoder;
mod packed_modern_bert;
mod pooling;
mod resident;
mod reward;
mod rope;
mod snapshot;
mod static_embedding;
mod stored_folder;
mod tokens;
mod tunable;
mod tuning;
mod value_head;
mod weights;

pub use adapter::Adapter;
pub use artifact::Artifact;
pub use backbone::{Backbone, BackboneOptions, BackboneRecord, Embedding, Text};
pub use by_name::{has_weights, open_backbone, open_tuned};
pub use chat_template::Message;
pub use device::DeviceChoice;
pub use error::ModelError;
pub use examples::{Example, Examples};
pub use float_type::FloatType;
pub use language_model::{Extension, Hidden, LanguageModel, Sequence};
pub use lexical::{Lexical, MEASURES, Measure, interpretable_measures};
pub use location::ArtifactLocation;
pub use manifest::{Manifest, PriorRecord, TrainingUsers};
pub use metrics::ModelMetrics;
pub use open_backbones::OpenBackbones;
pub use resident::{ResidentConfig, ResidentModel};
pub use reward::RewardModel;
pub use tunable::{TunableBackbone, TunableNetwork};
pub use tuning::Tuning;
pub use value_head::{PositionScore, ValueHead, ValueHeadRecord};
