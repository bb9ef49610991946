use nalgebra::DVector;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::{Pool, Seen};
use crate::math::acquisition::{TABLE_ERROR, approximate_information_gain, variance_worth};
use crate::math::{Acquisition, Posterior, information_gain};

/// Prompts that a thread scans before it looks at another's.
const CHUNK: usize = 512;
/// φ̃ is kept in lanes of this many, zeros at the end: whatever J is, a distance is a few whole vector instructions.
const LANES: usize = 8;

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
    /// Scans all pairs that are not taken.
    pub(super) fn run(pool: &Pool, posterior: &Posterior, acquisition: Acquisition, taken: &Seen) -> Self {
        let metric = Metric::of(posterior);
        let chunks: Vec<Self> = (0..pool.prompts().div_ceil(CHUNK))
            .into_par_iter()
            .map(|chunk| {
                let mut scan = Self::default();
                let (mut whitened, mut rewards) = (Vec::new(), Vec::new());
                for prompt in chunk * CHUNK..((chunk + 1) * CHUNK).min(pool.prompts()) {
                    metric.apply(pool.features(prompt), &mut whitened, &mut rewards);
                    let responses =
                        Responses { prompt, whitened: &whitened, rewards: &rewards, lanes: metric.lanes };
                    scan.visit(pool, &responses, acquisition, taken);
                }
                scan
            })
            .collect();
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
    fn visit(&mut self, pool: &Pool, responses: &Responses<'_>, acquisition: Acquisition, taken: &Seen) {
        let asked = taken.prompts.contains(&responses.prompt);
        let mut bar = self.bar(asked);
        let mut look = |first: usize, second: usize, v: f64| {
            if v > bar && !(asked && taken.contains(responses.prompt, first, second)) {
                let pair = Pair { prompt: responses.prompt, first, second };
                let z = responses.rewards[first] - responses.rewards[second];
                self.consider(asked, pair, z, v, acquisition);
                bar = self.bar(asked);
            }
        };
        if let Some(askable) = &pool.askable {
            for &(first, second) in &askable[responses.prompt] {
                look(first, second, squared_distance(responses.row(first), responses.row(second)));
            }
            return;
        }
        for first in 0..responses.rewards.len() {
            let row = responses.row(first);
            let others = responses.whitened[(first + 1) * responses.lanes..].chunks_exact(responses.lanes);
            for (second, other) in (first + 1..).zip(others) {
                look(first, second, squared_distance(row, other));
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
        if prompt < pool.prompts() && pool.has(prompt, first, second) {
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
        let (first, second) = match &pool.askable {
            Some(askable) => askable[prompt].iter().copied().filter(free).nth(skipped)?,
            None => {
                let n = pool.responses(prompt);
                let all = (0..n).flat_map(|first| (first + 1..n).map(move |second| (first, second)));
                all.filter(free).nth(skipped)?
            }
        };
        return Some(Pair { prompt, first, second });
    }
    None
}

impl Pool {
    /// Number of pairs of a prompt that may be asked.
    fn pairs(&self, prompt: usize) -> usize {
        let n = self.responses(prompt);
        self.askable.as_ref().map_or(n * n.saturating_sub(1) / 2, |askable| askable[prompt].len())
    }

    /// Whether two responses, the smaller index first, may be asked about.
    fn has(&self, prompt: usize, first: usize, second: usize) -> bool {
        match &self.askable {
            Some(askable) => askable[prompt].binary_search(&(first, second)).is_ok(),
            None => first < second && second < self.responses(prompt),
        }
    }
}

/// φ̃ and λ̂ᵀφ of a prompt's responses.
struct Responses<'a> {
    prompt: usize,
    whitened: &'a [[f64; LANES]],
    rewards: &'a [f64],
    /// Lanes that a φ̃ takes.
    lanes: usize,
}

impl Responses<'_> {
    fn row(&self, response: usize) -> &[[f64; LANES]] {
        &self.whitened[response * self.lanes..][..self.lanes]
    }
}

fn squared_distance(one: &[[f64; LANES]], other: &[[f64; LANES]]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in one.iter().zip(other) {
        for lane in 0..LANES {
            let d = a[lane] - b[lane];
            sums[lane] += d * d;
        }
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// λ̂ and L⁻¹ of H = LLᵀ.
struct Metric {
    coefficients: DVector<f64>,
    /// The columns of L⁻¹, in lanes.
    columns: Vec<[f64; LANES]>,
    lanes: usize,
}

impl Metric {
    fn of(posterior: &Posterior) -> Self {
        let n = posterior.dimension();
        let lanes = n.div_ceil(LANES);
        let mut columns = vec![[0.0; LANES]; n * lanes];
        for k in 0..n {
            let mut column = vec![0.0; n];
            column[k] = 1.0;
            posterior.whiten(&mut column);
            for (i, value) in column.into_iter().enumerate() {
                columns[k * lanes + i / LANES][i % LANES] = value;
            }
        }
        Self { coefficients: posterior.coefficients().clone(), columns, lanes }
    }

    /// φ̃ = L⁻¹φ and λ̂ᵀφ of each of the rows.
    fn apply(&self, rows: &[f64], whitened: &mut Vec<[f64; LANES]>, rewards: &mut Vec<f64>) {
        let coefficients = self.coefficients.as_slice();
        whitened.clear();
        rewards.clear();
        for phi in rows.chunks_exact(coefficients.len()) {
            rewards.push(phi.iter().zip(coefficients).map(|(x, l)| x * l).sum());
            let start = whitened.len();
            whitened.resize(start + self.lanes, [0.0; LANES]);
            for (x, column) in phi.iter().zip(self.columns.chunks_exact(self.lanes)) {
                for (sums, entries) in whitened[start..].iter_mut().zip(column) {
                    for lane in 0..LANES {
                        sums[lane] += x * entries[lane];
                    }
                }
            }
        }
    }
}
