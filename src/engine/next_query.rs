use std::collections::HashSet;
use std::sync::Arc;

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use super::generate_question::GenerateQuestion;
use super::idempotency::{Call, replay};
use super::person::Person;
use super::pools::PoolFeatures;
use super::{Engine, EngineError, Profile, ServingModel, exact};
use crate::domain::{
    Candidates, Comparison, ModelVersion, PairKey, PoolName, QueryId, RequestId, TenantId, UserId,
};
use crate::math::questions::{Request, Selection, choose};
use crate::math::{Acquisition, Posterior};
use crate::store::{Asking, AskingPerson, AskingSnapshot, PoolVersion, QueryRow, UnixMillis};

/// Multiplications up to which a choice takes a twentieth of a millisecond and is made where it is called; others go to a blocking
/// thread.
const INLINE_MULTIPLICATIONS: usize = 1 << 19;
/// As many as it takes to look up a pair that was seen.
const SEEN_MULTIPLICATIONS: usize = 256;

/// Asks for questions.
#[derive(Debug, Clone, Serialize)]
pub struct NextQuery {
    /// Who is to be asked.
    pub user: UserId,
    /// Where the pair comes from.
    pub source: QuerySource,
    /// How it is chosen.
    #[serde(serialize_with = "by_name")]
    pub strategy: Acquisition,
    /// How many questions, at least 1.
    pub count: usize,
    /// The caller's key; the reply is given again to a repeat.
    #[serde(skip)]
    pub request_id: Option<RequestId>,
}

/// Where a question's responses come from.
#[derive(Debug, Clone, Serialize)]
pub enum QuerySource {
    /// A stored pool.
    Pool(PoolName),
    /// Responses of the caller's own, at least two, all different.
    Candidates(Candidates),
    /// Responses to a prompt, generated along the direction in which the user is least known (Algorithm 2).
    Generate(GenerateQuestion),
}

/// The questions, stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// At least one, best first.
    pub questions: Vec<Question>,
    /// What is known of the user now.
    pub profile: Profile,
}

/// A question put to a user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Names it in an answer.
    pub query_id: QueryId,
    /// What is compared, as shown.
    pub comparison: Comparison,
    /// Expected gain, bits.
    #[serde(with = "exact::number")]
    pub information_gain: f64,
    /// E\[p(A preferred)\]
    #[serde(with = "exact::number")]
    pub predicted_preference: f64,
    /// The model that chose it.
    pub model_version: ModelVersion,
    /// When its pair may be asked again.
    pub expires: UnixMillis,
}

impl Engine {
    /// Chooses questions among the pairs that the user has neither seen nor has open, and stores them before they are
    /// answered with. Makes the user where they are not there.
    pub async fn next_query(&self, tenant: &TenantId, request: NextQuery) -> Result<Asked, EngineError> {
        let model = self.models().active(tenant)?;
        let user = &request.user;
        let call = Call::new("NextQuery", request.request_id, &request)?;
        let own = match &request.source {
            QuerySource::Pool(_) => None,
            QuerySource::Candidates(own) => Some(own.clone()),
            QuerySource::Generate(asked) => {
                // Writing takes its time, which a repeat need not wait for again.
                if let Some(reply) = self.recall(tenant, Some(user), &call).await? {
                    return Ok(reply);
                }
                Some(self.generate_candidates(tenant, user, asked, &model).await?)
            }
        };

        // Two calls at once for one user must not ask the same pair.
        let _turn = self.turn(tenant, user).await;
        let snapshot = self.asking_snapshot(tenant, &request, &call, &model).await?;
        if let Some(reply) = replay(snapshot.recall)? {
            return Ok(reply);
        }
        let pool = match (&request.source, own) {
            (QuerySource::Pool(name), _) => self.pool(tenant, name, snapshot.pool_version, &model).await?,
            (_, own) => {
                // It is used once and never looked up.
                let version = PoolVersion { created: 0, revision: 0 };
                Arc::new(PoolFeatures::build(version, own.into_iter().collect(), &model).await?)
            }
        };
        let asking = self.asking(tenant, user, snapshot.person, &model).await?;
        let revision = asking.person.revision;
        let answers = asking.person.answers;
        let (selection, posterior) = self.chosen(&pool, &request, asking).await?;
        if selection.questions.is_empty() {
            return Err(EngineError::NoQuestionLeft);
        }

        let queries = self.queries(&pool, &selection, &model);
        let profile = Profile::new(user, &model, &posterior, (answers, revision), selection.converged());
        let asked = Asked { questions: queries.iter().map(Question::from).collect(), profile };
        let remembered = self.remembered(&call, &asked)?;
        let saved =
            self.store().save_queries(tenant, user, &queries, remembered.as_ref(), self.now()).await?;
        if let Some(first) = replay(saved)? {
            return Ok(first);
        }
        self.shared.recent.asked(self.store().user_hash(tenant, user), &model.version, revision, &queries);
        Ok(asked)
    }

