//! Weight matrices of a decoder, as floats or in quantised blocks.

use std::sync::Arc;

use candle_core::quantized::{QMatMul, QTensor};
use candle_core::{DType, Module, Result, Tensor};
use candle_nn::Linear;

use crate::model::kernels::one_row;

/// x ↦ x Wᵀ + b.
pub(in crate::model) enum Projection {
    Float(Linear),
    Quantized(Blocks),
}

/// W as matrices below each other, each in blocks of its own kind.
pub(in crate::model) struct Blocks {
    parts: Vec<Part>,
    bias: Option<Tensor>,
}

struct Part {
    weight: QMatMul,
    /// By which its rows are multiplied.
    scale: f64,
}

impl Projection {
    /// Of blocks, with factors for the rows of each matrix; `bias` has them already.
    pub(super) fn quantized(parts: Vec<(Arc<QTensor>, f64)>, bias: Option<Tensor>) -> Result<Self> {
        let part = |(weight, scale)| Ok(Part { weight: QMatMul::from_arc(weight)?, scale });
        Ok(Self::Quantized(Blocks { parts: parts.into_iter().map(part).collect::<Result<_>>()?, bias }))
    }

    /// (rows, columns of W) → (rows, rows of W).
    pub(in crate::model) fn forward(&self, rows: &Tensor) -> Result<Tensor> {
        let blocks = match self {
            Self::Float(linear) => {
                return match (one_row(rows, linear.weight())?, linear.bias()) {
                    (None, _) => linear.forward(rows),
                    (Some(product), None) => Ok(product),
                    (Some(product), Some(bias)) => product.broadcast_add(bias),
                };
            }
            Self::Quantized(blocks) => blocks,
        };
        let rows = rows.contiguous()?;
        let product = |part: &Part| match part.weight.forward(&rows)? {
            product if part.scale == 1.0 => Ok(product),
            product => product * part.scale,
        };
        let product = match blocks.parts.as_slice() {
            [only] => product(only)?,
            parts => Tensor::cat(&parts.iter().map(product).collect::<Result<Vec<_>>>()?, 1)?,
        };
        match &blocks.bias {
            Some(bias) => product.broadcast_add(bias),
            None => Ok(product),
        }
    }
}

/// Word embeddings, (vocabulary, d).
pub(in crate::model) enum Words {
    Float(Tensor),
    Quantized(Arc<QTensor>),
}

impl Words {
    /// (tokens, d) of token ids.
    pub(super) fn rows(&self, ids: &Tensor) -> Result<Tensor> {
        match self {
            Self::Float(words) => words.index_select(ids, 0),
            Self::Quantized(words) => words.embedding(ids),
        }
    }

    /// What rows are computed in.
    pub(super) fn dtype(&self) -> DType {
        match self {
            Self::Float(words) => words.dtype(),
            Self::Quantized(_) => DType::F32,
        }
    }

    /// Next-token logits of rows where the head is tied to the embeddings.
    pub(super) fn tied_head(&self) -> Result<Projection> {
        match self {
            Self::Float(words) => Ok(Projection::Float(Linear::new(words.clone(), None))),
            Self::Quantized(words) => Projection::quantized(vec![(words.clone(), 1.0)], None),
        }
    }
}
