//! `config.json` of a causal decoder (Qwen2, Llama), as transformers 4 and 5 write it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::ModelError;
use super::layout::{SentenceModules, file_error, optional, required};
use super::pooling::Pooling;
use super::rope::{RopeFile, RopeScaling, frequencies};

/// What the folder's settings amount to.
#[derive(Debug, Clone)]
pub(super) struct DecoderSettings {
    pub(super) architecture: DecoderConfig,
    pub(super) pooling: Pooling,
    /// Whether embeddings are scaled to length 1.
    pub(super) normalize: bool,
    /// Longest input, special tokens included.
    pub(super) max_tokens: usize,
    /// Whether texts are lower-cased before the tokenizer sees them.
    pub(super) lowercase: bool,
    /// What a text of no tokens is read as: the token that documents begin with, else the one that they end with.
    pub(super) empty: Option<u32>,
    /// The tokens that documents end with.
    pub(super) ends: Vec<u32>,
    /// Every file that these settings came from.
    pub(super) files: Vec<PathBuf>,
}

/// The shape of a decoder; names as in `config.json`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DecoderConfig {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) rms_norm_eps: f64,
    pub(super) rope_theta: f64,
    pub(super) rope_scaling: Option<RopeScaling>,
    /// Whether query, key and value have biases.
    pub(super) qkv_bias: bool,
    /// Whether attention's output has one.
    pub(super) output_bias: bool,
}

impl DecoderConfig {
    /// Radians a position for each pair of a head's dimensions.
    pub(super) fn frequencies(&self) -> Vec<f64> {
        frequencies(self.rope_theta, self.head_dim, self.rope_scaling.as_ref())
    }

    /// 1 / √head width, by which attention's scores are multiplied.
    pub(super) fn query_scale(&self) -> f64 {
        1.0 / (self.head_dim as f64).sqrt()
    }

    /// The error is a reason for people.
    pub(super) fn check(&self) -> Result<(), String> {
        let (heads, key_value_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if self.head_dim == 0 || !self.head_dim.is_multiple_of(2) {
            return Err(format!("head_dim: got {}; allowed: even numbers from 2", self.head_dim));
        }
        if key_value_heads == 0 || !heads.is_multiple_of(key_value_heads) {
            return Err(format!(
                "num_key_value_heads: got {key_value_heads} for {heads} heads; allowed: a divisor of it"
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 1.0) {
            return Err(format!("rope_theta: got {}; allowed: above 1", self.rope_theta));
        }
        Ok(())
    }
}

impl DecoderSettings {
    /// Without sentence-transformers' `modules.json` the last token's vector is the text's, as it stands.
    pub(super) fn read(directory: &Path) -> Result<Self, ModelError> {
        let config_path = directory.join("config.json");
        let config: ConfigFile = required(&config_path)?;
        let empty = config.bos_token_id.clone().or(config.eos_token_id.clone()).and_then(TokenIds::first);
        let ends = config.eos_token_id.clone().map_or_else(Vec::new, TokenIds::all);
        let architecture = config.architecture().map_err(|reason| file_error(&config_path, reason))?;
        if let Some(id) = empty.filter(|&id| id as usize >= architecture.vocab_size) {
            let reason = format!(
                "bos_token_id, eos_token_id: got {id}; allowed: below {}, vocab_size",
                architecture.vocab_size
            );
            return Err(file_error(&config_path, reason));
        }
        let modules = SentenceModules::read(directory, architecture.max_position_embeddings)?;
        let mut files = vec![config_path];
        files.extend(modules.files);
        Ok(Self {
            architecture,
            pooling: modules.pooling.unwrap_or(Pooling::Last),
            normalize: modules.normalize,
            max_tokens: modules.max_tokens,
            lowercase: modules.lowercase,
            empty,
            ends,
            files,
        })
    }
}

/// The tokens that end a text: those of `generation_config.json` where it names any, else the configuration's.
pub(super) fn generation_ends(directory: &Path, settings: &DecoderSettings) -> Result<Vec<u32>, ModelError> {
    #[derive(Deserialize)]
    struct GenerationConfig {
        eos_token_id: Option<TokenIds>,
    }
    let path = directory.join("generation_config.json");
    let named = optional::<GenerationConfig>(&path)?.and_then(|config| config.eos_token_id);
    let ends = named.map_or_else(|| settings.ends.clone(), TokenIds::all);
    match ends.iter().find(|&&id| id as usize >= settings.architecture.vocab_size) {
        Some(id) => {
            let allowed = settings.architecture.vocab_size;
            Err(file_error(&path, format!("eos_token_id: got {id}; allowed: below {allowed}, vocab_size")))
        }
        None => Ok(ends),
    }
}

/// The file itself; what a version leaves out has the default of Qwen2Config or LlamaConfig.
#[derive(Deserialize)]
struct ConfigFile {
    model_type: String,
    vocab_size: usize,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default = "millionth")]
    rms_norm_eps: f64,
    /// transformers 4.
    rope_theta: Option<f64>,
    /// transformers 4.
    rope_scaling: Option<RopeFile>,
    /// transformers 5: both of the above.
    rope_parameters: Option<RopeFile>,
    /// transformers 4 writes `torch_dtype`.
    #[serde(alias = "torch_dtype")]
    dtype: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default = "yes")]
    is_causal: bool,
    quantization_config: Option<serde_json::Value>,
    bos_token_id: Option<TokenIds>,
    eos_token_id: Option<TokenIds>,
}

