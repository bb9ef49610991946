//! A person's coefficients as one would say them.

/// Below this posterior probability a style is a guess, and not said.
const WORTH_SAYING: f64 = 0.75;

/// Which styles the person likes and how sure that is, a line each, the surest first.
///
/// `labels` are the base functions' in the manifest: styles with the sign of their correlation, such as
/// `+ length, − hedging`. How sure: the posterior probability that λ_j has the sign that it seems to have,
/// Φ(|λ_j| / s_j).
pub(super) fn styles(coefficients: &[f64], standard_errors: &[f64], labels: &[String]) -> String {
    let mut lines: Vec<(f64, String)> = coefficients
        .iter()
        .zip(standard_errors)
        .zip(labels)
        .filter_map(|((&lambda, &error), label)| {
            let sure = 0.5 * libm::erfc(-lambda.abs() / error / std::f64::consts::SQRT_2);
            let styles: Vec<String> = label.split(", ").filter_map(|style| wish(style, lambda)).collect();
            (sure >= WORTH_SAYING && !styles.is_empty()).then(|| (sure, styles.join(", ")))
        })
        .collect();
    lines.sort_by(|one, other| other.0.total_cmp(&one.0));
    if lines.is_empty() {
        return "  nothing yet that is more than a guess\n".to_owned();
    }
    lines.iter().map(|(sure, styles)| format!("  {:>3.0} % sure: {styles}\n", 100.0 * sure)).collect()
}

/// `+ length` under a negative coefficient is `less length`; a label without a sign says nothing.
fn wish(style: &str, lambda: f64) -> Option<String> {
    let (positive, name) = match (style.strip_prefix("+ "), style.strip_prefix("− ")) {
        (Some(name), _) => (true, name),
        (_, Some(name)) => (false, name),
        _ => return None,
    };
    Some(format!("{} {name}", if positive == (lambda > 0.0) { "more" } else { "less" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_styles_come_first_and_guesses_are_left_out() {
        let labels = ["+ jokes".into(), "+ length, − hedging".into(), "+ questions".into(), "(none)".into()];
        let words = styles(&[0.1, -2.0, 1.0, 9.0], &[1.0, 0.5, 1.0, 0.1], &labels);
        assert_eq!(words, "  100 % sure: less length, more hedging\n   84 % sure: more questions\n");
    }

    #[test]
    fn a_stranger_is_a_guess() {
        let words = styles(&[0.0], &[1.0], &["+ jokes".into()]);
        assert_eq!(words, "  nothing yet that is more than a guess\n");
    }
}
