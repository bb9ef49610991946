use candle_core::{CpuStorage, D, InplaceOp2, Layout, Result, Tensor};
use candle_nn::{LayerNorm, Linear, Module, VarBuilder, layer_norm, linear};
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
    norm: LayerNorm,
    layers: Vec<Layer>,
    kernels: Kernels,
}

struct Layer {
    /// Query (divided by √head width), key and value in one product.
    qkv: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Tensor,
    up_bias: Tensor,
    activation: HiddenAct,
    down: Linear,
    norm: LayerNorm,
    heads: usize,
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
        let norm = layer_norm(d, config.layer_norm_eps, embeddings.pp("LayerNorm"))?;
        let layers = (0..config.num_hidden_layers)
            .map(|index| Layer::load(vb.pp(format!("encoder.layer.{index}")), config, kernels))
            .collect::<Result<_>>()?;
        Ok(Self { words, positions, norm, layers, kernels })
    }

    /// The last layer's rows of each text, (tokens, d) a text; no text may be empty.
    pub(super) fn forward(&self, texts: &[&[u32]]) -> Result<Vec<Tensor>> {
        let device = self.words.device();
        let lengths: Vec<_> = texts.iter().map(|text| text.len()).collect();
        let ids = Tensor::new(texts.concat(), device)?;
        let positions: Vec<_> = lengths.iter().flat_map(|&length| 0..length as u32).collect();
        let positions = Tensor::new(positions, device)?;
        let rows = (self.words.index_select(&ids, 0)? + self.positions.index_select(&positions, 0)?)?;
        let mut rows = self.kernels.layer_norm(&self.norm, &rows)?;
        for layer in &self.layers {
            rows = layer.forward(&rows, &lengths)?;
        }
        split(&rows, &lengths)
    }
}

