use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::{Completion, Completions, Finish, GenerateError, Generator, Request};

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
    fn writes(&self) -> bool {
        false
    }

    /// Candidates drawn without replacement, each order as likely as any other. The prompt is the one that they are stored for.
    fn generate(&self, request: Request) -> Result<Completions, GenerateError> {
        if self.candidates.is_empty() {
            return Err(GenerateError::PromptNotInPool);
        }
        let mut drawn = self.candidates.clone();
        drawn.shuffle(&mut ChaCha8Rng::seed_from_u64(request.seed));
        drawn.truncate(request.count);
        let completion = |text| Completion { text, finish: Finish::Stop, tokens: None };
        Ok(Completions::ready(drawn.into_iter().map(completion)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::{Prompt, Sampling};

    async fn drawn(pool: &PoolGenerator, count: usize, seed: u64) -> Vec<Completion> {
        let prompt = Prompt::User("x".to_owned());
        let request = Request { prompt, count, sampling: Sampling::default(), seed, guidance: None };
        pool.generate(request).unwrap().all().await.unwrap()
    }

    #[tokio::test]
    async fn draws_different_candidates_the_same_ones_for_the_same_seed() {
        let candidates: Vec<_> = (0..20).map(|i| format!("response {i}")).collect();
        let pool = PoolGenerator::new(candidates.clone());
        let eight = drawn(&pool, 8, 3).await;
        let mut texts: Vec<_> = eight.iter().map(|completion| completion.text.clone()).collect();
        assert_eq!(eight, drawn(&pool, 8, 3).await);
        assert_ne!(eight, drawn(&pool, 8, 4).await);
        texts.sort();
        texts.dedup();
        assert_eq!(texts.len(), 8);
        assert!(texts.iter().all(|text| candidates.contains(text)));
        assert_eq!(drawn(&pool, 100, 0).await.len(), 20);
    }

    #[test]
    fn a_pool_without_candidates_has_no_completion() {
        let prompt = Prompt::User("x".to_owned());
        let request = Request { prompt, count: 1, sampling: Sampling::default(), seed: 0, guidance: None };
        let refused = PoolGenerator::new(vec![]).generate(request);
        assert!(matches!(refused, Err(GenerateError::PromptNotInPool)));
    }
}
