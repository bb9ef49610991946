use std::collections::HashSet;

use serde::Serialize;

use super::person::Person;
use super::{Engine, EngineError, GeneratorName, Prompt, Sampling, ServingModel};
use crate::domain::{Candidates, TenantId, UserId};
use crate::generate::{Generator, Guidance, Request};

/// How the responses of a question are made.
#[derive(Debug, Clone, Serialize)]
pub struct GenerateQuestion {
    /// x
    pub prompt: String,
    /// Which generator.
    pub generator: GeneratorName,
    /// How many responses the pair is chosen from, at least 2; nothing: the server's default.
    pub candidates: Option<usize>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// β: how strongly every token follows ±v, where the model has a value head of the generator's.
    pub guidance_scale: f64,
}

impl Engine {
    /// Responses that differ in what is least known of a user (§4.2, Algorithm 2): half are written for λ = +v and half for −v, v the top
    /// eigenvector of H⁻¹, as long as people's λ are on average. Where no value head can steer the generator, all are its own.
    ///
    /// The question is then the best pair of all, so that one that tells more than the two extremes is not passed over.
    pub(super) async fn generate_candidates(
        &self,
        tenant: &TenantId,
        user: &UserId,
        asked: &GenerateQuestion,
        model: &ServingModel,
    ) -> Result<Candidates, EngineError> {
        let person = self.person(tenant, user, model, 0).await?;
        let person = person.unwrap_or_else(|| Person::average(model));
        let generator = self.generator(tenant, &asked.generator, &asked.prompt).await?;
        let count = asked.candidates.unwrap_or(self.config().default_candidates).max(2);
        let parts = match directions(model, &person, &*generator, asked.guidance_scale) {
            Some([plus, minus]) => vec![(count.div_ceil(2), Some(plus)), (count / 2, Some(minus))],
            None => vec![(count, None)],
        };
        // All are under way before the first is waited for.
        let mut begun = Vec::new();
        for (count, guidance) in parts {
            let (prompt, sampling) = (Prompt::User(asked.prompt.clone()), asked.sampling.clone());
            let request = Request { prompt, count, sampling, seed: self.draw_seed(), guidance };
            begun.push(generator.generate(request)?);
        }
        let mut responses = Vec::with_capacity(count);
        let mut known = HashSet::new();
        for completions in begun {
            let made = completions.all().await?.into_iter().map(|completion| completion.text);
            // Postgres cannot keep the character U+0000.
            responses.extend(made.filter(|text| !text.contains('\0') && known.insert(text.clone())));
        }
        if responses.len() < 2 {
            return Err(EngineError::SameText { count });
        }
        Ok(Candidates { prompt: asked.prompt.clone(), responses })
    }
}

/// u = ±β Vᵀv, where there is a value head for this generator.
fn directions(
    model: &ServingModel,
    person: &Person,
    generator: &dyn Generator,
    guidance_scale: f64,
) -> Option<[Guidance; 2]> {
    let head = model.resident.model().value_head()?;
    if generator.language_model() != Some(&head.record.language_model_hash) {
        return None;
    }
    let length = (model.prior.covariance().trace() + model.prior.mean().norm_squared()).sqrt();
    let least_known = person.posterior.least_known_direction() * length;
    Some([guidance_scale, -guidance_scale].map(|scale| Guidance {
        direction: head.direction(&least_known, scale),
        tokens: super::generate::VALUE_TOKENS,
    }))
}
