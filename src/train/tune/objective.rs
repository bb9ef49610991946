use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use nalgebra::{DMatrix, DVector};

use super::batches::Pass;
use crate::math::factorization::Factorization;
use crate::math::logistic::{binary_cross_entropy, sigmoid};
use crate::train::TextId;

/// The head and the people as they are trained beside the backbone, with the prior that holds the people together.
///
/// Σ w bce(σ(λ_iᵀW(h₁ − h₂)), a) + ½ Σ_i (λ_i − μ)ᵀΣ⁻¹(λ_i − μ), divided by Σ w: nats a judgment (Eq. 5).
pub(super) struct Objective {
    /// W (J × d)
    pub(super) head: Var,
    /// Λ (users × J)
    pub(super) coefficients: Var,
    /// μ (1 × J)
    mean: Tensor,
    /// P = Σ⁻¹ (J × J)
    precision: Tensor,
    /// Σ w over all judgments.
    total: f64,
}

impl Objective {
    /// From the fit on the backbone as it was (Algorithm 1).
    pub(super) fn new(start: &Factorization, total: f64, device: &Device) -> candle_core::Result<Self> {
        let Factorization { head, coefficients, prior, .. } = start;
        Ok(Self {
            head: Var::from_tensor(&tensor(head, device)?)?,
            coefficients: Var::from_tensor(&tensor(coefficients, device)?)?,
            mean: tensor(&DMatrix::from_row_slice(1, prior.dimension(), prior.mean().as_slice()), device)?,
            precision: tensor(prior.precision(), device)?,
            total,
        })
    }

    /// The likelihood's part of a pass over embeddings (texts × d) of its texts: its value, and a scalar whose
    /// gradient is that value's.
    ///
    /// ∂ bce(σ(z), a) / ∂z = σ(z) − a, so that Σ c (σ(z) − a) z with the factors held fixed has the gradient, and no
    /// exponential of a saturated logit is ever differentiated. `share` is the batch's share of all pairs: the sum
    /// over a batch divided by it estimates the sum over all.
    pub(super) fn likelihood(
        &self,
        pass: &Pass<'_>,
        embeddings: &Tensor,
        share: f64,
    ) -> candle_core::Result<(f64, Tensor)> {
        let place: HashMap<TextId, u32> = pass.texts.iter().copied().zip(0..).collect();
        let (mut first, mut second, mut users, mut said) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for pair in &pass.pairs {
            for judgment in &pair.judgments {
                first.push(place[&pair.first]);
                second.push(place[&pair.second]);
                users.push(judgment.user as u32);
                said.push(judgment);
            }
        }
        let device = embeddings.device();
        let features = embeddings.matmul(&self.head.as_tensor().t()?)?;
        let of = |texts: Vec<u32>| features.index_select(&Tensor::new(texts, device)?, 0);
        let delta = (of(first)? - of(second)?)?;
        let lambda = self.coefficients.as_tensor().index_select(&Tensor::new(users, device)?, 0)?;
        let logits = (lambda * delta)?.sum(1)?;

        let (mut value, mut slopes) = (0.0, Vec::with_capacity(said.len()));
        for (z, judgment) in logits.to_dtype(DType::F64)?.to_vec1::<f64>()?.into_iter().zip(said) {
            let c = judgment.weight / (self.total * share);
            value += c * binary_cross_entropy(z, judgment.preference);
            slopes.push(c * (sigmoid(z) - judgment.preference));
        }
        let slopes = Tensor::new(slopes, &Device::Cpu)?.to_dtype(logits.dtype())?.to_device(device)?;
        Ok((value, (slopes * logits)?.sum_all()?))
    }

    /// The prior's part: its value, and its gradient by Λ, (Λ − μ)P / Σ w.
    pub(super) fn prior(&self) -> candle_core::Result<(f64, Tensor)> {
        let off = self.coefficients.as_tensor().detach().broadcast_sub(&self.mean)?;
        let gradient = (off.matmul(&self.precision)? / self.total)?;
        let value = (&off * &gradient)?.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        Ok((0.5 * value, gradient))
    }

    /// W and Λ as they stand.
    pub(super) fn factors(&self) -> candle_core::Result<Factors> {
        Ok(Factors {
            head: matrix(self.head.as_tensor())?,
            coefficients: matrix(self.coefficients.as_tensor())?,
        })
    }
}

/// W (J × d) and Λ (users × J), to predict with.
pub(super) struct Factors {
    head: DMatrix<f64>,
    coefficients: DMatrix<f64>,
}

impl Factors {
    /// λ_iᵀW(h₁ − h₂)
    pub(super) fn logit(&self, user: usize, difference: &DVector<f64>) -> f64 {
        (self.coefficients.row(user) * (&self.head * difference))[0]
    }
}

fn tensor(matrix: &DMatrix<f64>, device: &Device) -> candle_core::Result<Tensor> {
    let rows: Vec<f32> = matrix.transpose().iter().map(|&value| value as f32).collect();
    Tensor::from_vec(rows, matrix.shape(), device)
}

fn matrix(tensor: &Tensor) -> candle_core::Result<DMatrix<f64>> {
    let (rows, columns) = tensor.dims2()?;
    let values = tensor.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    Ok(DMatrix::from_row_slice(rows, columns, &values))
}

/// √ mean θ²: the size of a parameter's numbers; 1 where all are zero.
pub(super) fn root_mean_square(parameter: &Tensor) -> candle_core::Result<f64> {
    let square = parameter.sqr()?.mean_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
    Ok(if square > 0.0 { square.sqrt() } else { 1.0 })
}
