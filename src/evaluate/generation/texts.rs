use std::time::Instant;

use nalgebra::DVector;

use crate::evaluate::EvaluateError;
use crate::generate::{
    Completion, Event, Generator, Guidance, LocalGenerator, Prompt, Rejection, Request, Sampling,
};
use crate::math::Posterior;
use crate::math::guidance::best_of_n;
use crate::model::{RewardModel, Text};

/// Writes and judges.
pub(super) struct Scribe<'a> {
    pub(super) model: &'a RewardModel,
    pub(super) generator: &'a LocalGenerator,
    pub(super) sampling: &'a Sampling,
}

/// A completion.
pub(super) struct Written {
    pub(super) text: String,
    /// Of a token on average, under the language model alone; nats.
    pub(super) log_likelihood: f64,
}

impl Scribe<'_> {
    /// Completions, and the seconds that writing them took.
    pub(super) fn write(
        &self,
        prompt: &str,
        count: usize,
        seed: u64,
        guidance: Option<Guidance>,
    ) -> Result<(Vec<Written>, f64), EvaluateError> {
        let (asked, sampling) = (Prompt::User(prompt.to_owned()), self.sampling.clone());
        let request = Request { prompt: asked, count, sampling, seed, guidance };
        let started = Instant::now();
        let completions = self.generator.generate(request)?.blocking_all()?;
        let seconds = started.elapsed().as_secs_f64();
        Ok((self.judged(prompt, completions)?, seconds))
    }

    /// How likely the completions are, by the language model alone.
    pub(super) fn judged(
        &self,
        prompt: &str,
        completions: Vec<Completion>,
    ) -> Result<Vec<Written>, EvaluateError> {
        let prompt = Prompt::User(prompt.to_owned()).encode(self.generator.model())?;
        let written = completions.into_iter().map(|completion| {
            let tokens = completion.tokens.as_deref().unwrap_or_default();
            let total = self.generator.model().log_likelihood(&prompt, tokens)?;
            Ok(Written { text: completion.text, log_likelihood: total / tokens.len().max(1) as f64 })
        });
        written.collect()
    }

    /// Those of `count` that are written to their end, where the ones that begin badly for a person are given up.
    pub(super) fn write_rejecting(
        &self,
        prompt: &str,
        count: usize,
        seed: u64,
        posterior: &Posterior,
    ) -> Result<Vec<Completion>, EvaluateError> {
        let (asked, sampling) = (Prompt::User(prompt.to_owned()), self.sampling.clone());
        let mut rejection = Rejection::of(count, sampling.max_tokens);
        let request = Request { prompt: asked, count, sampling, seed, guidance: None };
        let mut completions = self.generator.generate(request)?;
        let mut finished = Vec::new();
        while let Some(event) = completions.blocking_next() {
            let Some(rejection) = &mut rejection else {
                if let Event::Finished { index, completion } = event? {
                    finished.push((index, completion));
                }
                continue;
            };
            match event? {
                Event::Delta { index, text, tokens } => rejection.heard(index, &text, tokens),
                Event::Finished { index, completion } => {
                    rejection.finished(index);
                    finished.push((index, completion));
                }
                Event::Usage { .. } => {}
            }
            let Some(due) = rejection.due() else { continue };
            let texts: Vec<_> = due.iter().map(|(_, text)| Text::new(prompt, text)).collect();
            let mut ranked = Vec::new();
            if !texts.is_empty() {
                let features = self.model.features(&texts)?;
                ranked = best_of_n(&features, posterior, 0.0)?.iter().map(|one| one.index).collect();
            }
            rejection.held(&ranked).into_iter().for_each(|index| completions.abandon(index));
        }
        finished.retain(|(index, _)| !rejection.as_ref().is_some_and(|one| one.has_rejected(*index)));
        finished.sort_by_key(|(index, _)| *index);
        Ok(finished.into_iter().map(|(_, completion)| completion).collect())
    }

    /// φ of each.
    pub(super) fn features(
        &self,
        prompt: &str,
        written: &[Written],
    ) -> Result<Vec<DVector<f64>>, EvaluateError> {
        let texts: Vec<_> = written.iter().map(|one| Text::new(prompt, &one.text)).collect();
        Ok(self.model.features(&texts)?)
    }
}
