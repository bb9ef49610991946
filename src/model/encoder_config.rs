//! `config.json` of an encoder (BERT, ModernBERT), as transformers 4 and 5 write it.

use std::path::{Path, PathBuf};

use candle_transformers::models::bert;
use serde::Deserialize;

use super::ModelError;
use super::layout::{SentenceModules, file_error, model_type, required};
use super::modern_bert_config::{ModernBertConfig, ModernBertFile};
use super::pooling::Pooling;

/// What the folder's settings amount to.
#[derive(Debug, Clone)]
pub(super) struct EncoderSettings {
    pub(super) architecture: EncoderConfig,
    pub(super) pooling: Pooling,
    /// Whether embeddings are scaled to length 1.
    pub(super) normalize: bool,
    /// Longest input, special tokens included.
    pub(super) max_tokens: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub(super) lowercase: bool,
    /// Every file that these settings came from.
    pub(super) files: Vec<PathBuf>,
}

impl EncoderSettings {
    pub(super) fn read(directory: &Path) -> Result<Self, ModelError> {
        let config_path = directory.join("config.json");
        let architecture = match model_type(directory)?.as_str() {
            "modernbert" => {
                required::<ModernBertFile>(&config_path)?.architecture().map(EncoderConfig::ModernBert)
            }
            _ => required::<BertFile>(&config_path)?.architecture().map(EncoderConfig::Bert),
        };
        let architecture = architecture.map_err(|reason| file_error(&config_path, reason))?;
        let mut files = vec![config_path];

        let modules = SentenceModules::read(directory, architecture.positions())?;
        files.extend(modules.files);
        Ok(Self {
            architecture,
            pooling: modules.pooling.unwrap_or(Pooling::Mean),
            normalize: modules.normalize,
            max_tokens: modules.max_tokens,
            lowercase: modules.lowercase,
            files,
        })
    }
}

/// The shape of an encoder.
#[derive(Debug, Clone)]
pub(super) enum EncoderConfig {
    Bert(bert::Config),
    ModernBert(ModernBertConfig),
}

impl EncoderConfig {
    pub(super) fn vocabulary(&self) -> usize {
        match self {
            Self::Bert(config) => config.vocab_size,
            Self::ModernBert(config) => config.vocab_size,
        }
    }

    /// d
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Bert(config) => config.hidden_size,
            Self::ModernBert(config) => config.hidden_size,
        }
    }

    /// The longest input that it was made for.
    fn positions(&self) -> usize {
        match self {
            Self::Bert(config) => config.max_position_embeddings,
            Self::ModernBert(config) => config.max_position_embeddings,
        }
    }
}

/// `config.json` as transformers 4 and 5 write it; what a version leaves out has BertConfig's default.
#[derive(Deserialize)]
struct BertFile {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default = "gelu")]
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "small")]
    layer_norm_eps: f64,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn gelu() -> String {
    "gelu".to_owned()
}

fn two() -> usize {
    2
}

fn small() -> f64 {
    1e-12
}

impl BertFile {
    fn architecture(self) -> Result<bert::Config, String> {
        if let Some(kind) = self.position_embedding_type.filter(|kind| kind != "absolute") {
            return Err(format!("position_embedding_type: got {kind:?}; allowed: \"absolute\""));
        }
        let hidden_act = match self.hidden_act.as_str() {
            "gelu" => bert::HiddenAct::Gelu,
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => bert::HiddenAct::GeluApproximate,
            "relu" => bert::HiddenAct::Relu,
            other => {
                return Err(format!("hidden_act: got {other:?}; allowed: gelu, gelu_new, gelu_fast, relu"));
            }
        };
        if self.num_attention_heads == 0
            || self.hidden_size == 0
            || !self.hidden_size.is_multiple_of(self.num_attention_heads)
        {
            return Err(format!(
                "num_attention_heads: got {} for hidden_size {}; allowed: a divisor of it",
                self.num_attention_heads, self.hidden_size
            ));
        }
        Ok(bert::Config {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            intermediate_size: self.intermediate_size,
            hidden_act,
            max_position_embeddings: self.max_position_embeddings,
            type_vocab_size: self.type_vocab_size,
            layer_norm_eps: self.layer_norm_eps,
            pad_token_id: self.pad_token_id.unwrap_or(0),
            model_type: Some(self.model_type),
            ..bert::Config::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_of_transformers_5_leaves_out_what_is_default() {
        let json = r#"{"model_type": "bert", "dtype": "float32", "vocab_size": 400, "hidden_size": 48,
            "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96,
            "max_position_embeddings": 128}"#;
        let config = serde_json::from_str::<BertFile>(json).unwrap().architecture().unwrap();
        assert_eq!(config.layer_norm_eps, 1e-12);
        assert_eq!(config.hidden_act, bert::HiddenAct::Gelu);
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_refused() {
        let json = r#"{"model_type": "bert", "vocab_size": 400, "hidden_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 0, "intermediate_size": 96, "max_position_embeddings": 128}"#;
        assert!(serde_json::from_str::<BertFile>(json).unwrap().architecture().is_err());
    }
}
