//! Continuous batching: all sequences that are being written get their next token from one pass over the weights.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;

use super::sampling::{Candidate, draw, likeliest, top};
use super::text_stream::TextStream;
use super::{Abandoned, Completion, Event, Finish, GenerateError, Guidance, Sampling};
use crate::model::{Extension, Hidden, LanguageModel, Sequence};

/// A request on its way to the thread.
pub(super) struct Job {
    /// Token ids; shorter than the model's context.
    pub(super) prompt: Vec<u32>,
    pub(super) count: usize,
    pub(super) sampling: Sampling,
    pub(super) seed: u64,
    pub(super) guidance: Option<Guidance>,
    pub(super) events: mpsc::UnboundedSender<Result<Event, GenerateError>>,
    pub(super) abandoned: Abandoned,
}

/// What the thread keeps.
pub(super) struct Scheduler {
    model: Arc<LanguageModel>,
    /// Sequences at once.
    room: usize,
    active: Vec<Writing>,
}

/// A completion that is being written.
struct Writing {
    index: usize,
    sequence: Sequence,
    /// Prompt and completion.
    tokens: Vec<u32>,
    prompt_tokens: usize,
    /// Of the next token.
    logits: Vec<f32>,
    text: String,
    stream: Option<TextStream>,
    sampling: Arc<Sampling>,
    guidance: Option<Arc<Guidance>>,
    rng: ChaCha8Rng,
    events: mpsc::UnboundedSender<Result<Event, GenerateError>>,
    abandoned: Abandoned,
}

/// What a sequence reads in this pass.
struct Turn {
    tokens: Vec<u32>,
    /// Where the next token is chosen after it was read: scores logit/T of `tokens`.
    alternatives: Option<Vec<f64>>,
}

impl Scheduler {
    pub(super) fn new(model: Arc<LanguageModel>, room: usize) -> Self {
        Self { model, room, active: Vec::new() }
    }

    /// Until no more jobs can come and all are done.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut waiting = None;
        loop {
            if self.active.is_empty() && waiting.is_none() {
                match jobs.blocking_recv() {
                    Some(job) => waiting = Some(job),
                    None => return,
                }
            }
            while let Some(job) = waiting.take().or_else(|| jobs.try_recv().ok()) {
                if self.active.len() + job.count > self.room {
                    waiting = Some(job);
                    break;
                }
                let events = job.events.clone();
                if !events.is_closed()
                    && let Err(error) = guarded(|| self.admit(job))
                {
                    let _ = events.send(Err(error));
                }
            }
            self.active.retain(|one| !one.events.is_closed() && !one.abandoned.has(one.index));
            if let Err(error) = guarded(|| self.pass()) {
                tracing::error!(generator = self.model.id(), %error, "the completions under way are given up");
                for one in self.active.drain(..) {
                    let _ = one.events.send(Err(GenerateError::Failed(error.to_string())));
                }
            }
        }
    }

    /// Reads the prompt once, and begins its completions.
    fn admit(&mut self, job: Job) -> Result<(), GenerateError> {
        let Job { prompt, count, sampling, seed, guidance, events, abandoned } = job;
        let mut sequence = self.model.sequence()?;
        let extension = Extension { sequence: &mut sequence, tokens: &prompt, alternatives: false };
        let hidden = self.model.extend(&mut [extension])?;
        let logits = self.model.logits(&hidden, &[hidden.len() - 1])?.remove(0);
        let (sampling, guidance) = (Arc::new(sampling), guidance.map(Arc::new));
        let mut sequences = Vec::with_capacity(count);
        for _ in 1..count {
            sequences.push(sequence.fork()?);
        }
        sequences.push(sequence);
        for (index, sequence) in sequences.into_iter().enumerate() {
            // Each completion has a stream of its own: what is drawn for one does not depend on the others.
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            self.active.push(Writing {
                index,
                sequence,
                tokens: prompt.clone(),
                prompt_tokens: prompt.len(),
                logits: logits.clone(),
                text: String::new(),
                stream: Some(TextStream::new(&prompt, &sampling.stop)),
                sampling: sampling.clone(),
                guidance: guidance.clone(),
                rng,
                events: events.clone(),
                abandoned: abandoned.clone(),
            });
        }
        Ok(())
    }

    /// One token more for every sequence; those that end leave.
    fn pass(&mut self) -> Result<(), GenerateError> {
        let model = self.model.clone();
        let mut turns = Vec::with_capacity(self.active.len());
        self.active.retain_mut(|one| {
            let turn = one.turn(&model).unwrap_or_else(|error| one.fail(error));
            let goes_on = turn.is_some();
            turns.extend(turn);
            goes_on
        });
        if turns.is_empty() {
            return Ok(());
        }
        let mut extensions: Vec<_> = self
            .active
            .iter_mut()
            .zip(&turns)
            .map(|(one, turn)| Extension {
                sequence: &mut one.sequence,
                tokens: &turn.tokens,
                alternatives: turn.alternatives.is_some(),
            })
            .collect();
        let hidden = model.extend(&mut extensions)?;

        let (mut first, mut rows) = (0, Vec::with_capacity(turns.len()));
        let mut turns = turns.iter();
        self.active.retain_mut(|one| {
            let Some(turn) = turns.next() else { return true };
            let chosen = one.choose(turn, &hidden, first, &model).unwrap_or_else(|error| one.fail(error));
            rows.extend(chosen.map(|chosen| first + chosen));
            first += turn.tokens.len();
            chosen.is_some()
        });
        if rows.is_empty() {
            return Ok(());
        }
        for (one, logits) in self.active.iter_mut().zip(model.logits(&hidden, &rows)?) {
            one.logits = logits;
        }
        Ok(())
    }
}

