//! What an answer costs the database: one statement that reads, and on Postgres one that writes, unless each is to be by itself.

use super::shared::{Reading, SHARED_BYTES};
use super::sql::{Row, Value};
use super::users::answer;
use super::{AskedQuery, Basis, Derived, LatestQuery, NewPreference, Store, StoreError, SubmissionSnapshot};
use crate::domain::{Comparison, ModelVersion, QueryId, TenantId, UserId};

/// The lines of a log that count, by position.
const LINE: i64 = 0;
/// The user.
const USER: i64 = 1;
/// The question that is answered.
const QUERY: i64 = 2;
/// The question that was chosen last.
const LATEST: i64 = 3;

/// All that an answer needs, for a tenant, user, model version and question.
macro_rules! snapshot {
    ($tenant:literal, $user:literal, $model:literal, $query:literal) => {
        concat!(
            "SELECT CAST(0 AS BIGINT) AS kind, p.position AS position, p.preference_id, p.outcome, NULL, NULL, p.weight,
                    p.created, f.delta
             FROM preference p
             LEFT JOIN preference_feature f
               ON f.tenant = p.tenant AND f.user_id = p.user_id AND f.position = p.position
              AND f.model_version = ", $model, "
             WHERE p.tenant = ", $tenant, " AND p.user_id = ", $user, " AND p.deleted IS NULL
             UNION ALL
             SELECT 1, u.revision, NULL, NULL, NULL, NULL, NULL, NULL, NULL
             FROM users u WHERE u.tenant = ", $tenant, " AND u.user_id = ", $user, "
             UNION ALL
             SELECT 2, NULL, q.prompt, q.response_a, q.response_b, q.model_version, q.information_gain, NULL, q.delta
             FROM query q WHERE q.tenant = ", $tenant, " AND q.user_id = ", $user, " AND q.query_id = ", $query, "
             UNION ALL
             SELECT 3, NULL, latest.query_id, NULL, NULL, NULL, latest.information_gain, NULL, NULL
             FROM (SELECT query_id, information_gain FROM query
                   WHERE tenant = ", $tenant, " AND user_id = ", $user, "
                   ORDER BY created DESC, information_gain DESC LIMIT 1) AS latest"
        )
    };
}
/// A log that is long is read by itself, so that nobody waits for it but its person. How many there are is hidden from the
/// planner in a subquery: else it would plan each time anew.
pub(super) const SNAPSHOT: Reading<SubmissionSnapshot, 4> = Reading {
    alone: concat!(snapshot!("$1", "$2", "$3", "$4"), " ORDER BY kind, position"),
    together: concat!(
        "SELECT s.*, a.n
         FROM unnest((SELECT $1::text[]), $2::text[], $3::text[], $4::text[]) WITH ORDINALITY
              AS a (tenant, user_id, model, query_id, n)
         CROSS JOIN LATERAL (",
        snapshot!("a.tenant", "a.user_id", "a.model", "a.query_id"),
        ") AS s
         WHERE 1000 >= COALESCE((SELECT u.revision FROM users u WHERE u.tenant = a.tenant AND u.user_id = a.user_id), 0)
         ORDER BY a.n, s.kind, s.position"
    ),
    place: 9,
    add,
};

impl Store {
    /// All that an answer of `user` needs under `model`, of one moment: their log, the question that they answer, and the
    /// one that was chosen last. One statement.
    pub async fn submission_snapshot(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ModelVersion,
        query: Option<QueryId>,
    ) -> Result<SubmissionSnapshot, StoreError> {
        let key: [Value<'_>; 4] = [tenant.into(), user.into(), model.into(), query.into()];
        if let Some(together) = &self.together
            && let Some(snapshot) = together.submissions.call(key.clone().map(Value::into_owned)).await?
        {
            return Ok(snapshot);
        }
        SNAPSHOT.of(&self.db, &key).await
    }

    /// Whether [`Store::append_at_once`] is worth a try: not on SQLite, which is no round trip away, nor where everybody is to be by
    /// themselves.
    pub fn appends_at_once(&self) -> bool {
        self.together.is_some()
    }

    /// [`Store::append_preference`] in one statement, which is a transaction of its own; false where nothing was changed, for
    /// whatever reason: another revision or `basis`, somebody who was erased lately, a repeat, a log that is locked, a long text, a
    /// first answer to no question of ours, whose person need not be there yet.
    pub async fn append_at_once(
        &self,
        tenant: &TenantId,
        user: &UserId,
        new: &NewPreference,
        basis: Basis,
    ) -> Result<bool, StoreError> {
        let (Some(together), [derived]) = (&self.together, &new.derived[..]) else { return Ok(false) };
        let Comparison { prompt, response_a, response_b } = &new.comparison;
        let bytes = prompt.len() + response_a.len() + response_b.len() + new.reply.len();
        let is_of_a_stranger = new.expected_revision == 0 && new.query_id.is_none();
        if is_of_a_stranger || bytes > SHARED_BYTES {
            return Ok(false);
        }
        let line = self.appended(tenant, user, new, derived, basis).map(Value::into_owned);
        Ok(together.appends.call(line).await?.is_some())
    }

    fn appended<'a>(
        &self,
        tenant: &'a TenantId,
        user: &'a UserId,
        new: &'a NewPreference,
        derived: &'a Derived,
        basis: Basis,
    ) -> [Value<'a>; 24] {
        // An answer to a question does not ask which one was chosen last.
        let latest = match basis {
            Basis::Remembered(latest) if new.query_id.is_none() => {
                Some(latest.map_or_else(String::new, |latest| latest.query_id.to_string()))
            }
            _ => None,
        };
        // What was read with a question of ours is of now: an erasure would have taken the question, too.
        let may_be_of_the_erased = new.query_id.is_none() || basis != Basis::Read;
        let hash = may_be_of_the_erased.then(|| self.user_hash(tenant, user).0.to_vec());
        [
            tenant.into(),
            user.into(),
            new.expected_revision.into(),
            new.created.into(),
            new.query_id.into(),
            Value::Blob(hash.map(Into::into)),
            super::erasure::remembered_since(new.created).into(),
            new.preference_id.into(),
            (&new.comparison.prompt).into(),
            (&new.comparison.response_a).into(),
            (&new.comparison.response_b).into(),
            Value::Blob(Some(new.comparison.pair_key().0.to_vec().into())),
            new.outcome.as_str().into(),
            new.weight.get().into(),
            new.body_hash.as_slice().into(),
            new.reply.as_slice().into(),
            (&derived.model_version).into(),
            derived.delta.as_deref().map_or(Value::Blob(None), Value::from),
            derived.coefficients.as_slice().into(),
            derived.hessian.as_slice().into(),
            derived.answers.into(),
            (new.expected_revision + 1).into(),
            Value::Text(latest.map(Into::into)),
            new.request_id.into(),
        ]
    }
}

/// Many answers, each on top of the revision that it expects. Passed over is a log that somebody else has locked, so that nobody
/// waits for another person's; one that has been changed or erased meanwhile (the lock is taken on the row as it is
/// now, while all else sees the database as it was when the statement began); one that rests on memory, where its person was
/// erased lately or, for a comparison of the caller's own, was asked a question since; an answer that was logged before, or to a
/// question that is not there, which would violate a key and take all others with it; and one whose request was given another's reply. What is not there is asked for as
/// `(SELECT …) IS NULL`, which looks a key up for each; for NOT EXISTS Postgres reads a table to its end where it had not been
/// analysed when the plan was made.
pub(super) const APPEND: &str = "WITH answer AS MATERIALIZED (
         SELECT * FROM unnest((SELECT $1::text[]), $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[],
                              $8::text[], $9::text[], $10::text[], $11::text[], $12::bytea[], $13::text[],
                              $14::double precision[], $15::bytea[], $16::bytea[], $17::text[], $18::bytea[],
                              $19::bytea[], $20::bytea[], $21::bigint[], $22::bigint[], $23::text[], $24::text[])
              WITH ORDINALITY
              AS a (tenant, user_id, expected, created, query_id, user_hash, remembered_since,
                    preference_id, prompt, response_a, response_b, pair_key, outcome,
                    weight, body_hash, reply, model_version, delta,
                    coefficients, hessian, answers, position, latest, request_id, n)
     ), free AS (
         SELECT a.tenant, a.user_id, a.expected, a.created, a.n
         FROM answer a CROSS JOIN LATERAL (
             SELECT 1 FROM users u WHERE u.tenant = a.tenant AND u.user_id = a.user_id AND u.revision = a.expected
             FOR NO KEY UPDATE SKIP LOCKED) AS locked
         LEFT JOIN LATERAL (
             SELECT 1 AS is_there FROM query q
             WHERE q.tenant = a.tenant AND q.user_id = a.user_id AND q.query_id = a.query_id
             FOR KEY SHARE SKIP LOCKED) AS asked ON true
         WHERE (SELECT 1 FROM erased_user e
                WHERE e.tenant = a.tenant AND e.user_hash = a.user_hash AND e.erased > a.remembered_since) IS NULL
           AND (SELECT 1 FROM preference p
                WHERE p.tenant = a.tenant AND p.user_id = a.user_id AND p.preference_id = a.preference_id) IS NULL
           AND (a.query_id IS NULL OR asked.is_there = 1 AND (
                 SELECT 1 FROM preference p
                 WHERE p.tenant = a.tenant AND p.user_id = a.user_id AND p.query_id = a.query_id AND p.deleted IS NULL) IS NULL
               AND (
                 SELECT 1 FROM request r
                 WHERE r.tenant = a.tenant AND r.user_id = a.user_id AND r.method = 'SubmitPreference'
                   AND r.request_id = a.request_id AND r.expires > a.created) IS NULL)
           AND (a.latest IS NULL OR a.latest = COALESCE((
                 SELECT q.query_id FROM query q WHERE q.tenant = a.tenant AND q.user_id = a.user_id
                 ORDER BY q.created DESC, q.information_gain DESC LIMIT 1), ''))
     ), advanced AS (
         UPDATE users u SET revision = u.revision + 1, updated = f.created
         FROM free f WHERE u.tenant = f.tenant AND u.user_id = f.user_id AND u.revision = f.expected
         RETURNING f.n
     ), done AS (
         SELECT a.* FROM advanced JOIN answer a USING (n)
     ), line AS (
         INSERT INTO preference (tenant, user_id, position, preference_id, query_id, prompt, response_a, response_b,
                                 pair_key, outcome, weight, body_hash, reply, created)
         SELECT tenant, user_id, position, preference_id, query_id, prompt, response_a, response_b,
                pair_key, outcome, weight, body_hash, reply, created FROM done
     ), feature AS (
         INSERT INTO preference_feature (tenant, user_id, position, model_version, delta)
         SELECT tenant, user_id, position, model_version, delta FROM done WHERE delta IS NOT NULL
     ), fit AS (
         INSERT INTO user_posterior (tenant, user_id, model_version, revision, coefficients, hessian, answers)
         SELECT tenant, user_id, model_version, position, coefficients, hessian, answers FROM done
         ON CONFLICT (tenant, user_id, model_version) DO UPDATE
         SET revision = excluded.revision, coefficients = excluded.coefficients, hessian = excluded.hessian,
             answers = excluded.answers
     )
     SELECT n FROM advanced";

/// One row of a snapshot.
fn add(snapshot: &mut SubmissionSnapshot, row: &Row) -> Result<(), StoreError> {
    match row.get::<i64>(0)? {
        LINE => snapshot.answers.push(answer(row, 6)?),
        USER => snapshot.revision = Some(row.get(1)?),
        QUERY => snapshot.query = Some(asked(row)?),
        LATEST => {
            let query_id = row.parsed(2, "query", "query_id", QueryId::parse)?;
            snapshot.latest = Some(LatestQuery { query_id, information_gain: row.get(6)? });
        }
        _ => {}
    }
    Ok(())
}

fn asked(row: &Row) -> Result<AskedQuery, StoreError> {
    Ok(AskedQuery {
        comparison: Comparison { prompt: row.get(2)?, response_a: row.get(3)?, response_b: row.get(4)? },
        model_version: row.parsed(5, "query", "model_version", |name| ModelVersion::parse(name))?,
        information_gain: row.get(6)?,
        delta: row.numbers(8)?.unwrap_or_default(),
    })
}
