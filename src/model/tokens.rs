use std::collections::HashMap;
use std::path::Path;

use tokenizers::{Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use super::layout::file_error;
use super::{ModelError, Text};

/// The template where nobody says otherwise.
pub(super) const DEFAULT_TEMPLATE: &str = "{prompt}\n\n{response}";

/// Share of the room that a prompt keeps, if it has as much, however long the responses are.
const PROMPT_SHARE: f64 = 0.25;

/// Texts to token ids, at most `max_tokens` of them.
pub(super) struct TextTokenizer {
    /// Cuts on the right, keeping the special tokens at the end.
    tokenizer: Tokenizer,
    /// The same without cutting, to measure what is too long.
    uncut: Tokenizer,
    template: Template,
    max_tokens: usize,
    lowercase: bool,
}

/// How prompt and response become one text: `before` prompt `between` response `after`.
#[derive(Debug, Clone)]
pub(super) struct Template {
    before: String,
    between: String,
    after: String,
}

impl Template {
    pub(super) fn parse(template: &str) -> Result<Self, ModelError> {
        let parts = template.split_once("{prompt}").and_then(|(before, rest)| {
            let (between, after) = rest.split_once("{response}")?;
            Some([before, between, after])
        });
        match parts {
            Some(parts)
                if !parts.iter().any(|part| part.contains("{prompt}") || part.contains("{response}")) =>
            {
                let [before, between, after] = parts.map(str::to_owned);
                Ok(Self { before, between, after })
            }
            _ => Err(ModelError::Template { given: template.to_owned() }),
        }
    }

    fn render(&self, text: &Text<'_>) -> String {
        if text.prompt.is_empty() { text.response.to_owned() } else { self.fill(text.prompt, text.response) }
    }

    fn fill(&self, prompt: &str, response: &str) -> String {
        [&self.before, prompt, &self.between, response, &self.after].concat()
    }
}

/// What `tokenizer.json` says. The library panics at some files that are damaged.
pub(super) fn parse(path: &Path, json: &[u8]) -> Result<Tokenizer, ModelError> {
    match std::panic::catch_unwind(|| Tokenizer::from_bytes(json)) {
        Ok(parsed) => parsed.map_err(|error| file_error(path, error)),
        Err(_) => Err(file_error(path, "is damaged: it cannot be read as a tokenizer")),
    }
}

/// Without truncation and padding.
pub(super) fn plain(mut tokenizer: Tokenizer) -> Result<Tokenizer, ModelError> {
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(failed)?;
    Ok(tokenizer)
}

impl TextTokenizer {
    /// The tokenizer's own truncation and padding are left aside.
    pub(super) fn new(
        tokenizer: Tokenizer,
        template: Template,
        max_tokens: usize,
        lowercase: bool,
    ) -> Result<Self, ModelError> {
        let uncut = plain(tokenizer)?;
        let mut tokenizer = uncut.clone();
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: max_tokens,
                strategy: TruncationStrategy::LongestFirst,
                direction: TruncationDirection::Right,
                stride: 0,
            }))
            .map_err(failed)?;
        Ok(Self { tokenizer, uncut, template, max_tokens, lowercase })
    }

    /// Largest id that the tokenizer can give.
    pub(super) fn largest_id(&self) -> u32 {
        self.tokenizer.get_vocab(true).into_values().max().unwrap_or(0)
    }

    /// Token ids of each text, special ones included.
    ///
    /// Where a text of a prompt is too long, the prompt is cut from its left, once for all texts of that prompt, so
    /// that the longest response has room; what is still too long (a text that stands alone, or a response beyond
    /// its share) is cut on the right, before the special tokens at the end.
    pub(super) fn encode(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<u32>>, ModelError> {
        let mut encoded = self.encode_each(texts)?;
        let mut too_long: HashMap<&str, Vec<usize>> = HashMap::new();
        for (text, (_, cut)) in texts.iter().zip(&encoded) {
            if *cut && !text.prompt.is_empty() {
                too_long.insert(text.prompt, Vec::new());
            }
        }
        for (index, text) in texts.iter().enumerate() {
            if let Some(group) = too_long.get_mut(text.prompt) {
                group.push(index);
            }
        }
        for (prompt, group) in too_long {
            let responses: Vec<_> = group.iter().map(|&index| texts[index].response).collect();
            let prompt = self.cut_prompt(prompt, &responses)?;
            let rendered = responses.iter().map(|response| self.template.fill(&prompt, response)).collect();
            for (index, ids) in group.into_iter().zip(self.encode_rendered(rendered)?) {
                encoded[index] = ids;
            }
        }
        Ok(encoded.into_iter().map(|(ids, _)| ids).collect())
    }

    /// Whether none of the texts has to be cut.
    pub(super) fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        Ok(self.encode_each(texts)?.iter().all(|(_, cut)| !cut))
    }

    fn encode_each(&self, texts: &[Text<'_>]) -> Result<Vec<(Vec<u32>, bool)>, ModelError> {
        self.encode_rendered(texts.iter().map(|text| self.template.render(text)).collect())
    }

    /// Ids, and whether the text was cut on the right.
    fn encode_rendered(&self, texts: Vec<String>) -> Result<Vec<(Vec<u32>, bool)>, ModelError> {
        let texts =
            if self.lowercase { texts.iter().map(|text| text.to_lowercase()).collect() } else { texts };
        let encodings = self.tokenizer.encode_batch_fast(texts, true).map_err(failed)?;
        Ok(encodings.iter().map(|one| (one.get_ids().to_vec(), !one.get_overflowing().is_empty())).collect())
    }

    /// The end of `prompt` that leaves room for the longest of `responses`.
    fn cut_prompt(&self, prompt: &str, responses: &[&str]) -> Result<String, ModelError> {
        let count =
            |text: &str| self.uncut.encode_fast(text, false).map(|encoding| encoding.len()).map_err(failed);
        let special = self.uncut.encode_fast("", true).map_err(failed)?.len();
        let room = self.max_tokens.saturating_sub(special + count(&self.template.before)?);

        let encoding = self.uncut.encode(prompt, false).map_err(failed)?;
        let least = encoding.len().min((room as f64 * PROMPT_SHARE) as usize);
        let mut longest = 0;
        for response in responses {
            longest =
                longest.max(count(&[&self.template.between, *response, &self.template.after].concat())?);
        }
        let keep = room.saturating_sub(longest).max(least);
        if keep >= encoding.len() {
            return Ok(prompt.to_owned());
        }
        let starts = encoding.get_offsets()[encoding.len() - keep..].iter().map(|(start, _)| *start);
        // A word cut in its middle would be split into other tokens, perhaps more: start at a word where there is one.
        let at_word =
            |start: &usize| prompt[..*start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
        let starts: Vec<_> = starts.filter(|start| prompt.is_char_boundary(*start)).collect();
        let start = starts.iter().copied().find(at_word).or(starts.first().copied()).unwrap_or(prompt.len());
        Ok(prompt[start..].to_owned())
    }
}

fn failed(error: tokenizers::Error) -> ModelError {
    ModelError::Tokenizer(error.to_string())
}
