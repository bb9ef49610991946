use std::sync::Arc;
use std::time::{Duration, Instant};

use nalgebra::DVector;
use tokio::sync::mpsc;

use super::generators::Resolved;
use super::person::Person;
use super::remember_completion::Given;
use super::{Engine, EngineError, GeneratorName, Remembered, ScoredResponse, ServingModel};
use crate::domain::{Invalid, ModelVersion, TenantId, UserId};
use crate::generate::{
    Completion, Completions, Event, GenerateError, Generator, Guidance, PoolGenerator, Prompt, Rejection,
    Request, Sampling, best_of_n, style_instruction,
};
use crate::model::ModelError;
use crate::store::{Revision, UnixMillis};

/// |A|: tokens that a value-guided step chooses among.
pub(super) const VALUE_TOKENS: usize = 20;

/// Asks for a completion.
#[derive(Debug, Clone)]
pub struct Generate {
    /// Whose taste; an unknown user, or nobody, is the average one.
    pub user: Option<UserId>,
    /// What is to be completed; the reward of a conversation is that of the answer to its last message.
    pub prompt: Prompt,
    /// How the completion is chosen.
    pub strategy: GenerationStrategy,
    /// Which generator.
    pub generator: GeneratorName,
    /// N; nothing: the server's default, or one completion that nothing is chosen from.
    pub candidates: Option<usize>,
    /// κ ≥ 0
    pub risk_aversion: f64,
    /// β: how strongly every token of a value-guided completion follows the reward.
    pub guidance_scale: f64,
    /// Whether of [`Rejection::LEAST`] candidates and more those that begin badly are given up on the way (speculative rejection), where
    /// the generator is this server's own. What is told of the candidates is then of those that were written to their end.
    pub reject_early: bool,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Same seed and same request give the same text; nothing: drawn.
    pub seed: Option<u64>,
    /// The user must have come this far.
    pub min_revision: Revision,
    /// What of it is kept, so that the user may compare it with another; of nobody's, nothing ever is.
    pub remembered: Option<Remembered>,
}

/// How a completion is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenerationStrategy {
    /// The best of N for this user.
    BestOfN,
    /// A value head steers every token.
    ValueGuided,
    /// The user's profile, in words, in the instruction.
    StyleGuided,
    /// The generator's own answer, whoever asks.
    Unguided,
}

impl GenerationStrategy {
    /// Whether, unless several are asked for, the first completion is the answer, so that its text is known as it is written.
    pub fn takes_the_first(self) -> bool {
        matches!(self, Self::Unguided | Self::ValueGuided)
    }
}

/// A completion that is being made.
#[derive(Debug)]
pub struct Generation {
    /// The seed that is used.
    pub seed: u64,
    /// The user's revision that the choice rests on; 0 for an unknown one.
    pub revision: Revision,
    /// The model that chooses.
    pub model_version: ModelVersion,
    events: mpsc::UnboundedReceiver<Result<GenerationEvent, EngineError>>,
}

/// What happens to a completion.
#[derive(Debug, Clone, PartialEq)]
pub enum GenerationEvent {
    /// It goes on with this text.
    Delta(String),
    /// It is over; the last event.
    Finished(Box<Generated>),
}

/// A completion and what it is worth to the user.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// Every candidate in the order made.
    pub completions: Vec<Completion>,
    /// Which of them is the answer.
    pub chosen: usize,
    /// Its λᵀφ less `baseline_reward`.
    pub reward: f64,
    /// Mean λᵀφ over the candidates.
    pub baseline_reward: f64,
    /// What each candidate is worth, best first; `index` is its place among `completions`.
    pub candidates: Vec<ScoredResponse>,
    /// Tokens of the prompt, where the generator counts them.
    pub prompt_tokens: Option<usize>,
    /// Tokens of all candidates together, where the generator gives out no tokens and counts them.
    pub completion_tokens: Option<usize>,
    /// Time to make the candidates.
    pub generation: Duration,
    /// Time to score them.
    pub scoring: Duration,
}

