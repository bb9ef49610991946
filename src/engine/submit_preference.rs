use serde::{Deserialize, Serialize};

use super::idempotency::Call;
use super::recent::{Guess, RecentLog};
use super::refit::{ATTEMPTS, Counted, deltas_of, derived, fit, lacks_delta};
use super::{Engine, EngineError, Profile, ServingModel};
use crate::domain::{
    Comparison, CompletionId, Outcome, PreferenceId, QueryId, RequestId, TenantId, UserId, Weight,
};
use crate::math::questions::CONVERGED_BITS;
use crate::store::{Append, AskedQuery, Basis, NewPreference, SubmissionSnapshot};

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub struct SubmitPreference {
    /// Who answers.
    pub user: UserId,
    /// What was judged.
    pub target: Target,
    /// What they said.
    pub outcome: Outcome,
    /// How much it counts.
    pub weight: Weight,
    /// The caller's key; the reply is given again to a repeat.
    #[serde(skip)]
    pub request_id: Option<RequestId>,
}

/// What was judged.
#[derive(Debug, Clone, Serialize)]
pub enum Target {
    /// A question of ours.
    Query(QueryId),
    /// A comparison of the caller's own.
    Comparison(Comparison),
    /// Two choices of chat completions that answered the same prompt; the chosen one is A.
    Choices {
        /// The one that is preferred, unless the outcome says otherwise.
        chosen: Choice,
        /// The other one.
        rejected: Choice,
    },
}

/// A choice of a chat completion that the user was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// What it was answered under.
    pub completion: CompletionId,
    /// Which of its choices, from 0.
    pub index: u32,
}

/// The answer is on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    /// The line of the log.
    pub preference_id: PreferenceId,
    /// The user with the answer counted.
    pub profile: Profile,
}

impl Engine {
    /// Logs an answer and refits the user, in one read and one transaction; without the read where this server had the user's
    /// last call.
    ///
    /// The fit is computed outside the transaction from a snapshot, and committed together with the answer only if the
    /// user is still at the snapshot's revision; otherwise it is computed again.
    pub async fn submit_preference(
        &self,
        tenant: &TenantId,
        request: SubmitPreference,
    ) -> Result<Submitted, EngineError> {
        let model = self.models().active(tenant)?;
        let user = &request.user;
        let call = Call::new("SubmitPreference", request.request_id, &request)?;
        let preference_id = match request.request_id {
            Some(id) => PreferenceId::of_request(tenant, user, id),
            None => PreferenceId::random(),
        };

        let _turn = self.turn(tenant, user).await;
        let (person, recent) = (self.store().user_hash(tenant, user), &self.shared.recent);
        let mut remembered = recent.take(&person, &model.version);
        let mut guess = remembered.as_ref().map(|log| Guess::of(log, &request.target));
        let mut is_refused = false;
        for _ in 0..ATTEMPTS {
            let known = match remembered.take() {
                Some(log) if recent.is_trusted() && log.suffices(&request.target) => {
                    Known::remembered(log, &request.target)
                }
                _ => {
                    let snapshot = self.submission_snapshot(tenant, &request, &model).await?;
                    if let Some(guess) = guess.take() {
                        recent.found(guess.holds(&snapshot) && !is_refused);
                    }
                    Known::read(snapshot, &model)
                }
            };
            let judged = match self.judged(tenant, &request, &known, &model).await {
                // A repeat whose completions have had their time since.
                Err(gone @ EngineError::CompletionNotFound { .. }) => {
                    let store = self.store();
                    return match store
                        .replayed_preference(tenant, user, preference_id, &call.body_hash)
                        .await?
                    {
                        Some(Append::Replayed(reply)) => Ok(serde_json::from_slice(&reply)?),
                        Some(_) => Err(EngineError::RequestIdReused),
                        None => Err(gone),
                    };
                }
                judged => judged?,
            };
            if known.is_stranger {
                self.admit_user(tenant).await?;
            }
            let (Known { mut log, basis, .. }, created) = (known, self.now());
            if let Some(delta) = judged.delta.clone() {
                log.counted.push(request.outcome, request.weight, delta, created, model.tie_weight);
            }
            let answers = log.counted.answers();
            let posterior = fit(&log.counted, &model).await?;

            let expected_revision = log.revision;
            log.revision += 1;
            let position = (answers, log.revision);
            let profile = Profile::new(user, &model, &posterior, position, judged.converged);
            let submitted = Submitted { preference_id, profile };
            let new = NewPreference {
                preference_id,
                request_id: request.request_id,
                body_hash: call.body_hash,
                query_id: judged.query_id,
                comparison: judged.comparison.clone(),
                outcome: request.outcome,
                weight: request.weight,
                created,
                expires: self.reply_expires(created),
                expected_revision,
                derived: vec![derived(&model, &posterior, answers, judged.delta.clone())],
                reply: serde_json::to_vec(&submitted)?,
            };
            if let Basis::Remembered(_) = basis {
                if !self.store().append_at_once(tenant, user, &new, basis).await? {
                    is_refused = true;
                    continue;
                }
                recent.found(true);
                recent.keep(person, log);
                return Ok(submitted);
            }
            match self.store().append_preference(tenant, user, &new).await? {
                Append::Appended { .. } => {
                    recent.keep(person, log);
                    return Ok(submitted);
                }
                Append::Replayed(reply) => return Ok(serde_json::from_slice(&reply)?),
                Append::Conflict { .. } => {}
                Append::RequestIdReused => return Err(EngineError::RequestIdReused),
                Append::Erased => return Err(EngineError::UserErased(user.clone())),
                Append::QueryNotFound => return Err(judged.refused(EngineError::QueryNotFound)),
                Append::QueryAlreadyAnswered => {
                    return Err(judged.refused(EngineError::QueryAlreadyAnswered));
                }
            }
        }
        Err(EngineError::LostRace)
    }

