//! The offline half (§4.1): preference files → embeddings → factorization → artifact.
//!
//! Synchronous; progress goes to an observer. `train` never sees a database or a socket.

mod dataset;
mod error;
mod read;
mod split;

pub use dataset::{Builder, Dataset, Pair, Row, TextId};
pub use error::TrainError;
pub use read::{Limits, read_candidates, read_dataset};
pub use split::{Quadrant, Split, SplitConfig, split};
