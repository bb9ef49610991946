use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Module, rotary_emb};

use super::{Layer, PackedDecoder};
use crate::model::rope;

/// Keys and values of the tokens that a sequence has so far.
pub(in crate::model) struct KvCache {
    layers: Vec<Rows>,
    tokens: usize,
}

/// Of one layer, (room, key-value heads, head width) each; rows from the sequence's length on mean nothing yet.
struct Rows {
    keys: Tensor,
    values: Tensor,
}

/// New tokens of one sequence.
pub(in crate::model) struct Step<'a> {
    /// What they follow.
    pub(in crate::model) cache: &'a mut KvCache,
    /// At least one.
    pub(in crate::model) tokens: &'a [u32],
    /// How they follow.
    pub(in crate::model) kind: Kind,
}

/// How the tokens of a [`Step`] follow what is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Kind {
    /// One after the other. All are remembered.
    Chain,
    /// Each in the next place, beside the others and not seeing them. None is remembered until one is
    /// [kept](KvCache::keep).
    Alternatives,
}

impl KvCache {
    /// Tokens that are remembered.
    pub(in crate::model) fn tokens(&self) -> usize {
        self.tokens
    }

    /// Of the alternatives of the last step, remembers this one.
    pub(in crate::model) fn keep(&mut self, alternative: usize) -> Result<()> {
        if alternative > 0 {
            for rows in &self.layers {
                for tensor in [&rows.keys, &rows.values] {
                    let row = tensor.narrow(0, self.tokens + alternative, 1)?.copy()?;
                    tensor.slice_set(&row, 0, self.tokens)?;
                }
            }
        }
        self.tokens += 1;
        Ok(())
    }

    /// Another sequence that begins with the same tokens.
    pub(in crate::model) fn fork(&self) -> Result<Self> {
        let copy = |rows: &Rows| Ok(Rows { keys: rows.keys.copy()?, values: rows.values.copy()? });
        Ok(Self { layers: self.layers.iter().map(copy).collect::<Result<_>>()?, tokens: self.tokens })
    }

    /// Makes room for so many tokens more.
    fn reserve(&mut self, more: usize) -> Result<()> {
        let needed = self.tokens + more;
        for rows in &mut self.layers {
            for tensor in [&mut rows.keys, &mut rows.values] {
                let (room, heads, width) = tensor.dims3()?;
                if room < needed {
                    let grown = (needed.max(2 * room).max(64), heads, width);
                    let larger = Tensor::zeros(grown, tensor.dtype(), tensor.device())?;
                    if self.tokens > 0 {
                        larger.slice_set(&tensor.narrow(0, 0, self.tokens)?.contiguous()?, 0, 0)?;
                    }
                    *tensor = larger;
                }
            }
        }
        Ok(())
    }
}

impl PackedDecoder {
    /// A sequence of no tokens.
    pub(in crate::model) fn cache(&self) -> Result<KvCache> {
        let empty = |layer: &Layer| {
            let shape = (0, layer.key_value_heads, 2 * self.frequencies.dim(1)?);
            let rows = Tensor::zeros(shape, self.words.dtype(), self.frequencies.device())?;
            Ok(Rows { keys: rows.clone(), values: rows })
        };
        Ok(KvCache { layers: self.layers.iter().map(empty).collect::<Result<_>>()?, tokens: 0 })
    }

