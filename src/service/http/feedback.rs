use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::Edge;
use super::error::HttpError;
use super::names::Names;
use super::request::or_nobody;
use crate::domain::{Caller, CompletionId, Invalid, Outcome, UserId, Weight};
use crate::engine::{Choice, EngineError, SubmitPreference, Submitted, Target};
use crate::service::auth::bind;
use crate::service::convert::request_id;

/// `POST /v1/feedback`: which of two choices a person prefers, of what `/v1/chat/completions` gave them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeedbackRequest {
    /// Who judges, the `user` of both completions.
    #[serde(default, deserialize_with = "or_nobody")]
    user: String,
    chosen: GivenChoice,
    rejected: GivenChoice,
    /// `chosen` (the default), `tie`, `neither` or `skip`.
    outcome: Option<String>,
    /// How much it counts, in (0, 10]; 1 without it.
    weight: Option<f64>,
    /// A UUID that makes a retry return the first reply.
    #[serde(default, deserialize_with = "or_nobody")]
    request_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GivenChoice {
    /// The completion's `id`.
    id: String,
    /// Which of its choices.
    #[serde(default)]
    index: u32,
}

/// The answer is on disk.
#[derive(Debug, Serialize)]
pub(super) struct Feedback {
    object: &'static str,
    preference_id: String,
    user: String,
    /// Of the person's, with this one.
    answers: i64,
    /// What a completion's `pref.min_revision` may ask for, to be chosen with this answer.
    revision: i64,
    model_version: String,
}

/// `POST /v1/feedback`
pub(super) async fn compare(
    State(edge): State<Edge>,
    Extension(caller): Extension<Arc<Caller>>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Feedback>, HttpError> {
    let _permit = edge.permit()?;
    let allowed = "JSON of user, chosen {id, index}, rejected {id, index}, outcome, weight, request_id";
    let mut request: FeedbackRequest = serde_json::from_slice(&super::whole(body)?)
        .map_err(|error| HttpError::invalid("body", error, allowed))?;
    bind(&caller, &mut request.user, "user")?;
    let request = request.understand().map_err(|error| Names::default().error(error))?;
    let submitted = edge.engine.submit_preference(&caller.tenant, request);
    let submitted = tokio::time::timeout(edge.patience, submitted)
        .await
        .map_err(|_| HttpError::late(edge.patience))??;
    Ok(Json(submitted.into()))
}

impl FeedbackRequest {
    fn understand(self) -> Result<SubmitPreference, EngineError> {
        let (chosen, rejected) = (self.chosen.understand("chosen")?, self.rejected.understand("rejected")?);
        if chosen == rejected {
            let allowed = "another choice than `chosen`";
            return Err(Invalid::new("rejected", "the same choice", allowed).into());
        }
        let outcome = match self.outcome.as_deref() {
            None | Some("chosen") => Outcome::First,
            Some("tie") => Outcome::Tie,
            Some("neither") => Outcome::Neither,
            Some("skip") => Outcome::Skip,
            Some(other) => {
                let allowed = "chosen, tie, neither or skip";
                return Err(Invalid::new("outcome", format!("{other:?}"), allowed).into());
            }
        };
        Ok(SubmitPreference {
            user: UserId::parse(self.user)?,
            target: Target::Choices { chosen, rejected },
            outcome,
            weight: self.weight.map_or(Ok(Weight::ONE), Weight::parse)?,
            request_id: request_id(&self.request_id)?,
        })
    }
}

impl GivenChoice {
    fn understand(self, field: &str) -> Result<Choice, EngineError> {
        let completion = CompletionId::parse(&self.id).map_err(|error| error.within(field))?;
        Ok(Choice { completion, index: self.index })
    }
}

impl From<Submitted> for Feedback {
    fn from(Submitted { preference_id, profile }: Submitted) -> Self {
        Self {
            object: "pref.feedback",
            preference_id: preference_id.to_string(),
            user: profile.user_id.to_string(),
            answers: profile.answers,
            revision: profile.revision,
            model_version: profile.model_version.to_string(),
        }
    }
}
