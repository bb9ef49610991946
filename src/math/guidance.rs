//! Best-of-N: of N sampled responses to one prompt, the one this user is predicted to like most.

use nalgebra::DVector;

use super::Posterior;
use super::error::{MathError, finite};

/// A candidate with its predicted reward, relative to the candidates' mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Position among the candidates given.
    pub index: usize,
    /// λ̂ᵀφ̃, with φ̃ = φ − mean φ of the candidates.
    pub reward: f64,
    /// √(φ̃ᵀH⁻¹φ̃): standard deviation of the reward under the user's posterior.
    pub uncertainty: f64,
    /// λ̂ᵀφ̃ − κ√(φ̃ᵀH⁻¹φ̃), by which candidates are ranked.
    pub score: f64,
}

/// The candidates in descending order of λ̂ᵀφ̃ − κ√(φ̃ᵀH⁻¹φ̃); equal scores keep the order given.
///
/// φ is centred over the candidates because a prompt's common offset cancels in every comparison: about it nothing is
/// known, and it must not count as uncertainty. κ ≥ 0 is the risk aversion: 0 ranks by expected reward alone.
///
/// # Errors
/// No candidates, features of another length than λ or not finite, κ negative or not finite.
pub fn best_of_n(
    features: &[DVector<f64>],
    posterior: &Posterior,
    risk_aversion: f64,
) -> Result<Vec<Ranked>, MathError> {
    if features.is_empty() {
        return Err(MathError::Empty { what: "the list of candidates" });
    }
    if !(0.0..f64::INFINITY).contains(&risk_aversion) {
        let what = "the risk aversion".to_owned();
        return Err(MathError::OutOfRange { what, value: risk_aversion, allowed: "[0, ∞)" });
    }
    let mut mean = DVector::zeros(posterior.dimension());
    for (index, phi) in features.iter().enumerate() {
        if phi.len() != posterior.dimension() {
            let what = format!("the features of candidate {index}");
            return Err(MathError::Dimension { what, expected: posterior.dimension(), given: phi.len() });
        }
        for (j, &value) in phi.iter().enumerate() {
            finite(value, || format!("feature[{j}] of candidate {index}"))?;
        }
        mean += phi / features.len() as f64;
    }
    let mut ranked: Vec<Ranked> = features
        .iter()
        .enumerate()
        .map(|(index, phi)| {
            let (reward, variance) = posterior.logit(&(phi - &mean));
            let uncertainty = variance.sqrt();
            Ranked { index, reward, uncertainty, score: reward - risk_aversion * uncertainty }
        })
        .collect();
    ranked.sort_by(|a, b| b.score.total_cmp(&a.score));
    Ok(ranked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::math::{Evidence, Prior};

    fn posterior() -> Posterior {
        let prior = Prior::isotropic(2, 1.0).expect("valid");
        // Much is known of the first coordinate, nothing of the second.
        let liked = Evidence { delta: DVector::from_vec(vec![2.0, 0.0]), preference: 1.0, weight: 1.0 };
        Posterior::fit(&vec![liked; 20], &prior).expect("finite")
    }

    #[test]
    fn a_common_offset_changes_nothing() {
        let candidates = [vec![0.0, 0.0], vec![1.0, 3.0], vec![-1.0, 0.5]].map(DVector::from_vec);
        let moved = candidates.clone().map(|phi| phi + DVector::from_vec(vec![100.0, -40.0]));
        let here = best_of_n(&candidates, &posterior(), 0.7).expect("valid");
        let there = best_of_n(&moved, &posterior(), 0.7).expect("valid");
        for (a, b) in here.iter().zip(&there) {
            assert_eq!(a.index, b.index);
            assert!((a.score - b.score).abs() < 1e-10);
        }
        assert!(here.iter().map(|r| r.reward).sum::<f64>().abs() < 1e-12);
    }

    #[test]
    fn risk_aversion_prefers_what_is_known_to_please() {
        let candidates = [vec![1.0, 0.0], vec![1.1, 5.0], vec![-2.1, -5.0]].map(DVector::from_vec);
        let first = |kappa| best_of_n(&candidates, &posterior(), kappa).expect("valid")[0].index;
        assert_eq!(first(0.0), 1);
        assert_eq!(first(1.0), 0);
    }

    #[test]
    fn bad_input_is_named() {
        let message = |f: &[DVector<f64>], k| best_of_n(f, &posterior(), k).unwrap_err().to_string();
        assert_eq!(message(&[], 0.0), "the list of candidates is empty");
        assert_eq!(message(&[DVector::zeros(3)], 0.0), "the features of candidate 0 has length 3, not 2");
        assert_eq!(
            message(&[DVector::from_vec(vec![0.0, f64::NAN])], 0.0),
            "feature[1] of candidate 0 is NaN; only finite numbers are allowed"
        );
        assert_eq!(message(&[DVector::zeros(2)], -1.0), "the risk aversion is -1; allowed is [0, ∞)");
    }
}