    /// The new tokens' rows after the final norm, (all new tokens, d), step by step in order. Sequences of any lengths go
    /// together, so that every product but attention's reads the weights once for all of them.
    pub(in crate::model) fn step(&self, steps: &mut [Step<'_>]) -> Result<Tensor> {
        let (device, dtype) = (self.frequencies.device(), self.words.dtype());
        let (mut ids, mut positions, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for step in &mut *steps {
            step.cache.reserve(step.tokens.len())?;
            let (start, count, seen) = (ids.len(), step.tokens.len(), step.cache.tokens);
            ids.extend_from_slice(step.tokens);
            positions.extend((0..count).map(|n| match step.kind {
                Kind::Chain => (seen + n) as f32,
                Kind::Alternatives => seen as f32,
            }));
            spans.push(Span { start, count, mask: mask(step.kind, count, seen, dtype, device)? });
        }
        let rows = ids.len();
        let turn = rope::turns(positions, &self.frequencies, dtype)?;
        let mut rows = self.words.rows(&Tensor::from_vec(ids, rows, device)?)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let attended =
                layer.attend_cached(&layer.input_norm.forward(&rows)?, index, &turn, steps, &spans)?;
            rows = layer.feed_forward(&(layer.attention_output.forward(&attended)? + rows)?)?;
        }
        for step in steps {
            if step.kind == Kind::Chain {
                step.cache.tokens += step.tokens.len();
            }
        }
        self.norm.forward(&rows)
    }
}

/// The rows of one step.
struct Span {
    start: usize,
    count: usize,
    /// Nothing where all is seen.
    mask: Option<Tensor>,
}

/// 0 where a new token sees a key, −∞ where not; (new tokens, keys).
fn mask(kind: Kind, count: usize, seen: usize, dtype: DType, device: &Device) -> Result<Option<Tensor>> {
    if count == 1 {
        return Ok(None);
    }
    let sees = |query: usize, key: usize| match kind {
        Kind::Chain => key <= seen + query,
        Kind::Alternatives => key < seen || key == seen + query,
    };
    let keys = seen + count;
    let mask: Vec<f32> = (0..count)
        .flat_map(|query| (0..keys).map(move |key| if sees(query, key) { 0.0 } else { f32::NEG_INFINITY }))
        .collect();
    Ok(Some(Tensor::from_vec(mask, (count, keys), device)?.to_dtype(dtype)?))
}

impl Layer {
    fn attend_cached(
        &self,
        rows: &Tensor,
        index: usize,
        (cos, sin): &(Tensor, Tensor),
        steps: &[Step<'_>],
        spans: &[Span],
    ) -> Result<Tensor> {
        let (heads, kv_heads) = (self.heads, self.key_value_heads);
        let group = heads / kv_heads;
        let qkv = self.qkv.forward(rows)?;
        let (tokens, width) = qkv.dims2()?;
        let width = width / (heads + 2 * kv_heads);
        let qkv = qkv.reshape((1, tokens, heads + 2 * kv_heads, width))?;
        let turned = qkv.narrow(2, 0, heads + kv_heads)?.contiguous()?;
        let turned = rotary_emb::rope_thd(&turned, cos, sin)?.squeeze(0)?;
        let queries = turned.narrow(1, 0, heads)?;
        let keys = turned.narrow(1, heads, kv_heads)?.contiguous()?;
        let values = qkv.squeeze(0)?.narrow(1, heads + kv_heads, kv_heads)?.contiguous()?;

        let mut attended = Vec::with_capacity(steps.len());
        for (step, span) in steps.iter().zip(spans) {
            let (remembered, seen) = (&step.cache.layers[index], step.cache.tokens);
            remembered.keys.slice_set(&keys.narrow(0, span.start, span.count)?, 0, seen)?;
            remembered.values.slice_set(&values.narrow(0, span.start, span.count)?, 0, seen)?;
            let all = seen + span.count;
            // (key-value heads, keys, head width), as views.
            let keys = remembered.keys.narrow(0, 0, all)?.transpose(0, 1)?;
            let values = remembered.values.narrow(0, 0, all)?.transpose(0, 1)?;
            let queries = queries
                .narrow(0, span.start, span.count)?
                .reshape((span.count, kv_heads, group, width))?
                .permute((1, 2, 0, 3))?
                .reshape((kv_heads, group * span.count, width))?;
            let scores = queries.matmul(&keys.transpose(1, 2)?)?;
            let scores = scores.reshape((kv_heads, group, span.count, all))?;
            let weights = self.kernels.softmax(scores, span.mask.as_ref())?;
            attended.push(
                weights
                    .reshape((kv_heads, group * span.count, all))?
                    .matmul(&values)?
                    .reshape((kv_heads, group, span.count, width))?
                    .permute((2, 0, 1, 3))?
                    .reshape((span.count, heads * width))?,
            );
        }
        Tensor::cat(&attended, 0)
    }
}
