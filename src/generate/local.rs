use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::mpsc;

use super::scheduler::{Job, Scheduler};
use super::{Abandoned, Completions, GenerateError, Generator, Request};
use crate::model::LanguageModel;

/// A language model in memory, on a thread of its own behind a bounded queue. Clones are handles to the same thread.
///
/// All requests that are under way are computed together, token by token (continuous batching): one that arrives joins at
/// the next token, one that ends or whose caller leaves makes room. A prompt is read once for all its completions.
#[derive(Clone)]
pub struct LocalGenerator {
    shared: Arc<Shared>,
}

/// Bounds of a [`LocalGenerator`].
#[derive(Debug, Clone)]
pub struct LocalConfig {
    /// Requests that may wait; the next one is refused.
    pub queue: usize,
    /// Completions that are written at once.
    pub sequences: usize,
}

impl Default for LocalConfig {
    fn default() -> Self {
        Self { queue: 64, sequences: 64 }
    }
}

struct Shared {
    model: Arc<LanguageModel>,
    config: LocalConfig,
    /// Nothing once the generator has been shut down.
    sender: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl LocalGenerator {
    /// Starts the thread.
    ///
    /// # Errors
    /// A thread that cannot be started.
    pub fn start(model: Arc<LanguageModel>, config: LocalConfig) -> Result<Self, GenerateError> {
        let (sender, receiver) = mpsc::channel(config.queue.max(1));
        let scheduler = Scheduler::new(model.clone(), config.sequences.max(1));
        let thread = std::thread::Builder::new()
            .name(format!("language model {}", model.id()))
            .spawn(move || scheduler.run(receiver))
            .map_err(|error| GenerateError::Failed(format!("its thread cannot be started: {error}")))?;
        let (sender, thread) = (Mutex::new(Some(sender)), Mutex::new(Some(thread)));
        Ok(Self { shared: Arc::new(Shared { model, config, sender, thread }) })
    }

    /// The model itself.
    pub fn model(&self) -> &Arc<LanguageModel> {
        &self.shared.model
    }

    /// Takes nothing more, finishes what was taken, and waits for the thread to end. Blocks.
    pub fn shutdown(&self) {
        lock(&self.shared.sender).take();
        let thread = lock(&self.shared.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!(
                generator = self.shared.model.id(),
                "the language model's thread did not end cleanly"
            );
        }
    }
}

impl Generator for LocalGenerator {
    fn local(&self) -> Option<&LocalGenerator> {
        Some(self)
    }

    fn language_model(&self) -> Option<&str> {
        Some(self.shared.model.hash())
    }

    fn generate(&self, request: Request) -> Result<Completions, GenerateError> {
        let Request { prompt, count, sampling, seed, guidance } = request;
        let allowed = self.shared.config.sequences.max(1);
        if !(1..=allowed).contains(&count) {
            return Err(GenerateError::TooMany { given: count, allowed });
        }
        let prompt = prompt.encode(&self.shared.model)?;
        let room = self.shared.model.context().saturating_sub(1);
        if prompt.len() > room {
            return Err(GenerateError::PromptTooLong { given: prompt.len(), allowed: room });
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let prompt_tokens = Some(prompt.len());
        let abandoned = Abandoned::none_of(count);
        let job = Job { prompt, count, sampling, seed, guidance, events, abandoned: abandoned.clone() };
        match &*lock(&self.shared.sender) {
            None => return Err(GenerateError::Stopped),
            Some(sender) => sender.try_send(job).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    GenerateError::QueueFull { capacity: self.shared.config.queue.max(1) }
                }
                mpsc::error::TrySendError::Closed(_) => GenerateError::Stopped,
            })?,
        }
        Ok(Completions { prompt_tokens, events: receiver, abandoned })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
