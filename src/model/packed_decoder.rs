mod cached;
mod quantized;
mod weights;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{Linear, RmsNorm, VarBuilder, linear_b, linear_no_bias, rms_norm};

use super::decoder_config::DecoderConfig;
use super::kernels::Kernels;
use super::rope;

pub(super) use self::cached::{Kind, KvCache, Step};
pub(super) use self::weights::Projection;
use self::weights::Words;

/// Queries of one attention product: for a long text the weights are (heads × this × keys), never keys squared.
const QUERY_BLOCK: usize = 256;

/// A causal decoder (Qwen2, Llama) over packed texts: pre-norm by root mean square, rotary positions, grouped queries,
/// SiLU-gated feed-forward. Touvron et al. 2023, §2.2; Yang et al. 2024 (Qwen2), §2.2.
///
/// Token rows of all texts lie one after the other without padding, so that every product but attention's sees one
/// (tokens × width) matrix, and no text's result depends on another's length. What several texts begin with is there
/// once: the rows of each ending attend to it. [`PackedDecoder::forward`] keeps nothing between calls; [`PackedDecoder::step`] goes on from a [`KvCache`].
/// The language model's own head is not loaded.
pub(super) struct PackedDecoder {
    words: Words,
    layers: Vec<Layer>,
    norm: RmsNorm,
    /// Radians a position for each pair of a head's dimensions, (1, head width / 2).
    frequencies: Tensor,
    kernels: Kernels,
}

/// Texts that begin with the same tokens.
#[derive(Debug, Clone)]
pub(super) struct Family<'a> {
    /// What all begin with; may be empty.
    pub(super) prefix: &'a [u32],
    /// What is left of each text; none may be empty.
    pub(super) endings: Vec<&'a [u32]>,
}

struct Layer {
    input_norm: RmsNorm,
    /// Query (divided by √head width), key and value in one product.
    qkv: Projection,
    attention_output: Projection,
    output_norm: RmsNorm,
    gate: Projection,
    up: Projection,
    down: Projection,
    heads: usize,
    key_value_heads: usize,
    kernels: Kernels,
}

impl PackedDecoder {
    /// Of weights that may themselves be computed: with differentiable kernels gradients reach what they came from.
    pub(super) fn load(vb: VarBuilder<'_>, config: &DecoderConfig, kernels: Kernels) -> Result<Self> {
        let vb = if vb.contains_tensor("model.embed_tokens.weight") { vb.pp("model") } else { vb };
        let d = config.hidden_size;
        Ok(Self {
            words: Words::Float(vb.get((config.vocab_size, d), "embed_tokens.weight")?),
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::load(vb.pp("layers").pp(index), config, kernels))
                .collect::<Result<_>>()?,
            norm: rms_norm(d, config.rms_norm_eps, vb.pp("norm"))?,
            frequencies: rope::row(&config.frequencies(), vb.dtype(), vb.device())?,
            kernels,
        })
    }

    /// Rows to next-token logits: the model's own head, or its word embeddings where it has none.
    pub(super) fn head(&self, vb: VarBuilder<'_>, config: &DecoderConfig) -> Result<Projection> {
        if !vb.contains_tensor("lm_head.weight") {
            return self.words.tied_head();
        }
        linear_no_bias(config.hidden_size, config.vocab_size, vb.pp("lm_head")).map(Projection::Float)
    }

    /// The rows of each text after the final norm, (tokens, d) a text, those of the prefix included; family by family.
    pub(super) fn forward(&self, families: &[Family<'_>]) -> Result<Vec<Tensor>> {
        let plan = Plan::new(families, &self.frequencies, self.words.dtype())?;
        let mut rows = self.words.rows(&plan.ids)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, &plan)?;
        }
        let rows = self.kernels.rms_norm(&self.norm, &rows)?;
        let endings = plan.segments.iter().filter(|segment| segment.is_ending);
        endings.map(|segment| segment.with_prefix(&rows)).collect()
    }
}

