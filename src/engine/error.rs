use crate::domain::{
    CompletionId, DatasetId, Invalid, JobId, ModelVersion, PoolName, PreferenceId, QueryId, UserId,
};
use crate::generate::GenerateError;
use crate::math::MathError;
use crate::model::ModelError;
use crate::store::StoreError;
use crate::train::TrainError;

/// Why a use case was refused or failed. What of it a program may rely on, `service` says.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A field cannot be taken.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Value-guided sampling without a value head.
    #[error("model {0} has no value head; train one (pref train value-head), or choose BEST_OF_N")]
    NoValueHead(ModelVersion),
    /// Value-guided sampling with another language model than the value head's.
    #[error(
        "the value head of model {version} was trained on the hidden states of {language_model}, another language model than the generator's"
    )]
    ForeignValueHead {
        /// The model.
        version: ModelVersion,
        /// Whose hidden states it reads.
        language_model: String,
    },
    /// A language model is still being loaded.
    #[error("the generator {0} is still being loaded; try again shortly")]
    GeneratorNotResident(String),
    /// A field is larger than this server takes.
    #[error("{0}")]
    TooLarge(Invalid),

    /// No API key is this one.
    #[error("the API key is not known here; check that it is whole, or ask whoever made it for another")]
    ApiKeyUnknown,
    /// The API key was taken back.
    #[error("the API key was revoked; ask whoever made it for another")]
    ApiKeyRevoked,
    /// The API key's time is over.
    #[error("the API key has expired; ask whoever made it for another")]
    ApiKeyExpired,
    /// The tenant has as many people as it may have.
    #[error("this tenant has {0} users, as many as it may have; delete some, or raise --tenant-users")]
    TooManyUsers(u64),

    /// Nobody has trained and activated a model yet.
    #[error("no model is active; train one (Train) and activate it (ActivateModel)")]
    NoActiveModel,
    /// Which model serves is not known yet.
    #[error("the server is starting; try again shortly")]
    Starting,
    /// The active model is still being loaded.
    #[error("model {0} is being loaded; try again shortly")]
    ModelNotResident(ModelVersion),
    /// There is no such model.
    #[error("there is no model {0}")]
    ModelNotFound(ModelVersion),
    /// Other files lie where the model's were.
    #[error(
        "model {version} was registered from {location}, where model {found} lies now (or other files of that name); put its files back, or register the new one (pref serve --model {location})"
    )]
    ModelReplaced {
        /// The model that was asked for.
        version: ModelVersion,
        /// Its place.
        location: String,
        /// What is there.
        found: ModelVersion,
    },
    /// Another model has this name.
    #[error(
        "another model is registered as {version}, from {location}; people were fitted under it, so a version names one model for good: train again under another version"
    )]
    VersionTaken {
        /// The name.
        version: ModelVersion,
        /// Where the model that has it lies.
        location: String,
    },

    /// There is no such dataset.
    #[error("there is no dataset {0}; import it (ImportPreferences)")]
    DatasetNotFound(DatasetId),
    /// There is no such training job.
    #[error("there is no training job {0}")]
    JobNotFound(JobId),

    /// There is no such user.
    #[error("there is no user {0}")]
    UserNotFound(UserId),
    /// The user was erased, and the call was made before that.
    #[error("user {0} was erased; answers given before do not come back")]
    UserErased(UserId),
    /// This user has no such question.
    #[error("this user was not asked query {0}")]
    QueryNotFound(QueryId),
    /// This user was not given such a choice, or it is not remembered any more.
    #[error(
        "this user was given no choice {choice} of {completion}, or its time is over (--completion-lifetime-seconds)"
    )]
    CompletionNotFound {
        /// What the completion was answered under.
        completion: CompletionId,
        /// Which of its choices.
        choice: u32,
    },
    /// The question was answered otherwise.
    #[error("query {0} was answered with another outcome; delete that preference to answer again")]
    QueryAlreadyAnswered(QueryId),
    /// This user has no such answer.
    #[error("this user has no preference {0}")]
    PreferenceNotFound(PreferenceId),
    /// The user has not come as far as the caller wants to read.
    #[error("user {user} is at revision {revision}, before min_revision {min_revision}")]
    RevisionNotReached {
        /// Who.
        user: UserId,
        /// Where they are.
        revision: i64,
        /// Where the caller wants them to be.
        min_revision: i64,
    },

    /// There is no such pool.
    #[error("there is no pool {0}")]
    PoolNotFound(PoolName),
    /// No stored candidate answers this prompt.
    #[error("no pool holds candidates for this prompt; import some (ImportCandidates)")]
    PromptNotInPool,
    /// Every pair has been seen by the user or is open.
    #[error("no pair is left to ask: the user has seen them all, or their questions are open")]
    NoQuestionLeft,

    /// A generator that made one text as often as it was asked.
    #[error(
        "the generator made the same text {count} times, which is no question; ask for more candidates or a higher temperature"
    )]
    SameText {
        /// How often.
        count: usize,
    },

    /// The request id belongs to another call.
    #[error("request_id was used before with another body")]
    RequestIdReused,
    /// Other changes of the same user came first, again and again.
    #[error("other changes of this user came first; try again")]
    LostRace,
    /// The server is about to stop.
    #[error("the server is shutting down; try another or try again")]
    Draining,

    /// The language model behind completions could not answer.
    #[error(transparent)]
    LanguageModel(GenerateError),
    /// The model could not answer.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A training could not be done with the data that it was given.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The numbers do not work out.
    #[error("a fit failed: {0}")]
    Math(#[from] MathError),
    /// A task was cancelled or panicked.
    #[error("an internal task ended early: {0}")]
    Task(#[from] tokio::task::JoinError),
    /// A stored reply cannot be read.
    #[error("a stored reply cannot be read: {0}")]
    Reply(#[from] serde_json::Error),
}

impl EngineError {
    /// The same error one level up, where it is about a field: `prompt` within `rows[2]` becomes `rows[2].prompt`.
    #[must_use]
    pub fn within(self, parent: &str) -> Self {
        match self {
            Self::Invalid(invalid) => Self::Invalid(invalid.within(parent)),
            Self::TooLarge(invalid) => Self::TooLarge(invalid.within(parent)),
            other => other,
        }
    }
}

/// Whether the artifact or its backbone is at fault: missing, damaged, or not those that belong together.
pub(crate) fn is_damage(error: &ModelError) -> bool {
    matches!(
        error,
        ModelError::NoArtifact { .. }
            | ModelError::Manifest { .. }
            | ModelError::ArtifactHash { .. }
            | ModelError::ArtifactFile { .. }
            | ModelError::ArtifactShape { .. }
            | ModelError::NotFinite { .. }
            | ModelError::ForeignBackbone { .. }
            | ModelError::UnknownBackbone { .. }
            | ModelError::BackboneFile { .. }
    )
}
