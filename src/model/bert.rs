use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::BertModel;

use super::batches::embed_batches;
use super::encoder_config::{EncoderConfig, EncoderSettings};
use super::kernels::Kernels;
use super::layout::file_error;
use super::opening::{Opening, Weights, probe};
use super::packed_bert::PackedBert;
use super::packed_modern_bert::PackedModernBert;
use super::pooling::pooled;
use super::snapshot::Snapshot;
use super::tokens::{DEFAULT_TEMPLATE, TextTokenizer};
use super::{Adapter, Backbone, BackboneOptions, BackboneRecord, Embedding, ModelError, Text};

/// Goes into the hash: another way of computing the same model is another backbone.
const VERSION: &str = "bert-1";

/// Tokens of one forward pass, padding included. With 512 a core does a third less: the products are then too small.
const BATCH_TOKENS: usize = 2048;

/// A BERT-type encoder (MiniLM, e5, bge, …, and ModernBERT) from a folder in Hugging Face or sentence-transformers layout.
pub(super) struct BertBackbone {
    encoder: Encoder,
    reader: BertReader,
}

/// All of an encoder backbone but its network: tokenizer, settings and record.
pub(super) struct BertReader {
    pub(super) device: Device,
    pub(super) record: BackboneRecord,
    tokenizer: TextTokenizer,
    settings: EncoderSettings,
}

/// Token ids to the last layer's rows.
enum Encoder {
    Packed(PackedEncoder),
    /// BERT on a GPU, where few large kernels are better than many small ones.
    Padded {
        model: Box<BertModel>,
        device: Device,
        padding: u32,
    },
}

/// An encoder over packed texts.
pub(super) enum PackedEncoder {
    Bert(PackedBert),
    ModernBert(PackedModernBert),
}

impl PackedEncoder {
    fn load(vb: VarBuilder<'_>, config: &EncoderConfig, kernels: Kernels) -> candle_core::Result<Self> {
        match config {
            EncoderConfig::Bert(config) => PackedBert::load(vb, config, kernels).map(Self::Bert),
            EncoderConfig::ModernBert(config) => {
                PackedModernBert::load(vb, config, kernels).map(Self::ModernBert)
            }
        }
    }

    /// The rows of each text's tokens, (tokens, d) a text.
    fn forward(&self, texts: &[&[u32]]) -> candle_core::Result<Vec<Tensor>> {
        match self {
            Self::Bert(network) => network.forward(texts),
            Self::ModernBert(network) => network.forward(texts),
        }
    }
}

impl BertBackbone {
    /// The folder's own weights, or what tuning made of them.
    pub(super) fn open(
        snapshot: Snapshot,
        options: &BackboneOptions,
        adapter: Option<&Adapter>,
    ) -> Result<Self, ModelError> {
        let (mut reader, mut weights) = BertReader::open(snapshot, options)?;
        if let Some(adapter) = adapter {
            adapter.apply(&mut weights, &reader.device).map_err(|error| weights.error(error))?;
            reader.record.hash = adapter.hash_on(&reader.record.hash);
        }
        let encoder = Encoder::load(weights.builder(&reader.device), &reader.settings, &reader.device)
            .map_err(|error| weights.error(error))?;
        let backbone = Self { encoder, reader };
        probe(&backbone, &weights.path)?;
        Ok(backbone)
    }

    /// Embeddings of one batch.
    fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let BertReader { settings, .. } = &self.reader;
        Ok(pooled(&self.encoder.forward(texts)?, settings.pooling, settings.normalize)?.to_vec2()?)
    }
}

impl BertReader {
    pub(super) fn open(snapshot: Snapshot, options: &BackboneOptions) -> Result<(Self, Weights), ModelError> {
        let settings = EncoderSettings::read(&snapshot.directory)?;
        let template = options.template.as_deref().unwrap_or(DEFAULT_TEMPLATE);
        let mut opening =
            Opening::new(&snapshot.directory, VERSION, template, &settings.files, options.dtype)?;
        let tokenizer =
            opening.tokenizer(settings.max_tokens, settings.lowercase, settings.architecture.vocabulary())?;
        if tokenizer.encode(&[Text::alone("")])?[0].is_empty() {
            return Err(file_error(
                &opening.tokenizer_path(),
                "adds no special tokens ([CLS], [SEP]), which an encoder needs",
            ));
        }

        let device = options.device.open()?;
        let weights = opening.weights(&device)?;
        let record = BackboneRecord {
            spec: snapshot.spec,
            id: snapshot.id,
            hash: opening.hash(),
            dimension: settings.architecture.width(),
            pooling: Some(settings.pooling.as_str().to_owned()),
            template: Some(template.to_owned()),
            max_tokens: Some(settings.max_tokens),
            dtype: options.dtype.unless_f32(),
            revision: snapshot.revision,
        };
        Ok((Self { device, record, tokenizer, settings }, weights))
    }

    /// The network of such weights, packed.
    pub(super) fn network(
        &self,
        weights: VarBuilder<'_>,
        kernels: Kernels,
    ) -> candle_core::Result<PackedEncoder> {
        PackedEncoder::load(weights, &self.settings.architecture, kernels)
    }

    /// Token ids of each text.
    pub(super) fn encode(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<u32>>, ModelError> {
        self.tokenizer.encode(texts)
    }

    /// h of encoded texts in one pass, (texts, d).
    pub(super) fn embed(&self, network: &PackedEncoder, ids: &[Vec<u32>]) -> candle_core::Result<Tensor> {
        let ids: Vec<_> = ids.iter().map(Vec::as_slice).collect();
        pooled(&network.forward(&ids)?, self.settings.pooling, self.settings.normalize)
    }
}

impl Encoder {
    fn load(
        weights: VarBuilder<'_>,
        settings: &EncoderSettings,
        device: &Device,
    ) -> candle_core::Result<Self> {
        match &settings.architecture {
            EncoderConfig::Bert(config) if !device.is_cpu() => Ok(Self::Padded {
                model: Box::new(BertModel::load(weights, config)?),
                device: device.clone(),
                padding: config.pad_token_id as u32,
            }),
            config => PackedEncoder::load(weights, config, Kernels::Fused).map(Self::Packed),
        }
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
        &self.reader.record.id
    }

    fn hash(&self) -> &str {
        &self.reader.record.hash
    }

    fn dimension(&self) -> usize {
        self.reader.record.dimension
    }

    /// Texts of like length share a batch, so that little is padded.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let ids = self.reader.encode(texts)?;
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
        self.reader.tokenizer.fits(texts)
    }

    fn record(&self) -> BackboneRecord {
        self.reader.record.clone()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
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
