//! What is done to the rows between two products, on a CPU: float32, in place, rows spread over the threads.
//!
//! Each function is compiled for AVX2 and AVX-512 too, and `pulp` takes the best that the processor has; so the loops are
//! written to be computed for several numbers at once, without calls and branches. A row's result depends on that row alone.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

use candle_core::{CpuStorage, InplaceOp1, Layout, Result, Storage, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, TASK, numbers};

/// x ← softmax of x + mask over the last dimension; the mask of (rows, keys), 0 or −∞, is repeated for all rows of x.
pub(super) fn softmax(x: &Tensor, mask: Option<&Tensor>) -> Result<()> {
    match mask {
        None => over_rows(Softmax, x, []),
        Some(mask) => over_rows(MaskedSoftmax, x, [mask]),
    }
}

/// x ← LayerNorm(x + bias + residual); `parameters` has rows bias, weight and the norm's own bias.
pub(super) fn add_norm(x: &Tensor, residual: &Tensor, parameters: &Tensor, epsilon: f32) -> Result<()> {
    over_rows(AddNorm { epsilon }, x, [residual, parameters])
}

/// x ← x + bias.
pub(super) fn add_bias(x: &Tensor, bias: &Tensor) -> Result<()> {
    over_rows(AddBias, x, [bias])
}

/// x ← GELU(x + bias), the exact form x Φ(x).
pub(super) fn bias_gelu(x: &Tensor, bias: &Tensor) -> Result<()> {
    over_rows(BiasGelu, x, [bias])
}

/// x ← SiLU(x) ⊙ y, x / (1 + e⁻ˣ) ⊙ y.
pub(super) fn silu_times(x: &Tensor, y: &Tensor) -> Result<()> {
    over_rows(SiluTimes, x, [y])
}

/// A change of one row, given its index and the numbers of N other tensors. A trait and not a closure, since all of it has to be
/// inlined into the code that is compiled for one instruction set.
trait Change<const N: usize>: Copy + Sync {
    const NAME: &'static str;

    fn change(self, index: usize, row: &mut [f32], sources: [&[f32]; N]);
}

#[derive(Clone, Copy)]
struct Softmax;

impl Change<0> for Softmax {
    const NAME: &'static str = "softmax";

    #[inline(always)]
    fn change(self, _: usize, row: &mut [f32], []: [&[f32]; 0]) {
        let largest = fold(row, f32::NEG_INFINITY, |largest, x| if x > largest { x } else { largest });
        row.iter_mut().for_each(|x| *x = exp(*x - largest));
        let scale = 1.0 / sum(row, |x| x);
        row.iter_mut().for_each(|x| *x *= scale);
    }
}

#[derive(Clone, Copy)]
struct MaskedSoftmax;

impl Change<1> for MaskedSoftmax {
    const NAME: &'static str = "masked softmax";

    #[inline(always)]
    fn change(self, index: usize, row: &mut [f32], [masks]: [&[f32]; 1]) {
        let mask = &masks[index * row.len() % masks.len()..][..row.len()];
        row.iter_mut().zip(mask).for_each(|(x, m)| *x += m);
        Softmax.change(index, row, []);
    }
}

#[derive(Clone, Copy)]
struct AddNorm {
    epsilon: f32,
}

impl Change<2> for AddNorm {
    const NAME: &'static str = "add and norm";

    #[inline(always)]
    fn change(self, index: usize, row: &mut [f32], [residual, parameters]: [&[f32]; 2]) {
        let d = row.len();
        let residual = &residual[index * d..][..d];
        let (bias, rest) = parameters.split_at(d);
        let (weight, norm_bias) = rest.split_at(d);
        for ((x, r), b) in row.iter_mut().zip(residual).zip(bias) {
            *x += r + b;
        }
        let mean = sum(row, |x| x) / d as f32;
        let variance = sum(row, |x| (x - mean) * (x - mean)) / d as f32;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        for ((x, w), b) in row.iter_mut().zip(weight).zip(norm_bias) {
            *x = (*x - mean) * scale * w + b;
        }
    }
}

