//! What the layers and the codec say, in the words of the API.

use tonic::body::Body;
use tonic::codegen::http::Response;
use tonic::{Code, Status};
use tower::BoxError;
use tower::load_shed::error::Overloaded;

use super::deadline::DeadlineExceeded;
use super::error::status;
use super::reason::Reason;

/// What a caller hears who comes while the server has enough to do.
pub(super) const OVERLOADED: &str = "the server has as many calls in flight as it takes; try again shortly";

/// Turns a layer's error into an answer, and gives the codec's own refusals (a message that is too large, or cannot
/// be read) the code and the reason that the API promises.
pub(super) fn in_our_words(answer: Result<Response<Body>, BoxError>) -> Result<Response<Body>, BoxError> {
    match answer {
        Ok(response) => {
            Ok(match Status::from_header_map(response.headers()).and_then(|told| of_codec(&told)) {
                Some(status) => status.into_http(),
                None => response,
            })
        }
        Err(error) => of_layer(error).map(Status::into_http),
    }
}

/// The codec's refusal of a message, as a status of ours; nothing where the status is ours already.
pub(super) fn of_codec(told: &Status) -> Option<Status> {
    match told.code() {
        // tonic's word for a message beyond the limit; nothing else here says OUT_OF_RANGE.
        Code::OutOfRange => Some(status(
            Reason::MessageTooLarge,
            format!("the message is larger than this server takes: {}", told.message()),
        )),
        // Only requests are decoded here, so that it is the caller's message that cannot be read.
        Code::Internal if told.message().starts_with("failed to decode Protobuf message") => Some(status(
            Reason::MalformedMessage,
            told.message().replace("failed to decode Protobuf message", "the message cannot be read"),
        )),
        _ => None,
    }
}

fn of_layer(error: BoxError) -> Result<Status, BoxError> {
    if error.is::<DeadlineExceeded>() {
        Ok(status(Reason::DeadlineExceeded, error.to_string()))
    } else if error.is::<Overloaded>() {
        Ok(status(Reason::Overloaded, OVERLOADED))
    } else {
        Err(error)
    }
}
