use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Invalid;

/// Largest weight of one answer.
pub const MAX_WEIGHT: f64 = 10.0;

/// A prompt x and two responses y₁ (A) and y₂ (B).
///
/// Empty responses are legal (a model may return nothing); an empty prompt and two equal responses are not.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Comparison {
    /// x
    pub prompt: String,
    /// y₁
    pub response_a: String,
    /// y₂
    pub response_b: String,
}

impl Comparison {
    /// Takes a non-empty prompt and two responses that differ.
    pub fn parse(
        prompt: impl Into<String>,
        response_a: impl Into<String>,
        response_b: impl Into<String>,
    ) -> Result<Self, Invalid> {
        let comparison =
            Self { prompt: prompt.into(), response_a: response_a.into(), response_b: response_b.into() };
        if comparison.prompt.trim().is_empty() {
            return Err(Invalid::new("prompt", format!("{:?}", comparison.prompt), "text that is not blank"));
        }
        if comparison.response_a == comparison.response_b {
            return Err(Invalid::new(
                "response_b",
                "the same text as response_a",
                "two responses that differ: a comparison of equal texts tells nothing",
            ));
        }
        Ok(comparison)
    }

    /// The pair without regard to order.
    pub fn pair_key(&self) -> PairKey {
        PairKey::new(&self.prompt, &self.response_a, &self.response_b)
    }
}

/// SHA-256 over (prompt, the two responses sorted): the same pair whichever answer was called A.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PairKey(pub [u8; 32]);

impl PairKey {
    /// The key of a pair of responses to `prompt`.
    pub fn new(prompt: &str, one: &str, other: &str) -> Self {
        let (low, high) = if one <= other { (one, other) } else { (other, one) };
        Self(digest(&[prompt, low, high]))
    }
}

impl fmt::Debug for PairKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PairKey({})", hex::encode(&self.0[..6]))
    }
}

/// SHA-256 over (prompt, response): the key under which an embedding is kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

impl ContentHash {
    /// The key of a response to `prompt`.
    pub fn new(prompt: &str, response: &str) -> Self {
        Self(digest(&[prompt, response]))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({})", hex::encode(&self.0[..6]))
    }
}

/// Hash of several texts, each with its length first, so that no two lists collide by concatenation.
fn digest(parts: &[&str]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

/// What a user said of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// A is preferred, a = 1.
    First,
    /// B is preferred, a = 0.
    Second,
    /// Both alike, a = ½ at the model's tie weight.
    Tie,
    /// Neither is any good: logged, no likelihood term, a tie in win rates.
    Neither,
    /// Not answered: logged only.
    Skip,
}

impl Outcome {
    /// All outcomes, in the order of their enum numbers.
    pub const ALL: [Self; 5] = [Self::First, Self::Second, Self::Tie, Self::Neither, Self::Skip];

    /// a ∈ {0, ½, 1}, or nothing where the outcome has no likelihood term.
    pub fn preference(self) -> Option<f64> {
        match self {
            Self::First => Some(1.0),
            Self::Second => Some(0.0),
            Self::Tie => Some(0.5),
            Self::Neither | Self::Skip => None,
        }
    }

    /// The name that is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::First => "FIRST",
            Self::Second => "SECOND",
            Self::Tie => "TIE",
            Self::Neither => "NEITHER",
            Self::Skip => "SKIP",
        }
    }

    /// The inverse of [`Outcome::as_str`].
    pub fn parse(name: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == name).ok_or_else(|| {
            Invalid::new("outcome", format!("{name:?}"), "FIRST, SECOND, TIE, NEITHER or SKIP")
        })
    }
}

/// How much an answer counts, w ∈ (0, 10].
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Weight(f64);

impl Weight {
    /// The weight of an answer that says nothing of it.
    pub const ONE: Self = Self(1.0);

    /// Takes a finite number in (0, 10].
    pub fn parse(weight: f64) -> Result<Self, Invalid> {
        if weight > 0.0 && weight <= MAX_WEIGHT {
            Ok(Self(weight))
        } else {
            Err(Invalid::new("weight", weight, format!("a number in (0, {MAX_WEIGHT}]")))
        }
    }

    /// w
    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pair_key_ignores_order_and_nothing_else() {
        let key = PairKey::new("x", "one", "two");
        assert_eq!(key, PairKey::new("x", "two", "one"));
        assert_ne!(key, PairKey::new("x", "onet", "wo"));
        assert_ne!(key, PairKey::new("y", "one", "two"));
    }

    #[test]
    fn a_comparison_needs_a_prompt_and_two_different_responses() {
        assert!(Comparison::parse("x", "", "b").is_ok());
        assert_eq!(Comparison::parse(" ", "a", "b").unwrap_err().field, "prompt");
        assert_eq!(Comparison::parse("x", "a", "a").unwrap_err().field, "response_b");
    }

    #[test]
    fn weight_is_finite_positive_and_at_most_ten() {
        assert_eq!(Weight::parse(10.0).unwrap().get(), 10.0);
        for bad in [0.0, -1.0, 10.1, f64::NAN, f64::INFINITY] {
            assert!(Weight::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn outcome_names_round_trip() {
        for outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Ok(outcome));
        }
        assert!(Outcome::parse("first").is_err());
    }
}
