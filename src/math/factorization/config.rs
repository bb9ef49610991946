use super::{Scales, Start};
use crate::math::MathError;

/// What a caller may set.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// J; `None` lets [`tune`](super::tune()) begin at the elbow of the spectrum and climb.
    pub base_functions: Option<usize>,
    /// Seed of the start's random projections.
    pub seed: u64,
    /// Where W begins; `None` looks at how many pairs have two raters.
    pub start: Option<Start>,
}

/// What is chosen on held-out judgments: the ridge by [`tune_classic`](super::tune_classic), the three scales by
/// [`calibrate`](super::calibrate()), the others by [`tune`](super::tune()), which leaves the threshold where it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hyperparameters {
    /// J
    pub base_functions: usize,
    /// γ > 0: strength of the penalty on the spread of logits, (γ/2) tr(M W S Wᵀ).
    pub gamma: f64,
    /// α > 0: strength of the ridge on the head, (α/2) tr(M W D² Wᵀ).
    pub alpha: f64,
    /// κ > 0: how strongly what users share, Wᵀμ, is penalised beside what they differ on.
    pub kappa: f64,
    /// Soft-impute threshold as a share of the largest singular value, in \[0, 1\].
    pub threshold: f64,
    /// Weight of a tie, in \[0, 1\]; observations are given with their own weight and ties multiplied by this.
    pub tie_weight: f64,
    /// Ridge strength of the classic reward, which φ then spans, and along which μ may be believed more than elsewhere; none: φ is
    /// left as it is, and μ believed alike.
    pub ridge: Option<f64>,
    /// b > 0: the prior's mean is b times that of the training users, as [`calibrate`](super::calibrate) finds it.
    pub mean_scale: f64,
    /// r ∈ \[0, 1\]: what is beyond the classic reward in it is r times that again.
    pub beyond_scale: f64,
    /// c > 0: the prior's covariance is c times that of the training users.
    pub spread_scale: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self { base_functions: Some(8), seed: 0, start: None }
    }
}

impl Hyperparameters {
    /// The same with the prior scaled.
    pub fn scaled(self, scales: Scales) -> Self {
        let Scales { mean, beyond, spread } = scales;
        Self { mean_scale: mean, beyond_scale: beyond, spread_scale: spread, ..self }
    }

    pub(super) fn scales(&self) -> Scales {
        Scales { mean: self.mean_scale, beyond: self.beyond_scale, spread: self.spread_scale }
    }

    /// # Errors
    /// Any that is outside its range.
    pub(super) fn check(&self) -> Result<(), MathError> {
        if self.base_functions == 0 {
            return Err(MathError::Empty { what: "the list of base functions" });
        }
        positive("γ", self.gamma)?;
        positive("α", self.alpha)?;
        positive("κ", self.kappa)?;
        positive("the ridge strength", self.ridge.unwrap_or(1.0))?;
        positive("the scale of the prior's mean", self.mean_scale)?;
        positive("the scale of the prior's covariance", self.spread_scale)?;
        unit("the scale of the prior's mean beyond the shared reward", self.beyond_scale)?;
        unit("the soft-impute threshold", self.threshold)?;
        unit("the tie weight", self.tie_weight)
    }
}

pub(super) fn positive(what: &str, value: f64) -> Result<(), MathError> {
    let valid = value > 0.0 && value.is_finite();
    let refused = || MathError::OutOfRange { what: what.to_owned(), value, allowed: "(0, ∞)" };
    valid.then_some(()).ok_or_else(refused)
}

pub(super) fn unit(what: &str, value: f64) -> Result<(), MathError> {
    let refused = || MathError::OutOfRange { what: what.to_owned(), value, allowed: "[0, 1]" };
    (0.0..=1.0).contains(&value).then_some(()).ok_or_else(refused)
}
