use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::engine::{EngineError, GenerateError, ModelError, StoreError, is_damage};

/// Who names the reasons, in google.rpc.ErrorInfo.
pub(super) const DOMAIN: &str = "pref.dev";

/// A status with a reason that a program can rely on.
pub(super) fn status(code: Code, reason: &str, message: impl Into<String>) -> Status {
    Status::with_error_details(code, message, details(code, reason))
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        let code = code(&error);
        let mut details = details(code, error.reason());
        if let EngineError::Invalid(invalid) | EngineError::TooLarge(invalid) = &error {
            let description = format!("got {}; allowed: {}", invalid.given, invalid.allowed);
            details.add_bad_request_violation(&invalid.field, description);
        }
        let message = match code {
            Code::Internal => {
                tracing::error!(error = %error, error.debug = ?error, "a call failed");
                "the server failed; the cause is in its log".to_owned()
            }
            Code::Unavailable if matches!(error, EngineError::Store(_)) => {
                tracing::warn!(error = %error, "the database is away");
                "the database is not available; try again".to_owned()
            }
            _ => error.to_string(),
        };
        Status::with_error_details(code, message, details)
    }
}

fn code(error: &EngineError) -> Code {
    match error {
        EngineError::Invalid(_) => Code::InvalidArgument,
        EngineError::TooLarge(_) => Code::ResourceExhausted,
        EngineError::NoActiveModel
        | EngineError::NoValueHead(_)
        | EngineError::ForeignValueHead { .. }
        | EngineError::ModelReplaced { .. }
        | EngineError::QueryAlreadyAnswered(_)
        | EngineError::RevisionNotReached { .. }
        | EngineError::NoQuestionLeft => Code::FailedPrecondition,
        EngineError::ModelNotFound(_)
        | EngineError::DatasetNotFound(_)
        | EngineError::JobNotFound(_)
        | EngineError::UserNotFound(_)
        | EngineError::UserErased(_)
        | EngineError::QueryNotFound(_)
        | EngineError::PreferenceNotFound(_)
        | EngineError::PoolNotFound(_)
        | EngineError::PromptNotInPool => Code::NotFound,
        EngineError::RequestIdReused | EngineError::VersionTaken { .. } => Code::AlreadyExists,
        EngineError::LostRace => Code::Aborted,
        EngineError::Unimplemented(_) => Code::Unimplemented,
        EngineError::LanguageModel(GenerateError::QueueFull { .. }) => Code::ResourceExhausted,
        EngineError::ModelNotResident(_)
        | EngineError::GeneratorNotResident(_)
        | EngineError::Draining
        | EngineError::LanguageModel(_) => Code::Unavailable,
        EngineError::Model(error) => match error {
            ModelError::QueueFull { .. } | ModelError::OutOfMemory { .. } => Code::ResourceExhausted,
            ModelError::Stopped => Code::Unavailable,
            _ if is_damage(error) => Code::FailedPrecondition,
            _ => Code::Internal,
        },
        EngineError::Store(error) => match error {
            StoreError::Unavailable(_) => Code::Unavailable,
            StoreError::Missing { .. } => Code::NotFound,
            _ => Code::Internal,
        },
        EngineError::Train(_) | EngineError::Math(_) | EngineError::Task(_) | EngineError::Reply(_) => {
            Code::Internal
        }
    }
}

/// The reason, and when to try again where that helps.
fn details(code: Code, reason: &str) -> ErrorDetails {
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, std::collections::HashMap::new());
    let delay = match (code, reason) {
        (Code::Aborted, _) => Some(Duration::from_millis(10)),
        (Code::ResourceExhausted, "OVERLOADED" | "MODEL_QUEUE_FULL" | "GENERATOR_QUEUE_FULL") => {
            Some(Duration::from_millis(100))
        }
        (Code::Unavailable, _) => Some(Duration::from_millis(500)),
        _ => None,
    };
    if delay.is_some() {
        details.set_retry_info(delay);
    }
    details
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Invalid;

    #[test]
    fn a_refused_field_is_named_with_what_was_given_and_what_is_allowed() {
        let status =
            Status::from(EngineError::Invalid(Invalid::new("weight", f64::NAN, "a number in (0, 10]")));
        let details = status.get_error_details();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(details.error_info().unwrap().reason, "INVALID_FIELD");
        assert_eq!(details.error_info().unwrap().domain, "pref.dev");
        let violation = &details.bad_request().unwrap().field_violations[0];
        assert_eq!(violation.field, "weight");
        assert_eq!(violation.description, "got NaN; allowed: a number in (0, 10]");
        assert!(details.retry_info().is_none());
    }

    #[test]
    fn what_a_retry_helps_says_when() {
        let status = Status::from(EngineError::Model(ModelError::QueueFull { capacity: 1 }));
        assert_eq!(status.code(), Code::ResourceExhausted);
        let details = status.get_error_details();
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_millis(100)));
    }

    #[test]
    fn an_internal_cause_stays_in_the_log() {
        let status = Status::from(EngineError::Model(ModelError::Panicked("secret".to_owned())));
        assert_eq!(
            (status.code(), status.message()),
            (Code::Internal, "the server failed; the cause is in its log")
        );
    }
}
