use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Completion, Finish, GenerateError, Generator};

/// Answers with stored candidates of one prompt, by whatever model they were made.
#[derive(Debug, Clone)]
pub struct PoolGenerator {
    candidates: Vec<String>,
}

impl PoolGenerator {
    /// Of the responses that are stored for a prompt, all different.
    pub fn new(candidates: Vec<String>) -> Self {
        Self { candidates }
    }
}

impl Generator for PoolGenerator {
    /// Candidates drawn without replacement, each order as likely as any other.
    fn complete(&self, _prompt: &str, count: usize, seed: u64) -> Result<Vec<Completion>, GenerateError> {
        if self.candidates.is_empty() {
            return Err(GenerateError::PromptNotInPool);
        }
        let mut drawn = self.candidates.clone();
        drawn.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        drawn.truncate(count);
        Ok(drawn.into_iter().map(|text| Completion { text, finish: Finish::Stop, tokens: None }).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_different_candidates_the_same_ones_for_the_same_seed() {
        let candidates: Vec<_> = (0..20).map(|i| format!("response {i}")).collect();
        let pool = PoolGenerator::new(candidates.clone());
        let drawn = pool.complete("x", 8, 3).unwrap();
        let mut texts: Vec<_> = drawn.iter().map(|completion| completion.text.clone()).collect();
        assert_eq!(drawn, pool.complete("x", 8, 3).unwrap());
        assert_ne!(drawn, pool.complete("x", 8, 4).unwrap());
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 8);
        assert!(texts.iter().all(|text| candidates.contains(text)));
        assert_eq!(pool.complete("x", 100, 0).unwrap().len(), 20);
        assert_eq!(PoolGenerator::new(vec![]).complete("x", 1, 0), Err(GenerateError::PromptNotInPool));
    }
}