impl Generated {
    /// The answer, and after it the next best, as they were made: places among `completions`, at most `count`.
    pub fn best(&self, count: usize) -> impl Iterator<Item = usize> {
        let others = self.candidates.iter().map(|candidate| candidate.index);
        std::iter::once(self.chosen).chain(others.filter(|&index| index != self.chosen)).take(count)
    }

    /// The answer.
    pub fn completion(&self) -> &Completion {
        &self.completions[self.chosen]
    }
}

impl Generation {
    /// The next event; nothing after [`GenerationEvent::Finished`], or an error.
    pub async fn next(&mut self) -> Option<Result<GenerationEvent, EngineError>> {
        self.events.recv().await
    }

    /// Waits for the end.
    pub async fn finished(mut self) -> Result<Generated, EngineError> {
        while let Some(event) = self.next().await {
            if let GenerationEvent::Finished(generated) = event? {
                return Ok(*generated);
            }
        }
        Err(EngineError::Draining)
    }
}

impl Engine {
    /// Answers a prompt in the way the user likes. Makes nothing that stays. The work ends when the caller drops what this
    /// returns.
    ///
    /// # Errors
    /// Whatever can be known before the first token: an unknown generator, a prompt that is too long, a full queue.
    pub async fn generate(&self, tenant: &TenantId, request: Generate) -> Result<Generation, EngineError> {
        let model = self.models().active(tenant)?;
        let person = match &request.user {
            Some(user) => self.person(tenant, user, &model, request.min_revision).await?,
            None => None,
        };
        let person = person.unwrap_or_else(|| Person::average(&model));
        let seed = request.seed.unwrap_or_else(|| self.draw_seed());

        let generator = self.generator(tenant, &request.generator, request.prompt.asked()).await?;
        let guidance = match request.strategy {
            GenerationStrategy::ValueGuided => {
                Some(guidance(&model, &person, &*generator, request.guidance_scale)?)
            }
            _ => None,
        };
        let one = generator.writes() && request.strategy.takes_the_first();
        let count = request.candidates.unwrap_or(if one { 1 } else { self.config().default_candidates });
        let (mut prompt, sampling) = (request.prompt.clone(), request.sampling.clone());
        // Whether the conversation is one because of the instruction.
        let mut prompt_is_ours = false;
        if request.strategy == GenerationStrategy::StyleGuided {
            if !generator.writes() {
                let allowed = "BEST_OF_N or UNGUIDED where completions come from a pool";
                return Err(Invalid::new("strategy", "STYLE_GUIDED", allowed).into());
            }
            let labels = &model.resident.model().manifest().labels;
            if let Some(instruction) = style_instruction(labels, &person.posterior) {
                prompt_is_ours = matches!(prompt, Prompt::User(_));
                prompt = prompt.instructed(&instruction);
            }
        }
        let best = matches!(request.strategy, GenerationStrategy::BestOfN | GenerationStrategy::StyleGuided);
        // Of an upstream's or a pool's nobody can be given up.
        let rejects = request.reject_early && best && generator.language_model().is_some();
        let rejection = Rejection::of(count, sampling.max_tokens).filter(|_| rejects);
        let started = Instant::now();
        let begun = generator.generate(Request { prompt, count, sampling, seed, guidance });
        let completions = begun.map_err(|error| match error {
            GenerateError::Model(ModelError::NoChatTemplate { id }) if prompt_is_ours => {
                let allowed =
                    format!("another strategy: {id} has no chat template to put an instruction into");
                Invalid::new("strategy", "STYLE_GUIDED", allowed).into()
            }
            error => EngineError::from(error),
        })?;

        let (sender, events) = mpsc::unbounded_channel();
        let (revision, model_version) = (person.revision, model.version.clone());
        let begun = self.now();
        let (engine, tenant) = (self.clone(), tenant.clone());
        let making =
            Making { engine, tenant, begun, request, model, person, rejection, started, events: sender };
        self.shared.tasks.spawn(making.run(completions));
        Ok(Generation { seed, revision, model_version, events })
    }

