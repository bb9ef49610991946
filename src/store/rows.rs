//! What the store takes and gives: plain structs of domain types. Times are unix milliseconds.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::domain::{
    Comparison, CompletionId, DatasetId, JobId, ModelVersion, Outcome, PairKey, PoolName, PreferenceId,
    QueryId, RequestId, Scopes, TenantId, UserId, Weight,
};

/// Milliseconds since 1970-01-01 UTC.
pub type UnixMillis = i64;

/// A user's log position: how many lines (answers and undos) their log has ever taken. The same under every model.
pub type Revision = i64;

/// A user's fit under one model version: derived from the log up to `revision`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPosterior {
    /// The log position it was fitted at.
    pub revision: Revision,
    /// λ, J numbers.
    pub coefficients: Vec<f64>,
    /// H at λ, J × J numbers, row by row.
    pub hessian: Vec<f64>,
    /// How many live answers have a likelihood term (FIRST, SECOND, TIE).
    pub answers: i64,
}

/// A user, and their fit under the model that was asked about.
#[derive(Debug, Clone, PartialEq)]
pub struct UserRow {
    /// Who.
    pub user_id: UserId,
    /// Log position.
    pub revision: Revision,
    /// First seen.
    pub created: UnixMillis,
    /// Last line of the log, or `created`.
    pub updated: UnixMillis,
    /// The fit, which may lag behind `revision` while a model is being activated.
    pub posterior: Option<StoredPosterior>,
}

/// A live answer as a refit needs it: no text.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its place in the user's log, from 1.
    pub position: Revision,
    /// Permanent id.
    pub preference_id: PreferenceId,
    /// What was said.
    pub outcome: Outcome,
    /// How much it counts.
    pub weight: Weight,
    /// When it was recorded.
    pub created: UnixMillis,
    /// δ = φ(A) − φ(B) under the model asked about, J numbers; nothing if it has not been computed for that model.
    pub delta: Option<Vec<f64>>,
}

/// All that a fit of one user needs, as of one log position.
#[derive(Debug, Clone, PartialEq)]
pub struct UserSnapshot {
    /// Log position that the answers belong to; the `expected_revision` of a commit built on them.
    pub revision: Revision,
    /// When the user came: who comes again after an erasure has the same name and is not the same.
    pub created: UnixMillis,
    /// The stored fit; use it only where its revision equals `revision`.
    pub posterior: Option<StoredPosterior>,
    /// Live answers in the order of the log, all five outcomes.
    pub answers: Vec<Answer>,
}

/// All that an answer needs, from one statement.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SubmissionSnapshot {
    /// Log position, the `expected_revision` of a commit built on these answers; nothing where the user is unknown.
    pub revision: Option<Revision>,
    /// Live answers in the order of the log, all five outcomes.
    pub answers: Vec<Answer>,
    /// The question that is answered, if this user was asked it.
    pub query: Option<AskedQuery>,
    /// The question that was chosen last, if any ever was.
    pub latest: Option<LatestQuery>,
}

/// The question that was chosen last, and the best where several were.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatestQuery {
    /// Which it is.
    pub query_id: QueryId,
    /// Bits that its answer was expected to tell.
    pub information_gain: f64,
}

/// What a fit was computed from, apart from the revision of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Basis {
    /// What was read just now.
    Read,
    /// What was known from a call before. Where no question is answered, this is the one that was chosen last.
    Remembered(Option<LatestQuery>),
}

/// A keyed hash of (tenant, user): names a person where their name is not to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct UserHash(pub(super) [u8; 32]);

/// Says nothing of whose it is.
impl std::fmt::Debug for UserHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UserHash(..)")
    }
}

/// A question as an answer to it needs it.
#[derive(Debug, Clone, PartialEq)]
pub struct AskedQuery {
    /// Prompt and responses as shown.
    pub comparison: Comparison,
    /// The model that chose it.
    pub model_version: ModelVersion,
    /// Expected gain when it was asked, bits.
    pub information_gain: f64,
    /// δ under that model.
    pub delta: Vec<f64>,
}

