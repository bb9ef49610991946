mod one_row;
mod rows;

use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, CustomOp1, D, DType, Layout, Result, Shape, Storage, Tensor};
use candle_nn::{Module, RmsNorm, ops, rotary_emb};

use super::float_type::at_least_f32;

pub(super) use self::one_row::one_row;

/// Numbers that are worth a task of their own.
const TASK: usize = 1 << 15;
/// Partial results that a reduction keeps, so that several numbers are taken at once: addition of floats is not reordered for us.
const LANES: usize = 32;

/// How the parts of a network are computed that lie between its products.
///
/// The fused forms are quick and have no gradient: ours in place on a CPU ([`rows`]), candle's elsewhere. Where gradients are
/// wanted they get one of their own on a CPU, where they take much of the time, or are written out. A network is written
/// once, over either.
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

    /// LayerNorm(x + bias + residual), row by row: (u − mean u) / √(var u + ε) · weight + norm's bias. `parameters` of (3, d)
    /// are bias, weight and norm's bias.
    pub(super) fn add_norm(
        self,
        x: Tensor,
        residual: &Tensor,
        parameters: &Tensor,
        epsilon: f64,
    ) -> Result<Tensor> {
        if self.in_place(&x) {
            rows::add_norm(&x, residual, parameters, epsilon as f32)?;
            return Ok(x);
        }
        let dtype = x.dtype();
        let wide = at_least_f32(dtype);
        let parameter = |index: usize| parameters.get(index)?.to_dtype(wide);
        let sum = x.to_dtype(wide)?.broadcast_add(&parameter(0)?)?.add(&residual.to_dtype(wide)?)?;
        let centred = sum.broadcast_sub(&sum.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normed = centred.broadcast_div(&(variance + epsilon)?.sqrt()?)?;
        normed.broadcast_mul(&parameter(1)?)?.broadcast_add(&parameter(2)?)?.to_dtype(dtype)
    }

    /// x + bias.
    pub(super) fn add_bias(self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        if self.in_place(&x) {
            rows::add_bias(&x, bias)?;
            return Ok(x);
        }
        x.broadcast_add(bias)
    }

    /// GELU(x + bias), the exact form x Φ(x).
    pub(super) fn bias_gelu(self, x: Tensor, bias: &Tensor) -> Result<Tensor> {
        if self.in_place(&x) {
            rows::bias_gelu(&x, bias)?;
            return Ok(x);
        }
        x.broadcast_add(bias)?.gelu_erf()
    }

    /// SiLU(gate) ⊙ up.
    pub(super) fn silu_times(self, gate: Tensor, up: &Tensor) -> Result<Tensor> {
        if self.in_place(&gate) {
            rows::silu_times(&gate, up)?;
            return Ok(gate);
        }
        gate.silu()? * up
    }

    /// softmax of scores + mask over the last dimension; the mask of (rows, keys) is repeated. The gradient by the scores
    /// is p ∘ (g − pᵀg), row by row, and none is taken by the mask.
    pub(super) fn softmax(self, scores: Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        if self.in_place(&scores) {
            rows::softmax(&scores, mask)?;
            return Ok(scores);
        }
        let own = mask.cloned();
        let fused = move |scores: &Tensor| match &own {
            Some(mask) => ops::softmax_last_dim(&scores.broadcast_add(mask)?),
            None => ops::softmax_last_dim(scores),
        };
        match self {
            Self::Fused => fused(&scores),
            Self::Differentiable if scores.device().is_cpu() => {
                let backward = |weights: &Tensor, gradient: &Tensor| {
                    let along = (weights * gradient)?.sum_keepdim(D::Minus1)?;
                    weights * gradient.broadcast_sub(&along)?
                };
                scores.contiguous()?.apply_op1(WithGradient { forward: fused, backward })
            }
            Self::Differentiable => written_out::softmax(&scores, mask),
        }
    }

    /// Rotary positions: (u, v) ↦ (u cos − v sin, v cos + u sin) for the two halves of each head's row. (tokens, heads,
    /// w) and cosines and sines of (tokens, w/2). A gradient is turned back by the opposite angle.
    pub(super) fn rope(self, rows: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let turned = |rows: &Tensor, cos: &Tensor, sin: &Tensor| {
            rotary_emb::rope_thd(&rows.contiguous()?.unsqueeze(0)?, cos, sin)?.squeeze(0)
        };
        match self {
            Self::Fused => turned(rows, cos, sin),
            Self::Differentiable if rows.device().is_cpu() => {
                let (cos, sin, back) = (cos.clone(), sin.clone(), sin.neg()?);
                let (forward_cos, forward_sin) = (cos.clone(), sin);
                rows.contiguous()?.apply_op1(WithGradient {
                    forward: move |rows: &Tensor| turned(rows, &forward_cos, &forward_sin),
                    backward: move |_: &Tensor, gradient: &Tensor| turned(gradient, &cos, &back),
                })
            }
            Self::Differentiable => written_out::rope(rows, cos, sin),
        }
    }

    /// Whether x may be changed where it lies.
    fn in_place(self, x: &Tensor) -> bool {
        self == Self::Fused && is_plain(x)
    }
}

