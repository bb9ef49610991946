//! Which questions to ask next: the best pairs of a pool under an acquisition (§4.2, Eq. 7–9).
//!
//! A pool is a list of prompts, each with its candidate responses' features φ. Any two responses to one prompt may be
//! asked. A pair is never asked twice, and no prompt is asked twice while others remain.

use std::collections::HashSet;

use nalgebra::DVector;
use rand::{Rng, RngExt};
use rayon::prelude::*;

use super::acquisition::{TABLE_ERROR, approximate_information_gain};
use super::error::{MathError, finite};
use super::logistic::sigmoid_derivative;
use super::{Acquisition, Posterior, information_gain};

/// Below this many bits no question is worth a person's time.
pub const CONVERGED_BITS: f64 = 0.02;

/// Prompts with the features of their candidate responses.
#[derive(Debug, Clone)]
pub struct Pool {
    dimension: usize,
    /// φ of every response, row-major, prompt after prompt.
    features: Vec<f64>,
    /// Where each prompt's responses begin, and one end.
    starts: Vec<usize>,
    /// Pairs that may be asked, a list for each prompt; all where there is no list.
    askable: Option<Vec<Vec<(usize, usize)>>>,
}

/// The pairs a user has answered, skipped or been asked: not to be asked again.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pairs: HashSet<(usize, usize, usize)>,
    prompts: HashSet<usize>,
}

/// A question to ask.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Question {
    /// Index of the prompt in the pool.
    pub prompt: usize,
    /// Which of the prompt's responses is shown as A; drawn at random from the pair.
    pub first: usize,
    /// Which is shown as B.
    pub second: usize,
    /// What the acquisition gave it: bits for information gain and D-optimality, δᵀH⁻¹δ for uncertainty, 0 for random.
    pub score: f64,
    /// Mutual information between the answer and the user's coefficients, in bits.
    pub information_gain: f64,
    /// E p: the predicted probability that the first is preferred.
    pub predicted: f64,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection {
    /// The questions in the order to be asked; fewer than wanted where the pool has no more.
    pub questions: Vec<Question>,
    /// The largest information gain over all pairs that could still be asked, in bits; 0 if there is none.
    pub largest_gain: f64,
}

/// How to choose.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What makes a pair worth asking.
    pub acquisition: Acquisition,
    /// How many questions.
    pub count: usize,
    /// Pairs not to be asked (again), those of open questions included.
    pub seen: &'a Seen,
    /// δ of the questions asked but not yet answered. The information expected from them is folded into H.
    pub open: &'a [DVector<f64>],
}

impl Selection {
    /// Whether nothing is left that is worth asking: the largest gain is below [`CONVERGED_BITS`].
    pub fn converged(&self) -> bool {
        self.largest_gain < CONVERGED_BITS
    }
}

impl Seen {
    /// Marks two responses of a prompt, in either order.
    pub fn insert(&mut self, prompt: usize, one: usize, other: usize) {
        self.pairs.insert((prompt, one.min(other), one.max(other)));
        self.prompts.insert(prompt);
    }

    /// Whether the two responses of a prompt are marked, in either order.
    pub fn contains(&self, prompt: usize, one: usize, other: usize) -> bool {
        self.prompts.contains(&prompt) && self.pairs.contains(&(prompt, one.min(other), one.max(other)))
    }
}

impl Pool {
    /// A pool from φ (J) of each response of each prompt.
    ///
    /// # Errors
    /// Features of different lengths or not finite, named by prompt and response.
    pub fn new<P: AsRef<[DVector<f64>]>>(prompts: &[P]) -> Result<Self, MathError> {
        let dimension = prompts.iter().find_map(|p| p.as_ref().first()).map_or(0, |phi| phi.len());
        let mut pool = Self { dimension, features: Vec::new(), starts: vec![0], askable: None };
        let mut responses = 0;
        for (p, prompt) in prompts.iter().enumerate() {
            for (r, phi) in prompt.as_ref().iter().enumerate() {
                if phi.len() != dimension {
                    let what = format!("the features of response {r} of prompt {p}");
                    return Err(MathError::Dimension { what, expected: dimension, given: phi.len() });
                }
                for (j, &value) in phi.iter().enumerate() {
                    finite(value, || format!("feature[{j}] of response {r} of prompt {p}"))?;
                }
                pool.features.extend_from_slice(phi.as_slice());
                responses += 1;
            }
            pool.starts.push(responses);
        }
        Ok(pool)
    }

