use std::path::{Path, PathBuf};

use super::Dataset;
use crate::domain::Invalid;
use crate::generate::GenerateError;
use crate::math::MathError;
use crate::model::ModelError;

/// Why a data file could not be read or a model not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// A file that cannot be opened: missing, a directory.
    #[error("{}: cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file that cannot be read to its end: a cut `.gz`.
    #[error("{}:{line}: cannot read on: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The line being read, from 1.
        line: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// A line that cannot be taken.
    #[error("{}:{line}: {source}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Field, what was given, what is allowed.
        source: Invalid,
    },
    /// Nothing to learn from.
    #[error(
        "{files}: no judgments to learn from ({lines} lines, of which {equal} compare a text with itself)"
    )]
    NoJudgments {
        /// The files read.
        files: String,
        /// How many lines they have.
        lines: usize,
        /// How many of them compare a response with an equal one.
        equal: usize,
    },
    /// Pool files without a line.
    #[error("{files}: no candidates, allowed: one JSON object a line, prompt and responses")]
    NoCandidates {
        /// The files read.
        files: String,
    },
    /// Data of one person only.
    #[error(
        "user_id: got {user:?} on every line; allowed: at least two users, since base functions are what people differ on"
    )]
    SingleUser {
        /// The person.
        user: String,
    },
    /// Too little to learn a value head from.
    #[error(
        "value head: got {prompts} prompts and {rollouts} completions of each; allowed: at least {least} prompts and 2 completions"
    )]
    ValueHeadData {
        /// Distinct prompts.
        prompts: usize,
        /// Completions of each.
        rollouts: usize,
        /// Fewest prompts.
        least: usize,
    },
    /// A value head that does not predict what texts turn out to be.
    #[error(
        "the value head does not predict, and is not kept: R² on prompts that it has not seen is {r_squared:.3} ± {standard_error:.3} up to {until:.1} of a text; \
         allowed: above two standard errors from half of the text on. More prompts or more completions may help"
    )]
    ValueHeadUseless {
        /// End of the interval, as a share of a text's length.
        until: f64,
        /// R²
        r_squared: f64,
        /// Over prompts.
        standard_error: f64,
    },
    /// Completions that could not be written.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Too little to hold a part of it out and still learn.
    #[error(
        "too few judgments to learn from: {judgments} by {users} users of {pairs} pairs; allowed: enough that some with a winner are left when a fifth of the users and of the prompts are held out"
    )]
    TooFew {
        /// Judgments.
        judgments: usize,
        /// Users.
        users: usize,
        /// Distinct pairs.
        pairs: usize,
    },
    /// A setting out of its range.
    #[error(transparent)]
    Setting(Invalid),
    /// A checkpoint of a training with another configuration, backbone or data.
    #[error(
        "{}: this checkpoint is of another training: {field} was {then} and is {now}; allowed: the same command, another \
         place, or --fresh, which forgets it",
        path.display()
    )]
    ForeignCheckpoint {
        /// The folder.
        path: PathBuf,
        /// What differs.
        field: String,
        /// Then.
        then: String,
        /// Now.
        now: String,
    },
    /// A checkpoint that cannot be written or read.
    #[error("checkpoint {}: {reason}", path.display())]
    Checkpoint {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Tuning left the numbers.
    #[error(
        "the loss is not finite at step {step}, learning rate {learning_rate:e}; allowed: a lower learning rate"
    )]
    Diverged {
        /// Steps made before.
        step: usize,
        /// That step's rate.
        learning_rate: f64,
    },
    /// The observer stopped it.
    #[error("the training was cancelled")]
    Cancelled,
    /// The backbone failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The mathematics refused its input.
    #[error(transparent)]
    Math(MathError),
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        Self::Model(error.into())
    }
}

impl From<MathError> for TrainError {
    fn from(error: MathError) -> Self {
        match error {
            MathError::Cancelled => Self::Cancelled,
            error => Self::Math(error),
        }
    }
}

impl TrainError {
    pub(super) fn too_few(data: &Dataset) -> Self {
        Self::TooFew { judgments: data.rows().len(), users: data.users().len(), pairs: data.pairs().len() }
    }

    pub(super) fn line(path: &Path, line: usize, source: Invalid) -> Self {
        Self::Line { path: path.to_owned(), line, source }
    }

    pub(super) fn read(path: &Path, line: usize, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), line, source }
    }
}
