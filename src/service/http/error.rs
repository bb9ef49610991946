use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::domain::Invalid;
use crate::engine::EngineError;
use crate::service::error::Refusal;
use crate::service::reason::Reason;

/// An error as OpenAI's clients expect it: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug)]
pub(super) struct HttpError {
    status: StatusCode,
    delay: Option<Duration>,
    body: Body,
}

#[derive(Debug, Serialize)]
struct Body {
    error: Words,
}

#[derive(Debug, Serialize)]
struct Words {
    message: String,
    r#type: &'static str,
    param: Option<String>,
    code: Option<String>,
}

impl HttpError {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Refusal::new(reason, message).into()
    }

    /// The answer took longer than it may.
    pub(super) fn late(patience: Duration) -> Self {
        Self::new(Reason::DeadlineExceeded, format!("no answer within {patience:?}"))
    }

    /// What is refused of `field`.
    pub(super) fn invalid(field: &str, given: impl std::fmt::Display, allowed: &str) -> Self {
        EngineError::from(Invalid::new(field, given, allowed)).into()
    }

    /// The error as a line of an event stream.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(&self.body).unwrap_or_default()
    }
}

impl From<Refusal> for HttpError {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, field, delay, .. } = refusal;
        let status = reason.http();
        // OpenAI's clients know this one by its own word.
        let code = if status == StatusCode::UNAUTHORIZED { "invalid_api_key" } else { reason.as_str() };
        let param = field.map(|invalid| invalid.field);
        let words = Words { message, r#type: kind(status), param, code: Some(code.to_owned()) };
        Self { status, delay, body: Body { error: words } }
    }
}

/// In the words and with the reason that a gRPC caller would get.
impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        Refusal::from(error).into()
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status {
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        status if status.is_client_error() => "invalid_request_error",
        _ => "server_error",
    }
}

impl IntoResponse for HttpError {
    fn into_response(self) -> Response {
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], self.json()).into_response();
        if let Some(delay) = self.delay {
            let seconds = delay.as_millis().div_ceil(1000) as u64;
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

pub(super) async fn no_such_path(method: Method, uri: Uri) -> HttpError {
    let allowed =
        "POST /v1/chat/completions, POST /v1/feedback, GET /v1/models, POST /pref.v1.SERVICE/METHOD";
    HttpError::new(Reason::NoSuchPath, format!("{method} {}: allowed: {allowed}", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> HttpError {
    let told = format!("{} does not take {method}", uri.path());
    HttpError::new(Reason::MethodNotAllowed, told)
}
