use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{LayerNorm, Linear, Module, VarBuilder, linear_no_bias};

use super::kernels::Kernels;
use super::modern_bert_config::ModernBertConfig;
use super::rope::{self, frequencies};

/// Queries of one attention product.
const QUERY_BLOCK: usize = 256;

/// ModernBERT over packed texts, as [`PackedBert`](super::packed_bert::PackedBert) goes over them: pre-norm, rotary
/// positions, GELU-gated feed-forward; some layers see the whole text, the others a window. Warner et al. 2024, §2.1.
pub(super) struct PackedModernBert {
    words: Tensor,
    norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    /// Radians a position for each pair of a head's dimensions, (1, head width / 2): of layers that see the whole text,
    /// and of the others.
    global: Tensor,
    local: Tensor,
}

struct Layer {
    /// The first layer reads what is normed already.
    attention_norm: Option<LayerNorm>,
    /// Query (divided by √head width), key and value in one product.
    qkv: Linear,
    attention_output: Linear,
    norm: LayerNorm,
    up: Linear,
    gate: Linear,
    down: Linear,
    heads: usize,
    /// How far a token sees to either side.
    window: Option<usize>,
    kernels: Kernels,
}

/// cos and sin of position × frequency, (tokens, head width / 2).
type Turn = (Tensor, Tensor);

impl PackedModernBert {
    /// Of weights that may themselves be computed: with differentiable kernels gradients reach what they came from.
    pub(super) fn load(vb: VarBuilder<'_>, config: &ModernBertConfig, kernels: Kernels) -> Result<Self> {
        let vb =
            if vb.contains_tensor("model.embeddings.tok_embeddings.weight") { vb.pp("model") } else { vb };
        let embeddings = vb.pp("embeddings");
        let head_width = config.hidden_size / config.num_attention_heads;
        let row = |theta: f64| rope::row(&frequencies(theta, head_width, None), vb.dtype(), vb.device());
        Ok(Self {
            words: embeddings.get((config.vocab_size, config.hidden_size), "tok_embeddings.weight")?,
            norm: norm(embeddings.pp("norm"), config)?,
            layers: (config.windows.iter().enumerate())
                .map(|(index, &window)| Layer::load(vb.pp("layers").pp(index), config, window, kernels))
                .collect::<Result<_>>()?,
            final_norm: norm(vb.pp("final_norm"), config)?,
            global: row(config.global_rope_theta)?,
            local: row(config.local_rope_theta)?,
        })
    }

    /// The rows of each text after the final norm, (tokens, d) a text; no text may be empty.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Tensor>> {
        let (device, dtype) = (self.words.device(), self.words.dtype());
        let lengths: Vec<_> = texts.iter().map(|text| text.len()).collect();
        let positions: Vec<_> = lengths.iter().flat_map(|&length| (0..length).map(|n| n as f32)).collect();
        let turns = |frequencies: &Tensor| rope::turns(positions.clone(), frequencies, dtype);
        let (global, local) = (turns(&self.global)?, turns(&self.local)?);
        let mut rows =
            self.norm.forward(&self.words.index_select(&Tensor::new(texts.concat(), device)?, 0)?)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, &lengths, if layer.window.is_some() { &local } else { &global })?;
        }
        let rows = self.final_norm.forward(&rows)?;
        starts(&lengths).map(|(start, length)| rows.narrow(0, start, length)).collect()
    }
}

