use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tonic::Status;
use tonic_types::StatusExt;

use crate::domain::Invalid;
use crate::engine::EngineError;
use crate::service::reason::Reason;

/// An error as OpenAI's clients expect it: `{"error": {"message", "type", "param", "code"}}`.
#[derive(Debug)]
pub(super) struct HttpError {
    status: StatusCode,
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
        Self::of(reason, message.into(), None)
    }

    /// What is refused of `field`.
    pub(super) fn invalid(field: &str, given: impl std::fmt::Display, allowed: &str) -> Self {
        EngineError::from(Invalid::new(field, given, allowed)).into()
    }

    /// The error as a line of an event stream.
    pub(super) fn json(&self) -> String {
        serde_json::to_string(&self.body).unwrap_or_default()
    }

    fn of(reason: Reason, message: String, param: Option<String>) -> Self {
        let status = reason.http();
        let code = Some(reason.as_str().to_owned());
        Self { status, body: Body { error: Words { message, r#type: kind(status), param, code } } }
    }
}

/// In the words and with the reason that a gRPC caller would get.
impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        let reason = Reason::from(&error);
        let told = Status::from(error);
        let details = told.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let field = violations.first().map(|violation| violation.field.clone());
        Self::of(reason, told.message().to_owned(), field)
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
        let again = matches!(self.status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        let mut response = (self.status, [(CONTENT_TYPE, "application/json")], self.json()).into_response();
        if again {
            response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static("1"));
        }
        response
    }
}

pub(super) async fn no_such_path(method: Method, uri: Uri) -> HttpError {
    let allowed = "POST /v1/chat/completions, GET /v1/models";
    HttpError::new(Reason::NoSuchPath, format!("{method} {}: allowed: {allowed}", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> HttpError {
    let told = format!("{} does not take {method}", uri.path());
    HttpError::new(Reason::MethodNotAllowed, told)
}
