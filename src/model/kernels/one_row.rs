//! The product of one row with a weight matrix, on a CPU, in float32.
//!
//! A decoder that goes on by one token uses each weight once, so that a product takes as long as its weights are on their way from
//! memory; what helps is that all threads fetch them. (Candle's product is as good for several rows, and takes one thread for
//! one.)

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{LANES, TASK, is_plain, numbers};

/// x Wᵀ of (1, k) and (n, k); nothing where candle's product is as good or the only one: several rows, other numbers, another
/// device, or where a gradient is wanted.
pub(in crate::model) fn one_row(x: &Tensor, weights: &Tensor) -> Result<Option<Tensor>> {
    let suits = |tensor: &Tensor| is_plain(tensor) && !tensor.track_op();
    match *x.dims() {
        [1, width] if width > 0 && suits(x) && suits(weights) => {
            x.apply_op2_no_bwd(weights, &OneRow).map(Some)
        }
        _ => Ok(None),
    }
}

struct OneRow;

impl CustomOp2 for OneRow {
    fn name(&self) -> &'static str {
        "product of one row"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((_, width), (count, columns)) = (x_layout.shape().dims2()?, weights_layout.shape().dims2()?);
        if columns != width {
            candle_core::bail!("{}: a row of {width} numbers, weights of {columns}", self.name())
        }
        let x = numbers(self.name(), x, x_layout)?;
        let weights = numbers(self.name(), weights, weights_layout)?;
        let mut products = vec![0.0; count];
        let task = (TASK / width).max(1);
        let run = |(weights, products): (&[f32], &mut [f32])| {
            pulp::Arch::new().dispatch(Task { x, weights, products });
        };
        if count <= task {
            run((weights, &mut products));
        } else {
            weights.par_chunks(task * width).zip(products.par_chunks_mut(task)).for_each(run);
        }
        Ok((CpuStorage::F32(products), Shape::from((1, count))))
    }
}

/// Products of x with some rows of weights.
struct Task<'a> {
    x: &'a [f32],
    weights: &'a [f32],
    products: &'a mut [f32],
}

impl WithSimd for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, weights, products } = self;
        for (weights, product) in weights.chunks_exact(x.len()).zip(products) {
            *product = dot(x, weights);
        }
    }
}

#[inline(always)]
fn dot(x: &[f32], weights: &[f32]) -> f32 {
    let ((x, x_rest), (weights, weights_rest)) = (x.as_chunks::<LANES>(), weights.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, weights) in x.iter().zip(weights) {
        lanes.iter_mut().zip(x).zip(weights).for_each(|((lane, x), w)| *lane += x * w);
    }
    lanes.into_iter().sum::<f32>() + x_rest.iter().zip(weights_rest).map(|(x, w)| x * w).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    fn tensor(shape: (usize, usize)) -> Tensor {
        Tensor::randn(0f32, 1.0, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn a_row_is_multiplied_as_candle_does_it() {
        // Widths that no lane count divides, more weights than one task has, a row in the middle of others.
        for (width, count) in [(1, 1), (15, 7), (96, 96), (100, 3000)] {
            let (rows, weights) = (tensor((3, width)), tensor((count, width)));
            let x = rows.narrow(0, 1, 1).unwrap();
            let own = one_row(&x, &weights).unwrap().expect("one row");
            let expected = x.matmul(&weights.t().unwrap()).unwrap();
            assert_eq!(own.dims(), expected.dims());
            let difference = (own - expected).unwrap().abs().unwrap().max_all().unwrap();
            assert!(difference.to_scalar::<f32>().unwrap() <= 1e-6 * width as f32, "{difference}");
        }
    }

    #[test]
    fn what_it_does_not_take_is_left_to_candle() {
        let (x, weights) = (tensor((1, 8)), tensor((4, 8)));
        let left = |x: &Tensor, weights: &Tensor| one_row(x, weights).unwrap().is_none();
        assert!(!left(&x, &weights));
        assert!(left(&tensor((2, 8)), &weights), "several rows");
        assert!(left(&x, &tensor((8, 4)).t().unwrap()), "weights that do not lie row by row");
        assert!(left(&x.to_dtype(DType::BF16).unwrap(), &weights.to_dtype(DType::BF16).unwrap()));
        assert!(left(&x, Var::from_tensor(&weights).unwrap().as_tensor()), "a gradient is wanted");
        let error = one_row(&x, &tensor((4, 9))).unwrap_err().to_string();
        assert!(error.contains("a row of 8 numbers, weights of 9"), "{error}");
    }
}