    /// The best of the pool for whoever asks, who is given back.
    async fn chosen(
        &self,
        pool: &Arc<PoolFeatures>,
        request: &NextQuery,
        asking: Known,
    ) -> Result<(Selection, Posterior), EngineError> {
        let (acquisition, count, mut rng) = (request.strategy, request.count, self.rng());
        let work = pool.features.multiplications(count, asking.open.len());
        let work = work.saturating_add(SEEN_MULTIPLICATIONS * asking.seen.len());
        let is_quick = work <= INLINE_MULTIPLICATIONS;
        let pool = pool.clone();
        let choose = move || {
            let seen = pool.seen(&asking.seen);
            let posterior = asking.person.posterior;
            let request = Request { acquisition, count, seen: &seen, open: &asking.open };
            choose(&pool.features, &posterior, &request, &mut rng).map(|selection| (selection, posterior))
        };
        Ok(if is_quick { choose()? } else { tokio::task::spawn_blocking(choose).await?? })
    }

    /// One statement.
    async fn asking_snapshot(
        &self,
        tenant: &TenantId,
        request: &NextQuery,
        call: &Call,
        model: &ServingModel,
    ) -> Result<AskingSnapshot, EngineError> {
        let pool = match &request.source {
            QuerySource::Pool(name) => Some(name),
            QuerySource::Candidates(_) | QuerySource::Generate(_) => None,
        };
        let call = request.request_id.map(|id| ("NextQuery", id, &call.body_hash));
        let asking = Asking { model: &model.version, pool, call, now: self.now() };
        Ok(self.store().asking_snapshot(tenant, &request.user, &asking).await?)
    }

    /// What choosing needs of the user, who is fitted first where that is due.
    async fn asking(
        &self,
        tenant: &TenantId,
        user: &UserId,
        known: Option<AskingPerson>,
        model: &ServingModel,
    ) -> Result<Known, EngineError> {
        let Some(AskingPerson { revision, posterior, seen, open_deltas }) = known else {
            self.admit_user(tenant).await?;
            return Ok(Known { person: Person::average(model), seen: HashSet::new(), open: Vec::new() });
        };
        let person = match Person::stored(model, revision, posterior) {
            Some(person) => person,
            None => self.refit(tenant, user, model).await?.unwrap_or_else(|| Person::average(model)),
        };
        Ok(Known { person, seen, open: open_deltas.into_iter().map(DVector::from_vec).collect() })
    }

    fn queries(&self, pool: &PoolFeatures, selection: &Selection, model: &ServingModel) -> Vec<QueryRow> {
        let created = self.now();
        let lifetime = i64::try_from(self.config().query_lifetime.as_millis()).unwrap_or(i64::MAX);
        let row = |question: &crate::math::questions::Question| QueryRow {
            query_id: QueryId::random(),
            comparison: pool.comparison(question),
            model_version: model.version.clone(),
            delta: pool.features.delta(question.prompt, question.first, question.second).as_slice().to_vec(),
            information_gain: question.information_gain,
            predicted_preference: question.predicted,
            created,
            expires: created.saturating_add(lifetime),
            answered: None,
        };
        selection.questions.iter().map(row).collect()
    }
}

struct Known {
    person: Person,
    seen: HashSet<PairKey>,
    open: Vec<DVector<f64>>,
}

impl From<&QueryRow> for Question {
    fn from(row: &QueryRow) -> Self {
        Self {
            query_id: row.query_id,
            comparison: row.comparison.clone(),
            information_gain: row.information_gain,
            predicted_preference: row.predicted_preference,
            model_version: row.model_version.clone(),
            expires: row.expires,
        }
    }
}

fn by_name<S: serde::Serializer>(strategy: &Acquisition, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{strategy:?}"))
}
