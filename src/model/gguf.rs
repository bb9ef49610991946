//! GGUF files of llama.cpp: one file with a decoder's quantised weights, its shape, tokenizer and chat template.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::chat_template::ChatTemplate;
use super::decoder_config::{DecoderConfig, DecoderSettings, ROPE_THETA};
use super::layout::{file_error, open, read};
use super::pooling::Pooling;
use super::tokens::parse;
use super::{ModelError, memory};

/// A file whose header has been read.
pub(super) struct Gguf {
    path: PathBuf,
    file: BufReader<File>,
    content: Content,
}

/// A file's tensors by name, in the blocks in which they are.
pub(super) struct Tensors {
    tensors: HashMap<String, Arc<QTensor>>,
    device: Device,
}

impl Tensors {
    pub(super) fn find(&self, name: &str) -> Option<Arc<QTensor>> {
        self.tensors.get(name).cloned()
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }
}

impl Gguf {
    /// # Errors
    /// A file that cannot be read or is no GGUF file.
    pub(super) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut file = BufReader::new(open(path)?);
        let content = Content::read(&mut file).map_err(|error| file_error(path, error))?;
        Ok(Self { path: path.to_owned(), file, content })
    }

    /// The file's own shape and special tokens. A text's vector is the last token's.
    ///
    /// # Errors
    /// What is not computed, by the key that says so.
    pub(super) fn settings(&self) -> Result<DecoderSettings, ModelError> {
        let settings = || {
            let architecture = self.architecture()?;
            let token = |key: &str| self.number(key).map(|id| id.map(|id| id as u32));
            let (begin, end) = (token("tokenizer.ggml.bos_token_id")?, token("tokenizer.ggml.eos_token_id")?);
            let ends: Vec<_> = end.into_iter().chain(token("tokenizer.ggml.eot_token_id")?).collect();
            let beyond = |id: &&u32| **id as usize >= architecture.vocab_size;
            if let Some(id) = begin.iter().chain(&ends).find(beyond) {
                let allowed = architecture.vocab_size;
                return Err(format!("special token: got {id}; allowed: below {allowed}, the vocabulary"));
            }
            Ok(DecoderSettings {
                pooling: Pooling::Last,
                normalize: false,
                max_tokens: architecture.max_position_embeddings,
                architecture,
                lowercase: false,
                empty: begin.or(end),
                ends,
                files: vec![self.path.clone()],
            })
        };
        settings().map_err(|reason: String| file_error(&self.path, reason))
    }

    fn architecture(&self) -> Result<DecoderConfig, String> {
        let family = self.text("general.architecture")?.unwrap_or_default();
        if !["llama", "qwen2"].contains(&family) {
            return Err(format!("general.architecture: got {family:?}; allowed: \"llama\", \"qwen2\""));
        }
        let key = |name: &str| format!("{family}.{name}");
        let optional = |name: &str| self.number(&key(name)).map(|number| number.map(|n| n as usize));
        let required = |name: &str| optional(name)?.ok_or_else(|| format!("{}: got none", key(name)));
        for (name, allowed) in [("expert_count", 0), ("attention.sliding_window", 0)] {
            if let Some(given) = optional(name)?.filter(|&given| given != allowed) {
                return Err(format!("{}: got {given}; allowed: none", key(name)));
            }
        }
        if let Some(kind) = self.text(&key("rope.scaling.type"))?.filter(|kind| *kind != "none") {
            return Err(format!("{}: got {kind:?}; allowed: \"none\"", key("rope.scaling.type")));
        }
        let words = self.content.tensor_infos.get("token_embd.weight").map(|info| info.shape.dims());
        let Some(&[vocab_size, hidden_size]) = words else {
            return Err("tensor token_embd.weight: got none; allowed: one of (vocabulary, width)".to_owned());
        };
        let heads = required("attention.head_count")?;
        if heads == 0 {
            return Err(format!("{}: got 0; allowed: at least 1", key("attention.head_count")));
        }
        let head_dim = optional("attention.key_length")?.unwrap_or(hidden_size / heads);
        for name in ["attention.value_length", "rope.dimension_count"] {
            if let Some(given) = optional(name)?.filter(|&given| given != head_dim) {
                return Err(format!("{}: got {given}; allowed: {head_dim}, the heads' width", key(name)));
            }
        }
        if self.content.tensor_infos.contains_key("blk.0.attn_output.bias") {
            return Err("tensor blk.0.attn_output.bias: got one; allowed: none".to_owned());
        }
        let config = DecoderConfig {
            vocab_size,
            hidden_size,
            intermediate_size: required("feed_forward_length")?,
            num_hidden_layers: required("block_count")?,
            num_attention_heads: heads,
            num_key_value_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            max_position_embeddings: required("context_length")?,
            rms_norm_eps: self.float(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-6),
            rope_theta: self.float(&key("rope.freq_base"))?.unwrap_or(ROPE_THETA),
            rope_scaling: None,
            qkv_bias: self.content.tensor_infos.contains_key("blk.0.attn_q.bias"),
            output_bias: false,
        };
        config.check()?;
        Ok(config)
    }

    /// The file's byte-level tokenizer. For other kinds (SentencePiece) a `tokenizer.json` has to lie beside the file.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer, ModelError> {
        let beside = self.path.with_file_name("tokenizer.json");
        let kind = self.text("tokenizer.ggml.model").map_err(|reason| file_error(&self.path, reason))?;
        match kind {
            Some("gpt2") => {
                Tokenizer::from_gguf(&self.content).map_err(|error| file_error(&self.path, error))
            }
            _ if beside.is_file() => parse(&beside, &read(&beside)?),
            other => {
                let reason = format!(
                    "tokenizer.ggml.model: got {other:?}; allowed: \"gpt2\", or a tokenizer.json beside the file"
                );
                Err(file_error(&self.path, reason))
            }
        }
    }

    /// Nothing where the file has none.
    pub(super) fn chat_template(&self, tokenizer: &Tokenizer) -> Result<Option<ChatTemplate>, ModelError> {
        let failed = |reason: String| file_error(&self.path, reason);
        let Some(source) = self.text("tokenizer.chat_template").map_err(failed)? else { return Ok(None) };
        let token = |key: &str| -> Result<String, String> {
            Ok(self.number(key)?.and_then(|id| tokenizer.id_to_token(id as u32)).unwrap_or_default())
        };
        let begin = token("tokenizer.ggml.bos_token_id").map_err(failed)?;
        let end = token("tokenizer.ggml.eos_token_id").map_err(failed)?;
        ChatTemplate::new(source.to_owned(), begin, end, &self.path).map(Some)
    }

    /// Whether every tensor has numbers, and they lie within the file: candle trusts shapes and places.
    fn check_places(&self) -> Result<(), ModelError> {
        let failed = |reason: String| file_error(&self.path, reason);
        let length = std::fs::metadata(&self.path).map_err(|error| failed(error.to_string()))?.len();
        for (name, info) in &self.content.tensor_infos {
            let begin = self.content.tensor_data_offset.saturating_add(info.offset);
            let end = begin.saturating_add(blocks(info));
            let shape = info.shape.dims();
            if shape.contains(&0) {
                return Err(failed(format!("tensor {name} of shape {shape:?} has no numbers")));
            }
            if end > length {
                return Err(failed(format!(
                    "tensor {name} of shape {shape:?} would end at byte {end}, and the file ends at {length}"
                )));
            }
        }
        Ok(())
    }

    /// All tensors on `device`; the file's SHA-256 goes into `hasher`. Llama's query and key rows, which llama.cpp lays
    /// out for turning neighbours, are put back to where transformers has them.
    ///
    /// # Errors
    /// [`ModelError::OutOfMemory`] before anything is read where they would not fit; tensors cut short.
    pub(super) fn tensors(
        &mut self,
        config: &DecoderConfig,
        hasher: &mut Sha256,
    ) -> Result<Tensors, ModelError> {
        let device = Device::Cpu;
        self.check_places()?;
        memory::require(self.content.tensor_infos.values().map(bytes).fold(0, u64::saturating_add))?;
        let mut tensors = HashMap::new();
        let llama = self.text("general.architecture") == Ok(Some("llama"));
        for (name, info) in &self.content.tensor_infos {
            let tensor =
                info.read(&mut self.file, self.content.tensor_data_offset, &device).and_then(|tensor| {
                    let halves = [
                        ("attn_q.weight", config.num_attention_heads),
                        ("attn_k.weight", config.num_key_value_heads),
                    ];
                    match halves.iter().find(|(part, _)| llama && name.ends_with(part)) {
                        Some(&(_, heads)) => in_halves(&tensor, heads),
                        None => Ok(tensor),
                    }
                });
            let tensor = tensor.map_err(|error| file_error(&self.path, format!("tensor {name}: {error}")))?;
            tensors.insert(name.clone(), Arc::new(tensor));
        }
        hasher.update(self.digest()?);
        Ok(Tensors { tensors, device })
    }

    fn digest(&mut self) -> Result<impl AsRef<[u8]> + use<>, ModelError> {
        let mut digest = Sha256::new();
        let mut piece = vec![0; 1 << 20];
        let mut read = || {
            self.file.rewind()?;
            loop {
                match self.file.read(&mut piece)? {
                    0 => return Ok(()),
                    count => digest.update(&piece[..count]),
                }
            }
        };
        read().map_err(|error: std::io::Error| file_error(&self.path, error))?;
        Ok(digest.finalize())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn text(&self, key: &str) -> Result<Option<&str>, String> {
        let Some(value) = self.content.metadata.get(key) else { return Ok(None) };
        match value.to_string() {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("{key}: got {value:?}; allowed: a text")),
        }
    }

    fn number(&self, key: &str) -> Result<Option<u64>, String> {
        let Some(value) = self.content.metadata.get(key) else { return Ok(None) };
        let number = match *value {
            Value::U8(number) => Some(number.into()),
            Value::U16(number) => Some(number.into()),
            Value::U32(number) => Some(number.into()),
            Value::U64(number) => Some(number),
            Value::I32(number) => number.try_into().ok(),
            Value::I64(number) => number.try_into().ok(),
            _ => None,
        };
        let number = number.filter(|&number| number <= u32::MAX.into());
        number.map(Some).ok_or_else(|| format!("{key}: got {value:?}; allowed: 0 to {}", u32::MAX))
    }

    fn float(&self, key: &str) -> Result<Option<f64>, String> {
        match self.content.metadata.get(key) {
            None => Ok(None),
            Some(Value::F32(number)) => Ok(Some((*number).into())),
            Some(Value::F64(number)) => Ok(Some(*number)),
            Some(other) => Err(format!("{key}: got {other:?}; allowed: a number")),
        }
    }
}