#[derive(Clone, Copy)]
struct AddBias;

impl Change<1> for AddBias {
    const NAME: &'static str = "add bias";

    #[inline(always)]
    fn change(self, _: usize, row: &mut [f32], [bias]: [&[f32]; 1]) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x += b);
    }
}

#[derive(Clone, Copy)]
struct BiasGelu;

impl Change<1> for BiasGelu {
    const NAME: &'static str = "add bias and GELU";

    #[inline(always)]
    fn change(self, _: usize, row: &mut [f32], [bias]: [&[f32]; 1]) {
        row.iter_mut().zip(bias).for_each(|(x, b)| *x = gelu(*x + b));
    }
}

#[derive(Clone, Copy)]
struct SiluTimes;

impl Change<1> for SiluTimes {
    const NAME: &'static str = "SiLU times";

    #[inline(always)]
    fn change(self, index: usize, row: &mut [f32], [y]: [&[f32]; 1]) {
        let y = &y[index * row.len()..][..row.len()];
        row.iter_mut().zip(y).for_each(|(x, y)| *x = *x / (1.0 + exp(-*x)) * y);
    }
}

/// Changes each row of x. It is contiguous, and so are the sources, which lie in storages of their own.
fn over_rows<const N: usize>(change: impl Change<N>, x: &Tensor, sources: [&Tensor; N]) -> Result<()> {
    let width = x.dims().last().copied().unwrap_or(0).max(1);
    x.inplace_op1(&OverRows { change, width, sources })
}

struct OverRows<'a, const N: usize, C> {
    change: C,
    width: usize,
    sources: [&'a Tensor; N],
}

impl<const N: usize, C: Change<N>> InplaceOp1 for OverRows<'_, N, C> {
    fn name(&self) -> &'static str {
        C::NAME
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(x), Some((from, to))) = (storage, layout.contiguous_offsets()) else {
            candle_core::bail!("{} takes contiguous float32 tensors on a CPU", C::NAME)
        };
        let locked = self.sources.map(Tensor::storage_and_layout);
        let mut sources: [&[f32]; N] = [&[]; N];
        for (source, (storage, layout)) in sources.iter_mut().zip(&locked) {
            let Storage::Cpu(storage) = &**storage else {
                candle_core::bail!("{} takes contiguous float32 tensors on a CPU", C::NAME)
            };
            *source = numbers(C::NAME, storage, layout)?;
        }
        let (change, width) = (self.change, self.width);
        let (x, rows) = (&mut x[from..to], (TASK / width).max(1));
        let run = |(task, part): (usize, &mut [f32])| {
            pulp::Arch::new().dispatch(Task { change, first: task * rows, part, width, sources });
        };
        if x.len() <= rows * width {
            run((0, x));
        } else {
            x.par_chunks_mut(rows * width).enumerate().for_each(run);
        }
        Ok(())
    }
}

/// Consecutive rows from `first` on.
struct Task<'a, const N: usize, C> {
    change: C,
    first: usize,
    part: &'a mut [f32],
    width: usize,
    sources: [&'a [f32]; N],
}

impl<const N: usize, C: Change<N>> WithSimd for Task<'_, N, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { change, first, part, width, sources } = self;
        for (index, row) in part.chunks_exact_mut(width).enumerate() {
            change.change(first + index, row, sources);
        }
    }
}

#[inline(always)]
fn sum(row: &[f32], of: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane += of(x));
    }
    lanes.into_iter().sum::<f32>() + rest.iter().map(|&x| of(x)).sum::<f32>()
}

/// Of an associative `f` whose neutral element is `start`.
#[inline(always)]
fn fold(row: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let (chunks, rest) = row.as_chunks::<LANES>();
    let mut lanes = [start; LANES];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &x)| *lane = f(*lane, x));
    }
    lanes.iter().chain(rest).fold(start, |folded, &x| f(folded, x))
}

