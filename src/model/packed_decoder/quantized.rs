use std::sync::Arc;

use candle_core::quantized::QTensor;
use candle_core::{DType, Result, Tensor, bail};
use candle_nn::RmsNorm;

use super::weights::{Projection, Words};
use super::{Layer, PackedDecoder};
use crate::model::decoder_config::DecoderConfig;
use crate::model::gguf::Tensors;
use crate::model::kernels::Kernels;
use crate::model::rope;

impl PackedDecoder {
    /// Of a GGUF file's tensors, matrices in the blocks in which they are; rows are computed in float32.
    pub(in crate::model) fn load_quantized(tensors: &Tensors, config: &DecoderConfig) -> Result<Self> {
        let device = tensors.device();
        let mut frequencies = rope::row(&config.frequencies(), DType::F32, device)?;
        if let Some(factors) = tensors.find("rope_freqs.weight") {
            frequencies = frequencies.broadcast_div(&factors.dequantize(device)?.flatten_all()?)?;
        }
        Ok(Self {
            words: Words::Quantized(matrix(tensors, "token_embd", config.vocab_size, config.hidden_size)?),
            layers: (0..config.num_hidden_layers)
                .map(|index| Layer::load_quantized(tensors, index, config))
                .collect::<Result<_>>()?,
            norm: norm(tensors, "output_norm", config)?,
            frequencies,
            kernels: Kernels::Fused,
        })
    }

    /// The file's own head, or the word embeddings where it has none.
    pub(in crate::model) fn quantized_head(
        &self,
        tensors: &Tensors,
        config: &DecoderConfig,
    ) -> Result<Projection> {
        match tensors.find("output.weight") {
            None => self.words.tied_head(),
            Some(_) => whole(tensors, "output", config.vocab_size, config.hidden_size),
        }
    }
}

impl Layer {
    fn load_quantized(tensors: &Tensors, index: usize, config: &DecoderConfig) -> Result<Self> {
        let (d, wide) = (config.hidden_size, config.intermediate_size);
        let (heads, key_value_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let name = |part: &str| format!("blk.{index}.{part}");
        let parts = [
            ("attn_q", heads, config.query_scale()),
            ("attn_k", key_value_heads, 1.0),
            ("attn_v", key_value_heads, 1.0),
        ];
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for (part, heads, scale) in parts {
            let rows = heads * config.head_dim;
            weights.push((matrix(tensors, &name(part), rows, d)?, scale));
            if config.qkv_bias {
                biases.push((vector(tensors, &format!("{}.bias", name(part)), rows)? * scale)?);
            }
        }
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0)?) };
        Ok(Self {
            input_norm: norm(tensors, &name("attn_norm"), config)?,
            qkv: Projection::quantized(weights, bias)?,
            attention_output: whole(tensors, &name("attn_output"), d, heads * config.head_dim)?,
            output_norm: norm(tensors, &name("ffn_norm"), config)?,
            gate: whole(tensors, &name("ffn_gate"), wide, d)?,
            up: whole(tensors, &name("ffn_up"), wide, d)?,
            down: whole(tensors, &name("ffn_down"), d, wide)?,
            heads,
            key_value_heads,
            kernels: Kernels::Fused,
        })
    }
}

fn whole(tensors: &Tensors, name: &str, rows: usize, columns: usize) -> Result<Projection> {
    Projection::quantized(vec![(matrix(tensors, name, rows, columns)?, 1.0)], None)
}

fn matrix(tensors: &Tensors, name: &str, rows: usize, columns: usize) -> Result<Arc<QTensor>> {
    sized(tensors, &format!("{name}.weight"), &[rows, columns])
}

fn norm(tensors: &Tensors, name: &str, config: &DecoderConfig) -> Result<RmsNorm> {
    Ok(RmsNorm::new(vector(tensors, &format!("{name}.weight"), config.hidden_size)?, config.rms_norm_eps))
}

fn vector(tensors: &Tensors, name: &str, length: usize) -> Result<Tensor> {
    sized(tensors, name, &[length])?.dequantize(tensors.device())
}

fn sized(tensors: &Tensors, name: &str, shape: &[usize]) -> Result<Arc<QTensor>> {
    match tensors.find(name) {
        None => bail!("tensor {name} is missing"),
        Some(tensor) if tensor.shape().dims() != shape => {
            bail!("tensor {name} is {:?}; allowed: {shape:?}", tensor.shape().dims())
        }
        Some(tensor) => Ok(tensor),
    }
}
