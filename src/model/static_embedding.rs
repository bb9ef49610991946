use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use serde::Deserialize;

use super::layout::{Module, file_error, optional};
use super::opening::{Opening, Weights};
use super::snapshot::Snapshot;
use super::tokens::{DEFAULT_TEMPLATE, Template, TextTokenizer, parse};
use super::{Backbone, BackboneOptions, BackboneRecord, Embedding, FloatType, ModelError, Text};

/// Goes into the hash: another way of computing the same model is another backbone.
const VERSION: &str = "static-1";
/// What model2vec calls its table; sentence-transformers calls it `embedding.weight`.
const MODEL2VEC: &str = "embeddings";
/// Longest input in tokens where model2vec's `config.json` says nothing.
const MODEL2VEC_TOKENS: usize = 512;
/// Longest input in tokens where nothing limits it: reading is linear in it.
const UNLIMITED: usize = 1 << 20;

/// h(x, y) is the mean of its tokens' vectors, looked up in a table: model2vec, and sentence-transformers'
/// `StaticEmbedding`. No network is run, which makes it the fastest way from words to vectors on a CPU.
pub(super) struct StaticEmbedding {
    tokenizer: TextTokenizer,
    table: Table,
    settings: Settings,
    record: BackboneRecord,
}

/// What the folder's settings amount to.
#[derive(Debug)]
struct Settings {
    /// Where tokenizer and table lie.
    directory: PathBuf,
    /// Whether embeddings are scaled to length 1.
    normalize: bool,
    /// Longest input of a model2vec table.
    max_tokens: usize,
    files: Vec<PathBuf>,
}

/// Vectors of tokens.
struct Table {
    /// Row after row.
    vectors: Vec<f32>,
    /// d
    dimension: usize,
    /// The row of each token; nothing: its own number.
    rows: Option<Vec<u32>>,
    /// How much each token counts, before the mean is taken over their number.
    weights: Option<Vec<f32>>,
    /// Left out of the mean.
    unknown: Option<u32>,
}

impl StaticEmbedding {
    /// Opens the folder if it holds such a model.
    pub(super) fn find(snapshot: &Snapshot, options: &BackboneOptions) -> Result<Option<Self>, ModelError> {
        let Some(settings) = Settings::read(&snapshot.directory)? else { return Ok(None) };
        let template = options.template.as_deref().unwrap_or(DEFAULT_TEMPLATE);
        let mut opening =
            Opening::new(&settings.directory, VERSION, template, &settings.files, FloatType::F32)?;
        let Weights { tensors, path: table_path, .. } = opening.weights(&Device::Cpu)?;
        let mut table = Table::new(&tensors).map_err(|reason| file_error(&table_path, reason))?;
        let (tokenizer_path, tokenizer_json) = (opening.tokenizer_path(), opening.tokenizer_json()?);
        let (plain, unknown) =
            without_special_tokens(&tokenizer_json).map_err(|error| file_error(&tokenizer_path, error))?;
        // model2vec leaves unknown tokens out, and what is too long (it counts characters first, by the median token, which
        // cuts many texts short; here only tokens count); sentence-transformers does neither.
        let model2vec = tensors.contains_key(MODEL2VEC);
        table.unknown = unknown.filter(|_| model2vec);
        let max_tokens = if model2vec { settings.max_tokens } else { UNLIMITED };
        let tokenizer = parse(&tokenizer_path, &plain)?;
        let tokenizer = TextTokenizer::new(tokenizer, Template::parse(template)?, max_tokens, false)?;
        table.check(tokenizer.largest_id() as usize + 1).map_err(|reason| file_error(&table_path, reason))?;

        let record = BackboneRecord {
            spec: snapshot.spec.clone(),
            id: snapshot.id.clone(),
            hash: opening.hash(),
            dimension: table.dimension,
            pooling: Some("mean".to_owned()),
            template: Some(template.to_owned()),
            max_tokens: Some(max_tokens),
            dtype: None,
            revision: snapshot.revision.clone(),
        };
        Ok(Some(Self { tokenizer, table, settings, record }))
    }
}

impl Backbone for StaticEmbedding {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn hash(&self) -> &str {
        &self.record.hash
    }

    fn dimension(&self) -> usize {
        self.table.dimension
    }

    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let embed_one = |ids: &Vec<u32>| {
            let mut embedding = self.table.mean(ids);
            if self.settings.normalize {
                let length = embedding.vector.iter().map(|v| v * v).sum::<f32>().sqrt();
                embedding.vector.iter_mut().for_each(|v| *v /= length + 1e-32);
            }
            embedding
        };
        Ok(self.tokenizer.encode(texts)?.par_iter().map(embed_one).collect())
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        self.tokenizer.fits(texts)
    }

    fn record(&self) -> BackboneRecord {
        self.record.clone()
    }
}