impl From<&QueryRow> for AskedQuery {
    fn from(query: &QueryRow) -> Self {
        Self {
            comparison: query.comparison.clone(),
            model_version: query.model_version.clone(),
            information_gain: query.information_gain,
            delta: query.delta.clone(),
        }
    }
}

/// What the next question is wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    /// Whose fit.
    pub model: &'a ModelVersion,
    /// The pool to choose from, if it is a stored one.
    pub pool: Option<&'a PoolName>,
    /// Method, request id and digest of the call, if it may be a repeat.
    pub call: Option<(&'static str, RequestId, &'a [u8; 32])>,
    /// Now: questions that have expired are not open.
    pub now: UnixMillis,
}

/// All that choosing the next question needs, from one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct AskingSnapshot {
    /// Whether the call was made before.
    pub recall: Recall,
    /// The pool as it is now, if there is such a pool.
    pub pool_version: Option<PoolVersion>,
    /// The user; nothing where they are unknown.
    pub person: Option<AskingPerson>,
}

/// A user who is to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct AskingPerson {
    /// Log position.
    pub revision: Revision,
    /// The stored fit, which may lag.
    pub posterior: Option<StoredPosterior>,
    /// Pairs not to be asked: answered (and not undone), or open.
    pub seen: HashSet<PairKey>,
    /// δ of the open questions that were asked under the model asked about.
    pub open_deltas: Vec<Vec<f64>>,
}

/// What one model version derives from a change of the log, stored in the same transaction.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// The model.
    pub model_version: ModelVersion,
    /// δ of the answer; nothing where it has no likelihood term and was not computed.
    pub delta: Option<Vec<f64>>,
    /// λ, after the change.
    pub coefficients: Vec<f64>,
    /// H at λ, row by row.
    pub hessian: Vec<f64>,
    /// Live answers with a likelihood term, after the change.
    pub answers: i64,
}

/// An answer to be appended to a user's log.
#[derive(Debug, Clone)]
pub struct NewPreference {
    /// [`PreferenceId::of_request`] where the call has a request id, else random.
    pub preference_id: PreferenceId,
    /// The caller's key, if there is one.
    pub request_id: Option<RequestId>,
    /// Digest of the call's body: the same id with another digest is refused.
    pub body_hash: [u8; 32],
    /// The question that is answered, if it was one of ours.
    pub query_id: Option<QueryId>,
    /// What was compared.
    pub comparison: Comparison,
    /// What was said.
    pub outcome: Outcome,
    /// How much it counts.
    pub weight: Weight,
    /// Now.
    pub created: UnixMillis,
    /// Until when the request id is kept where the answer is not logged, because the question had been answered alike. (That
    /// of an answer that is logged is kept with it.)
    pub expires: UnixMillis,
    /// The revision that the fit was computed from; 0 for a user who is not there yet.
    pub expected_revision: Revision,
    /// The fits after it: the active model's, and the activating one's where there is one. Their revision becomes
    /// `expected_revision + 1`.
    pub derived: Vec<Derived>,
    /// The reply's bytes, given again to every repeat of the call.
    pub reply: Vec<u8>,
}

/// How [`Store::append_preference`](super::Store::append_preference) ended. Only `Appended` changed anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// The answer is durable; the user is at this revision.
    Appended {
        /// The user's new log position.
        revision: Revision,
    },
    /// The same call, or the same outcome for the same question, was recorded before: its reply.
    Replayed(Vec<u8>),
    /// Another change came first: take a new snapshot, fit again, try again.
    Conflict {
        /// The user's present log position.
        revision: Revision,
    },
    /// The request id belongs to a call with another body.
    RequestIdReused,
    /// This user has no such question.
    QueryNotFound,
    /// The question was answered with another outcome.
    QueryAlreadyAnswered,
    /// The user was erased less than a day ago, and the answer is not to a question asked since.
    Erased,
}