impl Layer {
    fn load(
        vb: VarBuilder<'_>,
        config: &ModernBertConfig,
        window: Option<usize>,
        kernels: Kernels,
    ) -> Result<Self> {
        let (d, wide, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
        let (attention, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        let qkv = attention.get((3 * d, d), "Wqkv.weight")?;
        let queries = (qkv.narrow(0, 0, d)? * (1.0 / ((d / heads) as f64).sqrt()))?;
        let wide_weights = mlp.get((2 * wide, d), "Wi.weight")?;
        let half = |start: usize| {
            Ok::<_, candle_core::Error>(Linear::new(wide_weights.narrow(0, start, wide)?, None))
        };
        let attention_norm = vb.pp("attn_norm");
        Ok(Self {
            attention_norm: match attention_norm.contains_tensor("weight") {
                true => Some(norm(attention_norm, config)?),
                false => None,
            },
            qkv: Linear::new(Tensor::cat(&[queries, qkv.narrow(0, d, 2 * d)?], 0)?, None),
            attention_output: linear_no_bias(d, d, attention.pp("Wo"))?,
            norm: norm(vb.pp("mlp_norm"), config)?,
            up: half(0)?,
            gate: half(wide)?,
            down: linear_no_bias(wide, d, mlp.pp("Wo"))?,
            heads,
            window,
            kernels,
        })
    }

    fn forward(&self, rows: &Tensor, lengths: &[usize], turn: &Turn) -> Result<Tensor> {
        let normed = self.attention_norm.as_ref().map_or(Ok(rows.clone()), |norm| norm.forward(rows))?;
        let rows = (self.attention_output.forward(&self.attend(&normed, lengths, turn)?)? + rows)?;
        let normed = self.norm.forward(&rows)?;
        let wide = (self.up.forward(&normed)?.gelu_erf()? * self.gate.forward(&normed)?)?;
        self.down.forward(&wide)? + rows
    }

    /// softmax(QKᵀ)V within each text, heads side by side; of a window no more keys than it holds.
    fn attend(&self, rows: &Tensor, lengths: &[usize], (cos, sin): &Turn) -> Result<Tensor> {
        let qkv = self.qkv.forward(rows)?;
        let (tokens, width) = qkv.dims2()?;
        let qkv = qkv.reshape((tokens, 3 * self.heads, width / (3 * self.heads)))?;
        let turned = self.kernels.rope(&qkv.narrow(1, 0, 2 * self.heads)?, cos, sin)?;
        // (heads, tokens, head width), as views.
        let queries = turned.narrow(1, 0, self.heads)?.transpose(0, 1)?;
        let keys = turned.narrow(1, self.heads, self.heads)?.transpose(0, 1)?;
        let values = qkv.narrow(1, 2 * self.heads, self.heads)?.transpose(0, 1)?;
        let mut attended = Vec::with_capacity(lengths.len());
        for (start, length) in starts(lengths) {
            for first in (0..length).step_by(QUERY_BLOCK) {
                let count = QUERY_BLOCK.min(length - first);
                let reach = self.window.unwrap_or(length);
                let (from, to) = (first.saturating_sub(reach), (first + count + reach).min(length));
                let part = |heads: &Tensor, from: usize, to: usize| heads.narrow(1, start + from, to - from);
                let keys = part(&keys, from, to)?.transpose(1, 2)?;
                let scores = part(&queries, first, first + count)?.matmul(&keys)?;
                let mask = mask(first..first + count, from..to, reach, scores.dtype(), scores.device())?;
                let weights = self.kernels.softmax(scores, mask.as_ref())?;
                attended.push(
                    weights.matmul(&part(&values, from, to)?)?.transpose(0, 1)?.flatten_from(D::Minus2)?,
                );
            }
        }
        Tensor::cat(&attended, 0)
    }
}

/// 0 where a query sees the key, −∞ where it is too far away; nothing where all is seen.
fn mask(
    queries: std::ops::Range<usize>,
    keys: std::ops::Range<usize>,
    reach: usize,
    dtype: DType,
    device: &Device,
) -> Result<Option<Tensor>> {
    if queries.end - 1 <= keys.start + reach && keys.end - 1 <= queries.start + reach {
        return Ok(None);
    }
    let shape = (queries.len(), keys.len());
    let seen = |query: usize, key: usize| if query.abs_diff(key) <= reach { 0.0 } else { f32::NEG_INFINITY };
    let mask = queries.flat_map(|query| keys.clone().map(move |key| seen(query, key))).collect();
    Tensor::from_vec(mask, shape, device)?.to_dtype(dtype).map(Some)
}

/// Where each text's rows begin, and how many there are.
fn starts(lengths: &[usize]) -> impl Iterator<Item = (usize, usize)> {
    lengths.iter().scan(0, |next, &length| {
        let start = *next;
        *next += length;
        Some((start, length))
    })
}

/// LayerNorm without a bias.
fn norm(vb: VarBuilder<'_>, config: &ModernBertConfig) -> Result<LayerNorm> {
    Ok(LayerNorm::new_no_bias(vb.get(config.hidden_size, "weight")?, config.norm_eps))
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_transformers::models::modernbert::{Config, ModernBert};

    use super::*;
    use crate::model::drawn_weights::DrawnWeights;

    pub(in crate::model) fn config() -> ModernBertConfig {
        ModernBertConfig {
            vocab_size: 50,
            hidden_size: 24,
            intermediate_size: 40,
            num_attention_heads: 4,
            max_position_embeddings: 700,
            norm_eps: 1e-5,
            windows: vec![None, Some(8), Some(8), None],
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
        }
    }

    /// Against candle-transformers' padded ModernBERT, with the same random weights; texts shorter than a window, longer,
    /// and several blocks of queries long.
    #[test]
    fn packed_rows_are_those_of_the_padded_model() {
        let config = config();
        let weights = || VarBuilder::from_tensors(random_weights(&config), DType::F32, &Device::Cpu);
        let packed = PackedModernBert::load(weights(), &config, Kernels::Fused).unwrap();
        let stock = Config {
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            num_hidden_layers: config.windows.len(),
            num_attention_heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            max_position_embeddings: config.max_position_embeddings,
            layer_norm_eps: config.norm_eps,
            pad_token_id: 0,
            global_attn_every_n_layers: 3,
            global_rope_theta: config.global_rope_theta,
            local_attention: 16,
            local_rope_theta: config.local_rope_theta,
            classifier_config: None,
        };
        let padded = ModernBert::load(weights(), &stock).unwrap();
        let text =
            |tokens: u32, salt: u32| (0..tokens).map(|n| (n * n + 7 * n + salt) % 50).collect::<Vec<_>>();
        let texts =
            [text(5, 1), text(2 * QUERY_BLOCK as u32 + 60, 2), text(1, 3), text(QUERY_BLOCK as u32, 4)];
        let given: Vec<_> = texts.iter().map(Vec::as_slice).collect();
        for (text, rows) in texts.iter().zip(packed.forward(&given).unwrap()) {
            let ids = Tensor::new(text.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            let mask = Tensor::ones(ids.dims(), DType::U32, &Device::Cpu).unwrap();
            let expected = padded.forward(&ids, &mask).unwrap().squeeze(0).unwrap();
            let difference = (rows - expected).unwrap().abs().unwrap().max_all().unwrap();
            let difference = difference.to_scalar::<f32>().unwrap();
            assert!(difference <= 1e-4, "{difference} for {} tokens", text.len());
        }
    }

    /// Names as transformers writes them.
    pub(in crate::model) fn random_weights(config: &ModernBertConfig) -> HashMap<String, Tensor> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let mut weights = DrawnWeights::new("model.");
        weights.add("embeddings.tok_embeddings.weight", &[config.vocab_size, d]);
        weights.add("embeddings.norm.weight", &[d]);
        weights.add("final_norm.weight", &[d]);
        for layer in 0..config.windows.len() {
            for (name, rows, columns) in
                [("attn.Wqkv", 3 * d, d), ("attn.Wo", d, d), ("mlp.Wi", 2 * wide, d), ("mlp.Wo", d, wide)]
            {
                weights.add(format!("layers.{layer}.{name}.weight"), &[rows, columns]);
            }
            for name in ["attn_norm", "mlp_norm"].into_iter().skip(usize::from(layer == 0)) {
                weights.add(format!("layers.{layer}.{name}.weight"), &[d]);
            }
        }
        weights.done()
    }
}
