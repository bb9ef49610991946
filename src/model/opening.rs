use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use sha2::{Digest, Sha256};

use super::layout::{file_error, read, weight_files};
use super::tokens::{Template, TextTokenizer, parse};
use super::weights::read_weights;
use super::{Backbone, FloatType, ModelError, Text};

/// The files of a folder on their way to a backbone; whatever is read goes into the backbone's hash.
pub(super) struct Opening<'a> {
    directory: &'a Path,
    template: &'a str,
    dtype: FloatType,
    hasher: Sha256,
}

impl<'a> Opening<'a> {
    /// `version` names the way of computing: another way is another backbone.
    pub(super) fn new(
        directory: &'a Path,
        version: &str,
        template: &'a str,
        settings: &[PathBuf],
        dtype: FloatType,
    ) -> Result<Self, ModelError> {
        let mut hasher = Sha256::new();
        hasher.update(format!("{version}\n{template}\n"));
        if let Some(dtype) = dtype.unless_f32() {
            hasher.update(format!("{dtype}\n"));
        }
        for file in settings {
            hasher.update(Sha256::digest(read(file)?));
        }
        Ok(Self { directory, template, dtype, hasher })
    }

    /// The tokenizer, all of whose ids are below `vocabulary`.
    pub(super) fn tokenizer(
        &mut self,
        max_tokens: usize,
        lowercase: bool,
        vocabulary: usize,
    ) -> Result<TextTokenizer, ModelError> {
        let (path, json) = (self.tokenizer_path(), self.tokenizer_json()?);
        let tokenizer = parse(&path, &json)?;
        let tokenizer =
            TextTokenizer::new(tokenizer, Template::parse(self.template)?, max_tokens, lowercase)?;
        let id = tokenizer.largest_id();
        if id as usize >= vocabulary {
            let reason = format!("has token id {id}; allowed: below {vocabulary}, the model's vocabulary");
            return Err(file_error(&path, reason));
        }
        Ok(tokenizer)
    }

    /// `tokenizer.json` as it is.
    pub(super) fn tokenizer_json(&mut self) -> Result<Vec<u8>, ModelError> {
        let json = read(&self.tokenizer_path())?;
        self.hasher.update(Sha256::digest(&json));
        Ok(json)
    }

    pub(super) fn tokenizer_path(&self) -> PathBuf {
        self.directory.join("tokenizer.json")
    }

    /// The tensors of all weight files on `device`.
    pub(super) fn weights(&mut self, device: &Device) -> Result<Weights, ModelError> {
        let mut files = weight_files(self.directory)?;
        let tensors = read_weights(&files, self.dtype, device, &mut self.hasher)?;
        Ok(Weights { tensors, dtype: self.dtype, path: files.swap_remove(0) })
    }

    /// The hash of all that was read.
    pub(super) fn hash(self) -> String {
        hex::encode(self.hasher.finalize())
    }
}

/// The tensors of a folder's weight files by name.
#[derive(Default)]
pub(super) struct Weights {
    pub(super) tensors: HashMap<String, Tensor>,
    pub(super) dtype: FloatType,
    /// The first file, which errors about them name.
    pub(super) path: PathBuf,
}

impl Weights {
    /// All in float32.
    pub(super) fn in_f32(&self) -> candle_core::Result<HashMap<String, Tensor>> {
        self.tensors.iter().map(|(name, tensor)| Ok((name.clone(), tensor.to_dtype(DType::F32)?))).collect()
    }

    /// To build a network of.
    pub(super) fn builder(&self, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_tensors(self.tensors.clone(), self.dtype.dtype(), device)
    }

    /// An error of these weights.
    pub(super) fn error(&self, error: candle_core::Error) -> ModelError {
        file_error(&self.path, error)
    }
}

/// Refuses weights that give numbers which are not finite.
pub(super) fn probe(backbone: &dyn Backbone, weights: &Path) -> Result<(), ModelError> {
    let probe = backbone.embed(&[Text::new("Hello", "Hi!")])?;
    if probe.iter().flat_map(|embedding| &embedding.vector).all(|value| value.is_finite()) {
        return Ok(());
    }
    Err(file_error(weights, "the weights give numbers that are not finite"))
}