/// How [`Store::delete_preference`](super::Store::delete_preference) ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undo {
    /// The answer no longer counts; the user is at this revision.
    Undone {
        /// The user's new log position.
        revision: Revision,
    },
    /// It was undone before: nothing changed.
    AlreadyUndone,
    /// Another change came first: take a new snapshot, fit again, try again.
    Conflict {
        /// The user's present log position.
        revision: Revision,
    },
    /// This user has no such answer.
    NotFound,
    /// The call was made before under this request id: its reply.
    Replayed(Vec<u8>),
    /// The request id belongs to a call with another body.
    RequestIdReused,
}

/// One line of a user's log, with its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct PreferenceRow {
    /// Its place in the user's log, from 1.
    pub position: Revision,
    /// Permanent id.
    pub preference_id: PreferenceId,
    /// The question that was answered, if it was one of ours.
    pub query_id: Option<QueryId>,
    /// What was compared.
    pub comparison: Comparison,
    /// What was said.
    pub outcome: Outcome,
    /// How much it counts.
    pub weight: Weight,
    /// When it was recorded.
    pub created: UnixMillis,
}

/// A line of the whole tenant's log, for training.
#[derive(Debug, Clone, PartialEq)]
pub struct LogRow {
    /// Whose line.
    pub user_id: UserId,
    /// The line.
    pub preference: PreferenceRow,
}

/// A question that was put to a user.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRow {
    /// Random.
    pub query_id: QueryId,
    /// Prompt and responses as shown; A is the first.
    pub comparison: Comparison,
    /// The model that chose it.
    pub model_version: ModelVersion,
    /// δ under that model, so that answering it embeds nothing.
    pub delta: Vec<f64>,
    /// Expected gain when it was asked, bits.
    pub information_gain: f64,
    /// E\[p(A preferred)\] when it was asked.
    pub predicted_preference: f64,
    /// When it was asked.
    pub created: UnixMillis,
    /// When its pair may be asked again; a late answer still counts.
    pub expires: UnixMillis,
    /// The live answer, if there is one. Ignored when a query is saved.
    pub answered: Option<PreferenceId>,
}

/// A choice of a chat completion that a user was given.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoiceRow {
    /// What the completion was answered under.
    pub completion_id: CompletionId,
    /// Which of its choices, from 0.
    pub choice: u32,
    /// x
    pub prompt: String,
    /// y
    pub response: String,
    /// The model that chose it.
    pub model_version: ModelVersion,
    /// φ(x, y) under that model, so that a comparison embeds nothing.
    pub features: Vec<f64>,
    /// When it was asked for.
    pub created: UnixMillis,
    /// Until when it is remembered.
    pub expires: UnixMillis,
}

/// The key of a call that may be repeated, and the reply to give again.
#[derive(Debug, Clone)]
pub struct Idempotent {
    /// The RPC's name.
    pub method: &'static str,
    /// The caller's key.
    pub request_id: RequestId,
    /// Digest of the call's body.
    pub body_hash: [u8; 32],
    /// The reply's bytes.
    pub reply: Vec<u8>,
    /// Now.
    pub created: UnixMillis,
    /// Until when it is kept.
    pub expires: UnixMillis,
}

/// What is known of a request id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recall {
    /// Nothing: the call is new. After a save: it is now remembered.
    New,
    /// The same call was made before: its reply.
    Replayed(Vec<u8>),
    /// The request id belongs to a call with another body.
    RequestIdReused,
}

/// How an erasure ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Every trace is gone.
    Erased,
    /// It was done less than a day ago, and nothing has come since.
    AlreadyErased,
    /// There was never such a user, or it is longer ago.
    NotFound,
}

/// What an import changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    /// Rows that are new.
    pub added: u64,
    /// Rows that were there already.
    pub duplicates: u64,
    /// The pool's revision, or the dataset's number of rows, afterwards.
    pub revision: Revision,
}