    /// The same pool with only the pairs given as (prompt, response, response) askable: where answers are recorded,
    /// as in an evaluation, only what was recorded can be asked. A pair that the pool does not have is left out.
    pub fn restricted_to(mut self, pairs: &[(usize, usize, usize)]) -> Self {
        let mut askable = vec![Vec::new(); self.prompts()];
        for &(prompt, one, other) in pairs {
            let there = prompt < self.prompts() && one.max(other) < self.responses(prompt) && one != other;
            if there {
                askable[prompt].push((one.min(other), one.max(other)));
            }
        }
        for pairs in &mut askable {
            pairs.sort_unstable();
            pairs.dedup();
        }
        self.askable = Some(askable);
        self
    }

    /// Number of prompts.
    pub fn prompts(&self) -> usize {
        self.starts.len() - 1
    }

    /// Number of responses to a prompt of the pool.
    pub fn responses(&self, prompt: usize) -> usize {
        self.starts[prompt + 1] - self.starts[prompt]
    }

    /// δ = φ(first) − φ(second) of two responses to a prompt of the pool.
    pub fn delta(&self, prompt: usize, first: usize, second: usize) -> DVector<f64> {
        let row = |r: usize| {
            let at = (self.starts[prompt] + r) * self.dimension;
            DVector::from_column_slice(&self.features[at..at + self.dimension])
        };
        row(first) - row(second)
    }

    fn for_each_pair(&self, prompt: usize, mut visit: impl FnMut(usize, usize)) {
        if let Some(askable) = &self.askable {
            askable[prompt].iter().for_each(|&(i, j)| visit(i, j));
        } else {
            let n = self.responses(prompt);
            (0..n).for_each(|i| (i + 1..n).for_each(|j| visit(i, j)));
        }
    }
}

/// The questions to ask next: greedily, each the best of the pool given those before it.
///
/// With H = LLᵀ the responses' features are whitened once, φ̃ = L⁻¹φ; then a pair costs a difference of rewards
/// (z = λ̂ᵀφ_i − λ̂ᵀφ_j) and a squared distance (v = ‖φ̃_i − φ̃_j‖²). A chosen or open question stands for the
/// information its answer is expected to bring, H ← H + σ′(z) δδᵀ: for [`Acquisition::DOptimal`] that is the greedy
/// log-determinant design. Pairs of prompts that were not asked yet come first.
///
/// # Errors
/// Pool or open questions of another J than the posterior's.
pub fn choose(
    pool: &Pool,
    posterior: &Posterior,
    request: &Request<'_>,
    rng: &mut impl Rng,
) -> Result<Selection, MathError> {
    let n = posterior.dimension();
    if pool.dimension != n && !pool.features.is_empty() {
        return Err(MathError::Dimension {
            what: "a pool's feature".to_owned(),
            expected: n,
            given: pool.dimension,
        });
    }
    let mut expected = posterior.clone();
    for (q, delta) in request.open.iter().enumerate() {
        if delta.len() != n {
            let what = format!("delta of open question {q}");
            return Err(MathError::Dimension { what, expected: n, given: delta.len() });
        }
        expected = fold(&expected, delta.as_slice());
    }
    let mut taken = request.seen.clone();
    let mut selection = Selection { questions: Vec::with_capacity(request.count), largest_gain: 0.0 };
    for round in 0..request.count.max(1) {
        let scan = Scan::run(pool, &expected, request.acquisition, &taken);
        if round == 0 {
            selection.largest_gain = scan.largest_gain();
        }
        if round == request.count {
            break;
        }
        let Some(best) = scan.pick(request.acquisition, rng) else { break };
        let (z, v) = expected.logit(&pool.delta(best.prompt, best.first, best.second));
        let (information_gain, predicted) = information_gain(z, v);
        let swap: bool = rng.random();
        let (first, second) = if swap { (best.second, best.first) } else { (best.first, best.second) };
        selection.questions.push(Question {
            prompt: best.prompt,
            first,
            second,
            score: best.score,
            information_gain,
            predicted: if swap { 1.0 - predicted } else { predicted },
        });
        taken.insert(best.prompt, first, second);
        expected = fold(&expected, pool.delta(best.prompt, first, second).as_slice());
    }
    Ok(selection)
}

fn fold(posterior: &Posterior, delta: &[f64]) -> Posterior {
    let z = posterior.coefficients().iter().zip(delta).map(|(l, d)| l * d).sum();
    posterior.with_information(delta, sigmoid_derivative(z))
}

/// A pair with what the acquisition gives it.
#[derive(Clone, Copy)]
struct Scored {
    prompt: usize,
    first: usize,
    second: usize,
    score: f64,
}

/// A pair that may be asked, with mean and variance of its logit.
struct Candidate {
    first: usize,
    second: usize,
    z: f64,
    v: f64,
    /// Information gain to [`TABLE_ERROR`].
    gain: f64,
}

