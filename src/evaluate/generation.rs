//! What personal generation is worth (Figure 2, lower row): people whose taste λ* is known answer questions, and each strategy
//! writes for them from what the answers tell.

mod judge;
mod report;
mod strategy;
mod texts;

use std::time::Instant;

use nalgebra::{DMatrix, DVector};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

pub use judge::{Duel, Judged, judge};
pub use report::{Generated, GenerationPoint};
pub use strategy::Strategy;

use self::texts::{Scribe, Written};
use super::EvaluateError;
use crate::generate::{Guidance, LocalGenerator, Sampling};
use crate::math::guidance::best_of_n;
use crate::math::logistic::sigmoid;
use crate::math::questions::{Pool, Request, Seen, choose};
use crate::math::{Acquisition, Evidence, Posterior, Prior, normal};
use crate::model::{RewardModel, ValueHead};

/// What is simulated.
#[derive(Debug, Clone)]
pub struct GenerationConfig {
    /// How completions are chosen, beside the unguided ones that all are held against.
    pub strategies: Vec<Strategy>,
    /// Numbers of answers after which completions are written.
    pub answers: Vec<usize>,
    /// People, λ* ~ N(μ, Σ).
    pub people: usize,
    /// Prompts that are asked about; those after them are written for.
    pub asked_prompts: usize,
    /// Unguided completions of each prompt: what questions are chosen from, what best-of-N takes its N from, and what all is
    /// measured against.
    pub candidates: usize,
    /// |A| of a guided step.
    pub guided_tokens: usize,
    /// Completions of each strategy after the most answers that are kept beside unguided ones, for a judge.
    pub duels: usize,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Of all that is drawn.
    pub seed: u64,
}

/// A prompt with its unguided completions.
struct Candidates {
    /// Its place among the prompts.
    at: usize,
    prompt: String,
    written: Vec<Written>,
    features: Vec<DVector<f64>>,
    mean: DVector<f64>,
    /// Mean log-likelihood of a token, nats.
    log_likelihood: f64,
    /// To write one of them.
    seconds: f64,
}

/// One completion for one person.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// λ*ᵀφ, less that of the average unguided completion.
    reward: f64,
    /// How often it is better than an unguided completion.
    win: f64,
    /// Log-likelihood of a token, less that of the average unguided completion; nats.
    log_likelihood: f64,
    seconds: f64,
}

/// Asks people, writes for them, and measures, at every number of answers and for every strategy.
///
/// # Errors
/// Fewer prompts than are asked about, a strategy that needs a value head which the model does not have for this generator, failures of the two models.
pub fn generation(
    model: &RewardModel,
    generator: &LocalGenerator,
    prompts: &[String],
    config: &GenerationConfig,
    progress: &mut dyn FnMut(f64),
) -> Result<Generated, EvaluateError> {
    if prompts.len() <= config.asked_prompts {
        return Err(EvaluateError::FewPrompts { given: prompts.len(), asked: config.asked_prompts });
    }
    let head = model.value_head();
    if config.strategies.iter().any(|strategy| matches!(strategy, Strategy::ValueGuided(_))) {
        let written_by = head.map(|head| head.record.language_model_hash.as_str());
        if written_by != Some(generator.model().hash()) {
            let (version, language_model) =
                (model.manifest().version.clone(), generator.model().id().to_owned());
            return Err(EvaluateError::NoValueHead { version, language_model });
        }
    }
    let scribe = Scribe { model, generator, sampling: &config.sampling };
    let candidates: Vec<Candidates> = (0..prompts.len())
        .map(|at| {
            progress(0.3 * at as f64 / prompts.len() as f64);
            Candidates::write(&scribe, &prompts[at], config, at)
        })
        .collect::<Result<_, _>>()?;
    let (asked, written_for) = candidates.split_at(config.asked_prompts);
    let pool = Pool::new(&asked.iter().map(|one| &one.features).collect::<Vec<_>>())?;
    let record = &model.manifest().prior;
    let prior = Prior::new(record.mean(), record.covariance())?;

    let (mut outcomes, mut duels) = (Vec::new(), Vec::new());
    let labels = &model.manifest().labels;
    let most = config.answers.iter().copied().max().unwrap_or(0);
    for person in 0..config.people {
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(1 + person as u64);
        let taste = drawn(&prior, &mut rng)?;
        let posteriors = asked_questions(&pool, &prior, &taste, most, &mut rng)?;
        for &answers in &config.answers {
            let posterior = &posteriors[answers.min(posteriors.len() - 1)];
            for &strategy in &config.strategies {
                for (at, one) in written_for.iter().enumerate() {
                    let seed = config.seed.wrapping_add(((person * written_for.len() + at) as u64) << 16);
                    let (outcome, text) =
                        one.answered(&scribe, strategy, posterior, &taste, head, (seed, config))?;
                    outcomes.push((strategy, answers, person, outcome));
                    let place = person * written_for.len() + at;
                    if answers == most
                        && strategy != Strategy::BestOf(1)
                        && config.keeps(place, written_for.len())
                    {
                        duels.push(Duel {
                            strategy,
                            person,
                            taste: judge::taste_in_words(labels, &taste)?,
                            prompt: one.prompt.clone(),
                            ours: text,
                            theirs: one.written[0].text.clone(),
                        });
                    }
                }
            }
        }
        progress(0.3 + 0.7 * (person + 1) as f64 / config.people as f64);
    }
    Ok(Generated { duels, ..Generated::of(&outcomes, config, written_for, model, generator) })
}

