//! The RPCs on the HTTP port, for browsers and curl, at the paths that they have in gRPC.
//!
//! `POST /pref.v1.PersonalizationService/NextQuery` takes a JSON message and answers with one (ProtoJSON, as grpcurl prints it),
//! where neither side is a stream; an error is `{"code", "message", "reason", "details"}`, which Connect's clients read, too. With
//! the content type of gRPC-Web the same path speaks that, streams of the server's among them. Either way a call passes the
//! layers of a gRPC call, and what it is refused for is the same.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, Full};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::json;
use tonic::Status;
use tonic_types::StatusExt;
use tonic_web::GrpcWebLayer;
use tower::{Layer, ServiceExt};

use super::error::no_such_path;
use crate::service::error::status;
use crate::service::proto::FILE_DESCRIPTOR_SET;
use crate::service::reason::Reason;
use crate::service::stack::Calls;

/// What the names of our services begin with.
const PACKAGE: &str = "pref.v1.";

/// Answers calls of the RPCs.
#[derive(Clone)]
pub(super) struct Rpcs {
    calls: Calls,
    descriptors: Arc<DescriptorPool>,
    /// The longest JSON that is read.
    largest: usize,
}

impl Rpcs {
    pub(super) fn new(calls: Calls, largest: usize) -> Self {
        let descriptors = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the compiler wrote them");
        Self { calls, descriptors: Arc::new(descriptors), largest }
    }

    fn method(&self, service: &str, method: &str) -> Option<MethodDescriptor> {
        let service = self.descriptors.get_service_by_name(service)?;
        service.methods().find(|one| one.name() == method)
    }
}

/// `POST /{service}/{method}`
pub(super) async fn call(
    State(rpcs): State<Rpcs>,
    Path((service, method)): Path<(String, String)>,
    request: Request,
) -> Response<axum::body::Body> {
    if !service.starts_with(PACKAGE) {
        return no_such_path(request.method().clone(), request.uri().clone()).await.into_response();
    }
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/grpc-web") {
        let web = GrpcWebLayer::new().layer(rpcs.calls.clone());
        return match web.oneshot(request.map(tonic::body::Body::new)).await {
            Ok(answer) => answer.map(axum::body::Body::new),
            Err(error) => refused(&status(Reason::Internal, error.to_string())),
        };
    }
    let answered = async {
        let Some(method) = rpcs.method(&service, &method) else {
            return Err(status(
                Reason::NoSuchMethod,
                "this server has no such method; proto/ lists those it has",
            ));
        };
        if method.is_client_streaming() || method.is_server_streaming() {
            let told = "a stream is no JSON message; gRPC and gRPC-Web have it";
            return Err(status(Reason::NoSuchMethod, told));
        }
        unary(&rpcs, &method, request).await
    };
    match answered.await {
        Ok(json) => ([(CONTENT_TYPE, "application/json")], json).into_response(),
        Err(status) => refused(&status),
    }
}

async fn unary(rpcs: &Rpcs, method: &MethodDescriptor, request: Request) -> Result<String, Status> {
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, rpcs.largest).await.map_err(|error| {
        status(Reason::MessageTooLarge, format!("the message is larger than this server takes: {error}"))
    })?;
    let message = parsed(method, &body)
        .map_err(|error| status(Reason::MalformedMessage, format!("the message cannot be read: {error}")))?;

    let mut call = axum::http::Request::post(path);
    let headers = call.headers_mut().expect("a path of a method makes a request");
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("te", HeaderValue::from_static("trailers"));
    headers.extend(parts.headers.get(AUTHORIZATION).map(|credential| (AUTHORIZATION, credential.clone())));
    headers.extend(timeout(&parts.headers));
    let call =
        call.body(tonic::body::Body::new(Full::new(framed(&message)))).expect("its parts were checked");
    let answer = rpcs.calls.clone().oneshot(call).await.map_err(|error| {
        tracing::error!(%error, "a call over HTTP failed");
        status(Reason::Internal, "the server failed; the cause is in its log")
    })?;
    read(method, answer).await
}

/// A message in JSON; `{}` where nothing is sent.
fn parsed(method: &MethodDescriptor, json: &[u8]) -> Result<DynamicMessage, serde_json::Error> {
    let json = if json.is_empty() { b"{}" } else { json };
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let message = DynamicMessage::deserialize(method.input(), &mut deserializer)?;
    deserializer.end()?;
    Ok(message)
}

/// As gRPC puts a message on the wire: not compressed, its length, itself.
fn framed(message: &DynamicMessage) -> Bytes {
    let length = message.encoded_len();
    let mut frame = Vec::with_capacity(5 + length);
    frame.push(0);
    frame.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    message.encode(&mut frame).expect("a vector grows");
    frame.into()
}

/// Reads the answer of a call that is no stream.
async fn read(method: &MethodDescriptor, answer: Response<tonic::body::Body>) -> Result<String, Status> {
    let (parts, body) = answer.into_parts();
    let collected = body.collect().await?;
    let trailers = collected.trailers().cloned().unwrap_or_default();
    for headers in [&parts.headers, &trailers] {
        match Status::from_header_map(headers) {
            Some(told) if told.code() != tonic::Code::Ok => return Err(told),
            _ => {}
        }
    }
    let frame = collected.to_bytes();
    let broken = |why: &str| status(Reason::Internal, format!("the answer cannot be read: {why}"));
    let message = frame.get(5..).ok_or_else(|| broken("it is empty"))?;
    let message =
        DynamicMessage::decode(method.output(), message).map_err(|error| broken(&error.to_string()))?;
    let mut json = serde_json::Serializer::new(Vec::new());
    message
        .serialize_with_options(&mut json, &SerializeOptions::new())
        .map_err(|error| broken(&error.to_string()))?;
    String::from_utf8(json.into_inner()).map_err(|error| broken(&error.to_string()))
}

/// How long a caller waits: Connect's header, in gRPC's.
fn timeout(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    let given: u64 = headers.get("connect-timeout-ms")?.to_str().ok()?.parse().ok()?;
    // gRPC takes eight digits, which is a day in milliseconds.
    let given = Duration::from_millis(given.min(99_999_999));
    let value = HeaderValue::from_str(&format!("{}m", given.as_millis())).ok()?;
    Some((HeaderName::from_static("grpc-timeout"), value))
}

/// The refusal of a call, with the HTTP status of its reason.
fn refused(told: &Status) -> Response<axum::body::Body> {
    let details = told.get_error_details();
    let word = details.error_info().map(|info| info.reason.clone()).unwrap_or_default();
    let code = Reason::of_word(&word).map_or(StatusCode::INTERNAL_SERVER_ERROR, Reason::http);
    let fields: Vec<_> = details
        .bad_request()
        .into_iter()
        .flat_map(|request| &request.field_violations)
        .map(|violation| json!({"field": violation.field, "description": violation.description}))
        .collect();
    let mut body = json!({"code": snake_case(told.code()), "message": told.message(), "reason": word});
    if !fields.is_empty() {
        body["fieldViolations"] = fields.into();
    }
    let mut response = (code, [(CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
        let seconds = delay.as_millis().div_ceil(1000) as u64;
        response.headers_mut().insert(axum::http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if code == StatusCode::UNAUTHORIZED {
        let bearer = HeaderValue::from_static("Bearer");
        response.headers_mut().insert(axum::http::header::WWW_AUTHENTICATE, bearer);
    }
    response
}

/// `not_found` of `NotFound`.
fn snake_case(code: tonic::Code) -> String {
    let mut word = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !word.is_empty() {
            word.push('_');
        }
        word.extend(letter.to_lowercase());
    }
    word
}
