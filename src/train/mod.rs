//! The offline half (§4.1): preference files → embeddings → factorization → artifact.
//!
//! [`read_dataset`] reads people's judgments into a [`Dataset`]; [`train`] embeds its texts, chooses hyperparameters,
//! measures, and makes the artifact that serving loads; [`train_tuned`] trains the backbone first. Synchronous;
//! progress goes to an [`Observer`], which may stop it. Training never sees a database or a socket; [`interpret`],
//! which has a language model put the base functions into words, reaches it through `generate`.

mod dataset;
mod embed;
mod error;
mod fit;
mod interpret;
mod labels;
mod measure;
mod observer;
mod pipeline;
mod read;
mod split;
mod tune;
mod value_head;
mod watch;

pub use dataset::{Builder, Dataset, Pair, Row, TextId};
pub use embed::embeddings;
pub use error::TrainError;
pub use interpret::interpret;
pub use measure::{QuadrantScore, Quadrants, ValidationScore};
pub use observer::{Observer, Stage};
pub use pipeline::{ChosenReport, SolverEnd, TrainConfig, TrainReport, Trained, TrialReport, train};
pub use read::{CandidateRow, Limits, candidate_rows, judgment_rows, read_candidates, read_dataset};
pub use split::{Fold, Quadrant, Split, SplitConfig, cuts, folds, split, split_rows};
pub use tune::{TuneConfig, TuningPoint, TuningReport, remove_checkpoint, train_tuned};
pub use value_head::{ValueHeadConfig, train_value_head};
