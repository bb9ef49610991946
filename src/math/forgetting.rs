use super::error::MathError;

/// Weights of answers given at `times`, for people whose taste drifts: w_s = 2^{−(t_last − t_s)/half-life}, with t_last
/// the newest of the times. The prior is never discounted and no clock is read, so that a user's coefficients are a
/// function of their log alone.
///
/// `times` and `half_life` are in one unit (the store's is milliseconds).
///
/// # Errors
/// A half-life that is not positive and finite.
pub fn forgetting_weights(times: &[i64], half_life: f64) -> Result<Vec<f64>, MathError> {
    if !(half_life > 0.0 && half_life.is_finite()) {
        return Err(MathError::OutOfRange {
            what: "the half-life".to_owned(),
            value: half_life,
            allowed: "(0, ∞)",
        });
    }
    let last = times.iter().copied().max().unwrap_or(0);
    Ok(times.iter().map(|&t| (-(last.saturating_sub(t) as f64) / half_life).exp2()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_with_every_half_life_since_the_newest() {
        assert_eq!(forgetting_weights(&[70, 100, 90], 10.0), Ok(vec![0.125, 1.0, 0.5]));
        assert_eq!(forgetting_weights(&[], 10.0), Ok(vec![]));
        assert_eq!(forgetting_weights(&[i64::MIN, i64::MAX], 10.0), Ok(vec![0.0, 1.0]));
    }

    #[test]
    fn a_half_life_of_nothing_is_refused() {
        let message = forgetting_weights(&[1], 0.0).unwrap_err().to_string();
        assert_eq!(message, "the half-life is 0; allowed is (0, ∞)");
    }
}
