use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::domain::Invalid;
use crate::engine::EngineError;

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
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> Self {
        let words =
            Words { message: message.into(), r#type: kind(status), param: None, code: Some(code.to_owned()) };
        Self { status, body: Body { error: words } }
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

/// In the words and with the reason that a gRPC caller would get.
impl From<EngineError> for HttpError {
    fn from(error: EngineError) -> Self {
        let told = Status::from(error);
        let status = match told.code() {
            Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
            Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let details = told.get_error_details();
        let reason = details.error_info().map(|info| info.reason.clone());
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let words = Words {
            message: told.message().to_owned(),
            r#type: kind(status),
            param: violations.first().map(|violation| violation.field.clone()),
            code: reason,
        };
        Self { status, body: Body { error: words } }
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
    HttpError::new(
        StatusCode::NOT_FOUND,
        "NO_SUCH_PATH",
        format!("{method} {}: allowed: {allowed}", uri.path()),
    )
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> HttpError {
    let told = format!("{} does not take {method}", uri.path());
    HttpError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", told)
}
