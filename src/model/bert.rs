use std::collections::HashMap;

use candle_core::{D, DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;
use sha2::{Digest, Sha256};

use super::hub::Snapshot;
use super::layout::{EncoderSettings, Pooling, file_error, read, weight_files};
use super::tokens::{DEFAULT_TEMPLATE, Template, TextTokenizer};
use super::{Backbone, BackboneOptions, BackboneRecord, Embedding, ModelError, Text};

/// Goes into the hash: another way of computing the same model is another backbone.
const VERSION: &str = "bert-1";

/// Padded tokens of one forward pass. More does not make a CPU faster and takes more memory.
const BATCH_TOKENS: usize = 4096;

/// A BERT-type encoder (MiniLM, e5, bge, …) from a folder in Hugging Face or sentence-transformers layout, float32.
pub(super) struct BertBackbone {
    model: BertModel,
    tokenizer: TextTokenizer,
    settings: EncoderSettings,
    device: Device,
    record: BackboneRecord,
}

impl BertBackbone {
    pub(super) fn open(snapshot: Snapshot, options: &BackboneOptions) -> Result<Self, ModelError> {
        let directory = &snapshot.directory;
        let settings = EncoderSettings::read(directory)?;
        let template = options.template.as_deref().unwrap_or(DEFAULT_TEMPLATE);
        let mut hasher = Sha256::new();
        hasher.update(format!("{VERSION}\n{template}\n"));
        for file in &settings.files {
            hasher.update(Sha256::digest(read(file)?));
        }

        let tokenizer_path = directory.join("tokenizer.json");
        let tokenizer_json = read(&tokenizer_path)?;
        hasher.update(Sha256::digest(&tokenizer_json));
        let tokenizer = TextTokenizer::new(
            &tokenizer_json,
            Template::parse(template)?,
            settings.max_tokens,
            settings.lowercase,
        )
        .map_err(|error| file_error(&tokenizer_path, error))?;
        if tokenizer.largest_id() as usize >= settings.architecture.vocab_size {
            let (id, vocabulary) = (tokenizer.largest_id(), settings.architecture.vocab_size);
            return Err(file_error(
                &tokenizer_path,
                format!("has token id {id}; allowed: below {vocabulary}, the model's vocabulary"),
            ));
        }

        if tokenizer.encode(&[Text::alone("")])?[0].is_empty() {
            return Err(file_error(
                &tokenizer_path,
                "adds no special tokens ([CLS], [SEP]), which an encoder needs",
            ));
        }

        let device = options.device.open()?;
        let files = weight_files(directory)?;
        let mut tensors = HashMap::new();
        for file in &files {
            let bytes = read(file)?;
            hasher.update(Sha256::digest(&bytes));
            let loaded = candle_core::safetensors::load_buffer(&bytes, &device);
            tensors.extend(loaded.map_err(|error| file_error(file, error))?);
        }
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &device);
        let model =
            BertModel::load(weights, &settings.architecture).map_err(|error| file_error(&files[0], error))?;

        let record = BackboneRecord {
            spec: snapshot.spec,
            id: snapshot.id,
            hash: hex::encode(hasher.finalize()),
            dimension: settings.architecture.hidden_size,
            pooling: Some(settings.pooling.as_str().to_owned()),
            template: Some(template.to_owned()),
            max_tokens: Some(settings.max_tokens),
            revision: snapshot.revision,
        };
        let backbone = Self { model, tokenizer, settings, device, record };
        let probe = backbone.embed(&[Text::new("Hello", "Hi!")])?;
        if probe.iter().flat_map(|embedding| &embedding.vector).any(|value| !value.is_finite()) {
            return Err(file_error(&files[0], "the weights give numbers that are not finite"));
        }
        Ok(backbone)
    }

    /// Embeddings of one batch, padded on the right.
    fn forward(&self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let width = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(rows.len() * width);
        let mut mask = Vec::with_capacity(rows.len() * width);
        for row in rows {
            ids.extend_from_slice(row);
            ids.resize(ids.len() + width - row.len(), self.settings.architecture.pad_token_id as u32);
            mask.extend((0..width).map(|position| if position < row.len() { 1f32 } else { 0.0 }));
        }
        let shape = (rows.len(), width);
        let ids = Tensor::from_vec(ids, shape, &self.device)?;
        let mask = Tensor::from_vec(mask, shape, &self.device)?;
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let pooled = pool(&hidden, &mask, self.settings.pooling)?;
        let pooled = if self.settings.normalize { normalized(&pooled)? } else { pooled };
        Ok(pooled.to_vec2()?)
    }
}

impl Backbone for BertBackbone {
    fn id(&self) -> &str {
        &self.record.id
    }

    fn hash(&self) -> &str {
        &self.record.hash
    }

    fn dimension(&self) -> usize {
        self.record.dimension
    }

    /// Texts of like length share a batch, so that little is padded.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let ids = self.tokenizer.encode(texts)?;
        let mut order: Vec<_> = (0..ids.len()).collect();
        order.sort_by_key(|&index| ids[index].len());
        let mut embeddings = vec![Embedding { vector: Vec::new(), tokens: 0 }; ids.len()];
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            // The last of a batch is its longest.
            let count =
                (1..=rest.len()).rev().find(|&n| n * ids[rest[n - 1]].len() <= BATCH_TOKENS).unwrap_or(1);
            let (batch, later) = rest.split_at(count);
            let rows: Vec<_> = batch.iter().map(|&index| ids[index].as_slice()).collect();
            for (&index, vector) in batch.iter().zip(self.forward(&rows)?) {
                embeddings[index] = Embedding { vector, tokens: ids[index].len() };
            }
            rest = later;
        }
        Ok(embeddings)
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        self.tokenizer.fits(texts)
    }

    fn record(&self) -> BackboneRecord {
        self.record.clone()
    }
}

/// One vector a text from its token vectors, (b, t, d) → (b, d); `mask` (b, t) is 1 at real tokens.
fn pool(hidden: &Tensor, mask: &Tensor, pooling: Pooling) -> candle_core::Result<Tensor> {
    let mask = mask.unsqueeze(D::Minus1)?;
    match pooling {
        Pooling::Cls => hidden.narrow(1, 0, 1)?.squeeze(1),
        Pooling::Mean => hidden.broadcast_mul(&mask)?.sum(1)?.broadcast_div(&mask.sum(1)?),
        Pooling::Max => {
            let beyond = ((mask - 1.0)? * f64::from(f32::MAX))?;
            hidden.broadcast_add(&beyond)?.max(1)
        }
    }
}

/// Rows scaled to length 1; a row of zeros stays.
fn normalized(rows: &Tensor) -> candle_core::Result<Tensor> {
    let length = rows.sqr()?.sum_keepdim(D::Minus1)?.sqrt()?;
    rows.broadcast_div(&length.maximum(1e-12)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooling_leaves_padding_out() {
        let hidden = Tensor::new(&[[[1f32, -4.0], [3.0, -2.0], [9.0, 9.0]]], &Device::Cpu).unwrap();
        let mask = Tensor::new(&[[1f32, 1.0, 0.0]], &Device::Cpu).unwrap();
        let pooled = |pooling| pool(&hidden, &mask, pooling).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(pooled(Pooling::Mean), [[2.0, -3.0]]);
        assert_eq!(pooled(Pooling::Cls), [[1.0, -4.0]]);
        assert_eq!(pooled(Pooling::Max), [[3.0, -2.0]]);
    }
}
