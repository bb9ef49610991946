use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::Edge;
use super::completion::{Head, Outcome, Permit, Usage, outcome, reason, usage};
use super::error::HttpError;
use super::request::ChatRequest;
use super::stream::streamed;
use crate::domain::{Caller, CompletionId};
use crate::engine::Generation;
use crate::service::auth::bind;

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
