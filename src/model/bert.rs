use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;

use super::batches::embed_batches;
use super::hub::Snapshot;
use super::layout::{EncoderSettings, file_error};
use super::opening::{Opening, probe};
use super::packed_bert::PackedBert;
use super::pooling::pooled;
use super::tokens::{DEFAULT_TEMPLATE, TextTokenizer};
use super::{Backbone, BackboneOptions, BackboneRecord, Embedding, ModelError, Text};

/// Goes into the hash: another way of computing the same model is another backbone.
const VERSION: &str = "bert-1";

/// Tokens of one forward pass, padding included. With 512 a core does a third less: the products are then too small.
const BATCH_TOKENS: usize = 2048;

/// A BERT-type encoder (MiniLM, e5, bge, …) from a folder in Hugging Face or sentence-transformers layout, float32.
pub(super) struct BertBackbone {
    encoder: Encoder,
    tokenizer: TextTokenizer,
    settings: EncoderSettings,
    record: BackboneRecord,
}

/// Token ids to the last layer's rows.
enum Encoder {
    /// On a CPU: see [`PackedBert`].
    Packed(PackedBert),
    /// On a GPU, where few large kernels are better than many small ones.
    Padded { model: Box<BertModel>, device: Device, padding: u32 },
}

impl BertBackbone {
    pub(super) fn open(snapshot: Snapshot, options: &BackboneOptions) -> Result<Self, ModelError> {
        let settings = EncoderSettings::read(&snapshot.directory)?;
        let template = options.template.as_deref().unwrap_or(DEFAULT_TEMPLATE);
        let mut opening = Opening::new(&snapshot.directory, VERSION, template, &settings.files)?;
        let tokenizer =
            opening.tokenizer(settings.max_tokens, settings.lowercase, settings.architecture.vocab_size)?;
        if tokenizer.encode(&[Text::alone("")])?[0].is_empty() {
            return Err(file_error(
                &opening.tokenizer_path(),
                "adds no special tokens ([CLS], [SEP]), which an encoder needs",
            ));
        }

        let device = options.device.open()?;
        let (tensors, weights_path) = opening.weights(&device)?;
        let weights = VarBuilder::from_tensors(tensors, DType::F32, &device);
        let encoder =
            Encoder::load(weights, &settings, &device).map_err(|error| file_error(&weights_path, error))?;

        let record = BackboneRecord {
            spec: snapshot.spec,
            id: snapshot.id,
            hash: opening.hash(),
            dimension: settings.architecture.hidden_size,
            pooling: Some(settings.pooling.as_str().to_owned()),
            template: Some(template.to_owned()),
            max_tokens: Some(settings.max_tokens),
            revision: snapshot.revision,
        };
        let backbone = Self { encoder, tokenizer, settings, record };
        probe(&backbone, &weights_path)?;
        Ok(backbone)
    }

    /// Embeddings of one batch.
    fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let rows = self.encoder.forward(texts)?;
        Ok(pooled(&rows, self.settings.pooling, self.settings.normalize)?)
    }
}

impl Encoder {
    fn load(
        weights: VarBuilder<'_>,
        settings: &EncoderSettings,
        device: &Device,
    ) -> candle_core::Result<Self> {
        let architecture = &settings.architecture;
        if device.is_cpu() {
            return Ok(Self::Packed(PackedBert::load(weights, architecture)?));
        }
        let model = BertModel::load(weights, architecture)?;
        Ok(Self::Padded {
            model: Box::new(model),
            device: device.clone(),
            padding: architecture.pad_token_id as u32,
        })
    }

    /// The rows of each text's tokens, (tokens, d) a text.
    fn forward(&self, texts: &[&[u32]]) -> candle_core::Result<Vec<Tensor>> {
        match self {
            Self::Packed(model) => model.forward(texts),
            Self::Padded { model, device, padding } => {
                let width = texts.iter().map(|text| text.len()).max().unwrap_or(0);
                let mut ids = Vec::with_capacity(texts.len() * width);
                let mut mask = Vec::with_capacity(texts.len() * width);
                for text in texts {
                    ids.extend_from_slice(text);
                    ids.resize(ids.len() + width - text.len(), *padding);
                    mask.extend((0..width).map(|position| if position < text.len() { 1f32 } else { 0.0 }));
                }
                let ids = Tensor::from_vec(ids, (texts.len(), width), device)?;
                let mask = Tensor::from_vec(mask, (texts.len(), width), device)?;
                let rows = model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
                texts
                    .iter()
                    .enumerate()
                    .map(|(index, text)| rows.get(index)?.narrow(0, 0, text.len()))
                    .collect()
            }
        }
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
        let mut batches = Vec::new();
        let mut rest = order.as_slice();
        while !rest.is_empty() {
            // The last of a batch is its longest.
            let count =
                (1..=rest.len()).rev().find(|&n| n * ids[rest[n - 1]].len() <= BATCH_TOKENS).unwrap_or(1);
            let (batch, later) = rest.split_at(count);
            batches.push(batch);
            rest = later;
        }
        let packed = matches!(self.encoder, Encoder::Packed(_));
        embed_batches(
            &batches,
            &ids,
            packed,
            |batch| batch.to_vec(),
            |batch| {
                let rows: Vec<_> = batch.iter().map(|&index| ids[index].as_slice()).collect();
                self.forward(&rows)
            },
        )
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        self.tokenizer.fits(texts)
    }

    fn record(&self) -> BackboneRecord {
        self.record.clone()
    }
}

#[cfg(test)]
mod tests {
    use candle_transformers::models::bert::Config;

    use super::*;

    /// The GPU's path, on a CPU: padding changes nothing.
    #[test]
    fn padded_rows_are_those_of_each_text_alone() {
        let config =
            Config { hidden_size: 8, num_attention_heads: 2, num_hidden_layers: 1, ..Config::default() };
        let varmap = candle_nn::VarMap::new();
        let weights = VarBuilder::from_varmap(&varmap, DType::F32, &Device::Cpu);
        let model = BertModel::load(weights, &config).unwrap();
        let encoder = Encoder::Padded { model: Box::new(model), device: Device::Cpu, padding: 0 };
        let texts: [&[u32]; 3] = [&[2, 7, 3], &[2, 9, 11, 30, 41, 5, 3], &[2]];
        for (text, rows) in texts.iter().zip(encoder.forward(&texts).unwrap()) {
            let alone = encoder.forward(&[text]).unwrap().remove(0);
            let difference = (rows - alone).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() <= 1e-5, "{difference}");
        }
    }
}
