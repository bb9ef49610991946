//! SQL rows ⇄ domain, on Postgres and SQLite through sqlx. SQL lives here alone.
//!
//! `store` never fits, scores or talks gRPC. It keeps what it is given and answers what was asked; which revision
//! a fit belongs to is its business, what the numbers mean is not.
//!
//! # Tables
//!
//! Every primary key but that of `api_key`, which tells the tenant, begins with the tenant, and with the user where there
//! is one. `migrations/` says why each column is there.
//!
//! | table | holds | truth or derived |
//! |---|---|---|
//! | `users` | revision = log position, the lock of a user's log | truth |
//! | `preference` | the log: every answer with its texts, request digest and reply | truth |
//! | `preference_feature` | δ of an answer under a model version | derived |
//! | `user_posterior` | λ and H of a user under a model version, at a revision | derived |
//! | `completion` | choices of chat completions, for as long as they may be compared | truth, until it expires |
//! | `query` | questions asked, stored before they are answered with | truth |
//! | `request` | replies of other calls, and of answers that were not logged, by request id | truth, until it expires |
//! | `erased_user` | keyed hash of an erased user | truth |
//! | `pool`, `pool_prompt`, `candidate` | prompts and responses to ask about | truth |
//! | `embedding` | h(x, y) by backbone and content | derived |
//! | `dataset`, `dataset_row` | imported preferences | truth |
//! | `training_job` | jobs with a lease | truth |
//! | `model`, `model_state` | registry, and where each model stands for each tenant | truth |
//! | `setting` | the key of the keyed hash | truth |
//! | `api_key` | who may call, as hashes | truth |
//!
//! # Commits
//!
//! A user's log is serialised by optimistic revision: [`Store::user_snapshot`] gives the revision that a fit is
//! computed from, and [`Store::append_preference`] commits only on top of exactly that revision. The fit itself
//! runs outside any transaction, off the async threads, and a lost race costs one more fit.

mod api_keys;
mod arrays;
mod asking;
mod batcher;
mod changes;
mod completions;
mod config;
mod connect;
mod database_time;
mod datasets;
mod embeddings;
mod erasure;
mod error;
mod export;
mod jobs;
mod models;
mod pools;
mod postgres;
mod preferences;
mod queries;
mod requests;
mod rows;
mod shared;
mod sql;
mod submission;
mod sweep;
mod together;
mod users;

pub use changes::{Change, Changes};
pub use config::{Database, StoreConfig};
pub use connect::Store;
pub use database_time::with_database_time;
pub use datasets::LineDigest;
pub use erasure::ERASURE_MEMORY;
pub use error::StoreError;
pub use export::DatasetPlace;
pub use rows::{
    Answer, ApiKeyRow, Append, AskedQuery, Asking, AskingPerson, AskingSnapshot, Basis, ChoiceRow,
    DatasetRow, Derived, Erasure, Idempotent, Imported, JobEnd, JobRow, JobState, LatestQuery, Lease, LogRow,
    ModelRow, ModelState, NewPreference, PoolRow, PoolVersion, PreferenceRow, QueryRow, Recall, Revision,
    ServingRow, StoredPosterior, SubmissionSnapshot, Undo, UnixMillis, UserHash, UserRow, UserSnapshot,
};
pub use sweep::Swept;