/// One token or several of the same meaning.
#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum TokenIds {
    One(u32),
    Several(Vec<u32>),
}

impl TokenIds {
    fn all(self) -> Vec<u32> {
        match self {
            Self::One(id) => vec![id],
            Self::Several(ids) => ids,
        }
    }

    fn first(self) -> Option<u32> {
        self.all().first().copied()
    }
}

fn silu() -> String {
    "silu".to_owned()
}

fn millionth() -> f64 {
    1e-6
}

fn yes() -> bool {
    true
}

/// rope_theta where a configuration has none: LlamaConfig's and Qwen2Config's default.
pub(super) const ROPE_THETA: f64 = 10_000.0;

impl ConfigFile {
    fn architecture(self) -> Result<DecoderConfig, String> {
        let qwen2 = match self.model_type.as_str() {
            "qwen2" => true,
            "llama" => false,
            other => return Err(format!("model_type: got {other:?}; allowed: \"llama\", \"qwen2\"")),
        };
        if self.hidden_act != "silu" {
            return Err(format!("hidden_act: got {:?}; allowed: \"silu\"", self.hidden_act));
        }
        let rope = self.rope_parameters.or(self.rope_scaling);
        let rope_scaling = rope.as_ref().map_or(Ok(None), RopeFile::scaling)?;
        for (field, given, allowed) in [
            ("use_sliding_window", self.use_sliding_window, false),
            ("mlp_bias", self.mlp_bias, false),
            ("is_causal", self.is_causal, true),
        ] {
            if given != allowed {
                return Err(format!("{field}: got {given}; allowed: {allowed}"));
            }
        }
        if self.quantization_config.is_some() {
            return Err(
                "quantization_config: got one; allowed: none, weights in float32, bfloat16 or float16"
                    .to_owned(),
            );
        }
        if let Some(dtype) =
            self.dtype.filter(|dtype| !["float32", "bfloat16", "float16"].contains(&dtype.as_str()))
        {
            return Err(format!("dtype: got {dtype:?}; allowed: float32, bfloat16, float16"));
        }

        let (d, heads) = (self.hidden_size, self.num_attention_heads);
        if d == 0 || heads == 0 || (self.head_dim.is_none() && !d.is_multiple_of(heads)) {
            return Err(format!(
                "num_attention_heads: got {heads} for hidden_size {d}; allowed: a divisor of it"
            ));
        }
        let config = DecoderConfig {
            vocab_size: self.vocab_size,
            hidden_size: d,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim: self.head_dim.unwrap_or(d / heads),
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta: rope.and_then(|rope| rope.rope_theta).or(self.rope_theta).unwrap_or(ROPE_THETA),
            rope_scaling,
            qkv_bias: qwen2 || self.attention_bias,
            output_bias: !qwen2 && self.attention_bias,
        };
        config.check()?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn minimal() -> Value {
        json!({"model_type": "qwen2", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128,
               "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
               "max_position_embeddings": 512})
    }

    fn with(fields: Value) -> Result<DecoderConfig, String> {
        let mut config = minimal();
        config.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value::<ConfigFile>(config).unwrap().architecture()
    }

    #[test]
    fn transformers_4_and_5_write_the_same_model() {
        let four = with(json!({"rope_theta": 1e6, "rope_scaling": null, "torch_dtype": "bfloat16"})).unwrap();
        let five = with(json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
                               "dtype": "bfloat16"}));
        assert_eq!(five, Ok(four.clone()));
        assert_eq!((four.rope_theta, four.head_dim, four.qkv_bias, four.output_bias), (1e6, 16, true, false));
    }

    #[test]
    fn llama_has_no_biases_unless_it_says_so() {
        let plain = with(json!({"model_type": "llama", "num_key_value_heads": null})).unwrap();
        assert_eq!((plain.qkv_bias, plain.output_bias, plain.num_key_value_heads), (false, false, 4));
        let biased = with(json!({"model_type": "llama", "attention_bias": true})).unwrap();
        assert!(biased.qkv_bias && biased.output_bias);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_field() {
        for (fields, words) in [
            (json!({"rope_scaling": {"type": "yarn"}}), "rope_type: got \"yarn\""),
            (json!({"rope_theta": 0.0}), "rope_theta: got 0"),
            (json!({"hidden_act": "gelu"}), "hidden_act: got \"gelu\"; allowed: \"silu\""),
            (json!({"use_sliding_window": true}), "use_sliding_window: got true; allowed: false"),
            (json!({"is_causal": false}), "is_causal: got false; allowed: true"),
            (json!({"dtype": "int8"}), "dtype: got \"int8\"; allowed: float32"),
            (json!({"quantization_config": {}}), "quantization_config"),
            (json!({"num_key_value_heads": 3}), "num_key_value_heads: got 3 for 4 heads"),
            (json!({"num_attention_heads": 0}), "num_attention_heads: got 0"),
            (json!({"head_dim": 5}), "head_dim: got 5"),
        ] {
            let error = with(fields).unwrap_err();
            assert!(error.starts_with(words), "{error}");
        }
    }

    #[test]
    fn several_end_tokens_are_read() {
        for (ids, first) in [("7", Some(7)), ("[8, 9]", Some(8)), ("[]", None)] {
            assert_eq!(serde_json::from_str::<TokenIds>(ids).unwrap().first(), first);
        }
    }
}
