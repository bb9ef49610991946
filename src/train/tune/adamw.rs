use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

/// β₁, β₂ and ε of Adam.
const BETA: (f64, f64) = (0.9, 0.999);
const EPSILON: f64 = 1e-8;

/// What is trained under a name.
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) variable: Var,
    /// Its learning rate, as a multiple of the schedule's.
    pub(super) rate: f64,
    /// Weight decay ω.
    pub(super) decay: f64,
    /// Whether it is the backbone's, and kept.
    pub(super) in_backbone: bool,
}

/// Adam with decoupled weight decay (Kingma and Ba 2015; Loshchilov and Hutter 2019, algorithm 2), bias-corrected:
///
/// m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,
/// θ ← θ − η ω θ,  θ ← θ − η (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε).
///
/// Its moments can be taken out and put back, unlike those of candle's own.
pub(super) struct AdamW {
    /// (m, v) by the parameter's name.
    moments: BTreeMap<String, (Tensor, Tensor)>,
    /// t, the steps made.
    steps: usize,
}

impl AdamW {
    /// Before the first step.
    pub(super) fn new(parameters: &[Parameter]) -> Result<Self> {
        let moments = parameters.iter().map(|parameter| {
            let zeros = || parameter.variable.as_tensor().zeros_like();
            Ok((parameter.name.clone(), (zeros()?, zeros()?)))
        });
        Ok(Self { moments: moments.collect::<Result<_>>()?, steps: 0 })
    }

    /// After `steps` steps that ended with these moments.
    pub(super) fn resumed(moments: BTreeMap<String, (Tensor, Tensor)>, steps: usize) -> Self {
        Self { moments, steps }
    }

    pub(super) fn moments(&self) -> &BTreeMap<String, (Tensor, Tensor)> {
        &self.moments
    }

    /// One step along `gradients`, which are in the parameters' order, at learning rate `eta`.
    pub(super) fn step(&mut self, parameters: &[Parameter], gradients: &[Tensor], eta: f64) -> Result<()> {
        self.steps += 1;
        let (beta_1, beta_2) = BETA;
        let t = self.steps as f64;
        let (correction_1, correction_2) = (1.0 - beta_1.powf(t), 1.0 - beta_2.powf(t));
        for (parameter, g) in parameters.iter().zip(gradients) {
            let Some((m, v)) = self.moments.get_mut(&parameter.name) else {
                candle_core::bail!("no moments of {}", parameter.name)
            };
            let eta = eta * parameter.rate;
            *m = ((&*m * beta_1)? + (g * (1.0 - beta_1))?)?;
            *v = ((&*v * beta_2)? + (g.sqr()? * (1.0 - beta_2))?)?;
            let decayed = (parameter.variable.as_tensor() * (1.0 - eta * parameter.decay))?;
            let step = ((&*m / correction_1)? / ((&*v / correction_2)?.sqrt()? + EPSILON)?)?;
            parameter.variable.set(&(decayed - (step * eta)?)?)?;
        }
        Ok(())
    }
}

/// ‖g‖ over all gradients together.
pub(super) fn global_norm(gradients: &[Tensor]) -> Result<f64> {
    let mut squares = 0.0;
    for gradient in gradients {
        squares +=
            f64::from(gradient.sqr()?.sum_all()?.to_dtype(candle_core::DType::F32)?.to_scalar::<f32>()?);
    }
    Ok(squares.sqrt())
}

/// Scales all gradients by one number, so that their global norm is at most `most`. Pascanu et al. 2013.
pub(super) fn clip(gradients: &mut [Tensor], norm: f64, most: f64) -> Result<()> {
    if norm > most {
        for gradient in gradients {
            *gradient = (&*gradient * (most / norm))?;
        }
    }
    Ok(())
}
