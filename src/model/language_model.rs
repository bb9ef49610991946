use candle_core::{DType, Tensor};
use tokenizers::Tokenizer;

use super::chat_template::{ChatTemplate, Message};
use super::decoder_files::DecoderFiles;
use super::hub::locate;
use super::layout::file_error;
use super::packed_decoder::{Kind, KvCache, PackedDecoder, Projection, Step};
use super::{BackboneOptions, ModelError};

/// Goes into the hash: another way of computing the same model is another model.
const VERSION: &str = "language-model-1";

/// A causal language model (Qwen2, Llama) from a folder in Hugging Face layout or a GGUF file: next-token logits, going on from
/// what a [`Sequence`] remembers.
pub struct LanguageModel {
    decoder: PackedDecoder,
    /// Rows to logits, (vocabulary, d); the word embeddings where the two are tied.
    head: Projection,
    tokenizer: Tokenizer,
    template: Option<ChatTemplate>,
    ends: Vec<u32>,
    context: usize,
    dimension: usize,
    vocabulary: usize,
    id: String,
    hash: String,
}

/// The tokens that a sequence has so far, as the model remembers them.
pub struct Sequence {
    cache: KvCache,
}

/// What comes next in a sequence.
pub struct Extension<'a> {
    /// What it follows.
    pub sequence: &'a mut Sequence,
    /// Token ids; at least one.
    pub tokens: &'a [u32],
    /// Whether the tokens are alternatives for the next place, which do not see each other, rather than one after the
    /// other. None is remembered until [`Sequence::keep`] says which.
    pub alternatives: bool,
}

/// Rows of new tokens after the final norm, (tokens, d), in the order of their extensions.
pub struct Hidden {
    rows: Tensor,
}

impl LanguageModel {
    /// Tokens of a chain that are read in one pass: attention's scores are (heads × this × tokens so far).
    pub const PIECE: usize = 256;

    /// `spec` is a directory, a GGUF file or a hub id, as for [`super::open_backbone`].
    ///
    /// # Errors
    /// A folder that is not a causal language model, files that are missing or damaged, weights that do not fit into memory.
    pub fn open(spec: &str, options: &BackboneOptions) -> Result<Self, ModelError> {
        let snapshot = locate(spec, options)?;
        let files = DecoderFiles::of(&snapshot)?;
        let settings = files.settings()?;
        let architecture = &settings.architecture;
        let tokenizer = files.tokenizer(architecture)?;
        let template = files.chat_template(&tokenizer)?;
        let ends = files.ends(&settings)?;
        let (weights, device, hash) = files.weights(VERSION, "", &settings, options)?;
        let decoder = weights.decoder(architecture, &device)?;
        let model = Self {
            head: weights.head(&decoder, architecture, &device)?,
            decoder,
            tokenizer,
            template,
            ends,
            context: architecture.max_position_embeddings,
            dimension: architecture.hidden_size,
            vocabulary: architecture.vocab_size,
            id: snapshot.id,
            hash,
        };
        model.probe().map_err(|error| file_error(weights.path(), error))?;
        Ok(model)
    }

    /// Short name for people.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Identifies weights, tokenizer and settings: hex SHA-256.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// d, the width of [`Hidden`] rows.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// Most tokens that a sequence may have.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Tokens that the model can write.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// Whether a text ends with this token.
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// Whether the folder has a chat template.
    pub fn has_template(&self) -> bool {
        self.template.is_some()
    }

