use candle_core::{D, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{Config, HiddenAct};

use super::kernels::Kernels;

/// BERT over packed texts: token rows of all texts lie one after the other, without padding, so that every product but
/// attention's sees one (tokens × width) matrix; attention goes text by text.
///
/// Where candle-transformers' `BertModel` pads, masks, and makes softmax and GELU of several passes on one core, this
/// is several times as fast on a CPU. Devlin et al. 2019, §3; post-norm, absolute positions, token type 0.
pub(super) struct PackedBert {
    words: Tensor,
    /// Position and token type 0, added.
    positions: Tensor,
    norm: PostNorm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Query (divided by √head width), key and value in one product.
    qkv: Tensor,
    qkv_bias: Tensor,
    attention_output: Tensor,
    attention_norm: PostNorm,
    up: Tensor,
    up_bias: Tensor,
    activation: HiddenAct,
    down: Tensor,
    norm: PostNorm,
    heads: usize,
    kernels: Kernels,
}

/// LayerNorm(x + bias + residual).
struct PostNorm {
    /// Bias, the norm's weight and its bias, (3, d).
    parameters: Tensor,
    epsilon: f64,
    kernels: Kernels,
}

impl PackedBert {
    /// Of weights that may themselves be computed: with differentiable kernels gradients reach what they came from.
    pub(super) fn load(vb: VarBuilder<'_>, config: &Config, kernels: Kernels) -> Result<Self> {
        let vb =
            if vb.contains_tensor("bert.embeddings.word_embeddings.weight") { vb.pp("bert") } else { vb };
        let (d, embeddings) = (config.hidden_size, vb.pp("embeddings"));
        let words = embeddings.get((config.vocab_size, d), "word_embeddings.weight")?;
        let positions = embeddings.get((config.max_position_embeddings, d), "position_embeddings.weight")?;
        let types = embeddings.get((config.type_vocab_size, d), "token_type_embeddings.weight")?;
        let positions = positions.broadcast_add(&types.narrow(0, 0, 1)?)?;
        let none = positions.get(0)?.zeros_like()?;
        let norm = PostNorm::load(&embeddings, none, config.layer_norm_eps, kernels)?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(vb.pp(format!("encoder.layer.{index}")), config, kernels))
            .collect::<Result<_>>()?;
        Ok(Self { words, positions, norm, layers })
    }

    /// The last layer's rows of each text, (tokens, d) a text; no text may be empty.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Tensor>> {
        let device = self.words.device();
        let lengths: Vec<_> = texts.iter().map(|text| text.len()).collect();
        let ids = Tensor::new(texts.concat(), device)?;
        let positions: Vec<_> = lengths.iter().flat_map(|&length| 0..length as u32).collect();
        let positions = Tensor::new(positions, device)?;
        let words = self.words.index_select(&ids, 0)?;
        let mut rows = self.norm.forward(words, &self.positions.index_select(&positions, 0)?)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, &lengths)?;
        }
        split(&rows, &lengths)
    }
}

impl Layer {
    fn load(vb: VarBuilder<'_>, config: &Config, kernels: Kernels) -> Result<Self> {
        let (d, wide, epsilon) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let heads = config.num_attention_heads;
        let part = |name: &str| {
            let part = vb.pp("attention.self").pp(name);
            Ok::<_, candle_core::Error>((part.get((d, d), "weight")?, part.get(d, "bias")?))
        };
        let scale = 1.0 / ((d / heads) as f64).sqrt();
        let ((q, q_bias), (k, k_bias), (v, v_bias)) = (part("query")?, part("key")?, part("value")?);
        let weight = Tensor::cat(&[(q * scale)?, k, v], 0)?;
        let bias = Tensor::cat(&[(q_bias * scale)?, k_bias, v_bias], 0)?;
        let (output, down) = (vb.pp("attention.output"), vb.pp("output"));
        Ok(Self {
            qkv: weight,
            qkv_bias: bias,
            attention_output: output.get((d, d), "dense.weight")?,
            attention_norm: PostNorm::load(&output, output.get(d, "dense.bias")?, epsilon, kernels)?,
            up: vb.get((wide, d), "intermediate.dense.weight")?,
            up_bias: vb.get(wide, "intermediate.dense.bias")?,
            activation: config.hidden_act,
            down: down.get((d, wide), "dense.weight")?,
            norm: PostNorm::load(&down, down.get(d, "dense.bias")?, epsilon, kernels)?,
            heads,
            kernels,
        })
    }

    fn forward(&self, rows: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let qkv = self.kernels.add_bias(rows.matmul(&self.qkv.t()?)?, &self.qkv_bias)?;
        let attended = self.attend(&qkv, lengths)?.matmul(&self.attention_output.t()?)?;
        let rows = self.attention_norm.forward(attended, rows)?;
        let wide = rows.matmul(&self.up.t()?)?;
        let wide = match self.activation {
            HiddenAct::Gelu => self.kernels.bias_gelu(wide, &self.up_bias)?,
            HiddenAct::GeluApproximate => wide.broadcast_add(&self.up_bias)?.gelu()?,
            HiddenAct::Relu => wide.broadcast_add(&self.up_bias)?.relu()?,
        };
        self.norm.forward(wide.matmul(&self.down.t()?)?, &rows)
    }

