use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use crate::engine::{EngineError, GenerateError, ModelError, StoreError, is_damage};

/// When the same call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// It would be refused again: something has to change first.
    No,
    /// So many milliseconds later; RetryInfo says so.
    After(u64),
    /// Once the time is over that RetryInfo names, which depends on the call.
    AsTold,
    /// At the caller's own pace; with the same `request_id`, what was done is not done twice.
    AtWill,
}

/// Writes the enumeration from one row a reason, so that nothing of a reason is said in two places.
macro_rules! reasons {
    ($($reason:ident = $word:literal: $code:ident, $http:ident, $retry:expr;)*) => {
        /// Why a client was refused: the machine's word for it, UPPER_SNAKE and stable, and all that follows from it.
        /// docs/ERRORS.md tells clients what each one means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Reason { $(#[doc = $word] $reason),* }

        impl Reason {
            /// Every one, in the order of docs/ERRORS.md.
            const ALL: &[Self] = &[$(Self::$reason),*];

            /// As clients see it.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$reason => $word),* }
            }

            /// The one that clients see as `word`.
            pub(super) fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
            }

            /// The gRPC status that carries it.
            pub(super) fn code(self) -> Code {
                match self { $(Self::$reason => Code::$code),* }
            }

            /// The HTTP status that carries it.
            pub(super) fn http(self) -> StatusCode {
                match self { $(Self::$reason => StatusCode::$http),* }
            }

            /// Whether the call may be made again.
            pub(super) fn retry(self) -> Retry {
                match self { $(Self::$reason => $retry),* }
            }
        }
    };
}

use Retry::{After, AsTold, AtWill, No};