/// Whether these are float32 numbers that lie one after the other before a CPU.
fn is_plain(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32 && x.is_contiguous()
}

/// The numbers of such a tensor.
fn numbers<'a>(operation: &str, storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(numbers), Some((from, to))) => Ok(&numbers[from..to]),
        _ => candle_core::bail!("{operation} takes contiguous float32 tensors on a CPU"),
    }
}

/// The same of candle's own operations, each of which has a gradient.
mod written_out {
    use super::{D, Result, Tensor};

    /// The largest score, which is taken off so that no exponential overflows, is a constant to the gradient: any
    /// constant gives the same weights.
    pub(super) fn softmax(scores: &Tensor, mask: Option<&Tensor>) -> Result<Tensor> {
        let scores = mask.map_or_else(|| Ok(scores.clone()), |mask| scores.broadcast_add(mask))?;
        let largest = scores.max_keepdim(D::Minus1)?.detach();
        let exponentials = scores.broadcast_sub(&largest)?.exp()?;
        exponentials.broadcast_div(&exponentials.sum_keepdim(D::Minus1)?)
    }

    pub(super) fn rope(rows: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
        let half = rows.dim(D::Minus1)? / 2;
        let (u, v) = (rows.narrow(D::Minus1, 0, half)?, rows.narrow(D::Minus1, half, half)?);
        let (cos, sin) = (cos.unsqueeze(1)?, sin.unsqueeze(1)?);
        let left = (u.broadcast_mul(&cos)? - v.broadcast_mul(&sin)?)?;
        let right = (v.broadcast_mul(&cos)? + u.broadcast_mul(&sin)?)?;
        Tensor::cat(&[left, right], D::Minus1)
    }
}

/// A function of one tensor that candle cannot differentiate, with its gradient; on a CPU, of contiguous tensors.
struct WithGradient<F, B> {
    forward: F,
    /// The gradient by the argument, from the result and the gradient by that.
    backward: B,
}

impl<F, B> CustomOp1 for WithGradient<F, B>
where
    F: Fn(&Tensor) -> Result<Tensor>,
    B: Fn(&Tensor, &Tensor) -> Result<Tensor>,
{
    fn name(&self) -> &'static str {
        "with-gradient"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        if layout.start_offset() != 0 || !layout.is_contiguous() {
            candle_core::bail!("{} takes whole contiguous tensors", self.name())
        }
        let (storage, shape) = (Storage::Cpu(storage.clone()), layout.shape().clone());
        let result =
            (self.forward)(&Tensor::from_storage(storage, shape, BackpropOp::none(), false))?.contiguous()?;
        let shape = result.shape().clone();
        match &*result.storage_and_layout().0 {
            Storage::Cpu(storage) => Ok((storage.clone(), shape)),
            _ => candle_core::bail!("{} stays on the CPU", self.name()),
        }
    }

    fn bwd(&self, _: &Tensor, result: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(&result.detach(), gradient).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn rows(shape: &[usize]) -> Var {
        let count = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..count).map(|n| ((n * n + 3 * n) % 17) as f32 / 5.0 - 1.5).collect();
        Var::from_tensor(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap()).unwrap()
    }

    /// The value and the gradient of Σ f² / 2 + Σ f.
    fn of(rows: &Var, f: impl Fn(&Tensor) -> Tensor) -> [Vec<f32>; 2] {
        let value = f(rows);
        let loss = (value.sqr().unwrap() / 2.0).unwrap() + &value;
        let gradients = loss.unwrap().sum_all().unwrap().backward().unwrap();
        [&value, gradients.get(rows).unwrap()].map(|t| t.flatten_all().unwrap().to_vec1().unwrap())
    }

    fn assert_close(one: [Vec<f32>; 2], other: [Vec<f32>; 2]) {
        for (one, other) in one.iter().flatten().zip(other.iter().flatten()) {
            assert!((one - other).abs() <= 1e-5, "{one} {other}");
        }
    }

    #[test]
    fn what_runs_on_a_gpu_is_what_runs_on_a_cpu() {
        let scores = rows(&[2, 3, 4]);
        let mask = Tensor::new(&[[0f32, 0.0, f32::NEG_INFINITY, f32::NEG_INFINITY]], &Device::Cpu).unwrap();
        for mask in [None, Some(&mask)] {
            let own = of(&scores, |scores| Kernels::Differentiable.softmax(scores.clone(), mask).unwrap());
            assert_close(own, of(&scores, |scores| written_out::softmax(scores, mask).unwrap()));
        }
        let (tokens, angles) = (rows(&[3, 2, 4]), rows(&[3, 2]));
        let (cos, sin) = (angles.cos().unwrap().detach(), angles.sin().unwrap().detach());
        let own = of(&tokens, |rows| Kernels::Differentiable.rope(rows, &cos, &sin).unwrap());
        assert_close(own, of(&tokens, |rows| written_out::rope(rows, &cos, &sin).unwrap()));
    }
}
