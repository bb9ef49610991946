//! How well choices are predicted (§5): AUC over comparisons, log-likelihood, means with standard errors.

use super::logistic::binary_cross_entropy;

/// AUC-ROC of decided comparisons, each counted in both orders, so that which answer was called A does not matter.
///
/// Comparison i has the signed margin m_i: the predicted reward difference of the preferred response over the other.
/// In one order it is a positive example scored m_i, in the other a negative one scored −m_i; hence AUC is the share
/// of (i, j) with m_i > −m_j, equality counting half. O(n log n).
///
/// `None` without margins, or if one is NaN.
pub fn auc(margins: &[f64]) -> Option<f64> {
    if margins.is_empty() || margins.iter().any(|m| m.is_nan()) {
        return None;
    }
    // −0 and 0 are the same margin.
    let mut sorted: Vec<f64> = margins.iter().map(|m| m + 0.0).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len();
    // As m_j falls, −m_j rises, and so do the counts of m below it and up to it.
    let (mut below, mut up_to) = (0, 0);
    let mut twice_won = 0_u64;
    for m in sorted.iter().rev() {
        while below < n && sorted[below] < -m {
            below += 1;
        }
        while up_to < n && sorted[up_to] <= -m {
            up_to += 1;
        }
        twice_won += (2 * (n - up_to) + (up_to - below)) as u64;
    }
    Some(twice_won as f64 / (2.0 * (n as f64) * (n as f64)))
}

/// Mean log-likelihood in nats of outcomes a under logits z; chance is −log 2.
///
/// `None` without outcomes. The slices are of one length; a longer one's rest is ignored.
pub fn mean_log_likelihood(logits: &[f64], outcomes: &[f64]) -> Option<f64> {
    let n = logits.len().min(outcomes.len());
    let total: f64 = logits.iter().zip(outcomes).map(|(&z, &a)| binary_cross_entropy(z, a)).sum();
    (n > 0).then(|| -total / n as f64)
}

/// A mean and how sure of it the sample makes us.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// The sample's mean.
    pub mean: f64,
    /// Standard error: sample standard deviation (n − 1) / √n. `None` of a single value.
    pub standard_error: Option<f64>,
    /// n
    pub count: usize,
}

/// Mean and standard error of independent values; `None` without values.
pub fn mean_and_standard_error(values: &[f64]) -> Option<Estimate> {
    let n = values.len() as f64;
    if values.is_empty() {
        return None;
    }
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    let standard_error = (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt());
    Some(Estimate { mean, standard_error, count: values.len() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, O(n²).
    fn auc_by_definition(margins: &[f64]) -> f64 {
        let mut won = 0.0;
        for a in margins {
            for b in margins {
                won += if a + b > 0.0 {
                    1.0
                } else if a + b == 0.0 {
                    0.5
                } else {
                    0.0
                };
            }
        }
        won / (margins.len() * margins.len()) as f64
    }

    proptest! {
        #[test]
        fn auc_meets_its_definition_with_and_without_ties(m in prop::collection::vec(-4_i32..=4, 1..40), scale in 0.01..9.0) {
            let margins: Vec<f64> = m.iter().map(|&m| f64::from(m) * scale).collect();
            let auc = auc(&margins).expect("not empty");
            prop_assert!((auc - auc_by_definition(&margins)).abs() < 1e-12);
            let opposite: Vec<f64> = margins.iter().map(|m| -m).collect();
            prop_assert!((auc + super::auc(&opposite).expect("not empty") - 1.0).abs() < 1e-12);
        }
    }

    #[test]
    fn auc_of_nothing_and_of_nan_is_none_and_of_indifference_a_half() {
        assert_eq!(auc(&[]), None);
        assert_eq!(auc(&[1.0, f64::NAN]), None);
        assert_eq!(auc(&[0.0, -0.0]), Some(0.5));
        assert_eq!(auc(&[0.1, 2.0]), Some(1.0));
    }

    #[test]
    fn estimates() {
        let estimate = mean_and_standard_error(&[1.0, 2.0, 3.0, 4.0]).expect("not empty");
        assert_eq!(estimate.mean, 2.5);
        assert!((estimate.standard_error.expect("four values") - (5.0_f64 / 12.0).sqrt()).abs() < 1e-15);
        assert_eq!(mean_and_standard_error(&[7.0]).and_then(|e| e.standard_error), None);
        assert_eq!(mean_log_likelihood(&[0.0, 0.0], &[1.0, 0.25]), Some(-std::f64::consts::LN_2));
    }
}
