use std::path::{Path, PathBuf};

use candle_core::Device;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::chat_template::ChatTemplate;
use super::decoder_config::{DecoderConfig, DecoderSettings, generation_ends};
use super::gguf::{Gguf, Tensors};
use super::kernels::Kernels;
use super::layout::{file_error, read};
use super::opening::{Opening, Weights};
use super::packed_decoder::{PackedDecoder, Projection};
use super::snapshot::Snapshot;
use super::tokens::{parse, plain};
use super::{BackboneOptions, DeviceChoice, FloatType, ModelError};

/// What a causal decoder is opened from.
pub(super) enum DecoderFiles {
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// One file of llama.cpp's.
    Gguf(Box<Gguf>),
}

/// The weights of a decoder.
pub(super) enum DecoderWeights {
    Float(Weights),
    /// And the file that they are from.
    Quantized(Tensors, PathBuf),
}

impl DecoderFiles {
    pub(super) fn of(snapshot: &Snapshot) -> Result<Self, ModelError> {
        match &snapshot.gguf {
            Some(file) => Ok(Self::Gguf(Box::new(Gguf::open(file)?))),
            None => Ok(Self::Folder(snapshot.directory.clone())),
        }
    }

    pub(super) fn settings(&self) -> Result<DecoderSettings, ModelError> {
        match self {
            Self::Folder(directory) => DecoderSettings::read(directory),
            Self::Gguf(gguf) => gguf.settings(),
        }
    }

    /// The tokens that end a text: a folder's `generation_config.json` may name others than its configuration.
    pub(super) fn ends(&self, settings: &DecoderSettings) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Folder(directory) => generation_ends(directory, settings),
            Self::Gguf(_) => Ok(settings.ends.clone()),
        }
    }

    /// Without truncation and padding, and every id within the vocabulary.
    pub(super) fn tokenizer(&self, config: &DecoderConfig) -> Result<Tokenizer, ModelError> {
        let (tokenizer, path) = match self {
            Self::Folder(directory) => {
                let path = directory.join("tokenizer.json");
                (parse(&path, &read(&path)?)?, path)
            }
            Self::Gguf(gguf) => (gguf.tokenizer()?, gguf.path().to_owned()),
        };
        let id = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
        if id as usize >= config.vocab_size {
            let allowed = config.vocab_size;
            let reason = format!("has token id {id}; allowed: below {allowed}, the model's vocabulary");
            return Err(file_error(&path, reason));
        }
        plain(tokenizer)
    }

    /// Nothing where there is none.
    pub(super) fn chat_template(&self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, ModelError> {
        match self {
            Self::Folder(directory) => ChatTemplate::read(directory),
            Self::Gguf(gguf) => gguf.chat_template(tokenizer),
        }
    }

    /// The file that says what the chat template is.
    pub(super) fn template_path(&self) -> PathBuf {
        match self {
            Self::Folder(directory) => directory.join("tokenizer_config.json"),
            Self::Gguf(gguf) => gguf.path().to_owned(),
        }
    }

    /// The weights, and the hash of all that they are read with: `version` names the way of computing and `template` how
    /// texts are put together.
    ///
    /// # Errors
    /// Files that are missing, damaged or too large for the memory; a dtype or device that they cannot be computed
    /// in.
    pub(super) fn weights(
        self,
        version: &str,
        template: &str,
        settings: &DecoderSettings,
        options: &BackboneOptions,
    ) -> Result<(DecoderWeights, Device, String), ModelError> {
        match self {
            Self::Folder(directory) => {
                let device = options.device.open()?;
                let mut opening =
                    Opening::new(&directory, version, template, &settings.files, options.dtype)?;
                opening.tokenizer_json()?;
                let weights = opening.weights(&device)?;
                Ok((DecoderWeights::Float(weights), device, opening.hash()))
            }
            Self::Gguf(mut gguf) => {
                if !matches!(options.device, DeviceChoice::Auto | DeviceChoice::Cpu) {
                    let reason = "quantised weights are computed on a CPU".to_owned();
                    return Err(ModelError::Device { given: options.device.to_string(), reason });
                }
                if options.dtype != FloatType::F32 {
                    let reason =
                        format!("dtype: got {}; allowed with quantised weights: float32", options.dtype);
                    return Err(file_error(gguf.path(), reason));
                }
                let mut hasher = Sha256::new_with_prefix(format!("{version}\n{template}\n"));
                let tensors = gguf.tensors(&settings.architecture, &mut hasher)?;
                let path = gguf.path().to_owned();
                Ok((DecoderWeights::Quantized(tensors, path), Device::Cpu, hex::encode(hasher.finalize())))
            }
        }
    }
}

impl DecoderWeights {
    /// The file that errors of the weights name.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Float(weights) => &weights.path,
            Self::Quantized(_, path) => path,
        }
    }

    /// To be changed by tuning.
    pub(super) fn trainable(&mut self, spec: &str) -> Result<&mut Weights, ModelError> {
        match self {
            Self::Float(weights) => Ok(weights),
            Self::Quantized(..) => Err(ModelError::NotTunable {
                spec: spec.to_owned(),
                reason: "its weights are quantised".to_owned(),
            }),
        }
    }

    pub(super) fn decoder(
        &self,
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<PackedDecoder, ModelError> {
        let decoder = match self {
            Self::Float(weights) => PackedDecoder::load(weights.builder(device), config, Kernels::Fused),
            Self::Quantized(tensors, _) => PackedDecoder::load_quantized(tensors, config),
        };
        decoder.map_err(|error| file_error(self.path(), error))
    }

    /// Rows of `decoder` to next-token logits.
    pub(super) fn head(
        &self,
        decoder: &PackedDecoder,
        config: &DecoderConfig,
        device: &Device,
    ) -> Result<Projection, ModelError> {
        let head = match self {
            Self::Float(weights) => decoder.head(weights.builder(device), config),
            Self::Quantized(tensors, _) => decoder.quantized_head(tensors, config),
        };
        head.map_err(|error| file_error(self.path(), error))
    }
}
