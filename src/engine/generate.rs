use std::time::{Duration, Instant};

use super::person::Person;
use super::{Engine, EngineError, ScoredResponse};
use crate::domain::{Invalid, ModelVersion, PoolName, TenantId, UserId};
use crate::generate::{Completion, GenerateError, Generator, PoolGenerator, best_of_n};
use crate::store::Revision;

/// Asks for a completion.
#[derive(Debug, Clone)]
pub struct Generate {
    /// Whose taste; an unknown user is the average one.
    pub user: UserId,
    /// x
    pub prompt: String,
    /// How the completion is chosen.
    pub strategy: GenerationStrategy,
    /// Which generator; nothing: the pool, whichever holds the prompt.
    pub generator: GeneratorName,
    /// N; nothing: the server's default.
    pub candidates: Option<usize>,
    /// κ ≥ 0
    pub risk_aversion: f64,
    /// Same seed and same request give the same text; nothing: drawn.
    pub seed: Option<u64>,
    /// The user must have come this far.
    pub min_revision: Revision,
}

/// How a completion is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationStrategy {
    /// The best of N for this user.
    BestOfN,
    /// A value head steers every token.
    ValueGuided,
    /// The user's profile, in words, in the instruction.
    StyleGuided,
    /// The generator's own answer, whoever asks.
    Unguided,
}

/// Where completions come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum GeneratorName {
    /// The stored candidates of the prompt, whichever pools hold them.
    #[default]
    AnyPool,
    /// The stored candidates of the prompt in one pool.
    Pool(PoolName),
}

impl GeneratorName {
    /// Takes `pool`, `pool:NAME` or nothing.
    pub fn parse(name: &str) -> Result<Self, EngineError> {
        match name {
            "" | "pool" => Ok(Self::AnyPool),
            _ => match name.split_once(':') {
                Some(("pool", pool)) => {
                    let pool = PoolName::parse(pool)
                        .map_err(|error| Invalid { field: "generator".to_owned(), ..error })?;
                    Ok(Self::Pool(pool))
                }
                Some(("local" | "openai", _)) => {
                    Err(EngineError::Unimplemented("generators other than the pool"))
                }
                _ => Err(Invalid::new("generator", format!("{name:?}"), "pool or pool:NAME").into()),
            },
        }
    }
}

/// A completion and what it is worth to the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The seed that was used.
    pub seed: u64,
    /// The user's revision that the choice rests on; 0 for an unknown one.
    pub revision: Revision,
    /// The model that chose.
    pub model_version: ModelVersion,
    /// The completion.
    pub completion: Completion,
    /// Its λᵀφ less `baseline_reward`.
    pub reward: f64,
    /// Mean λᵀφ over the unguided candidates.
    pub baseline_reward: f64,
    /// Every candidate, best first; `index` is the order in which they were made.
    pub candidates: Vec<ScoredResponse>,
    /// Time to make the candidates.
    pub generation: Duration,
    /// Time to score them.
    pub scoring: Duration,
}

impl Engine {
    /// Answers a prompt in the way the user likes. Makes nothing.
    pub async fn generate(&self, tenant: &TenantId, request: Generate) -> Result<Generated, EngineError> {
        match request.strategy {
            GenerationStrategy::BestOfN | GenerationStrategy::Unguided => {}
            GenerationStrategy::ValueGuided => {
                return Err(EngineError::Unimplemented(
                    "VALUE_GUIDED needs a language model and a value head",
                ));
            }
            GenerationStrategy::StyleGuided => {
                return Err(EngineError::Unimplemented("STYLE_GUIDED needs a language model"));
            }
        }
        let model = self.models().active(tenant)?;
        let person = self.person(tenant, &request.user, &model, request.min_revision).await?;
        let person = person.unwrap_or_else(|| Person::average(&model));
        let seed = request.seed.unwrap_or_else(|| self.draw_seed());

        let started = Instant::now();
        let generator = self.generator(tenant, &request).await?;
        let count = request.candidates.unwrap_or(self.config().default_candidates);
        let mut completions = generator.complete(&request.prompt, count, seed)?;
        let generation = started.elapsed();

        let started = Instant::now();
        let texts = completions.iter().map(|completion| (request.prompt.clone(), completion.text.clone()));
        let features = model.resident.features(texts.collect()).await?;
        let ranking = best_of_n(&features, &person.posterior, request.risk_aversion)?;
        let candidates: Vec<_> = ranking
            .ranked
            .iter()
            .map(|ranked| ScoredResponse {
                index: ranked.index,
                text: completions[ranked.index].text.clone(),
                reward: ranked.reward,
                standard_error: ranked.uncertainty,
            })
            .collect();
        let scoring = started.elapsed();

        let chosen = match request.strategy {
            GenerationStrategy::Unguided => candidates.iter().find(|candidate| candidate.index == 0),
            _ => candidates.first(),
        };
        let chosen = chosen.ok_or(EngineError::PromptNotInPool)?;
        Ok(Generated {
            seed,
            revision: person.revision,
            model_version: model.version.clone(),
            completion: completions.swap_remove(chosen.index),
            reward: chosen.reward,
            baseline_reward: ranking.baseline,
            candidates,
            generation,
            scoring,
        })
    }

    async fn generator(&self, tenant: &TenantId, request: &Generate) -> Result<PoolGenerator, EngineError> {
        let pool = match &request.generator {
            GeneratorName::AnyPool => None,
            GeneratorName::Pool(name) => Some(name),
        };
        let candidates = self.store().candidates_of_prompt(tenant, pool, &request.prompt).await?;
        if let (true, Some(pool)) = (candidates.is_empty(), pool)
            && self.store().pool_revision(tenant, pool).await?.is_none()
        {
            return Err(EngineError::PoolNotFound(pool.clone()));
        }
        Ok(PoolGenerator::new(candidates))
    }
}

impl From<GenerateError> for EngineError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::PromptNotInPool => Self::PromptNotInPool,
            upstream => Self::LanguageModel(upstream),
        }
    }
}
