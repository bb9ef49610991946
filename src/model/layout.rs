//! Reading of a folder in Hugging Face layout: what its JSON files say of a model of texts.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ModelError;
use super::pooling::Pooling;

/// What sentence-transformers' files say of a folder, where it has them.
#[derive(Debug)]
pub(super) struct SentenceModules {
    /// Nothing where no `modules.json` says.
    pub(super) pooling: Option<Pooling>,
    pub(super) normalize: bool,
    pub(super) max_tokens: usize,
    pub(super) lowercase: bool,
    pub(super) files: Vec<PathBuf>,
}

impl SentenceModules {
    /// `positions`: the longest input that the model itself can read.
    pub(super) fn read(directory: &Path, positions: usize) -> Result<Self, ModelError> {
        let mut files = Vec::new();
        let (mut pooling, mut normalize) = (None, false);
        let modules_path = directory.join("modules.json");
        if let Some(modules) = optional::<Vec<Module>>(&modules_path)? {
            files.push(modules_path.clone());
            for module in modules {
                match module.kind() {
                    "Transformer" => {}
                    "Pooling" => {
                        let path = directory.join(&module.path).join("config.json");
                        let mode = required::<PoolingFile>(&path)?.mode();
                        pooling = Some(mode.map_err(|reason| file_error(&path, reason))?);
                        files.push(path);
                    }
                    "Normalize" => normalize = true,
                    other => {
                        let reason = format!(
                            "module {other:?} is not supported; allowed: Transformer, Pooling, Normalize"
                        );
                        return Err(file_error(&modules_path, reason));
                    }
                }
            }
        }

        let sentence_path = directory.join("sentence_bert_config.json");
        let sentence = optional::<SentenceFile>(&sentence_path)?;
        if sentence.is_some() {
            files.push(sentence_path.clone());
        }
        let sentence = sentence.unwrap_or_default();
        let max_tokens = sentence.max_seq_length.unwrap_or(positions);
        if max_tokens < MIN_TOKENS || max_tokens > positions {
            let reason = format!(
                "max_seq_length: got {max_tokens}; allowed: {MIN_TOKENS} to {positions}, the model's positions"
            );
            return Err(file_error(&sentence_path, reason));
        }
        Ok(Self { pooling, normalize, max_tokens, lowercase: sentence.do_lower_case, files })
    }
}

/// The family that `config.json` names.
pub(super) fn model_type(directory: &Path) -> Result<String, ModelError> {
    #[derive(Deserialize)]
    struct Family {
        model_type: String,
    }
    Ok(required::<Family>(&directory.join("config.json"))?.model_type)
}

/// Below this there is no room for a prompt and a response between the special tokens.
const MIN_TOKENS: usize = 8;

/// The weight files of the folder: one, or the shards that an index names, in its order.
pub(super) fn weight_files(directory: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = directory.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index_path = directory.join("model.safetensors.index.json");
    let Some(index) = optional::<WeightIndex>(&index_path)? else {
        let pickled =
            ["pytorch_model.bin", "tf_model.h5"].into_iter().find(|file| directory.join(file).is_file());
        let reason = match pickled {
            Some(file) => format!("is missing; {file} is there, but only safetensors are read"),
            None => "is missing".to_owned(),
        };
        return Err(file_error(&single, reason));
    };
    let mut shards: Vec<_> = index.weight_map.into_values().collect();
    shards.sort_unstable();
    shards.dedup();
    if let Some(stray) = shards.iter().find(|shard| shard.contains(['/', '\\'])) {
        return Err(file_error(
            &index_path,
            format!("weight_map: got {stray:?}; allowed: names of files beside it"),
        ));
    }
    Ok(shards.into_iter().map(|shard| directory.join(shard)).collect())
}

/// An error about a file of a backbone.
pub(super) fn file_error(path: &Path, reason: impl std::fmt::Display) -> ModelError {
    ModelError::BackboneFile { file: path.display().to_string(), reason: reason.to_string() }
}

/// The whole file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ModelError> {
    std::fs::read(path).map_err(|error| unreadable(path, error))
}

/// The file, to be read piece by piece.
pub(super) fn open(path: &Path) -> Result<File, ModelError> {
    File::open(path).map_err(|error| unreadable(path, error))
}

fn unreadable(path: &Path, error: std::io::Error) -> ModelError {
    match error.kind() {
        std::io::ErrorKind::NotFound => file_error(path, "is missing"),
        _ => file_error(path, error),
    }
}

pub(super) fn required<T: DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    serde_json::from_slice(&read(path)?).map_err(|error| file_error(path, error))
}

pub(super) fn optional<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ModelError> {
    if path.is_file() { required(path).map(Some) } else { Ok(None) }
}

/// A line of sentence-transformers' `modules.json`.
#[derive(Deserialize)]
pub(super) struct Module {
    pub(super) path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// The last part of a Python path that has changed between versions.
    pub(super) fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

/// `1_Pooling/config.json`: a flag for each mode, or the mode's name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct PoolingFile {
    pooling_mode: Option<String>,
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
    pooling_mode_max_tokens: bool,
    pooling_mode_mean_sqrt_len_tokens: bool,
    pooling_mode_weightedmean_tokens: bool,
    pooling_mode_lasttoken: bool,
}

impl PoolingFile {
    fn mode(&self) -> Result<Pooling, String> {
        let flags = [
            (self.pooling_mode_mean_tokens, "mean"),
            (self.pooling_mode_cls_token, "cls"),
            (self.pooling_mode_max_tokens, "max"),
            (self.pooling_mode_mean_sqrt_len_tokens, "mean_sqrt_len_tokens"),
            (self.pooling_mode_weightedmean_tokens, "weightedmean"),
            (self.pooling_mode_lasttoken, "lasttoken"),
        ];
        let mut modes: Vec<_> = flags.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        modes.extend(self.pooling_mode.as_deref());
        match modes.as_slice() {
            ["mean"] => Ok(Pooling::Mean),
            ["cls"] => Ok(Pooling::Cls),
            ["max"] => Ok(Pooling::Max),
            ["lasttoken"] => Ok(Pooling::Last),
            other => Err(format!("pooling_mode: got {other:?}; allowed: one of mean, cls, max, lasttoken")),
        }
    }
}

/// `sentence_bert_config.json`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct SentenceFile {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct WeightIndex {
    weight_map: std::collections::BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_is_read_from_flags_and_from_a_name() {
        let mode = |json: &str| serde_json::from_str::<PoolingFile>(json).unwrap().mode();
        assert_eq!(mode(r#"{"pooling_mode_mean_tokens": true}"#), Ok(Pooling::Mean));
        assert_eq!(
            mode(r#"{"pooling_mode_cls_token": true, "pooling_mode_max_tokens": false}"#),
            Ok(Pooling::Cls)
        );
        assert_eq!(mode(r#"{"pooling_mode": "max"}"#), Ok(Pooling::Max));
        assert_eq!(mode(r#"{"pooling_mode_lasttoken": true}"#), Ok(Pooling::Last));
        for bad in [
            "{}",
            r#"{"pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true}"#,
            r#"{"pooling_mode_weightedmean_tokens": true}"#,
        ] {
            assert!(mode(bad).unwrap_err().contains("allowed: one of mean, cls, max, lasttoken"), "{bad}");
        }
    }
}
