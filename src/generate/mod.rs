//! Where completions come from, and how one is chosen for a user.
//!
//! A [`Generator`] makes completions of a prompt; [`best_of_n`] ranks them by a user's reward. `generate` never learns
//! anything, knows no row and no socket, and is not told who a user is: it is given the posterior of their λ.
//! An OpenAI-compatible upstream is asked for single replies; as a [`Generator`] it, a local language model, and
//! value-guided decoding are not here yet.

mod best_of_n;
mod openai;
mod pool;

pub use best_of_n::{Ranking, best_of_n};
pub use openai::OpenAi;
pub use pool::PoolGenerator;

/// Makes completions. May block: call it off the async threads unless it is known to be quick.
pub trait Generator: Send + Sync {
    /// Up to `count` different completions of `prompt`; fewer where there are no more. The same seed and the same
    /// arguments give the same completions in the same order.
    fn complete(&self, prompt: &str, count: usize, seed: u64) -> Result<Vec<Completion>, GenerateError>;
}

/// A completion y of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// y
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Its length as the generator counts; nothing where it does not.
    pub tokens: Option<usize>,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The generator ended it, or a stop text did.
    Stop,
    /// It reached the longest length allowed.
    Length,
}

/// Why there is no completion.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// The pool has no candidates for this prompt.
    #[error("no pool holds candidates for this prompt; import some (ImportCandidates)")]
    PromptNotInPool,
    /// The upstream's address is not one.
    #[error("the language model's address: got {given:?}; allowed: http://… or https://… up to and with /v1")]
    Address {
        /// What was given.
        given: String,
    },
    /// The upstream gave no reply.
    #[error("the language model at {url} gave no reply: {why}")]
    Upstream {
        /// Its address.
        url: String,
        /// What it or the connection said.
        why: String,
    },
}