/// One pass over the pool, prompt by prompt.
struct Scan<'a> {
    pool: &'a Pool,
    taken: &'a Seen,
    prompts: Vec<PromptScan>,
}

struct PromptScan {
    pairs: usize,
    best: Option<Scored>,
    largest_gain: f64,
}

impl PromptScan {
    /// The best of a prompt's pairs. An integral is computed for those only whose interpolated gain comes within its
    /// error of the largest.
    fn of(prompt: usize, pairs: &[Candidate], acquisition: Acquisition) -> Self {
        let bar = pairs.iter().fold(0.0_f64, |largest, c| largest.max(c.gain)) - 2.0 * TABLE_ERROR;
        let mut scan = Self { pairs: pairs.len(), best: None, largest_gain: 0.0 };
        for &Candidate { first, second, z, v, gain } in pairs {
            let gain = if gain >= bar { information_gain(z, v).0 } else { gain };
            let score = match acquisition {
                Acquisition::InformationGain => gain,
                other => other.score(z, v),
            };
            scan.largest_gain = scan.largest_gain.max(gain);
            if scan.best.is_none_or(|best| score > best.score) {
                scan.best = Some(Scored { prompt, first, second, score });
            }
        }
        scan
    }
}

impl<'a> Scan<'a> {
    fn run(pool: &'a Pool, posterior: &Posterior, acquisition: Acquisition, taken: &'a Seen) -> Self {
        let n = posterior.dimension();
        let prompts = (0..pool.prompts())
            .into_par_iter()
            .map(|prompt| {
                let rows = &pool.features[pool.starts[prompt] * n..pool.starts[prompt + 1] * n];
                let rewards: Vec<f64> = rows
                    .chunks_exact(n)
                    .map(|phi| phi.iter().zip(posterior.coefficients().iter()).map(|(x, l)| x * l).sum())
                    .collect();
                let mut whitened = rows.to_vec();
                whitened.chunks_exact_mut(n).for_each(|phi| posterior.whiten(phi));
                let mut pairs = Vec::new();
                let fresh = !taken.prompts.contains(&prompt);
                pool.for_each_pair(prompt, |first, second| {
                    if fresh || !taken.contains(prompt, first, second) {
                        let z = rewards[first] - rewards[second];
                        let (a, b) = (&whitened[first * n..][..n], &whitened[second * n..][..n]);
                        let v: f64 = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum();
                        pairs.push(Candidate {
                            first,
                            second,
                            z,
                            v,
                            gain: approximate_information_gain(z, v),
                        });
                    }
                });
                PromptScan::of(prompt, &pairs, acquisition)
            })
            .collect();
        Self { pool, taken, prompts }
    }

    fn largest_gain(&self) -> f64 {
        self.prompts.iter().fold(0.0, |largest, p| largest.max(p.largest_gain))
    }

    /// The best pair, of a prompt not asked yet while there is one; the first of equals.
    fn pick(&self, acquisition: Acquisition, rng: &mut impl Rng) -> Option<Scored> {
        let askable = |fresh: bool| {
            self.prompts
                .iter()
                .enumerate()
                .filter(move |(p, scan)| scan.pairs > 0 && !(fresh && self.taken.prompts.contains(p)))
        };
        let fresh = askable(true).next().is_some();
        if acquisition == Acquisition::Random {
            return self.pick_random(askable(fresh), rng);
        }
        askable(fresh)
            .filter_map(|(_, scan)| scan.best)
            .fold(None, |best: Option<Scored>, next| best.filter(|b| b.score >= next.score).or(Some(next)))
    }

    /// Any of the pairs of `prompts`, all equally likely.
    fn pick_random<'b>(
        &self,
        prompts: impl Iterator<Item = (usize, &'b PromptScan)> + Clone,
        rng: &mut impl Rng,
    ) -> Option<Scored> {
        let total: usize = prompts.clone().map(|(_, scan)| scan.pairs).sum();
        if total == 0 {
            return None;
        }
        let mut remaining = rng.random_range(0..total);
        for (prompt, scan) in prompts {
            if remaining >= scan.pairs {
                remaining -= scan.pairs;
                continue;
            }
            let mut found = None;
            self.pool.for_each_pair(prompt, |first, second| {
                if self.taken.contains(prompt, first, second) {
                    return;
                }
                if remaining == 0 && found.is_none() {
                    found = Some((first, second));
                }
                remaining = remaining.saturating_sub(1);
            });
            let (first, second) = found?;
            return Some(Scored { prompt, first, second, score: 0.0 });
        }
        None
    }
}

#[cfg(test)]
mod tests;