impl GenerationConfig {
    /// Pairs that are kept for a judge, where `prompts` are written for.
    pub fn pairs_to_judge(&self, prompts: usize) -> usize {
        let strategies = self.strategies.iter().filter(|strategy| **strategy != Strategy::BestOf(1)).count();
        strategies * self.duels.min(self.people * prompts)
    }

    /// Whether the pair at `place` among a strategy's is one of those kept, which lie evenly over people and prompts.
    fn keeps(&self, place: usize, prompts: usize) -> bool {
        let all = self.people * prompts;
        let kept = self.duels.min(all);
        place * kept / all != (place + 1) * kept / all
    }
}

/// λ* ~ N(μ, Σ)
fn drawn(prior: &Prior, rng: &mut ChaCha8Rng) -> Result<DVector<f64>, EvaluateError> {
    let eigen = prior.covariance().clone().symmetric_eigen();
    let scaled =
        DVector::from_fn(prior.dimension(), |j, _| eigen.eigenvalues[j].max(0.0).sqrt() * normal(rng));
    Ok(prior.mean() + &eigen.eigenvectors * scaled)
}

/// The posterior after 0, 1, … answers to chosen questions; fewer where the pool ends.
fn asked_questions(
    pool: &Pool,
    prior: &Prior,
    taste: &DVector<f64>,
    most: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<Posterior>, EvaluateError> {
    let mut posteriors = vec![Posterior::of_prior(prior)];
    let (mut seen, mut evidence) = (Seen::default(), Vec::new());
    for _ in 0..most {
        let request = Request { acquisition: Acquisition::InformationGain, count: 1, seen: &seen, open: &[] };
        let chosen = choose(pool, &posteriors[posteriors.len() - 1], &request, rng)?;
        let Some(question) = chosen.questions.first() else { break };
        seen.insert(question.prompt, question.first, question.second);
        let delta = pool.delta(question.prompt, question.first, question.second);
        let prefers_first = rng.random::<f64>() < sigmoid(taste.dot(&delta));
        evidence.push(Evidence { delta, preference: f64::from(u8::from(prefers_first)), weight: 1.0 });
        posteriors.push(Posterior::fit(&evidence, prior)?);
    }
    Ok(posteriors)
}

impl Candidates {
    fn write(
        scribe: &Scribe<'_>,
        prompt: &str,
        config: &GenerationConfig,
        at: usize,
    ) -> Result<Self, EvaluateError> {
        let seed = config.seed.wrapping_add(at as u64);
        let (written, seconds) = scribe.write(prompt, config.candidates, seed, None)?;
        let seconds = seconds / config.candidates as f64;
        let features = scribe.features(prompt, &written)?;
        let mean = DMatrix::from_columns(&features).column_mean();
        let total: f64 = written.iter().map(|one| one.log_likelihood).sum();
        let log_likelihood = total / written.len() as f64;
        Ok(Self { at, prompt: prompt.to_owned(), written, features, mean, log_likelihood, seconds })
    }

    /// One person's completion by one strategy.
    fn answered(
        &self,
        scribe: &Scribe<'_>,
        strategy: Strategy,
        posterior: &Posterior,
        taste: &DVector<f64>,
        head: Option<&ValueHead>,
        (seed, config): (u64, &GenerationConfig),
    ) -> Result<(Outcome, String), EvaluateError> {
        match (strategy, head) {
            (Strategy::BestOf(n), _) => {
                let n = n.min(self.features.len());
                let best = best_of_n(&self.features[..n], posterior, 0.0)?[0].index;
                let written = &self.written[best];
                let seconds = self.seconds * n as f64;
                Ok(self.outcome((written, &self.features[best]), taste, seconds))
            }
            (Strategy::Rejecting(n), _) => {
                // The same candidates that best-of-N has, with the same seed.
                let seed = config.seed.wrapping_add(self.at as u64);
                let started = Instant::now();
                let written = scribe.write_rejecting(&self.prompt, n, seed, posterior)?;
                let seconds = started.elapsed().as_secs_f64();
                let written = scribe.judged(&self.prompt, written)?;
                let features = scribe.features(&self.prompt, &written)?;
                let best = best_of_n(&features, posterior, 0.0)?[0].index;
                Ok(self.outcome((&written[best], &features[best]), taste, seconds))
            }
            (Strategy::ValueGuided(scale), Some(head)) => {
                let direction = head.direction(posterior.coefficients(), scale);
                let guidance = Guidance { direction, tokens: config.guided_tokens };
                let (written, seconds) = scribe.write(&self.prompt, 1, seed, Some(guidance))?;
                let features = scribe.features(&self.prompt, &written)?;
                Ok(self.outcome((&written[0], &features[0]), taste, seconds))
            }
            (Strategy::ValueGuided(_), None) => unreachable!("checked before anything was written"),
        }
    }

    fn outcome(
        &self,
        (written, phi): (&Written, &DVector<f64>),
        taste: &DVector<f64>,
        seconds: f64,
    ) -> (Outcome, String) {
        let reward = taste.dot(phi);
        let others = self.features.iter().map(|other| taste.dot(other));
        let wins: f64 = others
            .map(|other| match reward.total_cmp(&other) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
            .sum();
        let outcome = Outcome {
            reward: reward - taste.dot(&self.mean),
            win: wins / self.features.len() as f64,
            log_likelihood: written.log_likelihood - self.log_likelihood,
            seconds,
        };
        (outcome, written.text.clone())
    }
}