reasons! {
    InvalidField = "INVALID_FIELD": InvalidArgument, BAD_REQUEST, No;
    MalformedMessage = "MALFORMED_MESSAGE": InvalidArgument, BAD_REQUEST, No;
    FieldTooLarge = "FIELD_TOO_LARGE": ResourceExhausted, PAYLOAD_TOO_LARGE, No;
    MessageTooLarge = "MESSAGE_TOO_LARGE": ResourceExhausted, PAYLOAD_TOO_LARGE, No;
    NoSuchMethod = "NO_SUCH_METHOD": Unimplemented, NOT_FOUND, No;
    NoSuchPath = "NO_SUCH_PATH": Unimplemented, NOT_FOUND, No;
    MethodNotAllowed = "METHOD_NOT_ALLOWED": Unimplemented, METHOD_NOT_ALLOWED, No;

    CredentialMissing = "CREDENTIAL_MISSING": Unauthenticated, UNAUTHORIZED, No;
    CredentialMalformed = "CREDENTIAL_MALFORMED": Unauthenticated, UNAUTHORIZED, No;
    ApiKeyUnknown = "API_KEY_UNKNOWN": Unauthenticated, UNAUTHORIZED, No;
    ApiKeyRevoked = "API_KEY_REVOKED": Unauthenticated, UNAUTHORIZED, No;
    ApiKeyExpired = "API_KEY_EXPIRED": Unauthenticated, UNAUTHORIZED, No;
    TokenInvalid = "TOKEN_INVALID": Unauthenticated, UNAUTHORIZED, No;
    TokenExpired = "TOKEN_EXPIRED": Unauthenticated, UNAUTHORIZED, No;
    ScopeMissing = "SCOPE_MISSING": PermissionDenied, FORBIDDEN, No;
    UserMismatch = "USER_MISMATCH": PermissionDenied, FORBIDDEN, No;
    UserBound = "USER_BOUND": PermissionDenied, FORBIDDEN, No;

    UserNotFound = "USER_NOT_FOUND": NotFound, NOT_FOUND, No;
    UserErased = "USER_ERASED": NotFound, NOT_FOUND, No;
    QueryNotFound = "QUERY_NOT_FOUND": NotFound, NOT_FOUND, No;
    CompletionNotFound = "COMPLETION_NOT_FOUND": NotFound, NOT_FOUND, No;
    PreferenceNotFound = "PREFERENCE_NOT_FOUND": NotFound, NOT_FOUND, No;
    PoolNotFound = "POOL_NOT_FOUND": NotFound, NOT_FOUND, No;
    PromptNotInPool = "PROMPT_NOT_IN_POOL": NotFound, NOT_FOUND, No;
    DatasetNotFound = "DATASET_NOT_FOUND": NotFound, NOT_FOUND, No;
    TrainingJobNotFound = "TRAINING_JOB_NOT_FOUND": NotFound, NOT_FOUND, No;
    ModelNotFound = "MODEL_NOT_FOUND": NotFound, NOT_FOUND, No;
    Gone = "GONE": NotFound, NOT_FOUND, No;

    RequestIdReused = "REQUEST_ID_REUSED": AlreadyExists, CONFLICT, No;
    ModelVersionTaken = "MODEL_VERSION_TAKEN": AlreadyExists, CONFLICT, No;
    QueryAlreadyAnswered = "QUERY_ALREADY_ANSWERED": FailedPrecondition, BAD_REQUEST, No;
    NoQuestionLeft = "NO_QUESTION_LEFT": FailedPrecondition, BAD_REQUEST, No;
    RevisionNotReached = "REVISION_NOT_REACHED": FailedPrecondition, BAD_REQUEST, AtWill;
    NoActiveModel = "NO_ACTIVE_MODEL": FailedPrecondition, BAD_REQUEST, No;
    ModelReplaced = "MODEL_REPLACED": FailedPrecondition, BAD_REQUEST, No;
    ModelDamaged = "MODEL_DAMAGED": FailedPrecondition, BAD_REQUEST, No;
    UpstreamRefused = "UPSTREAM_REFUSED": InvalidArgument, BAD_REQUEST, No;
    UpstreamMisconfigured = "UPSTREAM_MISCONFIGURED": FailedPrecondition, BAD_GATEWAY, No;
    NoValueHead = "NO_VALUE_HEAD": FailedPrecondition, BAD_REQUEST, No;
    ForeignValueHead = "FOREIGN_VALUE_HEAD": FailedPrecondition, BAD_REQUEST, No;

    LostRace = "LOST_RACE": Aborted, CONFLICT, After(10);
    Overloaded = "OVERLOADED": ResourceExhausted, TOO_MANY_REQUESTS, After(100);
    ModelQueueFull = "MODEL_QUEUE_FULL": ResourceExhausted, TOO_MANY_REQUESTS, After(100);
    GeneratorQueueFull = "GENERATOR_QUEUE_FULL": ResourceExhausted, TOO_MANY_REQUESTS, After(100);
    UpstreamBusy = "UPSTREAM_BUSY": ResourceExhausted, TOO_MANY_REQUESTS, After(1000);
    RateLimited = "RATE_LIMITED": ResourceExhausted, TOO_MANY_REQUESTS, AsTold;
    TooManyGenerations = "TOO_MANY_GENERATIONS": ResourceExhausted, TOO_MANY_REQUESTS, After(500);
    TooManyUsers = "TOO_MANY_USERS": ResourceExhausted, FORBIDDEN, No;
    OutOfMemory = "OUT_OF_MEMORY": ResourceExhausted, INTERNAL_SERVER_ERROR, No;
    DeadlineExceeded = "DEADLINE_EXCEEDED": DeadlineExceeded, GATEWAY_TIMEOUT, AtWill;
    Draining = "DRAINING": Unavailable, SERVICE_UNAVAILABLE, After(500);
    ModelNotResident = "MODEL_NOT_RESIDENT": Unavailable, SERVICE_UNAVAILABLE, After(500);
    GeneratorNotResident = "GENERATOR_NOT_RESIDENT": Unavailable, SERVICE_UNAVAILABLE, After(500);
    LanguageModelUnavailable = "LANGUAGE_MODEL_UNAVAILABLE": Unavailable, SERVICE_UNAVAILABLE, After(500);
    UpstreamUnavailable = "UPSTREAM_UNAVAILABLE": Unavailable, SERVICE_UNAVAILABLE, After(1000);
    UpstreamBroken = "UPSTREAM_BROKEN": Unavailable, BAD_GATEWAY, After(1000);
    TokenKeysUnavailable = "TOKEN_KEYS_UNAVAILABLE": Unavailable, SERVICE_UNAVAILABLE, After(500);
    DatabaseUnavailable = "DATABASE_UNAVAILABLE": Unavailable, SERVICE_UNAVAILABLE, After(500);
    ModelStorageUnavailable = "MODEL_STORAGE_UNAVAILABLE": Unavailable, SERVICE_UNAVAILABLE, After(1000);
    Internal = "INTERNAL": Internal, INTERNAL_SERVER_ERROR, No;
}

impl Reason {
    /// What RetryInfo says where nothing about the call is known.
    pub(super) fn delay(self) -> Option<Duration> {
        match self.retry() {
            After(milliseconds) => Some(Duration::from_millis(milliseconds)),
            No | AsTold | AtWill => None,
        }
    }
}

