//! The statements of an answer and of a question, each shared with those of other people that come meanwhile: see
//! [`Batcher`]. A round trip is waited for by a person, and taken from what else the machine could do.

use std::sync::Arc;

use super::asking::{self, Found};
use super::batcher::Batcher;
use super::shared::{Reads, Writes};
use super::sql::Db;
use super::{StoreConfig, SubmissionSnapshot, submission};

/// What is shared.
pub(super) struct Together {
    /// What an answer needs to know.
    pub(super) submissions: Batcher<Reads<SubmissionSnapshot, 4>>,
    /// Answers.
    pub(super) appends: Batcher<Writes<24>>,
    /// What a question needs to know.
    pub(super) askings: Batcher<Reads<Found, 7>>,
    /// Questions.
    pub(super) saves: Batcher<Writes<20>>,
}

impl Together {
    /// Nothing on SQLite, which is no round trip away, and where everybody is to be by themselves.
    pub(super) fn on(db: &Db, config: &StoreConfig) -> Option<Arc<Self>> {
        let Db::Postgres(connections) = db else { return None };
        if !config.group_commit {
            return None;
        }
        let patience = config.acquire_timeout;
        Some(Arc::new(Self {
            submissions: Reads::of(connections, submission::SNAPSHOT, patience),
            appends: Writes::by(connections, submission::APPEND, patience),
            askings: Reads::of(connections, asking::SNAPSHOT, patience),
            saves: Writes::by(connections, asking::SAVE, patience),
        }))
    }
}

impl std::fmt::Debug for Together {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Together(..)")
    }
}