impl Writing {
    /// What is to be read next; nothing where the completion is over.
    fn turn(&mut self, model: &LanguageModel) -> Result<Option<Turn>, GenerateError> {
        // A token that cannot come next may have -∞; one at least has to be finite.
        let is_usable = |logit: &f32| !logit.is_nan() && *logit != f32::INFINITY;
        if !self.logits.iter().all(is_usable) || !self.logits.iter().any(|logit| logit.is_finite()) {
            return Err(GenerateError::NotFinite { model: model.id().to_owned() });
        }
        self.sampling.penalise(&mut self.logits, &self.tokens);
        match &self.guidance {
            None => {
                let candidates = self.sampling.candidates(&self.logits);
                let token = candidates[draw(&candidates, &mut self.rng)].token;
                let ended = self.write(token, model)?;
                Ok((!ended).then(|| Turn { tokens: vec![token], alternatives: None }))
            }
            Some(guidance) => {
                // T = 0 compares logits as they are.
                let temperature =
                    if self.sampling.temperature == 0.0 { 1.0 } else { self.sampling.temperature };
                let scored = self.logits.iter().enumerate();
                let scored =
                    scored.map(|(token, &logit)| (token as u32, f64::from(logit) / temperature)).collect();
                let (tokens, scores) = top(scored, guidance.tokens).into_iter().unzip();
                Ok(Some(Turn { tokens, alternatives: Some(scores) }))
            }
        }
    }

    /// Which of the tokens read goes on, nothing where the completion is over with it. Of alternatives one is drawn from the
    /// softmax of logit/T + uᵀh, cut by top-p, then min-p; at T = 0 the highest. `first` is their first row.
    fn choose(
        &mut self,
        turn: &Turn,
        hidden: &Hidden,
        first: usize,
        model: &LanguageModel,
    ) -> Result<Option<usize>, GenerateError> {
        let Some(scores) = &turn.alternatives else { return Ok(Some(0)) };
        let direction = self.guidance.as_ref().map_or(&[][..], |guidance| &guidance.direction);
        let mut guided = Vec::with_capacity(scores.len());
        for (at, score) in scores.iter().enumerate() {
            let row = hidden.row(first + at)?;
            let value: f64 = row.iter().zip(direction).map(|(h, u)| f64::from(*h) * f64::from(*u)).sum();
            // Positions stand for the tokens here. After one without a number the text could not go on.
            if value.is_finite() {
                guided.push((at as u32, score + value));
            }
        }
        if guided.is_empty() {
            return Err(GenerateError::NotFinite { model: model.id().to_owned() });
        }
        let candidates: Vec<Candidate> = if self.sampling.temperature == 0.0 {
            likeliest(guided.into_iter()).into_iter().collect()
        } else {
            self.sampling.nucleus(guided)
        };
        let chosen = candidates[draw(&candidates, &mut self.rng)].token as usize;
        self.sequence.keep(chosen)?;
        let ended = self.write(turn.tokens[chosen], model)?;
        Ok((!ended).then_some(chosen))
    }

    /// Tells whoever listens that there will be no completion.
    fn fail<T>(&self, error: GenerateError) -> Option<T> {
        let _ = self.events.send(Err(error));
        None
    }

    /// Adds a token to the text and tells whoever listens; whether the completion is over.
    fn write(&mut self, token: u32, model: &LanguageModel) -> Result<bool, GenerateError> {
        if model.is_end(token) {
            return self.finish(Finish::Stop, model);
        }
        self.tokens.push(token);
        if let Some(stream) = &mut self.stream {
            let piece = stream.push(token, model)?;
            self.give(piece.text);
            if piece.stopped {
                self.stream = None;
                return self.finish(Finish::Stop, model);
            }
        }
        let written = self.tokens.len() - self.prompt_tokens;
        if written >= self.sampling.max_tokens || self.tokens.len() >= model.context() {
            return self.finish(Finish::Length, model);
        }
        Ok(false)
    }

    fn finish(&mut self, finish: Finish, model: &LanguageModel) -> Result<bool, GenerateError> {
        if let Some(stream) = self.stream.take() {
            let rest = stream.finish(model)?;
            self.give(rest);
        }
        let tokens = Some(self.tokens[self.prompt_tokens..].to_vec());
        let completion = Completion { text: std::mem::take(&mut self.text), finish, tokens };
        // A caller that has left does not want it any more.
        let _ = self.events.send(Ok(Event::Finished { index: self.index, completion }));
        Ok(true)
    }

    fn give(&mut self, text: String) {
        if !text.is_empty() {
            self.text.push_str(&text);
            let tokens = self.tokens.len() - self.prompt_tokens;
            let _ = self.events.send(Ok(Event::Delta { index: self.index, text, tokens }));
        }
    }
}

/// A panic as an error. After one, whatever was under way is given up.
fn guarded<T>(work: impl FnOnce() -> Result<T, GenerateError>) -> Result<T, GenerateError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str);
        let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(GenerateError::Failed(words.unwrap_or("panic without words").to_owned()))
    })
}
