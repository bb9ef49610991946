use std::borrow::Cow;
use std::collections::HashSet;

use nalgebra::DVector;

use super::person::Person;
use super::{Engine, EngineError, ServingModel};
use crate::domain::{Comparison, Outcome, Reliability, TenantId, UserId, Weight};
use crate::math::{Evidence, Posterior, Prior, forgetting_weights};
use crate::store::{Answer, Derived, Revision, StoredPosterior, UnixMillis, UserSnapshot};

/// Answers up to which a fit takes microseconds and runs where it is called; longer logs go to a blocking thread.
const INLINE_ANSWERS: usize = 128;
/// How often a fit is redone because another change of the same user came first. Within one server calls for a user
/// wait for each other, so that this counts other servers only.
pub(super) const ATTEMPTS: usize = 16;
/// Log lines whose texts are read and embedded together.
const PAGE: u32 = 128;
/// As the store's times are.
const MILLIS_A_DAY: f64 = 86_400_000.0;

impl Engine {
    /// Fits the user under `model` from their whole log, embedding only what has no δ for this model yet, and stores
    /// the result. Nothing if there is no such user.
    pub(super) async fn refit(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ServingModel,
    ) -> Result<Option<Person>, EngineError> {
        let Some(mut snapshot) = self.store().user_snapshot(tenant, user, &model.version).await? else {
            return Ok(None);
        };
        let deltas = self.missing_deltas(tenant, user, model, &snapshot).await?;
        for answer in snapshot.answers.iter_mut().filter(|answer| lacks_delta(answer)) {
            let found = deltas.iter().find(|(position, _)| *position == answer.position);
            answer.delta = found.map(|(_, delta)| delta.clone());
        }
        let counted = Counted::of(snapshot.answers, model.tie_weight);
        let answers = counted.answers();
        let posterior = fit(&counted, model).await?;
        let UserSnapshot { revision, created, .. } = snapshot;
        let Derived { coefficients, hessian, .. } = derived(model, &posterior, answers, None);
        let stored = StoredPosterior { revision, coefficients, hessian, answers };
        self.store().put_posterior(tenant, user, &model.version, created, &stored, &deltas).await?;
        Ok(Some(Person { posterior, answers, revision }))
    }

    /// The user's live answers, each that has a likelihood term with its δ under `model`: one read. Where answers were
    /// given under another model, the user is fitted under this one first.
    pub(super) async fn fitted_snapshot(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ServingModel,
    ) -> Result<Option<UserSnapshot>, EngineError> {
        for _ in 0..ATTEMPTS {
            let snapshot = self.store().user_snapshot(tenant, user, &model.version).await?;
            if !snapshot.iter().flat_map(|snapshot| &snapshot.answers).any(lacks_delta) {
                return Ok(snapshot);
            }
            // Meanwhile a server that has the model before may log another one without.
            self.refit(tenant, user, model).await?;
        }
        Err(EngineError::LostRace)
    }

    /// δ under `model` of the answers that have none yet, with their positions. An answer that is undone meanwhile is
    /// not among them.
    async fn missing_deltas(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ServingModel,
        snapshot: &UserSnapshot,
    ) -> Result<Vec<(Revision, Vec<f64>)>, EngineError> {
        let missing: HashSet<_> = snapshot
            .answers
            .iter()
            .filter(|answer| lacks_delta(answer))
            .map(|answer| answer.position)
            .collect();
        let mut deltas = Vec::with_capacity(missing.len());
        let mut after = 0;
        while deltas.len() < missing.len() {
            let mut lines = self.store().list_preferences(tenant, user, after, PAGE).await?;
            let Some(last) = lines.last() else { break };
            after = last.position;
            lines.retain(|line| missing.contains(&line.position));
            let comparisons: Vec<_> = lines.iter().map(|line| &line.comparison).collect();
            let fresh = deltas_of(model, &comparisons).await?;
            deltas.extend(lines.iter().map(|line| line.position).zip(fresh));
        }
        Ok(deltas)
    }
}

