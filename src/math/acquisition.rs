use std::sync::LazyLock;

use rayon::prelude::*;

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

/// Nodes and weights for E f(Z), Z ~ N(0, 1): Gauss–Hermite with 21 nodes (numpy's `hermite_e.hermegauss(21)`, weights
/// divided by their sum), of which the negative ones mirror these.
const NODES: [f64; 11] = [
    0.0,
    0.678045692440644,
    1.3597658232112302,
    2.049102468257163,
    2.7505929810523733,
    3.4698466904753764,
    4.214343981688422,
    4.994963944782025,
    5.8293820073044715,
    6.751444718717461,
    7.8493828951138225,
];
const WEIGHTS: [f64; 11] = [
    0.27026018357287707,
    0.2153337156950597,
    0.10839228562641949,
    0.033952729786542866,
    0.006439697051408777,
    0.0007080477954815369,
    4.219234742551663e-05,
    1.2253548361482526e-06,
    1.4506612844930857e-08,
    4.9753686041217186e-11,
    2.0989912195656712e-14,
];

/// Mutual information between the answer to a comparison and λ, and the probability that its first is preferred.
///
/// I = h(E p) − E h(p) in bits and E p, with p = σ(Z), Z ~ N(z, v). An expectation over λ of J dimensions is one over
/// the logit of one, because the answer depends on λ through λᵀδ only.
///
/// v is not negative; 0 ≤ I ≤ 1.
pub fn information_gain(z: f64, v: f64) -> (f64, f64) {
    let spread = v.sqrt();
    let mut mean = WEIGHTS[0] * sigmoid(z);
    let mut noise = WEIGHTS[0] * entropy_of_logit(z);
    for (node, weight) in NODES.iter().zip(&WEIGHTS).skip(1) {
        let (up, down) = (z + spread * node, z - spread * node);
        mean += weight * (sigmoid(up) + sigmoid(down));
        noise += weight * (entropy_of_logit(up) + entropy_of_logit(down));
    }
    ((binary_entropy(mean) - noise).clamp(0.0, 1.0), mean)
}

/// Largest |z| and √v of the table.
const TABLE_EDGE: f64 = 16.0;
const STEPS_PER_UNIT: f64 = 16.0;
const SIDE: usize = (TABLE_EDGE * STEPS_PER_UNIT) as usize + 1;
/// By how much an interpolated gain may be wrong, in bits: h²/8 (max |∂²I/∂z²| + max |∂²I/∂√v²|) with h = 1/16.
pub(super) const TABLE_ERROR: f64 = 5e-4;

/// I on a grid of (|z|, √v).
static TABLE: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let at = |k: usize| k as f64 / STEPS_PER_UNIT;
    (0..SIDE * SIDE)
        .into_par_iter()
        .map(|cell| {
            let (z, spread) = (at(cell % SIDE), at(cell / SIDE));
            information_gain(z, spread * spread).0
        })
        .collect()
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
            // The logistic function's poles at ±iπ limit what 21 nodes can do where the logit is widely spread.
            let tolerance = if number("v") <= 1.0 {
                1e-9
            } else if number("v") <= 3.0 {
                3e-6
            } else {
                5e-4
            };
            assert!((bits - number("bits")).abs() < tolerance, "{row}: {bits}");
            assert!((mean - number("mean")).abs() < tolerance, "{row}: {mean}");
        }
    }

    #[test]
    fn nothing_is_gained_where_nothing_is_uncertain() {
        assert!(information_gain(0.0, 0.0).0 < 1e-15);
        assert!(information_gain(700.0, 1.0).0 < 1e-15);
        assert!(information_gain(0.0, 1e12).0 > 0.7);
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
        fn information_gain_is_even_bounded_and_grows_with_variance(z in -8.0..8.0, v in 0.0..9.0) {
            let (bits, mean) = information_gain(z, v);
            let (mirrored, complement) = information_gain(-z, v);
            prop_assert!((bits - mirrored).abs() < 1e-12 && (mean + complement - 1.0).abs() < 1e-12);
            prop_assert!((0.0..=1.0).contains(&bits));
            prop_assert!(information_gain(z, v * 1.1 + 0.01).0 > bits - 1e-7);
        }
    }
}