/// A pool of candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRow {
    /// Its name.
    pub pool: PoolName,
    /// Advances with every change; what caches compare.
    pub revision: Revision,
    /// Distinct prompts.
    pub prompts: i64,
    /// Distinct (prompt, response).
    pub responses: i64,
    /// First import.
    pub created: UnixMillis,
    /// Last change.
    pub updated: UnixMillis,
}

/// Which contents of a pool: revisions begin anew where a pool is deleted and made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolVersion {
    /// First import.
    pub created: UnixMillis,
    /// Advances with every change since.
    pub revision: Revision,
}

/// A model that serves a tenant or is about to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServingRow {
    /// Whom.
    pub tenant: TenantId,
    /// Which model.
    pub model_version: ModelVersion,
    /// `Active` or `Activating`.
    pub state: ModelState,
    /// Since when; while it is being activated, when that was last worked on.
    pub changed: UnixMillis,
}

/// A set of imported preferences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetRow {
    /// Its name.
    pub dataset_id: DatasetId,
    /// Distinct lines.
    pub rows: i64,
    /// First import.
    pub created: UnixMillis,
    /// Last change.
    pub updated: UnixMillis,
}

/// Where a training job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    /// Waits for a worker.
    Queued,
    /// A worker holds its lease.
    Running,
    /// Its model is registered.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was cancelled.
    Cancelled,
}

/// A training job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobRow {
    /// Whose job.
    pub tenant: TenantId,
    /// Which job.
    pub job_id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// The request, as its creator wrote it.
    pub request: Vec<u8>,
    /// What the worker last reported; empty before the first report.
    pub progress: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The model it made.
    pub model_version: Option<ModelVersion>,
    /// How often it was claimed.
    pub attempts: i64,
    /// When somebody asked to cancel it.
    pub cancel_requested: Option<UnixMillis>,
    /// When it was created.
    pub created: UnixMillis,
    /// When it last changed.
    pub updated: UnixMillis,
    /// When it ended.
    pub finished: Option<UnixMillis>,
}

/// How a training job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobEnd {
    /// With this model.
    Succeeded(ModelVersion),
    /// With this error.
    Failed(String),
    /// Because somebody asked.
    Cancelled,
}

/// Whether a worker still holds its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Yes: go on.
    Held,
    /// Yes, but somebody asked to cancel: stop, and finish with [`JobEnd::Cancelled`].
    CancelRequested,
    /// No: another worker took it over, or it ended. Stop, and write nothing more.
    Lost,
}

/// Where a model stands for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModelState {
    /// Can be activated.
    Ready,
    /// Users are being refitted; the old model still serves.
    Activating,
    /// Serves.
    Active,
    /// Served once.
    Retired,
}

/// A model in the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRow {
    /// Its version.
    pub model_version: ModelVersion,
    /// The tenant that it belongs to; nothing for a shared one.
    pub owner: Option<TenantId>,
    /// Where it stands for the tenant that asked.
    pub state: ModelState,
    /// manifest.json
    pub manifest: String,
    /// Where its files are, as `object_store` names it.
    pub location: String,
    /// How many people of its training data have been erased since.
    pub erased_users: i64,
    /// When it was registered.
    pub created: UnixMillis,
    /// When its state last changed for this tenant; `created` if never.
    pub changed: UnixMillis,
}

/// An API key as it is kept: all but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Which one.
    pub key_id: String,
    /// Whose data it opens.
    pub tenant: TenantId,
    /// SHA-256 of the whole key.
    pub hash: [u8; 32],
    /// What it is good for.
    pub scopes: Scopes,
    /// What its maker calls it.
    pub label: String,
    /// When it was made.
    pub created: UnixMillis,
    /// From when on it is refused.
    pub expires: Option<UnixMillis>,
    /// When it was taken back.
    pub revoked: Option<UnixMillis>,
}