impl Settings {
    /// Nothing where the folder says that it is another kind of model.
    fn read(directory: &Path) -> Result<Option<Self>, ModelError> {
        let (config_path, modules_path) = (directory.join("config.json"), directory.join("modules.json"));
        let config = optional::<ConfigFile>(&config_path)?;
        let modules = optional::<Vec<Module>>(&modules_path)?.unwrap_or_default();
        let table = modules.iter().find(|module| module.kind() == "StaticEmbedding");
        let named = config.as_ref().is_some_and(|config| config.model_type.as_deref() == Some("model2vec"));
        if !named && table.is_none() {
            return Ok(None);
        }
        for module in &modules {
            if !matches!(module.kind(), "StaticEmbedding" | "Normalize") {
                let reason = format!(
                    "module {:?} is not supported; allowed: StaticEmbedding, Normalize",
                    module.kind()
                );
                return Err(file_error(&modules_path, reason));
            }
        }
        let normalize = modules.iter().any(|module| module.kind() == "Normalize");
        let max_tokens = config.as_ref().map_or(Some(MODEL2VEC_TOKENS), |config| config.max_length);
        if max_tokens == Some(0) {
            return Err(file_error(&config_path, "max_length: got 0; allowed: 1 or more, or null"));
        }
        Ok(Some(Self {
            directory: table.map_or_else(|| directory.to_owned(), |module| directory.join(&module.path)),
            normalize: normalize || config.is_some_and(|config| config.normalize == Some(true)),
            max_tokens: max_tokens.unwrap_or(UNLIMITED).min(UNLIMITED),
            files: [config_path, modules_path].into_iter().filter(|file| file.is_file()).collect(),
        }))
    }
}

impl Table {
    fn new(tensors: &HashMap<String, Tensor>) -> Result<Self, String> {
        let vectors = [MODEL2VEC, "embedding.weight"].into_iter().find_map(|name| tensors.get(name));
        let Some(vectors) = vectors else {
            let found: Vec<_> = tensors.keys().map(String::as_str).collect();
            return Err(format!("tensors: got {found:?}; allowed: embeddings or embedding.weight"));
        };
        let failed = |error: candle_core::Error| error.to_string();
        let (_, dimension) = vectors.dims2().map_err(failed)?;
        let floats = |tensor: &Tensor| {
            tensor.to_dtype(DType::F32).and_then(|t| t.flatten_all()?.to_vec1::<f32>()).map_err(failed)
        };
        let numbers = |tensor: &Tensor| {
            tensor.to_dtype(DType::U32).and_then(|t| t.flatten_all()?.to_vec1::<u32>()).map_err(failed)
        };
        Ok(Self {
            vectors: floats(vectors)?,
            dimension,
            rows: tensors.get("mapping").map(numbers).transpose()?,
            weights: tensors.get("weights").map(floats).transpose()?,
            unknown: None,
        })
    }

    /// Every one of so many tokens has a row and a weight, and every number is finite.
    fn check(&self, tokens: usize) -> Result<(), String> {
        let rows = self.vectors.len() / self.dimension.max(1);
        let known = self.rows.as_ref().map_or(rows, Vec::len);
        if self.dimension == 0 || known < tokens {
            return Err(format!("embeddings: got {known} rows; allowed: {tokens} or more, the tokenizer's"));
        }
        if let Some(stray) = self.rows.iter().flatten().find(|&&row| row as usize >= rows) {
            return Err(format!("mapping: got {stray}; allowed: below {rows}, the rows of embeddings"));
        }
        if let Some(weights) = self.weights.as_ref().filter(|weights| weights.len() < tokens) {
            return Err(format!(
                "weights: got {}; allowed: {tokens} or more, the tokenizer's",
                weights.len()
            ));
        }
        match self.vectors.iter().chain(self.weights.iter().flatten()).all(|value| value.is_finite()) {
            true => Ok(()),
            false => Err("holds numbers that are not finite".to_owned()),
        }
    }

    /// Of no tokens: zeros.
    fn mean(&self, ids: &[u32]) -> Embedding {
        let mut vector = vec![0.0; self.dimension];
        let mut tokens = 0;
        for &id in ids.iter().filter(|&&id| Some(id) != self.unknown) {
            let row = self.rows.as_ref().map_or(id, |rows| rows[id as usize]) as usize;
            let weight = self.weights.as_ref().map_or(1.0, |weights| weights[id as usize]);
            let values = &self.vectors[row * self.dimension..][..self.dimension];
            vector.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            tokens += 1;
        }
        vector.iter_mut().for_each(|sum| *sum /= tokens.max(1) as f32);
        Embedding { vector, tokens }
    }
}

/// The tokenizer with nothing put around a text, and the id of its unknown token.
fn without_special_tokens(tokenizer_json: &[u8]) -> serde_json::Result<(Vec<u8>, Option<u32>)> {
    let mut tokenizer: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(tokenizer_json)?;
    tokenizer.insert("post_processor".to_owned(), serde_json::Value::Null);
    let unknown = tokenizer.get("model").and_then(|model| match model["unk_token"].as_str() {
        Some(token) => model["vocab"][token].as_u64(),
        None => model["unk_id"].as_u64(),
    });
    Ok((serde_json::to_vec(&tokenizer)?, unknown.and_then(|id| id.try_into().ok())))
}

/// `config.json` of model2vec; of other models only the type matters here.
#[derive(Debug, Deserialize)]
struct ConfigFile {
    model_type: Option<String>,
    normalize: Option<bool>,
    /// `null`: nothing is cut.
    #[serde(default = "model2vec_tokens")]
    max_length: Option<usize>,
}

fn model2vec_tokens() -> Option<usize> {
    Some(MODEL2VEC_TOKENS)
}
