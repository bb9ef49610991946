//! Inputs that are nearly right: valid ones with a few bytes changed, cut, doubled or spliced.
//!
//! A run of the tests tries a few hundred of each kind, always the same. `PREF_FUZZ_SECONDS=600 PREF_FUZZ_SEED=7` goes on for ten minutes
//! from another seed; an input that does harm is printed.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Inputs of a kind that the tests try.
const FEW: u64 = 300;

/// Bytes that parsers care about.
const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[]:,.-+eE0n\n";

/// Draws inputs until it is enough.
pub(crate) struct Mutator {
    rng: ChaCha8Rng,
    ends: Option<Instant>,
    tried: u64,
}

impl Mutator {
    pub(crate) fn new() -> Self {
        let setting = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let ends = setting("PREF_FUZZ_SECONDS").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        let seed = setting("PREF_FUZZ_SEED").unwrap_or(1);
        Self { rng: ChaCha8Rng::seed_from_u64(seed), ends, tried: 0 }
    }

    /// One of `corpus`, changed, with its place; nothing once it is enough.
    pub(crate) fn next(&mut self, corpus: &[Vec<u8>]) -> Option<(usize, Vec<u8>)> {
        let goes_on = self.ends.map_or(self.tried < FEW, |ends| Instant::now() < ends);
        if !goes_on {
            println!("{} inputs tried", self.tried);
            return None;
        }
        self.tried += 1;
        let place = self.rng.random_range(0..corpus.len());
        let mut input = corpus[place].clone();
        for _ in 0..self.rng.random_range(1..=4) {
            self.change(&mut input, corpus);
        }
        Some((place, input))
    }

    fn change(&mut self, input: &mut Vec<u8>, corpus: &[Vec<u8>]) {
        let at = self.rng.random_range(0..=input.len());
        let to = (at + self.rng.random_range(0..=16)).min(input.len());
        match self.rng.random_range(0..8) {
            0 if at < input.len() => input[at] ^= 1 << self.rng.random_range(0..8),
            1 if at < input.len() => input[at] = TELLING[self.rng.random_range(0..TELLING.len())],
            2 => input.insert(at, self.rng.random()),
            3 => drop(input.drain(at..to)),
            4 => input.truncate(at),
            5 => {
                let doubled = input[at..to].to_vec();
                let times = self.rng.random_range(1..=64);
                input.splice(at..at, doubled.repeat(times));
            }
            6 => {
                let other = &corpus[self.rng.random_range(0..corpus.len())];
                let from = self.rng.random_range(0..=other.len());
                input.splice(at..to, other[from..].iter().take(64).copied());
            }
            // A number that is larger than what it counts.
            _ => {
                let number: u64 = self.rng.random::<u64>() >> self.rng.random_range(0..64);
                let bytes = if self.rng.random() {
                    number.to_string().into_bytes()
                } else {
                    number.to_le_bytes().to_vec()
                };
                input.splice(at..to, bytes);
            }
        }
    }
}
