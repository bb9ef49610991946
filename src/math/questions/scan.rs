use std::ops::Range;

use nalgebra::DVector;
use pulp::{Simd, WithSimd};
use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::{Pool, Seen};
use crate::math::acquisition::{TABLE_ERROR, approximate_information_gain, variance_worth};
use crate::math::{Acquisition, Posterior, information_gain};

/// Prompts that a thread scans before it looks at another's.
const CHUNK: usize = 512;

/// Two responses to a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pair {
    pub(super) prompt: usize,
    pub(super) first: usize,
    pub(super) second: usize,
}

/// What one pass over a pool finds.
///
/// A pair's logit has the variance v = ‖φ̃_i − φ̃_j‖², φ̃ = L⁻¹φ, and the mean z = λ̂ᵀφ_i − λ̂ᵀφ_j. All scores are largest at
/// z = 0 and grow with v. So for nearly all pairs the distance alone tells that they are not the best; z is looked at
/// for the others, and an integral computed only for those whose interpolated gain comes close to the largest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scan {
    /// The best pair of prompts that were not asked yet.
    fresh: Leader,
    /// The best pair of the others.
    asked: Leader,
    /// Largest information gain of any pair, in bits.
    pub(super) largest_gain: f64,
    /// The variance below which no pair's gain is larger than that.
    gain_bar: f64,
}

/// The best pair so far, the first of equals, and the variance below which none is better.
#[derive(Debug, Clone, Copy)]
struct Leader {
    pair: Option<Pair>,
    score: f64,
    bar: f64,
}

impl Scan {
    /// Scans all pairs that are not taken. J is at most [`MAX_BASE_FUNCTIONS`](super::MAX_BASE_FUNCTIONS).
    pub(super) fn run(pool: &Pool, posterior: &Posterior, acquisition: Acquisition, taken: &Seen) -> Self {
        // φ̃ is padded with zeros to whole vector registers, so that a distance is a few instructions without a branch.
        match posterior.dimension() {
            0..=8 => Self::padded::<8>(pool, posterior, acquisition, taken),
            9..=16 => Self::padded::<16>(pool, posterior, acquisition, taken),
            17..=32 => Self::padded::<32>(pool, posterior, acquisition, taken),
            _ => Self::padded::<64>(pool, posterior, acquisition, taken),
        }
    }

    fn padded<const N: usize>(
        pool: &Pool,
        posterior: &Posterior,
        acquisition: Acquisition,
        taken: &Seen,
    ) -> Self {
        let metric = &Metric::<N>::of(posterior);
        let scan = |prompts| pulp::Arch::new().dispatch(Task { pool, metric, acquisition, taken, prompts });
        let prompts = pool.prompts();
        if prompts <= CHUNK {
            return scan(0..prompts);
        }
        let chunks = (0..prompts.div_ceil(CHUNK)).into_par_iter();
        let chunks: Vec<Self> =
            chunks.map(|chunk| scan(chunk * CHUNK..((chunk + 1) * CHUNK).min(prompts))).collect();
        chunks.into_iter().fold(Self::default(), Self::or)
    }

    /// The best pair, of a prompt not asked yet while there is one.
    pub(super) fn best(&self) -> Option<Pair> {
        self.fresh.pair.or(self.asked.pair)
    }

    /// The better of two scans, of which this one is of earlier prompts.
    fn or(self, later: Self) -> Self {
        let better = |one: Leader, other: Leader| if other.score > one.score { other } else { one };
        Self {
            fresh: better(self.fresh, later.fresh),
            asked: better(self.asked, later.asked),
            largest_gain: self.largest_gain.max(later.largest_gain),
            gain_bar: self.gain_bar.max(later.gain_bar),
        }
    }

    /// All pairs of a prompt that are not taken.
    #[inline(always)]
    fn visit<const N: usize>(
        &mut self,
        prompt: usize,
        responses: &Responses<N>,
        acquisition: Acquisition,
        taken: &Seen,
    ) {
        let asked = taken.prompts.contains(&prompt);
        let mut bar = self.bar(asked);
        let mut look = |first: usize, second: usize, v: f64| {
            if !(asked && taken.contains(prompt, first, second)) {
                let z = responses.rewards[first] - responses.rewards[second];
                self.consider(asked, Pair { prompt, first, second }, z, v, acquisition);
            }
            self.bar(asked)
        };
        let whitened = &responses.whitened;
        for (first, one) in whitened.iter().enumerate() {
            for (second, other) in whitened.iter().enumerate().skip(first + 1) {
                let v = squared_distance(one, other);
                if v > bar {
                    bar = look(first, second, v);
                }
            }
        }
    }

    /// The variance below which no pair changes anything.
    fn bar(&self, asked: bool) -> f64 {
        let leader = if asked { self.asked } else { self.fresh };
        leader.bar.min(self.gain_bar)
    }

