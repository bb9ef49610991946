//! Where completions come from, and how one is chosen for a user.
//!
//! A [`Generator`] makes completions of a [`Prompt`]; [`best_of_n`] ranks them by a user's reward, and [`Guidance`] steers
//! every token by it. `generate` never learns anything, knows no row and no socket, and is not told who a user is: it is
//! given the posterior of their λ.

mod best_of_n;
mod local;
mod openai;
mod pool;
mod rejection;
mod sampling;
mod scheduler;
mod style;
mod text_stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

pub use best_of_n::{Ranking, best_of_n};
pub use local::{LocalConfig, LocalGenerator};
pub use openai::{OpenAi, OpenAiConfig};
pub use pool::PoolGenerator;
pub use rejection::Rejection;
pub use sampling::Sampling;
pub use style::style_instruction;

use crate::model::{LanguageModel, Message, ModelError};

/// Makes completions.
pub trait Generator: Send + Sync {
    /// Begins up to `request.count` completions and returns at once; fewer where there are no more. The same request gives
    /// the same completions.
    fn generate(&self, request: Request) -> Result<Completions, GenerateError>;

    /// Whether completions are written, and not found among what is there.
    fn writes(&self) -> bool {
        true
    }

    /// Itself, where it writes with a language model in this process.
    fn local(&self) -> Option<&LocalGenerator> {
        None
    }

    /// The hash of the language model that writes, whose hidden states a value head may read; nothing where there is none at
    /// hand.
    fn language_model(&self) -> Option<&str> {
        None
    }
}

/// What is to be completed, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// x
    pub prompt: Prompt,
    /// N ≥ 1.
    pub count: usize,
    /// How tokens are drawn; a generator that draws none ignores it.
    pub sampling: Sampling,
    /// Of everything drawn.
    pub seed: u64,
    /// How every token is steered; nothing: not at all.
    pub guidance: Option<Guidance>,
}

/// What is to be completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// What a user says: put into the model's chat template where it has one.
    User(String),
    /// The beginning of a text, as it is.
    Raw(String),
    /// A conversation, oldest first: (role, content).
    Chat(Vec<(String, String)>),
}

impl Prompt {
    /// What is to be answered: the prompt, or the last thing that the user said.
    pub fn asked(&self) -> &str {
        match self {
            Self::User(text) | Self::Raw(text) => text,
            Self::Chat(messages) => {
                let asked = messages.iter().rev().find(|(role, _)| role == "user");
                asked.map_or("", |(_, content)| content)
            }
        }
    }

    /// Its token ids, by the model's chat template where there is one.
    ///
    /// # Errors
    /// A conversation for a model without a template, or one that the template refuses.
    pub fn encode(&self, model: &LanguageModel) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Raw(text) => model.encode(text),
            Self::User(text) if !model.has_template() => model.encode(text),
            Self::User(text) => model.encode_chat(&[Message { role: "user", content: text }]),
            Self::Chat(messages) => {
                let turns = messages.iter().map(|(role, content)| Message { role, content });
                model.encode_chat(&turns.collect::<Vec<_>>())
            }
        }
    }
}

/// Value-guided sampling (Han et al. 2024): among the likeliest tokens A, softmax over a ∈ A of logit_a/T + uᵀh_a, with h_a
/// the hidden state after token a and u = β Vᵀλ, V the value head. Other tokens get probability 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    /// u, as long as a hidden state.
    pub direction: Vec<f32>,
    /// |A| ≥ 1.
    pub tokens: usize,
}

/// Completions on their way. To drop it is to leave: what is not made by then never is.
#[derive(Debug)]
pub struct Completions {
    /// Tokens of the prompt; nothing where the generator does not count.
    pub prompt_tokens: Option<usize>,
    pub(crate) events: mpsc::UnboundedReceiver<Result<Event, GenerateError>>,
    pub(crate) abandoned: Abandoned,
}

/// Which of a request's completions nobody waits for any more, by index.
#[derive(Debug, Clone, Default)]
pub(crate) struct Abandoned(Arc<[AtomicBool]>);

impl Abandoned {
    /// None of `count`.
    fn none_of(count: usize) -> Self {
        Self((0..count).map(|_| AtomicBool::new(false)).collect())
    }

    fn has(&self, index: usize) -> bool {
        self.0.get(index).is_some_and(|abandoned| abandoned.load(Ordering::Relaxed))
    }
}

/// What happens to a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It goes on with this text.
    Delta {
        /// Which of the N, from 0.
        index: usize,
        /// Whole characters, never part of a stop text.
        text: String,
        /// Tokens of the completion by now; 0 where the generator does not count.
        tokens: usize,
    },
    /// It is over.
    Finished {
        /// Which of the N, from 0.
        index: usize,
        /// The whole of it.
        completion: Completion,
    },
    /// What a generator counts that gives out no tokens, at the end.
    Usage {
        /// Of the prompt, once.
        prompt_tokens: usize,
        /// Of all completions.
        completion_tokens: usize,
    },
}