impl Layer {
    fn load(vb: VarBuilder<'_>, config: &Config, kernels: Kernels) -> Result<Self> {
        let (d, wide, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let heads = config.num_attention_heads;
        let part = |name: &str| {
            let part = vb.pp("attention.self").pp(name);
            Ok::<_, candle_core::Error>((part.get((d, d), "weight")?, part.get(d, "bias")?))
        };
        let scale = 1.0 / ((d / heads) as f64).sqrt();
        let ((q, q_bias), (k, k_bias), (v, v_bias)) = (part("query")?, part("key")?, part("value")?);
        let weight = Tensor::cat(&[(q * scale)?, k, v], 0)?;
        let bias = Tensor::cat(&[(q_bias * scale)?, k_bias, v_bias], 0)?;
        Ok(Self {
            qkv: Linear::new(weight, Some(bias)),
            attention_output: linear(d, d, vb.pp("attention.output.dense"))?,
            attention_norm: layer_norm(d, eps, vb.pp("attention.output.LayerNorm"))?,
            up: vb.get((wide, d), "intermediate.dense.weight")?,
            up_bias: vb.get(wide, "intermediate.dense.bias")?,
            activation: config.hidden_act,
            down: linear(wide, d, vb.pp("output.dense"))?,
            norm: layer_norm(d, eps, vb.pp("output.LayerNorm"))?,
            heads,
            kernels,
        })
    }

    fn forward(&self, rows: &Tensor, lengths: &[usize]) -> Result<Tensor> {
        let attended = self.attention_output.forward(&self.attend(&self.qkv.forward(rows)?, lengths)?)?;
        let rows = self.kernels.layer_norm(&self.attention_norm, &(attended + rows)?)?;
        let wide = rows.matmul(&self.up.t()?)?;
        let wide = match self.activation {
            HiddenAct::Gelu if self.kernels == Kernels::Differentiable => {
                wide.broadcast_add(&self.up_bias)?.gelu_erf()?
            }
            HiddenAct::Gelu => {
                wide.inplace_op2(&self.up_bias, &BiasGelu)?;
                wide
            }
            HiddenAct::GeluApproximate => wide.broadcast_add(&self.up_bias)?.gelu()?,
            HiddenAct::Relu => wide.broadcast_add(&self.up_bias)?.relu()?,
        };
        self.kernels.layer_norm(&self.norm, &(self.down.forward(&wide)? + rows)?)
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
            let weights = self.kernels.softmax(&scores, None)?;
            attended.push(weights.matmul(&part(2)?)?.transpose(0, 1)?.flatten_from(D::Minus2)?);
        }
        Tensor::cat(&attended, 0)
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

/// x ← GELU(x + b) in place over f32 rows; the exact form, x Φ(x).
struct BiasGelu;

impl InplaceOp2 for BiasGelu {
    fn name(&self) -> &'static str {
        "bias-gelu"
    }

    fn cpu_fwd(
        &self,
        x: &mut CpuStorage,
        x_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<()> {
        let (CpuStorage::F32(x), CpuStorage::F32(b)) = (x, b) else {
            candle_core::bail!("bias-gelu takes f32")
        };
        let (Some((from, to)), Some((b_from, b_to))) =
            (x_layout.contiguous_offsets(), b_layout.contiguous_offsets())
        else {
            candle_core::bail!("bias-gelu takes contiguous tensors")
        };
        let b = &b[b_from..b_to];
        for row in x[from..to].chunks_exact_mut(b.len()) {
            row.iter_mut().zip(b).for_each(|(x, b)| *x = gelu(*x + b));
        }
        Ok(())
    }
}

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// The error function by the rational approximation of XLA and Eigen (odd over even polynomial on \[−4, 4\]), without
/// branches, so that it is computed for several numbers at once; within 5e-7 of the exact value.
fn erf(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_3e-10,
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ];
    const Q: [f32; 5] = [-1.456_607_2e-5, -2.133_740_6e-4, -1.682_827e-3, -7.373_329e-3, -1.426_474e-2];
    let x = x.clamp(-4.0, 4.0);
    let x2 = x * x;
    let p = P.iter().skip(1).fold(P[0], |sum, c| sum * x2 + c);
    let q = Q.iter().skip(1).fold(Q[0], |sum, c| sum * x2 + c);
    x * p / q
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashMap;

    use candle_core::{DType, Device};
    use candle_transformers::models::bert::BertModel;

    use super::*;

    /// erf by its Maclaurin series in f64; on \[−4, 4\] cancellation and the terms left out stay below 1e-9.
    fn exact_erf(x: f64) -> f64 {
        let (mut term, mut sum) = (x, x);
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        sum * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn erf_is_within_5e_7_of_its_series() {
        for step in -4000..=4000 {
            let x = step as f32 * 1e-3;
            let error = (f64::from(erf(x)) - exact_erf(f64::from(x))).abs();
            assert!(error <= 5e-7, "{error} at {x}");
        }
        for (x, expected) in [(-9.0, -1.0), (9.0, 1.0), (f32::INFINITY, 1.0)] {
            assert!((erf(x) - expected).abs() <= 5e-7, "{x}");
        }
        assert!(erf(f32::NAN).is_nan());
    }

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

    /// Weights of ±½ drawn by a linear congruential generator; names as transformers writes them.
    pub(in crate::model) fn random_weights(config: &Config) -> HashMap<String, Tensor> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let mut state = 1u32;
        let mut weights = HashMap::new();
        let mut add = |name: String, shape: &[usize]| {
            let mut draw = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 24) as f32 - 0.5
            };
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw()).collect();
            weights.insert(name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap());
        };
        for (name, rows) in [
            ("word_embeddings", config.vocab_size),
            ("position_embeddings", config.max_position_embeddings),
            ("token_type_embeddings", config.type_vocab_size),
        ] {
            add(format!("embeddings.{name}.weight"), &[rows, d]);
        }
        add("embeddings.LayerNorm.weight".into(), &[d]);
        add("embeddings.LayerNorm.bias".into(), &[d]);
        for layer in 0..config.num_hidden_layers {
            for (name, rows, columns) in [
                ("attention.self.query", d, d),
                ("attention.self.key", d, d),
                ("attention.self.value", d, d),
                ("attention.output.dense", d, d),
                ("intermediate.dense", wide, d),
                ("output.dense", d, wide),
            ] {
                add(format!("encoder.layer.{layer}.{name}.weight"), &[rows, columns]);
                add(format!("encoder.layer.{layer}.{name}.bias"), &[rows]);
            }
            for name in ["attention.output.LayerNorm", "output.LayerNorm"] {
                add(format!("encoder.layer.{layer}.{name}.weight"), &[d]);
                add(format!("encoder.layer.{layer}.{name}.bias"), &[d]);
            }
        }
        weights
    }
}