    /// The user's log and what is answered: one statement. Where answers were given under another model, the user is fitted
    /// under this one first.
    async fn submission_snapshot(
        &self,
        tenant: &TenantId,
        request: &SubmitPreference,
        model: &ServingModel,
    ) -> Result<SubmissionSnapshot, EngineError> {
        let (user, version) = (&request.user, &model.version);
        let query = match request.target {
            Target::Query(id) => Some(id),
            Target::Comparison(_) | Target::Choices { .. } => None,
        };
        for _ in 0..ATTEMPTS {
            let snapshot = self.store().submission_snapshot(tenant, user, version, query).await?;
            if !snapshot.answers.iter().any(lacks_delta) {
                return Ok(snapshot);
            }
            // Meanwhile a server that has the model before may log another one without.
            self.refit(tenant, user, model).await?;
        }
        Err(EngineError::LostRace)
    }

    /// What was judged, with its δ under the active model. A question of ours was stored with its δ, so that
    /// answering it embeds nothing.
    async fn judged(
        &self,
        tenant: &TenantId,
        request: &SubmitPreference,
        known: &Known,
        model: &ServingModel,
    ) -> Result<Judged, EngineError> {
        let is_converged = |gain: f64| gain < CONVERGED_BITS;
        let latest = known.log.latest;
        let was_converged = latest.is_some_and(|latest| is_converged(latest.information_gain));
        let (query_id, comparison, delta, converged) = match (&request.target, &known.query) {
            (Target::Comparison(comparison), _) => (None, comparison.clone(), None, was_converged),
            (Target::Query(id), Some(query)) => {
                let delta = (query.model_version == model.version).then(|| query.delta.clone());
                (Some(*id), query.comparison.clone(), delta, is_converged(query.information_gain))
            }
            (Target::Query(_), None)
                if self.store().was_lately_erased(tenant, &request.user, self.now()).await? =>
            {
                return Err(EngineError::UserErased(request.user.clone()));
            }
            (Target::Query(id), None) => return Err(EngineError::QueryNotFound(*id)),
            (Target::Choices { chosen, rejected }, _) => {
                let (comparison, delta) =
                    self.compared(tenant, &request.user, [*chosen, *rejected], model).await?;
                (None, comparison, delta, was_converged)
            }
        };
        let delta = match delta {
            _ if request.outcome.preference().is_none() => None,
            Some(delta) => Some(delta),
            None => deltas_of(model, &[&comparison]).await?.pop(),
        };
        Ok(Judged { query_id, comparison, delta, converged })
    }
}

/// What an answer is built on.
struct Known {
    log: RecentLog,
    basis: Basis,
    /// The question that is answered, if this user was asked it.
    query: Option<AskedQuery>,
    /// Whether the user is not there yet.
    is_stranger: bool,
}

impl Known {
    fn read(snapshot: SubmissionSnapshot, model: &ServingModel) -> Self {
        let SubmissionSnapshot { revision, answers, query, latest } = snapshot;
        let counted = Counted::of(answers, model.tie_weight);
        let (revision, is_stranger) = (revision.unwrap_or(0), revision.is_none());
        let log = RecentLog { model: model.version.clone(), revision, counted, latest, asked: Vec::new() };
        Self { log, basis: Basis::Read, query, is_stranger }
    }

    fn remembered(mut log: RecentLog, target: &Target) -> Self {
        let query = match target {
            Target::Query(id) => log.take_asked(id),
            Target::Comparison(_) | Target::Choices { .. } => None,
        };
        Self { basis: Basis::Remembered(log.latest), log, query, is_stranger: false }
    }
}

struct Judged {
    query_id: Option<QueryId>,
    comparison: Comparison,
    /// Nothing where the outcome has no likelihood term.
    delta: Option<Vec<f64>>,
    /// Whether the question was the best there was, and yet told next to nothing.
    converged: bool,
}

impl Judged {
    /// A refusal of the question; what is not an answer to one is never refused so.
    fn refused(&self, refusal: fn(QueryId) -> EngineError) -> EngineError {
        self.query_id.map_or(EngineError::LostRace, refusal)
    }
}
