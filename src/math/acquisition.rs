use std::sync::LazyLock;

use super::logistic::{binary_entropy, entropy_of_logit, sigmoid, sigmoid_derivative};

/// What makes a comparison worth asking. z = λ̂ᵀδ and v = δᵀH⁻¹δ are mean and variance of its logit; every score here
/// is a function of these two alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Acquisition {
    /// Mutual information between the answer and λ, h(E p) − E h(p) with z ~ N(λ̂ᵀδ, δᵀH⁻¹δ), in bits; at most 1 (Lindley
    /// 1956; for preferences, Houlsby et al. 2011).
    #[default]
    InformationGain,
    /// ½ log₂(1 + σ′(λ̂ᵀδ) δᵀH⁻¹δ): bits by which the posterior's volume is expected to shrink (D-optimal design).
    DOptimal,
    /// δᵀH⁻¹δ (Eq. 9): the least certain reward difference, whether or not its answer is.
    Uncertainty,
    /// Any pair is as good as any other.
    Random,
}

impl Acquisition {
    /// What a comparison is worth whose logit has mean z and variance v ≥ 0; [`Acquisition::Random`] gives all the same.
    pub fn score(self, z: f64, v: f64) -> f64 {
        match self {
            Self::InformationGain => information_gain(z, v).0,
            Self::DOptimal => d_optimal(z, v),
            Self::Uncertainty => v,
            Self::Random => 0.0,
        }
    }
}

/// The trapezoid rule for E f(Z), Z ~ N(z, v), goes so many standard deviations far,
pub(super) const REACH: f64 = 6.5;
/// in steps of this share of a standard deviation or of a logit, whichever is smaller. What changes fast is met by both, the
/// bell and the logistic function, whose poles are at ±iπ: the error is below 1e-9.
pub(super) const STEP: f64 = 0.6;
/// Steps a standard deviation at most. Where the logit is spread wider than that takes, the answer is nearly certain given λ, and
/// the error is below .01 bits.
pub(super) const FINEST: f64 = 64.0;

/// Mutual information between the answer to a comparison and λ, and the probability that its first is preferred.
///
/// I = h(E p) − E h(p) in bits and E p, with p = σ(Z), Z ~ N(z, v). An expectation over λ of J dimensions is one over
/// the logit of one, because the answer depends on λ through λᵀδ only.
///
/// v is not negative; 0 ≤ I ≤ 1.
pub fn information_gain(z: f64, v: f64) -> (f64, f64) {
    by_trapezoids(z, v, STEP)
}

fn by_trapezoids(z: f64, v: f64, step: f64) -> (f64, f64) {
    let spread = v.sqrt();
    let step = (step / spread).clamp(FINEST.recip(), step);
    let (mut mass, mut mean, mut noise) = (1.0, sigmoid(z), entropy_of_logit(z));
    for node in (1..).map(|k| f64::from(k) * step).take_while(|&node| node <= REACH) {
        let weight = (-0.5 * node * node).exp();
        let (up, down) = (z + spread * node, z - spread * node);
        mass += 2.0 * weight;
        mean += weight * (sigmoid(up) + sigmoid(down));
        noise += weight * (entropy_of_logit(up) + entropy_of_logit(down));
    }
    let (mean, noise) = (mean / mass, noise / mass);
    ((binary_entropy(mean) - noise).clamp(0.0, 1.0), mean)
}

/// Largest |z| and √v of the table.
const TABLE_EDGE: f64 = 16.0;
const STEPS_PER_UNIT: f64 = 16.0;
const SIDE: usize = (TABLE_EDGE * STEPS_PER_UNIT) as usize + 1;
/// By how much an interpolated gain may be wrong, in bits: h²/8 (max |∂²I/∂z²| + max |∂²I/∂√v²|) with h = 1/16.
pub(super) const TABLE_ERROR: f64 = 5e-4;

/// I on a grid of (|z|, √v), to 1e-5. Made by one thread: while it waited for others it might be handed a question to choose,
/// which waits for the table.
static TABLE: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let at = |k: usize| k as f64 / STEPS_PER_UNIT;
    let gain = |cell: usize| {
        let (z, spread) = (at(cell % SIDE), at(cell / SIDE));
        by_trapezoids(z, spread * spread, 1.0).0
    };
    (0..SIDE * SIDE).map(gain).collect()
});

