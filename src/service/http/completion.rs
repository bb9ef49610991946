//! What a chat completion says, whole or in chunks.

use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::names::Names;
use crate::engine::{Finish, Generated};

/// A call's place among all, and among its tenant's.
pub(super) type Permit = (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>);

/// Who a call is answered as, the same in every part of the answer.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) seed: u64,
    pub(super) revision: i64,
    pub(super) model_version: String,
    /// For errors on the way.
    pub(super) names: Names,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

/// What the choice rests on and what it is worth, beside OpenAI's fields.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    /// λᵀφ of each choice, less `baseline_reward`.
    rewards: Vec<f64>,
    baseline_reward: f64,
    revision: i64,
    model_version: String,
    seed: u64,
}

pub(super) fn reason(finish: Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::Filtered => "content_filter",
    }
}

/// Tokens of the choices that are returned, or of all candidates where an upstream counts them together; 0 where the generator
/// does not count.
pub(super) fn usage(generated: &Generated, choices: usize) -> Usage {
    let prompt_tokens = generated.prompt_tokens.unwrap_or(0);
    let tokens = |made: usize| generated.completions[made].tokens.as_ref().map_or(0, Vec::len);
    let completion_tokens =
        generated.completion_tokens.unwrap_or_else(|| generated.best(choices).map(tokens).sum());
    Usage { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens }
}

pub(super) fn outcome(head: &Head, generated: &Generated, choices: usize) -> Outcome {
    let reward =
        |made: usize| generated.candidates.iter().find(|one| one.index == made).map_or(0.0, |one| one.reward);
    Outcome {
        rewards: generated.best(choices).map(reward).collect(),
        baseline_reward: generated.baseline_reward,
        revision: head.revision,
        model_version: head.model_version.clone(),
        seed: head.seed,
    }
}
