use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use candle_nn::{LayerNorm, Module, RmsNorm, ops, rotary_emb};

/// How the parts of a network are computed that candle has in one piece.
///
/// The fused forms are quick and have no gradient; the others are the same functions written out, and have one. A
/// network is written once, over either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kernels {
    Fused,
    Differentiable,
}

impl Kernels {
    /// x / √(mean x² + ε) · weight, row by row.
    pub(super) fn rms_norm(self, norm: &RmsNorm, rows: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused => norm.forward(rows),
            Self::Differentiable => norm.forward_diff(rows),
        }
    }

    /// (x − mean x) / √(var x + ε) · weight + bias, row by row.
    pub(super) fn layer_norm(self, norm: &LayerNorm, rows: &Tensor) -> Result<Tensor> {
        if self == Self::Fused {
            return norm.forward(rows);
        }
        let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed =
            centred.broadcast_div(&(variance + norm.eps())?.sqrt()?)?.broadcast_mul(norm.weight())?;
        match norm.bias() {
            Some(bias) => normed.broadcast_add(bias),
            None => Ok(normed),
        }
    }

    /// softmax over the last dimension. The largest score, which is taken off so that no exponential overflows, is a
    /// constant to the gradient: any constant gives the same weights.
    pub(super) fn softmax(self, scores: &Tensor) -> Result<Tensor> {
        match self {
            Self::Fused => return ops::softmax_last_dim(scores),
            // Of all that is written out this would take most of the time.
            Self::Differentiable if scores.device().is_cpu() => {
                return scores.contiguous()?.apply_op1(Softmax);
            }
            Self::Differentiable => {}
        }
        let largest = scores.max_keepdim(D::Minus1)?.detach();
        let exponentials = scores.broadcast_sub(&largest)?.exp()?;
        exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
    }

    /// Rotary positions: (u, v) ↦ (u cos − v sin, v cos + u sin) for the two halves of each head's row. (tokens, heads,
    /// w) and cosines and sines of (tokens, w/2).
    pub(super) fn rope(self, rows: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        if self == Self::Fused {
            return rotary_emb::rope_thd(&rows.contiguous()?.unsqueeze(0)?, cos, sin)?.squeeze(0);
        }
        let half = rows.dim(D::Minus1)? / 2;
        let (u, v) = (rows.narrow(D::Minus1, 0, half)?, rows.narrow(D::Minus1, half, half)?);
        let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
        let left = (u.broadcast_mul(&cos)? - v.broadcast_mul(&sin)?)?;
        let right = (v.broadcast_mul(&cos)? + u.broadcast_mul(&sin)?)?;
        Tensor::cat(&[left, right], D::Minus1)
    }
}

/// softmax over the last dimension on a CPU, with its gradient: p ∘ (g − pᵀg), row by row.
struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax-with-gradient"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (Some((from, to)), Some(&width)) = (layout.contiguous_offsets(), layout.dims().last()) else {
            candle_core::bail!("softmax takes contiguous rows")
        };
        macro_rules! rows {
            ($scores:expr, $float:ty) => {{
                let mut weights = $scores[from..to].to_vec();
                for row in weights.chunks_exact_mut(width.max(1)) {
                    let largest = row.iter().copied().fold(<$float>::NEG_INFINITY, <$float>::max);
                    row.iter_mut().for_each(|score| *score = (*score - largest).exp());
                    let sum: $float = row.iter().sum();
                    row.iter_mut().for_each(|weight| *weight /= sum);
                }
                weights
            }};
        }
        let weights = match scores {
            CpuStorage::F32(scores) => CpuStorage::F32(rows!(scores, f32)),
            CpuStorage::F64(scores) => CpuStorage::F64(rows!(scores, f64)),
            _ => candle_core::bail!("softmax takes f32 or f64"),
        };
        Ok((weights, layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, weights: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let along = (weights * gradient)?.sum_keepdim(D::Minus1)?;
        (weights * gradient.broadcast_sub(&along)?).map(Some)
    }
}