impl Completions {
    /// The next thing that happens; nothing after the last completion is finished, or an error.
    pub async fn next(&mut self) -> Option<Result<Event, GenerateError>> {
        self.events.recv().await
    }

    /// As [`Self::next`], on a thread that may block.
    pub fn blocking_next(&mut self) -> Option<Result<Event, GenerateError>> {
        self.events.blocking_recv()
    }

    /// Gives up one of the completions, if the generator is one that listens: it is not written any further. What is already on its
    /// way may still come.
    pub fn abandon(&self, index: usize) {
        if let Some(abandoned) = self.abandoned.0.get(index) {
            abandoned.store(true, Ordering::Relaxed);
        }
    }

    /// Waits for all of them; in the order of their indices.
    pub async fn all(mut self) -> Result<Vec<Completion>, GenerateError> {
        let mut finished = Vec::new();
        while let Some(event) = self.next().await {
            if let Event::Finished { index, completion } = event? {
                finished.push((index, completion));
            }
        }
        Ok(in_order(finished))
    }

    /// As [`Self::all`], on a thread that may block.
    pub fn blocking_all(mut self) -> Result<Vec<Completion>, GenerateError> {
        let mut finished = Vec::new();
        while let Some(event) = self.blocking_next() {
            if let Event::Finished { index, completion } = event? {
                finished.push((index, completion));
            }
        }
        Ok(in_order(finished))
    }

    /// Completions that are there already.
    pub fn ready(completions: impl IntoIterator<Item = Completion>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        for (index, completion) in completions.into_iter().enumerate() {
            // The receiver is held here.
            let _ = sender.send(Ok(Event::Delta { index, text: completion.text.clone(), tokens: 0 }));
            let _ = sender.send(Ok(Event::Finished { index, completion }));
        }
        Self { prompt_tokens: None, events, abandoned: Abandoned::default() }
    }
}

fn in_order(mut finished: Vec<(usize, Completion)>) -> Vec<Completion> {
    finished.sort_by_key(|(index, _)| *index);
    finished.into_iter().map(|(_, completion)| completion).collect()
}

/// A completion y of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// y
    pub text: String,
    /// Why it ended.
    pub finish: Finish,
    /// Its token ids, without one that ended it; nothing where the generator has none.
    pub tokens: Option<Vec<u32>>,
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The generator ended it, or a stop text did.
    Stop,
    /// It reached the longest length allowed.
    Length,
    /// The generator would not go on.
    Filtered,
}

/// Why there is no completion.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// The pool has no candidates for this prompt.
    #[error("no pool holds candidates for this prompt; import some (ImportCandidates)")]
    PromptNotInPool,
    /// A prompt that leaves no room for an answer.
    #[error(
        "prompt: got {given} tokens; allowed: at most {allowed}, the model's context without room for an answer"
    )]
    PromptTooLong {
        /// Tokens of the prompt.
        given: usize,
        /// Tokens that there is room for.
        allowed: usize,
    },
    /// More completions at once than this generator makes.
    #[error("candidates: got {given}; allowed: 1 to {allowed}")]
    TooMany {
        /// N as given.
        given: usize,
        /// The generator's bound.
        allowed: usize,
    },
    /// The generator's queue is full: try again shortly.
    #[error("the generator's queue is full ({capacity} requests are waiting)")]
    QueueFull {
        /// How many requests it holds.
        capacity: usize,
    },
    /// The generator has been shut down.
    #[error("the generator has been shut down")]
    Stopped,
    /// The language model failed over this batch; it goes on with the next.
    #[error("the language model failed over this batch: {0}")]
    Failed(String),
    /// A language model whose numbers got out of hand over this text; others that are written beside it go on.
    #[error("the language model {model} gave a number that is not finite, and this completion cannot go on")]
    NotFinite {
        /// Its short name.
        model: String,
    },
    /// The local language model, its tokenizer or its template.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The upstream's address is not one.
    #[error("the language model's address: got {given:?}; allowed: http://… or https://… up to and with /v1")]
    Address {
        /// What was given.
        given: String,
    },
    /// The upstream cannot be reached, fails, or is slow; a later try may succeed.
    #[error("the language model {model} gave no reply: {why}")]
    UpstreamAway {
        /// What it is called there.
        model: String,
        /// What it or the connection said.
        why: String,
    },
    /// The upstream takes no more for now: a rate limit or a quota.
    #[error("the language model {model} takes no more requests for now: {words}")]
    UpstreamBusy {
        /// What it is called there.
        model: String,
        /// Its own words.
        words: String,
        /// How long it asks to be left alone.
        retry_after: Option<std::time::Duration>,
    },
    /// The upstream does not take this request.
    #[error("the language model {model} refused ({status}): {words}")]
    UpstreamRefused {
        /// What it is called there.
        model: String,
        /// HTTP status.
        status: u16,
        /// Its own words.
        words: String,
    },
    /// The upstream's reply cannot be read, or has no end.
    #[error("the reply of the language model {model} cannot be read: {why}")]
    UpstreamRubbish {
        /// What it is called there.
        model: String,
        /// What is wrong with it.
        why: String,
    },
}