pub(super) fn lacks_delta(answer: &Answer) -> bool {
    answer.delta.is_none() && answer.outcome.preference().is_some()
}

/// δ = φ(A) − φ(B) of each comparison, J numbers each, in one call of the model.
pub(super) async fn deltas_of(
    model: &ServingModel,
    comparisons: &[&Comparison],
) -> Result<Vec<Vec<f64>>, EngineError> {
    let texts = comparisons
        .iter()
        .flat_map(|c| [(c.prompt.clone(), c.response_a.clone()), (c.prompt.clone(), c.response_b.clone())])
        .collect();
    let features = model.resident.features(texts).await?;
    Ok(features.chunks_exact(2).map(|pair| (&pair[0] - &pair[1]).as_slice().to_vec()).collect())
}

/// A person's answers that have a likelihood term, as the fit takes them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counted {
    evidence: Vec<Evidence>,
    /// When each was recorded.
    recorded: Vec<UnixMillis>,
}

impl Counted {
    pub(super) fn of(answers: Vec<Answer>, tie_weight: f64) -> Self {
        let mut counted = Self::default();
        for Answer { outcome, weight, delta, created, .. } in answers {
            if let Some(delta) = delta {
                counted.push(outcome, weight, delta, created, tie_weight);
            }
        }
        counted
    }

    /// Adds an answer; nothing for NEITHER and SKIP.
    pub(super) fn push(
        &mut self,
        outcome: Outcome,
        weight: Weight,
        delta: Vec<f64>,
        recorded: UnixMillis,
        tie_weight: f64,
    ) {
        let Some(preference) = outcome.preference() else { return };
        let weight = if outcome == Outcome::Tie { weight.get() * tie_weight } else { weight.get() };
        self.evidence.push(Evidence { delta: DVector::from_vec(delta), preference, weight });
        self.recorded.push(recorded);
    }

    pub(super) fn len(&self) -> usize {
        self.evidence.len()
    }

    /// How many they are, as the store counts.
    pub(super) fn answers(&self) -> i64 {
        i64::try_from(self.len()).unwrap_or(i64::MAX)
    }

    /// What they take of memory beside the struct, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let deltas: usize = self.evidence.iter().map(|one| size_of_val(one.delta.as_slice())).sum();
        self.evidence.capacity() * size_of::<Evidence>()
            + self.recorded.capacity() * size_of::<UnixMillis>()
            + deltas
    }

    /// λ̂ and H, always from the prior: a function of the log alone, whenever and wherever it is computed.
    fn posterior(&self, prior: &Prior, reliability: Reliability) -> Result<Posterior, EngineError> {
        let mut evidence = Cow::Borrowed(&self.evidence);
        if let Some(days) = reliability.half_life_days() {
            let weights = forgetting_weights(&self.recorded, days * MILLIS_A_DAY)?;
            evidence.to_mut().iter_mut().zip(weights).for_each(|(one, left)| one.weight *= left);
        }
        Ok(Posterior::fit_with_lapse(&evidence, prior, reliability.lapse_rate())?)
    }
}

/// λ and H from all of a user's answers.
pub(super) async fn fit(counted: &Counted, model: &ServingModel) -> Result<Posterior, EngineError> {
    if counted.len() <= INLINE_ANSWERS {
        return counted.posterior(&model.prior, model.reliability);
    }
    let (counted, prior, reliability) = (counted.clone(), model.prior.clone(), model.reliability);
    tokio::task::spawn_blocking(move || counted.posterior(&prior, reliability)).await?
}

/// What the store keeps of a fit, in one transaction with the change of the log that caused it.
pub(super) fn derived(
    model: &ServingModel,
    posterior: &Posterior,
    answers: i64,
    delta: Option<Vec<f64>>,
) -> Derived {
    Derived {
        model_version: model.version.clone(),
        delta,
        coefficients: posterior.coefficients().as_slice().to_vec(),
        // H is symmetric: its columns are its rows.
        hessian: posterior.hessian().as_slice().to_vec(),
        answers,
    }
}
