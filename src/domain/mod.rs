//! Nouns of preference learning, and the constructors that parse them.
//!
//! Once a value has a type of this room it is known to be valid; nothing downstream checks it again.
//! `domain` does no IO, knows no tensor, row or wire format, and imports no other room.

mod error;
mod identity;
mod ids;
mod judgment;
mod preference;
mod reliability;

pub use error::Invalid;
pub use identity::{ApiKey, Caller, Scope, Scopes};
pub use ids::{
    CompletionId, DatasetId, JobId, MAX_NAME_BYTES, ModelVersion, PoolName, PreferenceId, QueryId, RequestId,
    TenantId, UserId,
};
pub use judgment::{Candidates, Judgment};
pub use preference::{Comparison, ContentHash, MAX_WEIGHT, Outcome, PairKey, Weight};
pub use reliability::Reliability;