    /// The generator of that name; of a pool, the one of the prompt's candidates.
    pub(super) async fn generator(
        &self,
        tenant: &TenantId,
        name: &GeneratorName,
        prompt: &str,
    ) -> Result<Arc<dyn Generator>, EngineError> {
        let pool = match self.shared.generators.resolve(name)? {
            Resolved::LanguageModel(generator) => return Ok(generator),
            Resolved::Pool(pool) => pool,
        };
        let candidates = self.store().candidates_of_prompt(tenant, pool.as_ref(), prompt).await?;
        if let (true, Some(pool)) = (candidates.is_empty(), pool)
            && self.store().pool_version(tenant, &pool).await?.is_none()
        {
            return Err(EngineError::PoolNotFound(pool));
        }
        Ok(Arc::new(PoolGenerator::new(candidates)))
    }
}

/// u = β Vᵀλ̂, for the language model that V was trained on and no other.
fn guidance(
    model: &ServingModel,
    person: &Person,
    generator: &dyn Generator,
    guidance_scale: f64,
) -> Result<Guidance, EngineError> {
    let Some(written_by) = generator.language_model() else {
        let allowed =
            "another strategy where completions come from a pool or an upstream, which shows no logits";
        return Err(Invalid::new("strategy", "VALUE_GUIDED", allowed).into());
    };
    let version = || model.version.clone();
    let head = model.resident.model().value_head().ok_or_else(|| EngineError::NoValueHead(version()))?;
    if head.record.language_model_hash != written_by {
        return Err(EngineError::ForeignValueHead {
            version: version(),
            language_model: head.record.language_model.clone(),
        });
    }
    let direction = head.direction(person.posterior.coefficients(), guidance_scale);
    Ok(Guidance { direction, tokens: VALUE_TOKENS })
}

/// What a completion's task needs.
struct Making {
    engine: Engine,
    tenant: TenantId,
    begun: UnixMillis,
    request: Generate,
    model: Arc<ServingModel>,
    person: Person,
    rejection: Option<Rejection>,
    started: Instant,
    events: mpsc::UnboundedSender<Result<GenerationEvent, EngineError>>,
}

impl Making {
    async fn run(mut self, completions: Completions) {
        let events = self.events.clone();
        tokio::select! {
            made = self.make(completions) => {
                // Whoever has left in the meantime does not want it any more.
                let _ = events.send(made.map(|generated| GenerationEvent::Finished(Box::new(generated))));
            }
            () = events.closed() => {}
        }
    }

    /// Follows the candidates to their ends, and chooses. Where the first one is the answer whatever comes, its text is
    /// passed on as it is written; else the chosen one's at the end.
    async fn make(&mut self, mut candidates: Completions) -> Result<Generated, EngineError> {
        let first_counts = match self.request.strategy {
            GenerationStrategy::Unguided => true,
            // Of several guided completions the best is chosen.
            GenerationStrategy::ValueGuided => self.request.candidates.is_none_or(|count| count == 1),
            GenerationStrategy::BestOfN | GenerationStrategy::StyleGuided => {
                self.request.candidates == Some(1)
            }
        };
        let (mut prompt_tokens, mut completion_tokens) = (candidates.prompt_tokens, None);
        let mut completions = Vec::new();
        let mut rejection = self.rejection.take();
        while let Some(event) = candidates.next().await {
            match event? {
                Event::Delta { index: 0, text, .. } if first_counts => {
                    let _ = self.events.send(Ok(GenerationEvent::Delta(text)));
                }
                Event::Delta { index, text, tokens } => {
                    if let Some(rejection) = &mut rejection {
                        rejection.heard(index, &text, tokens);
                    }
                }
                Event::Finished { index, completion } => {
                    if let Some(rejection) = &mut rejection {
                        rejection.finished(index);
                    }
                    completions.push((index, completion));
                }
                Event::Usage { prompt_tokens: prompt, completion_tokens: written } => {
                    (prompt_tokens, completion_tokens) = (Some(prompt), Some(written));
                }
            }
            if let Some(rejection) = &mut rejection {
                self.reject(rejection, &candidates).await?;
            }
        }
        completions.retain(|(index, _)| !rejection.as_ref().is_some_and(|one| one.has_rejected(*index)));
        completions.sort_by_key(|(index, _)| *index);
        let completions: Vec<_> = completions.into_iter().map(|(_, completion)| completion).collect();
        let generation = self.started.elapsed();

        let started = Instant::now();
        let prompt = self.request.prompt.asked();
        let texts = completions.iter().map(|completion| (prompt.to_owned(), completion.text.clone()));
        let features = self.model.resident.features(texts.collect()).await?;
        let ranking = best_of_n(&features, &self.person.posterior, self.request.risk_aversion)?;
        let candidates: Vec<_> = ranking
            .ranked
            .iter()
            .map(|ranked| ScoredResponse {
                index: ranked.index,
                text: completions[ranked.index].text.clone(),
                reward: ranked.reward,
                standard_error: ranked.uncertainty,
            })
            .collect();
        let scoring = started.elapsed();

        let chosen = if first_counts {
            candidates.iter().find(|candidate| candidate.index == 0)
        } else {
            candidates.first()
        };
        let chosen = chosen.ok_or(EngineError::PromptNotInPool)?;
        let (chosen, reward, baseline_reward) = (chosen.index, chosen.reward, ranking.baseline);
        if !first_counts {
            let _ = self.events.send(Ok(GenerationEvent::Delta(completions[chosen].text.clone())));
        }
        let generated = Generated {
            completions,
            chosen,
            reward,
            baseline_reward,
            candidates,
            prompt_tokens,
            completion_tokens,
            generation,
            scoring,
        };
        self.remember(&generated, &features).await;
        Ok(generated)
    }