/// [`information_gain`] in bits to [`TABLE_ERROR`], by interpolation: for looking over a pool, of which only the best
/// few are worth an integral.
pub(super) fn approximate_information_gain(z: f64, v: f64) -> f64 {
    let (z, spread) = (z.abs(), v.sqrt());
    // Negated, so that NaN goes the exact way.
    if !(z < TABLE_EDGE && spread < TABLE_EDGE) {
        return information_gain(z, v).0;
    }
    let (x, y) = (z * STEPS_PER_UNIT, spread * STEPS_PER_UNIT);
    let (i, j) = (x as usize, y as usize);
    let (fx, fy) = (x - i as f64, y - j as f64);
    let table = &TABLE[j * SIDE + i..];
    let low = table[0] + fx * (table[1] - table[0]);
    let high = table[SIDE] + fx * (table[SIDE + 1] - table[SIDE]);
    low + fy * (high - low)
}

/// The largest I on the grid up to each √v, whatever z.
static CEILING: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let mut highest = 0.0_f64;
    let mut reach = |row: &[f64]| {
        highest = row.iter().fold(highest, |most, gain| most.max(*gain));
        highest
    };
    TABLE.chunks(SIDE).map(&mut reach).collect()
});

/// Makes the table, and what is read off it, if they are not there.
pub(super) fn prepare_table() {
    LazyLock::force(&CEILING);
}

/// A variance up to which no comparison, whatever its mean, is worth more than `bits`; −∞ where there is none.
pub(super) fn variance_worth(bits: f64) -> f64 {
    let nodes = CEILING.partition_point(|most| most + TABLE_ERROR <= bits);
    let spread = (nodes as f64 - 1.0) / STEPS_PER_UNIT;
    if nodes == 0 { f64::NEG_INFINITY } else { spread * spread }
}

/// ½ log₂(1 + σ′(z) v)
fn d_optimal(z: f64, v: f64) -> f64 {
    0.5 * (sigmoid_derivative(z) * v).ln_1p() * std::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const REFERENCE: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/information_gain.json"));

    /// `tests/reference/information_gain.py`: adaptive quadrature.
    #[test]
    fn information_gain_meets_quadrature() {
        let rows: Vec<Value> = serde_json::from_str(REFERENCE).expect("JSON");
        for row in rows {
            let number = |name: &str| row[name].as_f64().expect("a number");
            let (bits, mean) = information_gain(number("z"), number("v"));
            let tolerance = if number("v").sqrt() < STEP * FINEST { 1e-9 } else { 1e-4 };
            assert!((bits - number("bits")).abs() < tolerance, "{row}: {bits}");
            assert!((mean - number("mean")).abs() < tolerance, "{row}: {mean}");
        }
    }

    #[test]
    fn nothing_is_gained_where_nothing_is_uncertain() {
        assert!(information_gain(0.0, 0.0).0 < 1e-15);
        assert!(information_gain(700.0, 1.0).0 < 1e-15);
        assert!(information_gain(0.0, 1e12).0 > 0.98);
        assert_eq!(d_optimal(3.0, 0.0), 0.0);
    }

    proptest! {
        #[test]
        fn the_table_is_as_good_as_it_says(z in -17.0..17.0, spread in 0.0..17.0) {
            let v = spread * spread;
            prop_assert!((approximate_information_gain(z, v) - information_gain(z, v).0).abs() <= TABLE_ERROR);
        }

        #[test]
        fn less_variance_than_bits_are_worth_never_gains_them(bits in 0.0..0.9, z in -17.0..17.0, share in 0.0..1.0) {
            let v = share * variance_worth(bits);
            prop_assert!(v < 0.0 || information_gain(z, v).0 <= bits);
        }

        #[test]
        fn information_gain_is_even_bounded_and_grows_with_variance(z in -8.0..8.0, spread in 0.0..30.0) {
            let v: f64 = spread * spread;
            let (bits, mean) = information_gain(z, v);
            let (mirrored, complement) = information_gain(-z, v);
            prop_assert!((bits - mirrored).abs() < 1e-12 && (mean + complement - 1.0).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&bits));
            prop_assert!(information_gain(z, v * 1.1 + 0.01).0 > bits - 1e-7);
            prop_assert!(information_gain(z * 1.1, v).0 < bits + 1e-7);
        }
    }
}