/// eˣ within 2e-7 of itself, and 0 where x < −87. Cephes' expf: x = n ln 2 + r with |r| ≤ ½ ln 2, a polynomial for eʳ, and n added to
/// the exponent's bits.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: what is added to this is rounded to an integer, which stands in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first of few bits, so that n times it is exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const P: [f32; 6] = [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1];
    let clamped = if x > 88.0 { 88.0 } else { x };
    let clamped = if clamped < -87.0 { -87.0 } else { clamped };
    let rounded = clamped * LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2[0] - n * LN_2[1];
    let p = P.iter().skip(1).fold(P[0], |sum, c| sum * r + c);
    let e = p * r * r + r + 1.0;
    let scaled = f32::from_bits(e.to_bits().wrapping_add(rounded.to_bits() << 23));
    if x < -87.0 { 0.0 } else { scaled }
}

#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// The error function by the rational approximation of XLA and Eigen (odd over even polynomial on \[−4, 4\]); within 5e-7 of
/// the exact value.
#[inline(always)]
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
mod tests {
    use candle_core::Device;

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

    #[test]
    fn exp_is_within_2e_7_of_itself() {
        for step in -86_999..=87_999 {
            let x = step as f32 * 1e-3;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) / exact - 1.0).abs();
            assert!(error <= 2e-7, "{error} at {x}");
        }
        assert_eq!(exp(-87.1), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NAN).is_nan());
    }

    fn tensor(shape: &[usize]) -> Tensor {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|n| ((n * n + 3 * n) % 97) as f32 / 11.0 - 4.0).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    fn assert_close(own: &Tensor, expected: &Tensor) {
        let difference = (own - expected).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() <= 2e-6, "{difference}");
    }

    /// Beside candle's own operations; several tasks' worth of rows, of a width that no vector divides.
    #[test]
    fn rows_are_what_candle_makes_of_them() {
        let shape = [3, 371, 77];
        let mask: Vec<f32> =
            (0..371 * 77).map(|n| if n % 77 <= n / 77 { 0.0 } else { f32::NEG_INFINITY }).collect();
        let mask = Tensor::from_vec(mask, (371, 77), &Device::Cpu).unwrap();

        let x = tensor(&shape);
        softmax(&x, None).unwrap();
        assert_close(&x, &candle_nn::ops::softmax_last_dim(&tensor(&shape)).unwrap());
        let x = tensor(&shape);
        softmax(&x, Some(&mask)).unwrap();
        let masked = tensor(&shape).broadcast_add(&mask).unwrap();
        assert_close(&x, &candle_nn::ops::softmax_last_dim(&masked).unwrap());

        let (bias, residual) = (tensor(&[77]), tensor(&[3, 371, 77]).affine(0.3, 1.0).unwrap());
        let x = tensor(&shape);
        add_bias(&x, &bias).unwrap();
        let sum = tensor(&shape).broadcast_add(&bias).unwrap();
        assert_close(&x, &sum);
        let x = tensor(&shape);
        bias_gelu(&x, &bias).unwrap();
        assert_close(&x, &sum.gelu_erf().unwrap());
        let x = tensor(&shape);
        silu_times(&x, &residual).unwrap();
        assert_close(&x, &(tensor(&shape).silu().unwrap() * &residual).unwrap());

        let x = tensor(&shape);
        let parameters =
            Tensor::stack(&[&bias, &bias.affine(0.1, 0.5).unwrap(), &bias.neg().unwrap()], 0).unwrap();
        add_norm(&x, &residual, &parameters, 1e-5).unwrap();
        let norm = candle_nn::LayerNorm::new(parameters.get(1).unwrap(), parameters.get(2).unwrap(), 1e-5);
        assert_close(&x, &candle_nn::Module::forward(&norm, &(sum + residual).unwrap()).unwrap());
    }

    #[test]
    fn other_numbers_are_refused() {
        let halves = tensor(&[2, 3]).to_dtype(candle_core::DType::F16).unwrap();
        let error = softmax(&halves, None).unwrap_err().to_string();
        assert!(error.contains("softmax takes contiguous float32 tensors"), "{error}");
    }
}