/// Bytes of a tensor in its file.
fn blocks(info: &TensorInfo) -> u64 {
    let dtype = info.ggml_dtype;
    let elements = info.shape.dims().iter().fold(1u64, |product, &size| product.saturating_mul(size as u64));
    elements.div_ceil(dtype.block_size() as u64).saturating_mul(dtype.type_size() as u64)
}

/// Bytes that it will take of memory: its blocks, and where candle arranges them anew for the processor's vectors when they are
/// first multiplied, those again.
fn bytes(info: &TensorInfo) -> u64 {
    let is_arranged = matches!(info.ggml_dtype, GgmlDType::Q4K | GgmlDType::Q6K | GgmlDType::Q8_0);
    if is_arranged { blocks(info).saturating_mul(2) } else { blocks(info) }
}

/// Each head's rows from (pair, half) to (half, pair): llama.cpp's `permute`, undone. Rows are whole blocks, so that they
/// move as bytes.
fn in_halves(tensor: &QTensor, heads: usize) -> candle_core::Result<QTensor> {
    let (rows, columns) = tensor.shape().dims2()?;
    let width = rows / heads;
    if !rows.is_multiple_of(heads)
        || !width.is_multiple_of(2)
        || !columns.is_multiple_of(tensor.dtype().block_size())
    {
        candle_core::bail!("({rows}, {columns}) cannot be {heads} heads of {:?}", tensor.dtype());
    }
    let data = tensor.data()?;
    let row = data.len() / rows;
    let mut moved = Vec::with_capacity(data.len());
    for head in 0..heads {
        for to in 0..width {
            let (half, pair) = (to / (width / 2), to % (width / 2));
            let from = head * width + 2 * pair + half;
            moved.extend_from_slice(&data[from * row..(from + 1) * row]);
        }
    }
    QTensor::new(QStorage::from_data(moved.into(), &tensor.device(), tensor.dtype())?, (rows, columns))
}
