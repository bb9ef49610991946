//! Which questions to ask next: the best pairs of a pool under an acquisition (§4.2, Eq. 7–9).
//!
//! A pool is a list of prompts, each with its candidate responses' features φ. Any two responses to one prompt may be
//! asked. A pair is never asked twice, and no prompt is asked twice while others remain.

mod scan;

use std::collections::HashSet;

use nalgebra::DVector;
use rand::{Rng, RngExt};

use scan::Scan;

use super::error::{MathError, finite};
use super::logistic::sigmoid_derivative;
use super::{Acquisition, Posterior, acquisition, information_gain};

/// The largest J that questions are chosen for.
pub const MAX_BASE_FUNCTIONS: usize = 64;
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
    /// How many pairs there are.
    pairs: usize,
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
    /// What it takes of memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.features[..]) + size_of_val(&self.starts[..])
    }

    /// A pool from φ (J) of each response of each prompt.
    ///
    /// # Errors
    /// Features of different lengths or not finite, named by prompt and response.
    pub fn new<P: AsRef<[DVector<f64>]>>(prompts: &[P]) -> Result<Self, MathError> {
        let dimension = prompts.iter().find_map(|p| p.as_ref().first()).map_or(0, |phi| phi.len());
        let mut pool = Self { dimension, features: Vec::new(), starts: vec![0], pairs: 0 };
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
        pool.pairs = (0..pool.prompts()).map(|prompt| pool.pairs(prompt)).sum();
        Ok(pool)
    }

    /// Number of prompts.
    pub fn prompts(&self) -> usize {
        self.starts.len() - 1
    }

    /// Multiplications that [`choose`] takes, about, for `count` questions beside `open` ones: for each question J² a response, J a
    /// pair and J³ for the posterior, which each open one takes, too.
    pub fn multiplications(&self, count: usize, open: usize) -> usize {
        let fold = self.dimension.pow(3);
        let scan = (self.features.len() + self.pairs) * self.dimension + fold;
        scan.saturating_mul(count.max(1)).saturating_add(fold.saturating_mul(open))
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

    /// φ of a prompt's responses, one after the other.
    fn features(&self, prompt: usize) -> &[f64] {
        &self.features[self.starts[prompt] * self.dimension..self.starts[prompt + 1] * self.dimension]
    }
}

/// Makes what every choice looks up, which the first would make otherwise: some tenths of a second.
pub fn prepare() {
    acquisition::prepare_table();
}

/// The questions to ask next: greedily, each the best of the pool given those before it.
///
/// With H = LLᵀ the responses' features are whitened once, φ̃ = L⁻¹φ; then a pair costs a difference of rewards
/// (z = λ̂ᵀφ_i − λ̂ᵀφ_j) and a squared distance (v = ‖φ̃_i − φ̃_j‖²). A chosen or open question stands for the
/// information its answer is expected to bring, H ← H + σ′(z) δδᵀ: for [`Acquisition::DOptimal`] that is the greedy
/// log-determinant design. Pairs of prompts that were not asked yet come first.
///
/// # Errors
/// Pool or open questions of another J than the posterior's, J above [`MAX_BASE_FUNCTIONS`].
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
    if n > MAX_BASE_FUNCTIONS {
        return Err(MathError::OutOfRange { what: "J".to_owned(), value: n as f64, allowed: "1 to 64" });
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
            selection.largest_gain = scan.largest_gain;
        }
        if round == request.count {
            break;
        }
        let best = match request.acquisition {
            Acquisition::Random => scan::any(pool, &taken, rng),
            _ => scan.best(),
        };
        let Some(best) = best else { break };
        let (z, v) = expected.logit(&pool.delta(best.prompt, best.first, best.second));
        let (information_gain, predicted) = information_gain(z, v);
        let swap: bool = rng.random();
        let (first, second) = if swap { (best.second, best.first) } else { (best.first, best.second) };
        selection.questions.push(Question {
            prompt: best.prompt,
            first,
            second,
            score: request.acquisition.score(z, v),
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

#[cfg(test)]
mod tests;
