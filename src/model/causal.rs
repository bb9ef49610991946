use std::collections::HashMap;

use candle_core::{Device, Tensor};
use candle_nn::VarBuilder;

use super::batches::embed_batches;
use super::chat_template;
use super::decoder_config::DecoderSettings;
use super::decoder_files::{DecoderFiles, DecoderWeights};
use super::kernels::Kernels;
use super::layout::file_error;
use super::opening::probe;
use super::packed_decoder::{Family, PackedDecoder};
use super::pooling::pooled;
use super::snapshot::Snapshot;
use super::tokens::{DEFAULT_TEMPLATE, Template, TextTokenizer};
use super::{Adapter, Backbone, BackboneOptions, BackboneRecord, Embedding, ModelError, Text};

/// Goes into the hash: another way of computing the same model is another backbone.
const VERSION: &str = "causal-1";

/// Tokens of one forward pass, those of shared prefixes not counted.
const BATCH_TOKENS: usize = 2048;

/// A causal language model (Qwen2, Llama) from a folder in Hugging Face layout or a GGUF file: the text's vector is the
/// hidden state of its last token, after the final norm.
///
/// The responses to one prompt share the prompt's part of the work.
pub(super) struct CausalBackbone {
    decoder: PackedDecoder,
    reader: CausalReader,
}

/// All of a causal backbone but its network: tokenizer, settings and record.
pub(super) struct CausalReader {
    pub(super) device: Device,
    pub(super) record: BackboneRecord,
    tokenizer: TextTokenizer,
    settings: DecoderSettings,
}

impl CausalBackbone {
    /// The folder's own weights, or what tuning made of them.
    pub(super) fn open(
        snapshot: Snapshot,
        options: &BackboneOptions,
        adapter: Option<&Adapter>,
    ) -> Result<Self, ModelError> {
        let (mut reader, mut weights) = CausalReader::open(snapshot, options)?;
        if let Some(adapter) = adapter {
            let weights = weights.trainable(&reader.record.spec)?;
            adapter.apply(weights, &reader.device).map_err(|error| weights.error(error))?;
            reader.record.hash = adapter.hash_on(&reader.record.hash);
        }
        let decoder = weights.decoder(&reader.settings.architecture, &reader.device)?;
        let backbone = Self { decoder, reader };
        probe(&backbone, weights.path())?;
        Ok(backbone)
    }

    /// Embeddings of one batch.
    fn forward(&self, batch: &[Member<'_>]) -> Result<Vec<Vec<f32>>, ModelError> {
        Ok(self.reader.forward(&self.decoder, batch)?.to_vec2()?)
    }
}

impl CausalReader {
    pub(super) fn open(
        snapshot: Snapshot,
        options: &BackboneOptions,
    ) -> Result<(Self, DecoderWeights), ModelError> {
        let files = DecoderFiles::of(&snapshot)?;
        let settings = files.settings()?;
        let architecture = &settings.architecture;
        let tokenizer = files.tokenizer(architecture)?;
        let template = match options.template.as_deref() {
            Some(chat_template::NAME) => {
                let none = || {
                    let reason = format!(
                        "chat_template: got none, and the template was to be {:?}",
                        chat_template::NAME
                    );
                    file_error(&files.template_path(), reason)
                };
                chat_template::rendered(&files.chat_template(&tokenizer)?.ok_or_else(none)?, &tokenizer)?
            }
            given => given.unwrap_or(DEFAULT_TEMPLATE).to_owned(),
        };
        let tokenizer = TextTokenizer::new(
            tokenizer,
            Template::parse(&template)?,
            settings.max_tokens,
            settings.lowercase,
        )?;
        if settings.empty.is_none() && tokenizer.encode(&[Text::alone("")])?[0].is_empty() {
            return Err(file_error(
                &settings.files[0],
                "bos_token_id, eos_token_id: got neither; one is needed for a text of no tokens",
            ));
        }

        let (weights, device, hash) = files.weights(VERSION, &template, &settings, options)?;
        let record = BackboneRecord {
            spec: snapshot.spec,
            id: snapshot.id,
            hash,
            dimension: architecture.hidden_size,
            pooling: Some(settings.pooling.as_str().to_owned()),
            template: Some(template.clone()),
            max_tokens: Some(settings.max_tokens),
            dtype: options.dtype.unless_f32(),
            revision: snapshot.revision,
        };
        Ok((Self { device, record, tokenizer, settings }, weights))
    }

    /// The network of such weights.
    pub(super) fn network(
        &self,
        weights: VarBuilder<'_>,
        kernels: Kernels,
    ) -> candle_core::Result<PackedDecoder> {
        PackedDecoder::load(weights, &self.settings.architecture, kernels)
    }