impl Layer {
    fn load(vb: VarBuilder<'_>, config: &DecoderConfig, kernels: Kernels) -> Result<Self> {
        let (d, wide, eps) = (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let (heads, key_value_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let (attention, mlp) = (vb.pp("self_attn"), vb.pp("mlp"));
        let (scale, float) = (config.query_scale(), Projection::Float);
        let parts =
            [("q_proj", heads, scale), ("k_proj", key_value_heads, 1.0), ("v_proj", key_value_heads, 1.0)];
        let part = |size: &[usize], name: &str| -> Result<Tensor> {
            let parts = parts.map(|(part, heads, scale)| {
                let shape = [&[heads * config.head_dim], size].concat();
                attention.pp(part).get(shape, name)? * scale
            });
            Tensor::cat(&parts.into_iter().collect::<Result<Vec<_>>>()?, 0)
        };
        let bias = if config.qkv_bias { Some(part(&[], "bias")?) } else { None };
        let width = heads * config.head_dim;
        Ok(Self {
            input_norm: rms_norm(d, eps, vb.pp("input_layernorm"))?,
            qkv: Projection::Float(Linear::new(part(&[d], "weight")?, bias)),
            attention_output: linear_b(width, d, config.output_bias, attention.pp("o_proj")).map(float)?,
            output_norm: rms_norm(d, eps, vb.pp("post_attention_layernorm"))?,
            gate: linear_no_bias(d, wide, mlp.pp("gate_proj")).map(float)?,
            up: linear_no_bias(d, wide, mlp.pp("up_proj")).map(float)?,
            down: linear_no_bias(wide, d, mlp.pp("down_proj")).map(float)?,
            heads,
            key_value_heads,
            kernels,
        })
    }

    fn forward(&self, rows: &Tensor, plan: &Plan) -> Result<Tensor> {
        let attended = self.attend(&self.kernels.rms_norm(&self.input_norm, rows)?, plan)?;
        self.feed_forward(&(self.attention_output.forward(&attended)? + rows)?)
    }

    /// x + down(SiLU(gate x̂) ⊙ up x̂), x̂ the normed row.
    fn feed_forward(&self, rows: &Tensor) -> Result<Tensor> {
        let normed = self.kernels.rms_norm(&self.output_norm, rows)?;
        let wide = self.kernels.silu_times(self.gate.forward(&normed)?, &self.up.forward(&normed)?)?;
        self.down.forward(&wide)? + rows
    }

    /// softmax(QKᵀ)V within each text, over what is not later, heads side by side.
    fn attend(&self, rows: &Tensor, plan: &Plan) -> Result<Tensor> {
        let (heads, kv_heads) = (self.heads, self.key_value_heads);
        let group = heads / kv_heads;
        let qkv = self.qkv.forward(rows)?;
        let (tokens, width) = qkv.dims2()?;
        let width = width / (heads + 2 * kv_heads);
        let qkv = qkv.reshape((tokens, heads + 2 * kv_heads, width))?;
        let turned = self.kernels.rope(&qkv.narrow(1, 0, heads + kv_heads)?, &plan.cos, &plan.sin)?;
        let (queries, keys) = (turned.narrow(1, 0, heads)?, turned.narrow(1, heads, kv_heads)?);
        let values = qkv.narrow(1, heads + kv_heads, kv_heads)?;

        let mut attended = Vec::with_capacity(plan.segments.len());
        for segment in &plan.segments {
            // (key-value heads, keys, head width), as views: the products take their strides.
            let keys = segment.with_prefix(&keys)?.transpose(0, 1)?;
            let values = segment.with_prefix(&values)?.transpose(0, 1)?;
            for block in &segment.blocks {
                let (count, seen) = block.mask.dims2()?;
                // The queries that share a key-value head stand below each other.
                let queries = queries
                    .narrow(0, block.start, count)?
                    .reshape((count, kv_heads, group, width))?
                    .permute((1, 2, 0, 3))?
                    .reshape((kv_heads, group * count, width))?;
                let scores = queries.matmul(&keys.narrow(1, 0, seen)?.transpose(1, 2)?)?;
                let scores = scores.reshape((kv_heads, group, count, seen))?;
                let weights = self.kernels.softmax(scores, Some(&block.mask))?.reshape((
                    kv_heads,
                    group * count,
                    seen,
                ))?;
                attended.push(
                    weights
                        .matmul(&values.narrow(1, 0, seen)?)?
                        .reshape((kv_heads, group, count, width))?
                        .permute((2, 0, 1, 3))?
                        .reshape((count, heads * width))?,
                );
            }
        }
        Tensor::cat(&attended, 0)
    }
}

/// Where the rows of a batch lie, and what each attends to.
struct Plan {
    ids: Tensor,
    /// cos and sin of position × frequency, (tokens, head width / 2).
    cos: Tensor,
    sin: Tensor,
    segments: Vec<Segment>,
}

/// A prefix, or an ending: consecutive rows, and the rows of the prefix before them.
struct Segment {
    start: usize,
    tokens: usize,
    prefix_start: usize,
    prefix_tokens: usize,
    is_ending: bool,
    blocks: Vec<Block>,
}

/// Consecutive queries from row `start` on.
struct Block {
    start: usize,
    /// 0 where a query sees the key, −∞ where the key comes later; (queries, keys up to the last query's).
    mask: Tensor,
}

impl Plan {
    /// `dtype` is what rows are computed in.
    fn new(families: &[Family<'_>], frequencies: &Tensor, dtype: DType) -> Result<Self> {
        let device = frequencies.device();
        let (mut ids, mut positions, mut segments) = (Vec::new(), Vec::new(), Vec::new());
        for family in families {
            let (prefix_start, prefix_tokens) = (ids.len(), family.prefix.len());
            let mut add = |part: &[u32], prefix_tokens: usize, is_ending: bool| -> Result<()> {
                let start = ids.len();
                ids.extend_from_slice(part);
                positions.extend((prefix_tokens..prefix_tokens + part.len()).map(|position| position as f32));
                let blocks = blocks(start, part.len(), prefix_tokens, dtype, device)?;
                segments.push(Segment {
                    start,
                    tokens: part.len(),
                    prefix_start,
                    prefix_tokens,
                    is_ending,
                    blocks,
                });
                Ok(())
            };
            if prefix_tokens > 0 {
                add(family.prefix, 0, false)?;
            }
            for ending in &family.endings {
                add(ending, prefix_tokens, true)?;
            }
        }
        let rows = ids.len();
        let (cos, sin) = rope::turns(positions, frequencies, dtype)?;
        Ok(Self { ids: Tensor::from_vec(ids, rows, device)?, cos, sin, segments })
    }
}

/// The masks of a segment's queries, on the device and in the kind of number of its scores.
fn blocks(
    start: usize,
    tokens: usize,
    prefix_tokens: usize,
    dtype: DType,
    device: &Device,
) -> Result<Vec<Block>> {
    (0..tokens)
        .step_by(QUERY_BLOCK)
        .map(|first| {
            let count = QUERY_BLOCK.min(tokens - first);
            let (before, seen) = (prefix_tokens + first, prefix_tokens + first + count);
            let mask = (0..count)
                .flat_map(|query| {
                    (0..seen).map(move |key| if key <= before + query { 0.0 } else { f32::NEG_INFINITY })
                })
                .collect();
            let mask = Tensor::from_vec(mask, (count, seen), device)?.to_dtype(dtype)?;
            Ok(Block { start: start + first, mask })
        })
        .collect()
}

impl Segment {
    /// The prefix's rows, then the segment's own.
    fn with_prefix(&self, rows: &Tensor) -> Result<Tensor> {
        let own = rows.narrow(0, self.start, self.tokens)?;
        if self.prefix_tokens == 0 {
            return Ok(own);
        }
        Tensor::cat(&[&rows.narrow(0, self.prefix_start, self.prefix_tokens)?, &own], 0)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_transformers::models::qwen2;

    use super::*;
    use crate::model::drawn_weights::DrawnWeights;

    pub(in crate::model) fn config() -> DecoderConfig {
        DecoderConfig {
            vocab_size: 50,
            hidden_size: 24,
            intermediate_size: 40,
            num_hidden_layers: 3,
            num_attention_heads: 6,
            num_key_value_heads: 2,
            head_dim: 4,
            max_position_embeddings: 700,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            rope_scaling: None,
            qkv_bias: true,
            output_bias: false,
        }
    }

    fn decoder() -> PackedDecoder {
        let weights = VarBuilder::from_tensors(random_weights(&config()), DType::F32, &Device::Cpu);
        PackedDecoder::load(weights, &config(), Kernels::Fused).unwrap()
    }

    fn text(tokens: usize, salt: usize) -> Vec<u32> {
        (0..tokens).map(|n| ((n * n + 7 * n + salt) % 50) as u32).collect()
    }

    fn alone(ids: &[u32]) -> Family<'_> {
        Family { prefix: &[], endings: vec![ids] }
    }

    fn assert_close(rows: &Tensor, expected: &Tensor) {
        assert_eq!(rows.dims(), expected.dims());
        let difference = (rows - expected).unwrap().abs().unwrap().max_all().unwrap();
        let difference = difference.to_scalar::<f32>().unwrap();
        assert!(difference <= 1e-4, "{difference}");
    }

    /// Against candle-transformers' Qwen2 text by text, with the same random weights; one text is several blocks of
    /// queries long.
    #[test]
    fn packed_rows_are_those_of_the_stock_model() {
        let config = config();
        let stock = qwen2::Config {
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            intermediate_size: config.intermediate_size,
            num_hidden_layers: config.num_hidden_layers,
            num_attention_heads: config.num_attention_heads,
            num_key_value_heads: config.num_key_value_heads,
            max_position_embeddings: config.max_position_embeddings,
            sliding_window: config.max_position_embeddings,
            max_window_layers: config.num_hidden_layers,
            tie_word_embeddings: true,
            rope_theta: config.rope_theta,
            rms_norm_eps: config.rms_norm_eps,
            use_sliding_window: false,
            hidden_act: candle_nn::Activation::Silu,
        };
        let weights = VarBuilder::from_tensors(random_weights(&config), DType::F32, &Device::Cpu);
        let mut stock = qwen2::Model::new(&stock, weights).unwrap();
        let texts = [text(5, 1), text(2 * QUERY_BLOCK + 88, 2), text(1, 3), text(QUERY_BLOCK, 4)];
        let families: Vec<_> = texts.iter().map(|ids| alone(ids)).collect();
        for (ids, rows) in texts.iter().zip(decoder().forward(&families).unwrap()) {
            stock.clear_kv_cache();
            let ids = Tensor::new(ids.as_slice(), &Device::Cpu).unwrap().unsqueeze(0).unwrap();
            assert_close(&rows, &stock.forward(&ids, 0, None).unwrap().squeeze(0).unwrap());
        }
    }

    #[test]
    fn endings_of_one_prefix_are_what_they_are_alone() {
        let decoder = decoder();
        for (shared, lengths) in [(1, [1, 9, 4]), (QUERY_BLOCK + 30, [40, 1, QUERY_BLOCK + 5])] {
            let prefix = text(shared, 5);
            let endings: Vec<_> =
                lengths.iter().enumerate().map(|(n, &tokens)| text(tokens, 11 * n)).collect();
            let family = Family { prefix: &prefix, endings: endings.iter().map(Vec::as_slice).collect() };
            let other = text(6, 9);
            let rows = decoder.forward(&[alone(&other), family]).unwrap();
            assert_eq!(rows.len(), 4);
            let whole: Vec<_> = endings.iter().map(|ending| [prefix.as_slice(), ending].concat()).collect();
            for (ids, rows) in [&other].into_iter().chain(&whole).zip(rows) {
                assert_close(&rows, &decoder.forward(&[alone(ids)]).unwrap()[0]);
            }
        }
    }

    /// Without the `model.` in front of names, as a model without its head is saved.
    #[test]
    fn weights_are_found_under_both_names() {
        let short = random_weights(&config())
            .into_iter()
            .map(|(name, tensor)| (name.trim_start_matches("model.").to_owned(), tensor))
            .collect();
        let short = VarBuilder::from_tensors(short, DType::F32, &Device::Cpu);
        let short = PackedDecoder::load(short, &config(), Kernels::Fused).unwrap();
        let ids = text(7, 1);
        let expected = decoder().forward(&[alone(&ids)]).unwrap();
        assert_close(&short.forward(&[alone(&ids)]).unwrap()[0], &expected[0]);
    }

    /// Names as transformers writes them.
    pub(in crate::model) fn random_weights(config: &DecoderConfig) -> HashMap<String, Tensor> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let (q, kv) =
            (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        let mut weights = DrawnWeights::new("model.");
        weights.add("embed_tokens.weight", &[config.vocab_size, d]);
        weights.add("norm.weight", &[d]);
        for layer in 0..config.num_hidden_layers {
            for (name, rows, columns) in [
                ("self_attn.q_proj", q, d),
                ("self_attn.k_proj", kv, d),
                ("self_attn.v_proj", kv, d),
                ("self_attn.o_proj", d, q),
                ("mlp.gate_proj", wide, d),
                ("mlp.up_proj", wide, d),
                ("mlp.down_proj", d, wide),
            ] {
                weights.add(format!("layers.{layer}.{name}.weight"), &[rows, columns]);
            }
            for (name, rows) in [("q_proj", q), ("k_proj", kv), ("v_proj", kv)] {
                weights.add(format!("layers.{layer}.self_attn.{name}.bias"), &[rows]);
            }
            for name in ["input_layernorm", "post_attention_layernorm"] {
                weights.add(format!("layers.{layer}.{name}.weight"), &[d]);
            }
        }
        weights.done()
    }
}
