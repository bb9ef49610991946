use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Edge;
use super::error::HttpError;
use super::names::Names;
use super::request::ChatRequest;
use super::stream::streamed;
use crate::domain::{Caller, CompletionId};
use crate::engine::{Finish, Generated, Generation};
use crate::service::auth::bind;

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

#[derive(Serialize)]
struct ChatCompletion {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    choices: Vec<Choice>,
    usage: Usage,
    pref: Outcome,
}

#[derive(Serialize)]
struct Choice {
    index: usize,
    message: Said,
    finish_reason: &'static str,
    logprobs: Option<()>,
}

#[derive(Serialize)]
struct Said {
    role: &'static str,
    content: String,
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

/// `POST /v1/chat/completions`
pub(super) async fn completions(
    State(edge): State<Edge>,
    Extension(caller): Extension<Arc<Caller>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, HttpError> {
    let permit = edge.permit()?;
    let mut request = ChatRequest::read(&super::whole(body)?)?;
    bind(&caller, &mut request.user, "user")?;
    let (stream, model, names) = (request.stream, request.model.clone(), request.names());
    let id = CompletionId::random();
    let asked = request.understand(&edge, id)?;
    let (choices, live, usage) = (asked.choices, asked.is_written_live(), asked.usage);
    let permit = (permit, edge.tenants.generation(&caller.tenant)?);
    let late = |_| HttpError::late(edge.patience);
    let begun = edge.engine.generate(&caller.tenant, asked.generate);
    let begun = tokio::time::timeout(edge.patience, begun).await.map_err(late)?;
    let generation = begun.map_err(|error| names.error(error))?;
    let head = Head {
        id: id.to_string(),
        created: edge.engine.now() / 1000,
        model,
        seed: generation.seed,
        revision: generation.revision,
        model_version: generation.model_version.to_string(),
        names,
    };
    if stream {
        return Ok(streamed(head, generation, choices, live, usage, permit).into_response());
    }
    let answer = tokio::time::timeout(edge.patience, whole(head, generation, choices, permit));
    Ok(Json(answer.await.map_err(late)??).into_response())
}

async fn whole(
    head: Head,
    generation: Generation,
    choices: usize,
    _permit: Permit,
) -> Result<ChatCompletion, HttpError> {
    let generated = generation.finished().await.map_err(|error| head.names.error(error))?;
    let (usage, outcome) = (usage(&generated, choices), outcome(&head, &generated, choices));
    let choices = generated
        .best(choices)
        .enumerate()
        .map(|(index, made)| {
            let completion = &generated.completions[made];
            Choice {
                index,
                message: Said { role: "assistant", content: completion.text.clone() },
                finish_reason: reason(completion.finish),
                logprobs: None,
            }
        })
        .collect();
    let Head { id, created, model, .. } = head;
    Ok(ChatCompletion { id, object: "chat.completion", created, model, choices, usage, pref: outcome })
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
