use nalgebra::DVector;

use crate::evaluate::EvaluateError;
use crate::generate::{Generator, Guidance, LocalGenerator, Prompt, Request, Sampling};
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
    pub(super) fn write(
        &self,
        prompt: &str,
        count: usize,
        seed: u64,
        guidance: Option<Guidance>,
    ) -> Result<Vec<Written>, EvaluateError> {
        let asked = Prompt::User(prompt.to_owned());
        let (prompt, sampling) = (asked.clone(), self.sampling.clone());
        let completions = self.generator.generate(Request { prompt, count, sampling, seed, guidance })?;
        let prompt = asked.encode(self.generator.model())?;
        let written = completions.blocking_all()?.into_iter().map(|completion| {
            let tokens = completion.tokens.as_deref().unwrap_or_default();
            let total = self.generator.model().log_likelihood(&prompt, tokens)?;
            Ok(Written { text: completion.text, log_likelihood: total / tokens.len().max(1) as f64 })
        });
        written.collect()
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
