use std::collections::HashMap;
use std::time::Duration;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use super::reason::Reason;
use crate::domain::Invalid;
use crate::engine::{EngineError, GenerateError};

/// Who names the reasons, in google.rpc.ErrorInfo.
pub(super) const DOMAIN: &str = "pref.dev";

/// Why a call is refused, before it is put into the words of either edge.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The field that is at fault.
    pub(super) field: Option<Box<Invalid>>,
    /// When to try again.
    pub(super) delay: Option<Duration>,
    /// What a program may want to know beside the reason, by name.
    pub(super) metadata: Option<(&'static str, &'static str)>,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, delay: reason.delay(), metadata: None }
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        let reason = Reason::from(&error);
        let message = match reason {
            Reason::Internal => {
                tracing::error!(error = %error, error.debug = ?error, "a call failed");
                "the server failed; the cause is in its log".to_owned()
            }
            Reason::DatabaseUnavailable => {
                tracing::warn!(error = %error, "the database is away");
                "the database is not available; try again".to_owned()
            }
            Reason::ModelStorageUnavailable => {
                tracing::warn!(error = %error, "the models' storage is away");
                "the models' storage is not available; try again".to_owned()
            }
            _ => error.to_string(),
        };
        let refusal = Self::new(reason, message);
        match error {
            EngineError::Invalid(invalid) | EngineError::TooLarge(invalid) => {
                Self { field: Some(Box::new(invalid)), ..refusal }
            }
            EngineError::LanguageModel(GenerateError::UpstreamBusy { retry_after: Some(wait), .. }) => {
                Self { delay: Some(wait), ..refusal }
            }
            _ => refusal,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let Refusal { reason, message, field, delay, metadata } = refusal;
        let metadata = metadata.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut details =
            ErrorDetails::with_error_info(reason.as_str(), DOMAIN, metadata.collect::<HashMap<_, _>>());
        if let Some(invalid) = field {
            let description = format!("got {}; allowed: {}", invalid.given, invalid.allowed);
            details.add_bad_request_violation(invalid.field, description);
        }
        if delay.is_some() {
            details.set_retry_info(delay);
        }
        Status::with_error_details(reason.code(), message, details)
    }
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        Refusal::from(error).into()
    }
}

/// A status with a reason that a program can rely on.
pub(super) fn status(reason: Reason, message: impl Into<String>) -> Status {
    Refusal::new(reason, message).into()
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::engine::ModelError;

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
    fn storage_that_is_away_is_worth_a_retry_and_its_place_stays_in_the_log() {
        let (location, reason) = ("s3://secret/models".to_owned(), "503 of secret".to_owned());
        let status = Status::from(EngineError::Model(ModelError::Storage { location, reason }));
        assert_eq!(status.code(), Code::Unavailable);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().reason, "MODEL_STORAGE_UNAVAILABLE");
        assert_eq!(details.retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
        assert!(!status.message().contains("secret"), "{}", status.message());
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