impl From<&EngineError> for Reason {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Invalid(_) => Self::InvalidField,
            EngineError::TooLarge(_) => Self::FieldTooLarge,
            EngineError::ApiKeyUnknown => Self::ApiKeyUnknown,
            EngineError::ApiKeyRevoked => Self::ApiKeyRevoked,
            EngineError::ApiKeyExpired => Self::ApiKeyExpired,
            EngineError::TooManyUsers(_) => Self::TooManyUsers,
            EngineError::NoActiveModel => Self::NoActiveModel,
            EngineError::Starting | EngineError::ModelNotResident(_) => Self::ModelNotResident,
            EngineError::ModelNotFound(_) => Self::ModelNotFound,
            EngineError::ModelReplaced { .. } => Self::ModelReplaced,
            EngineError::VersionTaken { .. } => Self::ModelVersionTaken,
            EngineError::DatasetNotFound(_) => Self::DatasetNotFound,
            EngineError::JobNotFound(_) => Self::TrainingJobNotFound,
            EngineError::UserNotFound(_) => Self::UserNotFound,
            EngineError::UserErased(_) => Self::UserErased,
            EngineError::QueryNotFound(_) => Self::QueryNotFound,
            EngineError::CompletionNotFound { .. } => Self::CompletionNotFound,
            EngineError::QueryAlreadyAnswered(_) => Self::QueryAlreadyAnswered,
            EngineError::PreferenceNotFound(_) => Self::PreferenceNotFound,
            EngineError::RevisionNotReached { .. } => Self::RevisionNotReached,
            EngineError::PoolNotFound(_) => Self::PoolNotFound,
            EngineError::PromptNotInPool => Self::PromptNotInPool,
            EngineError::NoQuestionLeft | EngineError::SameText { .. } => Self::NoQuestionLeft,
            EngineError::RequestIdReused => Self::RequestIdReused,
            EngineError::LostRace => Self::LostRace,
            EngineError::Draining => Self::Draining,
            EngineError::NoValueHead(_) => Self::NoValueHead,
            EngineError::ForeignValueHead { .. } => Self::ForeignValueHead,
            EngineError::GeneratorNotResident(_) => Self::GeneratorNotResident,
            EngineError::LanguageModel(GenerateError::QueueFull { .. }) => Self::GeneratorQueueFull,
            EngineError::LanguageModel(GenerateError::UpstreamAway { .. }) => Self::UpstreamUnavailable,
            EngineError::LanguageModel(GenerateError::UpstreamBusy { .. }) => Self::UpstreamBusy,
            EngineError::LanguageModel(GenerateError::UpstreamRubbish { .. }) => Self::UpstreamBroken,
            // What it does not take is the caller's request, or this server's key, address or model.
            EngineError::LanguageModel(GenerateError::UpstreamRefused {
                status: 400 | 413 | 422, ..
            }) => Self::UpstreamRefused,
            EngineError::LanguageModel(GenerateError::UpstreamRefused { .. }) => Self::UpstreamMisconfigured,
            EngineError::LanguageModel(_) => Self::LanguageModelUnavailable,
            EngineError::Model(ModelError::QueueFull { .. }) => Self::ModelQueueFull,
            EngineError::Model(ModelError::Stopped) => Self::Draining,
            EngineError::Model(ModelError::OutOfMemory { .. }) => Self::OutOfMemory,
            EngineError::Model(ModelError::Storage { .. }) => Self::ModelStorageUnavailable,
            EngineError::Model(error) if is_damage(error) => Self::ModelDamaged,
            EngineError::Store(StoreError::Unavailable(_)) => Self::DatabaseUnavailable,
            EngineError::Store(StoreError::Missing { .. }) => Self::Gone,
            // Nothing but the end of the server cancels a task that a call waits for.
            EngineError::Task(error) if error.is_cancelled() => Self::Draining,
            EngineError::Model(_)
            | EngineError::Store(_)
            | EngineError::Train(_)
            | EngineError::Math(_)
            | EngineError::Task(_)
            | EngineError::Reply(_) => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ERRORS.md"));

    /// What docs/ERRORS.md may say of a reason beside its meaning and what to do.
    fn row(reason: Reason) -> [String; 4] {
        let retry = match reason.retry() {
            No => "no".to_owned(),
            After(milliseconds) => format!("after {milliseconds} ms"),
            AsTold => "after RetryInfo".to_owned(),
            AtWill => "at will".to_owned(),
        };
        // INVALID_ARGUMENT from InvalidArgument.
        let mut code = String::new();
        for letter in format!("{:?}", reason.code()).chars() {
            if letter.is_uppercase() && !code.is_empty() {
                code.push('_');
            }
            code.extend(letter.to_uppercase());
        }
        [code, reason.as_str().to_owned(), reason.http().as_u16().to_string(), retry]
    }

    #[test]
    fn the_table_for_clients_is_the_code() {
        let rows = TABLE.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
        let told: Vec<_> = rows
            .map(|line| {
                let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
                let [code, reason, http, retry, meaning, then] = cells[..] else {
                    panic!("six cells a row: {line}")
                };
                assert!(!meaning.is_empty() && !then.is_empty(), "say what it means and what to do: {line}");
                [code, reason.trim_matches('`'), http, retry].map(str::to_owned)
            })
            .collect();
        let ours: Vec<_> = Reason::ALL.iter().map(|&reason| row(reason)).collect();
        for row in &ours {
            assert!(told.contains(row), "docs/ERRORS.md has no row {row:?}");
        }
        assert_eq!(told, ours, "rows of docs/ERRORS.md that the code does not know, or another order");
    }

    #[test]
    fn a_word_names_one_reason_and_is_spelled_as_google_asks() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')));
        words.sort_unstable();
        assert!(words.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
