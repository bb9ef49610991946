//! The logistic function of the Bradley–Terry model, p(y₁ ≻ y₂) = σ(λᵀδ) (Eq. 4), in forms that neither overflow
//! nor cancel.

/// σ(z) = 1 / (1 + e⁻ᶻ). The exponential is only taken of a non-positive number.
pub fn sigmoid(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    if z >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}

/// σ′(z) = σ(z) σ(−z), without the cancellation of 1 − σ(z) at large z.
pub fn sigmoid_derivative(z: f64) -> f64 {
    let e = (-z.abs()).exp();
    e / ((1.0 + e) * (1.0 + e))
}

/// Binary cross entropy of the outcome a ∈ \[0, 1\] under p = σ(z), in nats:
/// −a log σ(z) − (1 − a) log σ(−z) = log(1 + eᶻ) − a z.
///
/// Written as a log(1 + e⁻ᶻ) + (1 − a) log(1 + eᶻ), since log(1 + eᶻ) − a z loses all digits at a = 1 and large z.
pub fn binary_cross_entropy(z: f64, a: f64) -> f64 {
    let tail = (-z.abs()).exp().ln_1p();
    let linear = if z >= 0.0 { (1.0 - a) * z } else { -a * z };
    linear + tail
}

/// h(p) = −p log₂ p − (1 − p) log₂(1 − p), the entropy of a yes-or-no answer, in bits.
pub fn binary_entropy(p: f64) -> f64 {
    let term = |q: f64| if q > 0.0 { -q * q.log2() } else { 0.0 };
    term(p) + term(1.0 - p)
}

/// h(σ(z)) in bits, from z: (log(1 + e^{|z|}) − |z| σ(|z|)) / log 2. One exponential and one logarithm.
pub(super) fn entropy_of_logit(z: f64) -> f64 {
    let z = z.abs();
    let e = (-z).exp();
    (e.ln_1p() + z * e / (1.0 + e)) * std::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturated_logits_stay_finite_and_keep_their_digits() {
        assert_eq!(sigmoid(800.0), 1.0);
        assert_eq!(sigmoid(-800.0), 0.0);
        assert_eq!(sigmoid_derivative(-1e300), 0.0);
        assert_eq!(binary_cross_entropy(1e300, 1.0), 0.0);
        assert_eq!(binary_cross_entropy(-1e300, 1.0), 1e300);
        // log1p(e⁻⁴⁰) = 4.248354255291589e-18 (mpmath)
        assert!((binary_cross_entropy(40.0, 1.0) / 4.248_354_255_291_589e-18 - 1.0).abs() < 1e-14);
    }

    #[test]
    fn forms_agree_with_their_definitions() {
        for step in -400..=400 {
            let z = f64::from(step) / 20.0;
            let p = 1.0 / (1.0 + (-z).exp());
            assert!((sigmoid(z) - p).abs() < 1e-15);
            assert!((sigmoid_derivative(z) - p * (1.0 - p)).abs() < 1e-15);
            for a in [0.0, 0.25, 0.5, 1.0] {
                let expected = -a * p.ln() - (1.0 - a) * (1.0 / (1.0 + z.exp())).ln();
                assert!((binary_cross_entropy(z, a) - expected).abs() < 1e-12, "z = {z}, a = {a}");
            }
            assert!((entropy_of_logit(z) - binary_entropy(p)).abs() < 1e-12);
        }
    }
}