    /// Looks at a pair that may be the best of its prompts, or the one of which most is gained.
    fn consider(&mut self, asked: bool, pair: Pair, z: f64, v: f64, acquisition: Acquisition) {
        let leader = if asked { &mut self.asked } else { &mut self.fresh };
        let by_gain = acquisition == Acquisition::InformationGain;
        let mut gain = approximate_information_gain(z, v);
        if gain + TABLE_ERROR > if by_gain { leader.score } else { self.largest_gain } {
            gain = information_gain(z, v).0;
        }
        if gain > self.largest_gain {
            self.largest_gain = gain;
            self.gain_bar = variance_worth(gain);
        }
        let score = if by_gain { gain } else { acquisition.score(z, v) };
        if score > leader.score {
            let bar = match acquisition {
                Acquisition::InformationGain => variance_worth(score),
                // ½ log₂(1 + v/4) is the most that v can be worth.
                Acquisition::DOptimal => 4.0 * (2.0 * score * std::f64::consts::LN_2).exp_m1(),
                Acquisition::Uncertainty => score,
                Acquisition::Random => f64::INFINITY,
            };
            // A hair less, for what rounding may do to the bound.
            *leader = Leader { pair: Some(pair), score, bar: bar * (1.0 - 1e-9) };
        }
    }
}

/// The scan of some prompts, compiled for each set of vector instructions.
struct Task<'a, const N: usize> {
    pool: &'a Pool,
    metric: &'a Metric<N>,
    acquisition: Acquisition,
    taken: &'a Seen,
    prompts: Range<usize>,
}

impl<const N: usize> WithSimd for Task<'_, N> {
    type Output = Scan;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Scan {
        let Self { pool, metric, acquisition, taken, prompts } = self;
        let mut scan = Scan::default();
        let mut responses = Responses::default();
        for prompt in prompts {
            metric.apply(pool.features(prompt), &mut responses);
            scan.visit(prompt, &responses, acquisition, taken);
        }
        scan
    }
}

impl Default for Scan {
    fn default() -> Self {
        let nobody = Leader { pair: None, score: f64::NEG_INFINITY, bar: f64::NEG_INFINITY };
        Self { fresh: nobody, asked: nobody, largest_gain: 0.0, gain_bar: f64::NEG_INFINITY }
    }
}

/// Any of the pairs that are not taken, all equally likely, of a prompt not asked yet while there is one.
pub(super) fn any(pool: &Pool, taken: &Seen, rng: &mut impl Rng) -> Option<Pair> {
    let mut gone = vec![0; pool.prompts()];
    for &(prompt, first, second) in &taken.pairs {
        if prompt < pool.prompts() && first < second && second < pool.responses(prompt) {
            gone[prompt] += 1;
        }
    }
    let left = |prompt: usize| pool.pairs(prompt) - gone[prompt];
    let fresh = |prompt: &usize| !taken.prompts.contains(prompt);
    let only_fresh = (0..pool.prompts()).filter(fresh).any(|prompt| left(prompt) > 0);
    let prompts = || (0..pool.prompts()).filter(|prompt| !only_fresh || fresh(prompt));
    let total: usize = prompts().map(left).sum();
    if total == 0 {
        return None;
    }
    let mut skipped = rng.random_range(0..total);
    for prompt in prompts() {
        if skipped >= left(prompt) {
            skipped -= left(prompt);
            continue;
        }
        let free = |&(first, second): &(usize, usize)| !taken.contains(prompt, first, second);
        let n = pool.responses(prompt);
        let pairs = (0..n).flat_map(|first| (first + 1..n).map(move |second| (first, second)));
        let (first, second) = pairs.filter(free).nth(skipped)?;
        return Some(Pair { prompt, first, second });
    }
    None
}

impl Pool {
    /// Number of pairs of a prompt.
    pub(super) fn pairs(&self, prompt: usize) -> usize {
        let n = self.responses(prompt);
        n * n.saturating_sub(1) / 2
    }
}

/// φ̃, padded, and λ̂ᵀφ of a prompt's responses.
#[derive(Default)]
struct Responses<const N: usize> {
    whitened: Vec<[f64; N]>,
    rewards: Vec<f64>,
}

#[inline(always)]
fn squared_distance<const N: usize>(one: &[f64; N], other: &[f64; N]) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in one.chunks_exact(8).zip(other.chunks_exact(8)) {
        for lane in 0..8 {
            let d = a[lane] - b[lane];
            sums[lane] += d * d;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// λ̂ and the columns of L⁻¹ for H = LLᵀ.
struct Metric<const N: usize> {
    coefficients: DVector<f64>,
    columns: Vec<[f64; N]>,
}

impl<const N: usize> Metric<N> {
    fn of(posterior: &Posterior) -> Self {
        let n = posterior.dimension();
        let column = |k: usize| {
            let mut column = [0.0; N];
            column[k] = 1.0;
            posterior.whiten(&mut column[..n]);
            column
        };
        Self { coefficients: posterior.coefficients().clone(), columns: (0..n).map(column).collect() }
    }

    /// φ̃ = L⁻¹φ and λ̂ᵀφ of each of the rows.
    #[inline(always)]
    fn apply(&self, rows: &[f64], responses: &mut Responses<N>) {
        let coefficients = self.coefficients.as_slice();
        responses.whitened.clear();
        responses.rewards.clear();
        for phi in rows.chunks_exact(coefficients.len()) {
            let mut sums = [0.0; N];
            for (x, column) in phi.iter().zip(&self.columns) {
                for lane in 0..N {
                    sums[lane] += x * column[lane];
                }
            }
            responses.whitened.push(sums);
            responses.rewards.push(phi.iter().zip(coefficients).map(|(x, l)| x * l).sum());
        }
    }
}