    /// softmax(QKᵀ)V within each text, heads side by side.
    fn attend(&self, qkv: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let d = qkv.dim(1)? / 3;
        let mut attended = Vec::with_capacity(lengths.len());
        for rows in split(qkv, lengths)? {
            let tokens = rows.dim(0)?;
            let parts = rows.reshape((tokens, 3, self.heads, d / self.heads))?;
            // (heads, tokens, head width), as a view: the product takes its strides.
            let part = |index: usize| parts.narrow(1, index, 1)?.squeeze(1)?.transpose(0, 1);
            let scores = part(0)?.matmul(&part(1)?.transpose(1, 2)?)?;
            let weights = self.kernels.softmax(scores, None)?;
            attended.push(weights.matmul(&part(2)?)?.transpose(0, 1)?.flatten_from(D::Minus2)?);
        }
        Tensor::cat(&attended, 0)
    }
}

impl PostNorm {
    /// The norm beside what it follows.
    fn load(vb: &VarBuilder<'_>, bias: Tensor, epsilon: f64, kernels: Kernels) -> Result<Self> {
        let (norm, d) = (vb.pp("LayerNorm"), bias.dim(0)?);
        let parameters = Tensor::stack(&[bias, norm.get(d, "weight")?, norm.get(d, "bias")?], 0)?;
        Ok(Self { parameters, epsilon, kernels })
    }

    fn forward(&self, x: Tensor, residual: &Tensor) -> Result<Tensor> {
        self.kernels.add_norm(x, residual, &self.parameters, self.epsilon)
    }
}

fn split(rows: &Tensor, lengths: &[usize]) -> Result<Vec<Tensor>> {
    let mut start = 0;
    lengths
        .iter()
        .map(|&length| {
            let part = rows.narrow(0, start, length);
            start += length;
            part
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device};
    use candle_transformers::models::bert::BertModel;

    use super::*;
    use crate::model::drawn_weights::DrawnWeights;

    pub(in crate::model) fn config() -> Config {
        Config {
            vocab_size: 50,
            hidden_size: 24,
            num_hidden_layers: 3,
            num_attention_heads: 4,
            intermediate_size: 40,
            max_position_embeddings: 32,
            ..Config::default()
        }
    }

    /// Against candle-transformers' padded BERT, with the same random weights.
    #[test]
    fn packed_rows_are_those_of_the_padded_model() {
        let config = config();
        for hidden_act in [HiddenAct::Gelu, HiddenAct::GeluApproximate, HiddenAct::Relu] {
            let config = Config { hidden_act, ..config.clone() };
            let weights = || VarBuilder::from_tensors(random_weights(&config), DType::F32, &Device::Cpu);
            let packed = PackedBert::load(weights(), &config, Kernels::Fused).unwrap();
            let padded = BertModel::load(weights(), &config).unwrap();
            let texts: [&[u32]; 3] = [&[2, 7, 3], &[2, 9, 11, 30, 41, 5, 3], &[2]];
            for (text, rows) in texts.iter().zip(packed.forward(&texts).unwrap()) {
                let ids = Tensor::new(*text, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
                let expected =
                    padded.forward(&ids, &ids.zeros_like().unwrap(), None).unwrap().squeeze(0).unwrap();
                let difference = (rows - expected).unwrap().abs().unwrap().max_all().unwrap();
                assert!(difference.to_scalar::<f32>().unwrap() <= 1e-5, "{difference}");
            }
        }
    }

    /// Names as transformers writes them.
    pub(in crate::model) fn random_weights(config: &Config) -> HashMap<String, Tensor> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let mut weights = DrawnWeights::new("");
        for (name, rows) in [
            ("word_embeddings", config.vocab_size),
            ("position_embeddings", config.max_position_embeddings),
            ("token_type_embeddings", config.type_vocab_size),
        ] {
            weights.add(format!("embeddings.{name}.weight"), &[rows, d]);
        }
        weights.add("embeddings.LayerNorm.weight", &[d]);
        weights.add("embeddings.LayerNorm.bias", &[d]);
        for layer in 0..config.num_hidden_layers {
            for (name, rows, columns) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", wide, d),
                ("output.dense", d, wide),
            ] {
                weights.add(format!("encoder.layer.{layer}.{name}.weight"), &[rows, columns]);
                weights.add(format!("encoder.layer.{layer}.{name}.bias"), &[rows]);
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                weights.add(format!("encoder.layer.{layer}.{name}.weight"), &[d]);
                weights.add(format!("encoder.layer.{layer}.{name}.bias"), &[d]);
            }
        }
        weights.done()
    }
}
