use super::person::Person;
use super::{Engine, EngineError};
use crate::domain::{ModelVersion, TenantId, UserId};
use crate::math::guidance::best_of_n;
use crate::store::Revision;

/// Asks for a ranking.
#[derive(Debug, Clone)]
pub struct Score {
    /// Whose taste; an unknown user is the average one.
    pub user: UserId,
    /// x
    pub prompt: String,
    /// Responses to x, at least one.
    pub responses: Vec<String>,
    /// κ ≥ 0
    pub risk_aversion: f64,
    /// The user must have come this far.
    pub min_revision: Revision,
}

/// The ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// Best first.
    pub responses: Vec<ScoredResponse>,
    /// The user's revision that it rests on; 0 for an unknown one.
    pub revision: Revision,
    /// The model.
    pub model_version: ModelVersion,
}

/// A response and what it is worth to the user.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoredResponse {
    /// Position in the request.
    pub index: usize,
    /// y
    pub text: String,
    /// λᵀφ less its mean over the responses.
    pub reward: f64,
    /// Its posterior standard deviation.
    pub standard_error: f64,
}

impl Engine {
    /// Ranks responses for a user by λᵀφ − κ√(φᵀH⁻¹φ), φ centred over the responses. Makes nothing.
    pub async fn score(&self, tenant: &TenantId, request: Score) -> Result<Scored, EngineError> {
        let model = self.models().active(tenant)?;
        let person = self.person(tenant, &request.user, &model, request.min_revision).await?;
        let person = person.unwrap_or_else(|| Person::average(&model));
        let texts = request.responses.iter().map(|response| (request.prompt.clone(), response.clone()));
        let features = model.resident.features(texts.collect()).await?;
        let ranking = best_of_n(&features, &person.posterior, request.risk_aversion)?;
        let responses = ranking
            .into_iter()
            .map(|ranked| ScoredResponse {
                index: ranked.index,
                text: request.responses[ranked.index].clone(),
                reward: ranked.reward,
                standard_error: ranked.uncertainty,
            })
            .collect();
        Ok(Scored { responses, revision: person.revision, model_version: model.version.clone() })
    }
}