    /// Token ids of each text.
    pub(super) fn encode(&self, texts: &[Text<'_>]) -> Result<Vec<Vec<u32>>, ModelError> {
        let mut ids = self.tokenizer.encode(texts)?;
        ids.iter_mut().filter(|ids| ids.is_empty()).for_each(|ids| ids.extend(self.settings.empty));
        Ok(ids)
    }

    /// h of encoded texts in one pass, (texts, d); those of one prompt share its part.
    pub(super) fn embed(
        &self,
        decoder: &PackedDecoder,
        texts: &[Text<'_>],
        ids: &[Vec<u32>],
    ) -> candle_core::Result<Tensor> {
        let families = families(texts, ids);
        let order: Vec<_> = families.iter().flat_map(|member| &member.texts).copied().collect();
        let mut places = vec![0u32; order.len()];
        order.iter().enumerate().for_each(|(place, &text)| places[text] = place as u32);
        let places = Tensor::new(places, &self.device)?;
        self.forward(decoder, &families)?.index_select(&places, 0)
    }

    fn forward(&self, decoder: &PackedDecoder, batch: &[Member<'_>]) -> candle_core::Result<Tensor> {
        let families: Vec<_> = batch.iter().map(|member| member.family.clone()).collect();
        pooled(&decoder.forward(&families)?, self.settings.pooling, self.settings.normalize)
    }
}

impl Backbone for CausalBackbone {
    fn id(&self) -> &str {
        &self.reader.record.id
    }

    fn hash(&self) -> &str {
        &self.reader.record.hash
    }

    fn dimension(&self) -> usize {
        self.reader.record.dimension
    }

    fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        let ids = self.reader.encode(texts)?;
        let batches = batches(families(texts, &ids));
        let texts =
            |batch: &Vec<Member<'_>>| batch.iter().flat_map(|member| &member.texts).copied().collect();
        embed_batches(&batches, &ids, self.reader.device.is_cpu(), texts, |batch| self.forward(batch))
    }

    fn fits(&self, texts: &[Text<'_>]) -> Result<bool, ModelError> {
        self.reader.tokenizer.fits(texts)
    }

    fn record(&self) -> BackboneRecord {
        self.reader.record.clone()
    }
}

/// A family, and which texts its endings are.
struct Member<'a> {
    family: Family<'a>,
    texts: Vec<usize>,
}

/// The texts of one prompt together, what all of them begin with apart; none of more than [`BATCH_TOKENS`] unless it
/// is a single text.
fn families<'a>(texts: &[Text<'_>], ids: &'a [Vec<u32>]) -> Vec<Member<'a>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut of_prompt = HashMap::new();
    for (index, text) in texts.iter().enumerate() {
        if text.prompt.is_empty() {
            groups.push(vec![index]);
        } else {
            let group = *of_prompt.entry(text.prompt).or_insert(groups.len());
            if group == groups.len() {
                groups.push(Vec::new());
            }
            groups[group].push(index);
        }
    }
    let mut families = Vec::new();
    for mut group in groups {
        let shared = if group.len() > 1 { common_prefix(&group, ids) } else { 0 };
        while !group.is_empty() {
            let count = fitting(group.iter().map(|&index| ids[index].len() - shared));
            let later = group.split_off(count);
            let texts = std::mem::replace(&mut group, later);
            let endings = texts.iter().map(|&index| &ids[index][shared..]).collect();
            families.push(Member { family: Family { prefix: &ids[texts[0]][..shared], endings }, texts });
        }
    }
    families
}

/// How many tokens all texts of `group` begin with, so that each has one more.
fn common_prefix(group: &[usize], ids: &[Vec<u32>]) -> usize {
    let first = &ids[group[0]];
    let shared_with = |index: &usize| first.iter().zip(&ids[*index]).take_while(|(a, b)| a == b).count();
    let shared = group.iter().map(shared_with).min().unwrap_or(0);
    let shortest = group.iter().map(|&index| ids[index].len()).min().unwrap_or(0);
    shared.min(shortest.saturating_sub(1))
}

/// Families in order, cut into forward passes.
fn batches(mut families: Vec<Member<'_>>) -> Vec<Vec<Member<'_>>> {
    let mut batches = Vec::new();
    while !families.is_empty() {
        let tokens = |member: &Member<'_>| member.family.endings.iter().map(|ending| ending.len()).sum();
        let later = families.split_off(fitting(families.iter().map(tokens)));
        batches.push(std::mem::replace(&mut families, later));
    }
    batches
}

/// How many of the first `sizes` fit into [`BATCH_TOKENS`]; at least one.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let sums = sizes.scan(0, |sum, size| {
        *sum += size;
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= BATCH_TOKENS).count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_a_prompt_share_what_all_begin_with_and_each_keeps_a_token() {
        let texts = [
            Text::new("p", "a"),
            Text::alone("x"),
            Text::new("q", "c"),
            Text::new("p", "b"),
            Text::alone("x"),
            Text::new("p", ""),
        ];
        let ids = [vec![1, 2, 3, 4], vec![9], vec![7, 8], vec![1, 2, 3, 5, 6], vec![9], vec![1, 2, 3]];
        let families = families(&texts, &ids);
        let members: Vec<_> = families.iter().map(|member| member.texts.as_slice()).collect();
        assert_eq!(members, [&[0, 3, 5][..], &[1], &[2], &[4]]);
        assert_eq!(families[0].family.prefix, [1, 2]);
        assert_eq!(families[0].family.endings, [&[3, 4][..], &[3, 5, 6], &[3]]);
        assert!(families[1..].iter().all(|member| member.family.prefix.is_empty()));
    }

    #[test]
    fn a_large_family_is_cut_into_several_that_share_the_same() {
        let ids: Vec<_> = (0..5).map(|n| [vec![1; 10], vec![n + 2; BATCH_TOKENS / 2]].concat()).collect();
        let texts = [Text::new("p", "y"); 5];
        let families = families(&texts, &ids);
        assert_eq!(families.iter().map(|member| member.texts.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(families.iter().all(|member| member.family.prefix.len() == 10));
        assert_eq!(batches(families).len(), 3);
    }

    #[test]
    fn a_text_beyond_the_budget_still_goes() {
        assert_eq!(fitting([BATCH_TOKENS + 1, 1].into_iter()), 1);
        assert_eq!(fitting([BATCH_TOKENS - 1, 1, 1].into_iter()), 2);
    }
}
