//! r = λᵀφ: this project's own model, with each of the acquisitions, and its ablations.

use std::sync::Arc;

use nalgebra::{DMatrix, DVector};

use super::{Answer, Learned, Model, Pair};
use crate::evaluate::EvaluateError;
use crate::evaluate::corpus::Corpus;
use crate::evaluate::search::Tuning;
use crate::math::factorization::{
    Config, Factorization, Hyperparameters, Newcomers, Problem, Scales, Start, calibrate, tune, tune_classic,
};
use crate::math::{Acquisition, Evidence, Posterior, Prior, SolverReport};

/// γ, α where there is to be no penalty on W: enough that the problem has a solution at all.
const NO_PENALTY: f64 = 1e-3;

/// W and N(μ, Σ), shared by the methods that differ in how they ask.
#[derive(Debug, Clone)]
pub(in crate::evaluate) struct Fit {
    head: Arc<DMatrix<f64>>,
    prior: Arc<Prior>,
    /// Singular values of the start.
    pub(in crate::evaluate) spectrum: Vec<f64>,
    /// J
    pub(in crate::evaluate) base_functions: usize,
    tuned: Hyperparameters,
}

impl Fit {
    /// §4.1, with hyperparameters chosen on the validation judgments and the prior scaled by people left out, then on
    /// all judgments.
    pub(in crate::evaluate) fn train(
        corpus: &Corpus<'_>,
        base_functions: Option<usize>,
        start: Option<Start>,
    ) -> Result<(Self, Tuning), EvaluateError> {
        let config = Config { base_functions, seed: corpus.seed, start };
        let cuts = corpus.ready()?;
        let tuned = tune(&cuts, &config, &mut ())?;
        let ridge = Some(tune_classic(&cuts, &mut ())?.ridge);
        let chosen = Hyperparameters { ridge, ..tuned.factorization.hyperparameters };
        let mut newcomers = Vec::with_capacity(corpus.folds.len());
        for (fitted, left_out) in &corpus.folds {
            let fit = Problem::new(&corpus.comparisons(fitted))?.fit(&chosen, &config, &mut ())?;
            newcomers.push(Newcomers::new(&fit, corpus.embeddings, left_out));
        }
        let chosen = chosen.scaled(calibrate(&newcomers)?);
        let best = tuned.trials.iter().map(|trial| trial.log_likelihood).fold(f64::NEG_INFINITY, f64::max);
        let all = Problem::new(&corpus.comparisons(&corpus.all))?.fit(&chosen, &config, &mut ())?;
        let tuning =
            Tuning { trials: tuned.trials.len(), chosen: in_words(&chosen), log_likelihood: Some(best) };
        Ok((Self::new(all), tuning))
    }

    /// The same J and tie weight with hardly a penalty on W and nothing taken off the prior.
    pub(in crate::evaluate) fn without_penalty(&self, corpus: &Corpus<'_>) -> Result<Self, EvaluateError> {
        let config = Config { base_functions: Some(self.base_functions), seed: corpus.seed, start: None };
        Ok(Self::new(Problem::new(&corpus.comparisons(&corpus.all))?.fit(&self.free(), &config, &mut ())?))
    }

    /// Where fits on all judgments end that begin at the singular vectors, and from so many random draws; with the penalty
    /// of this one or with hardly any.
    pub(in crate::evaluate) fn restarts(
        &self,
        corpus: &Corpus<'_>,
        draws: u64,
        penalty: bool,
    ) -> Result<(SolverReport, Vec<SolverReport>), EvaluateError> {
        let problem = Problem::new(&corpus.comparisons(&corpus.all))?;
        let chosen = if penalty { self.tuned } else { self.free() };
        let fit = |start: Option<Start>, seed: u64| -> Result<SolverReport, EvaluateError> {
            let config = Config { base_functions: Some(self.base_functions), seed, start };
            Ok(problem.fit(&chosen, &config, &mut ())?.report)
        };
        let random = (0..draws).map(|seed| fit(Some(Start::Random), seed)).collect::<Result<_, _>>()?;
        Ok((fit(None, corpus.seed)?, random))
    }

    fn free(&self) -> Hyperparameters {
        let (gamma, alpha) = (NO_PENALTY, NO_PENALTY);
        Hyperparameters { gamma, alpha, ..self.tuned.scaled(Scales::ONE) }
    }

    /// What it was fitted with.
    pub(in crate::evaluate) fn setting(&self) -> String {
        in_words(&self.tuned)
    }

    fn new(fit: Factorization) -> Self {
        Self {
            base_functions: fit.head.nrows(),
            head: Arc::new(fit.head),
            prior: Arc::new(fit.prior),
            spectrum: fit.spectrum,
            tuned: fit.hyperparameters,
        }
    }

    /// The model that asks by `acquisition`.
    pub(in crate::evaluate) fn asking(&self, acquisition: Acquisition) -> Factored {
        Factored { head: Some(self.head.clone()), prior: self.prior.clone(), acquisition, lapse_rate: 0.0 }
    }
}

fn in_words(h: &Hyperparameters) -> String {
    format!(
        "J {}, alpha {:.3e}, gamma {:.3e}, kappa {:.2}, tie weight {:.2}, prior × {:.2} ({:.2} beyond classic), {:.2}",
        h.base_functions,
        h.alpha,
        h.gamma,
        h.kappa,
        h.tie_weight,
        h.mean_scale,
        h.beyond_scale,
        h.spread_scale
    )
}

/// φ = W h and each person's λ under the population prior.
pub(in crate::evaluate) struct Factored {
    /// W (J × d); nothing where texts come encoded.
    head: Option<Arc<DMatrix<f64>>>,
    prior: Arc<Prior>,
    acquisition: Acquisition,
    lapse_rate: f64,
}

impl Factored {
    /// Of φ that are known, such as those that a model serves.
    pub(in crate::evaluate) fn served(prior: Arc<Prior>, acquisition: Acquisition, lapse_rate: f64) -> Self {
        Self { head: None, prior, acquisition, lapse_rate }
    }
}

impl Model for Factored {
    fn encode(&self, embeddings: &DMatrix<f64>) -> DMatrix<f64> {
        match &self.head {
            Some(head) => &**head * embeddings.transpose(),
            None => embeddings.transpose(),
        }
    }

    fn learn(&self, answers: &[Answer<'_>]) -> Result<Box<dyn Learned>, EvaluateError> {
        let posterior = Posterior::fit_with_lapse(&evidence(answers), &self.prior, self.lapse_rate)?;
        Ok(Box::new(Coefficients { posterior, acquisition: self.acquisition }))
    }

    fn chooses(&self) -> bool {
        self.acquisition != Acquisition::Random
    }
}

/// Answers as δ = φ₁ − φ₂ with their outcomes.
pub(super) fn evidence(answers: &[Answer<'_>]) -> Vec<Evidence> {
    let one = |answer: &Answer<'_>| Evidence {
        delta: DVector::from_vec(answer.pair.difference().collect()),
        preference: answer.preference,
        weight: 1.0,
    };
    answers.iter().map(one).collect()
}

/// λ̂ and H.
pub(super) struct Coefficients {
    pub(super) posterior: Posterior,
    pub(super) acquisition: Acquisition,
}

impl Learned for Coefficients {
    fn logit(&self, pair: Pair<'_>) -> f64 {
        self.posterior.coefficients().iter().zip(pair.difference()).map(|(l, d)| l * d).sum()
    }

    fn worth(&self, pair: Pair<'_>) -> f64 {
        let (z, v) = self.posterior.logit(&DVector::from_vec(pair.difference().collect()));
        self.acquisition.score(z, v)
    }
}
