//! A person's coefficients as one would say them.

use std::collections::HashSet;

use crate::model::Manifest;

/// Below this posterior probability a style is a guess, and not said.
const WORTH_SAYING: f64 = 0.75;

/// A base reward function, as far as words for a person need it.
#[derive(Debug, Clone)]
pub(super) struct BaseFunction {
    /// Styles with the sign of their correlation, such as `+ length, − hedging`.
    pub(super) label: String,
    /// μ_j, the average person's coefficient.
    pub(super) mean: f64,
    /// √Σ_jj, how far people's coefficients lie from it.
    pub(super) deviation: f64,
}

impl BaseFunction {
    /// Those of a model.
    pub(super) fn of_manifest(manifest: &Manifest) -> Vec<Self> {
        let (mean, covariance) = (manifest.prior.mean(), manifest.prior.covariance());
        let function = |(j, label): (usize, &String)| Self {
            label: label.clone(),
            mean: mean[j],
            deviation: covariance[(j, j)].sqrt(),
        };
        manifest.labels.iter().enumerate().map(function).collect()
    }
}

/// Which styles the person likes more or less than the average person, a line a base function, the surest first.
///
/// How sure: the posterior probability that λ_j lies on the side of μ_j that it seems to lie on, Φ(|λ_j − μ_j| / s_j).
/// How far: the share of people whose λ_j is less far out on that side, Φ(|λ_j − μ_j| / √Σ_jj). A style that several
/// base functions measure is said once, by the one that is surest.
pub(super) fn styles(coefficients: &[f64], standard_errors: &[f64], functions: &[BaseFunction]) -> String {
    let mut apart: Vec<(f64, f64, &BaseFunction)> = coefficients
        .iter()
        .zip(standard_errors)
        .zip(functions)
        .map(|((&lambda, &error), function)| {
            let difference = lambda - function.mean;
            (normal(difference.abs() / error), difference, function)
        })
        .filter(|(sure, ..)| *sure >= WORTH_SAYING)
        .collect();
    apart.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
    let mut said = HashSet::new();
    let mut lines = String::new();
    for (sure, difference, function) in apart {
        let styles: Vec<String> = (function.label.split(", "))
            .filter_map(signed)
            .filter(|(_, name)| said.insert(*name))
            .map(|(sign, name)| format!("{} {name}", if sign * difference > 0.0 { "more" } else { "less" }))
            .collect();
        if !styles.is_empty() {
            let people = normal(difference.abs() / function.deviation);
            lines += &format!(
                "  {:>3.0} % sure: {} than the average person ({:.0} % of people are less so)\n",
                100.0 * sure,
                styles.join(", "),
                100.0 * people
            );
        }
    }
    if lines.is_empty() { "  nothing yet that is more than a guess\n".to_owned() } else { lines }
}

/// `+ length` is (1, `length`); a label without a sign says nothing.
fn signed(style: &str) -> Option<(f64, &str)> {
    let positive = style.strip_prefix("+ ").map(|name| (1.0, name));
    positive.or_else(|| style.strip_prefix("− ").map(|name| (-1.0, name)))
}

/// Φ(z)
fn normal(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(label: &str, mean: f64, deviation: f64) -> BaseFunction {
        BaseFunction { label: label.to_owned(), mean, deviation }
    }

    #[test]
    fn the_surest_styles_come_first_and_guesses_are_left_out() {
        let functions = [
            function("+ jokes", 0.0, 1.0),
            function("+ length, − hedging", 0.0, 1.0),
            function("+ questions", -1.0, 2.0),
            function("(none)", 0.0, 1.0),
        ];
        let words = styles(&[0.1, -2.0, 0.0, 9.0], &[1.0, 0.5, 1.0, 0.1], &functions);
        assert_eq!(
            words,
            "  100 % sure: less length, more hedging than the average person (98 % of people are less so)\n   \
             84 % sure: more questions than the average person (69 % of people are less so)\n"
        );
    }

    #[test]
    fn a_stranger_is_a_guess_whatever_people_have_in_common() {
        let words = styles(&[3.0], &[0.5], &[function("+ jokes", 3.0, 0.5)]);
        assert_eq!(words, "  nothing yet that is more than a guess\n");
    }

    #[test]
    fn a_style_of_two_functions_is_said_once_by_the_surer() {
        let functions = [
            function("+ exclamations", 0.0, 1.0),
            function("− exclamations, + length", 0.0, 1.0),
            function("+ exclamations", 0.0, 1.0),
        ];
        let words = styles(&[1.0, 2.0, 1.2], &[1.0, 1.0, 1.0], &functions);
        assert_eq!(words.matches("exclamations").count(), 1, "{words}");
        assert!(words.starts_with("   98 % sure: less exclamations, more length than"), "{words}");
    }
}