    /// The ids of a text, with the special tokens that the tokenizer puts around it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        self.ids(text, true)
    }

    /// The ids of a conversation up to where the assistant's next answer begins, by the folder's template.
    ///
    /// # Errors
    /// No template, or what the template raises.
    pub fn encode_chat(&self, messages: &[Message<'_>]) -> Result<Vec<u32>, ModelError> {
        let Some(template) = &self.template else {
            return Err(ModelError::NoChatTemplate { id: self.id.clone() });
        };
        self.ids(&template.render(messages, true)?, false)
    }

    /// The text of `ids`, without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ModelError> {
        self.tokenizer.decode(ids, true).map_err(|error| ModelError::Tokenizer(error.to_string()))
    }

    /// A sequence of no tokens.
    pub fn sequence(&self) -> Result<Sequence, ModelError> {
        Ok(Sequence { cache: self.decoder.cache()? })
    }

    /// Reads the new tokens of several sequences together. Of a chain longer than [`Self::PIECE`] the rows of its last piece
    /// alone come back.
    ///
    /// # Errors
    /// A sequence that would become longer than [`Self::context`]; tensor operations.
    pub fn extend(&self, extensions: &mut [Extension<'_>]) -> Result<Hidden, ModelError> {
        for extension in &mut *extensions {
            let new = if extension.alternatives { 1 } else { extension.tokens.len() };
            let tokens = extension.sequence.tokens() + new;
            if tokens > self.context {
                return Err(ModelError::ContextLength { tokens, context: self.context });
            }
            if !extension.alternatives {
                while extension.tokens.len() > Self::PIECE {
                    let (piece, rest) = extension.tokens.split_at(Self::PIECE);
                    let cache = &mut extension.sequence.cache;
                    self.decoder.step(&mut [Step { cache, tokens: piece, kind: Kind::Chain }])?;
                    extension.tokens = rest;
                }
            }
        }
        let mut steps: Vec<_> = extensions
            .iter_mut()
            .map(|extension| Step {
                cache: &mut extension.sequence.cache,
                tokens: extension.tokens,
                kind: if extension.alternatives { Kind::Alternatives } else { Kind::Chain },
            })
            .collect();
        Ok(Hidden { rows: self.decoder.step(&mut steps)? })
    }

    /// Next-token logits after each of these rows, one number a token of the vocabulary.
    pub fn logits(&self, hidden: &Hidden, rows: &[usize]) -> Result<Vec<Vec<f32>>, ModelError> {
        let rows: Vec<_> = rows.iter().map(|&row| row as u32).collect();
        let rows = hidden.rows.index_select(&Tensor::new(rows, hidden.rows.device())?, 0)?;
        Ok(self.head.forward(&rows)?.to_dtype(DType::F32)?.to_vec2()?)
    }

    /// Σ_t log p(token_t | prompt, tokens before t), nats; `prompt` has at least one token.
    ///
    /// # Errors
    /// More tokens than [`Self::context`]; tensor operations.
    pub fn log_likelihood(&self, prompt: &[u32], tokens: &[u32]) -> Result<f64, ModelError> {
        let Some((_, before_last)) = tokens.split_last() else { return Ok(0.0) };
        let mut sequence = self.sequence()?;
        let mut next = tokens.iter();
        let mut total = 0.0;
        // The prompt's last row holds the first token's logits, and each token's row the next one's.
        for (at, piece) in std::iter::once(prompt).chain(before_last.chunks(Self::PIECE)).enumerate() {
            let extension = Extension { sequence: &mut sequence, tokens: piece, alternatives: false };
            let hidden = self.extend(&mut [extension])?;
            let first = if at == 0 { hidden.len() - 1 } else { 0 };
            let rows: Vec<_> = (first..hidden.len()).collect();
            for (logits, &token) in self.logits(&hidden, &rows)?.iter().zip(&mut next) {
                let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
                total += f64::from(logits[token as usize] - largest) - sum.ln();
            }
        }
        Ok(total)
    }

    fn ids(&self, text: &str, special: bool) -> Result<Vec<u32>, ModelError> {
        let encoding = self.tokenizer.encode_fast(text, special);
        let encoding = encoding.map_err(|error| ModelError::Tokenizer(error.to_string()))?;
        let vocabulary = self.vocabulary();
        match encoding.get_ids().iter().find(|&&id| id as usize >= vocabulary) {
            Some(id) => Err(ModelError::Tokenizer(format!(
                "gives token {id}; allowed: below {vocabulary}, the vocabulary"
            ))),
            None => Ok(encoding.get_ids().to_vec()),
        }
    }

    /// Refuses weights that give numbers which are not finite.
    fn probe(&self) -> Result<(), ModelError> {
        let mut sequence = self.sequence()?;
        let token = self.ends.first().copied().unwrap_or(0);
        let hidden =
            self.extend(&mut [Extension { sequence: &mut sequence, tokens: &[token], alternatives: false }])?;
        match self.logits(&hidden, &[0])?.iter().flatten().all(|logit| logit.is_finite()) {
            true => Ok(()),
            false => Err(candle_core::Error::msg("the weights give numbers that are not finite").into()),
        }
    }
}

impl Sequence {
    /// How many tokens are remembered.
    pub fn tokens(&self) -> usize {
        self.cache.tokens()
    }

    /// Of the alternatives that were just read, remembers this one.
    pub fn keep(&mut self, alternative: usize) -> Result<(), ModelError> {
        Ok(self.cache.keep(alternative)?)
    }

    /// Another sequence that begins with the same tokens.
    pub fn fork(&self) -> Result<Self, ModelError> {
        Ok(Self { cache: self.cache.fork()? })
    }
}

impl Hidden {
    /// One row as numbers, for a value head.
    pub fn row(&self, row: usize) -> Result<Vec<f32>, ModelError> {
        Ok(self.rows.get(row)?.to_dtype(DType::F32)?.to_vec1()?)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.dims()[0]
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl std::fmt::Debug for LanguageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LanguageModel")
            .field("id", &self.id)
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}