    /// Gives the worse ones up, where a round is due.
    async fn reject(&self, rejection: &mut Rejection, candidates: &Completions) -> Result<(), EngineError> {
        let Some(due) = rejection.due() else { return Ok(()) };
        let mut ranked = Vec::new();
        if !due.is_empty() {
            let prompt = self.request.prompt.asked();
            let texts = due.iter().map(|(_, text)| (prompt.to_owned(), (*text).to_owned())).collect();
            let features = self.model.resident.features(texts).await?;
            let ranking = best_of_n(&features, &self.person.posterior, self.request.risk_aversion)?;
            ranked = ranking.ranked.iter().map(|one| one.index).collect();
        }
        rejection.held(&ranked).into_iter().for_each(|index| candidates.abandon(index));
        Ok(())
    }

    /// An answer that cannot be kept is an answer all the same.
    async fn remember(&self, generated: &Generated, features: &[DVector<f64>]) {
        let (Some(user), Some(remembered)) = (&self.request.user, self.request.remembered) else { return };
        let choices: Vec<_> = generated
            .best(remembered.choices)
            .map(|made| (generated.completions[made].text.as_str(), &features[made]))
            .collect();
        let prompt = self.request.prompt.asked();
        let given = Given { remembered, prompt, choices, model: &self.model, created: self.begun };
        if let Err(error) = self.engine.remember_completion(&self.tenant, user, given).await {
            tracing::warn!(%error, "a completion cannot be compared later: it could not be kept");
        }
    }
}

impl From<GenerateError> for EngineError {
    fn from(error: GenerateError) -> Self {
        match error {
            GenerateError::PromptNotInPool => Self::PromptNotInPool,
            GenerateError::PromptTooLong { given, allowed } => {
                let allowed = format!("at most {allowed} tokens, the language model's context");
                Invalid::new("prompt", format!("{given} tokens"), allowed).into()
            }
            GenerateError::TooMany { given, allowed } => {
                Invalid::new("candidates", given, format!("1 to {allowed}")).into()
            }
            GenerateError::Model(ModelError::ChatTemplate { reason }) => {
                Invalid::new("messages", reason, "a conversation that the model's chat template takes").into()
            }
            GenerateError::Model(ModelError::NoChatTemplate { id }) => {
                let allowed = format!("one message of a user's alone: {id} has no chat template");
                Invalid::new("messages", "a conversation", allowed).into()
            }
            GenerateError::Stopped => Self::Draining,
            other => Self::LanguageModel(other),
        }
    }
}
