//! What an answer costs the database: one statement that reads, and on Postgres one that writes. Each round trip is waited for
//! by a person, and taken from what else the machine could do.

use super::postgres::Connections;
use super::sql::{Db, Row, Value, values};
use super::users::answer;
use super::{AskedQuery, Derived, NewPreference, Store, StoreError, SubmissionSnapshot};
use crate::domain::{Comparison, ModelVersion, QueryId, TenantId, UserId};

/// The lines of a log that count, by position.
const LINE: i64 = 0;
/// The user.
const USER: i64 = 1;
/// The question that is answered.
const QUERY: i64 = 2;
/// The gain of the question that was chosen last.
const GAIN: i64 = 3;

impl Store {
    /// All that an answer of `user` needs under `model`, of one moment: their log, and the question that they answer, or else
    /// what the one that was chosen last was worth. One statement.
    pub async fn submission_snapshot(
        &self,
        tenant: &TenantId,
        user: &UserId,
        model: &ModelVersion,
        query: Option<QueryId>,
    ) -> Result<SubmissionSnapshot, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT CAST(0 AS BIGINT) AS kind, p.position AS position, p.preference_id, p.outcome, NULL, NULL, p.weight, p.created,
                        f.delta
                 FROM preference p
                 LEFT JOIN preference_feature f
                   ON f.tenant = p.tenant AND f.user_id = p.user_id AND f.position = p.position
                  AND f.model_version = $3
                 WHERE p.tenant = $1 AND p.user_id = $2 AND p.deleted IS NULL
                 UNION ALL
                 SELECT 1, u.revision, NULL, NULL, NULL, NULL, NULL, NULL, NULL
                 FROM users u WHERE u.tenant = $1 AND u.user_id = $2
                 UNION ALL
                 SELECT 2, NULL, q.prompt, q.response_a, q.response_b, q.model_version, q.information_gain, NULL,
                        q.delta
                 FROM query q WHERE q.tenant = $1 AND q.user_id = $2 AND q.query_id = $4
                 UNION ALL
                 SELECT 3, NULL, NULL, NULL, NULL, NULL, latest.information_gain, NULL, NULL
                 FROM (SELECT information_gain FROM query WHERE tenant = $1 AND user_id = $2 AND $4 IS NULL
                       ORDER BY created DESC, information_gain DESC LIMIT 1) AS latest
                 ORDER BY kind, position",
                values![tenant, user, model, query],
            )
            .await?;
        let mut snapshot = SubmissionSnapshot::default();
        for row in &rows {
            match row.get::<i64>(0)? {
                LINE => snapshot.answers.push(answer(row, 6)?),
                USER => snapshot.revision = Some(row.get(1)?),
                QUERY => snapshot.query = Some(asked(row)?),
                GAIN => snapshot.latest_gain = row.get(6)?,
                _ => {}
            }
        }
        Ok(snapshot)
    }

    /// [`Store::append_preference`] in one statement, which is a transaction of its own, for a user who has answered before;
    /// false where nothing was changed. Nothing where it takes several: on SQLite, which is no round trip away, and for a
    /// first answer, which must see an erasure that it waited for.
    pub(super) async fn append_at_once(
        &self,
        tenant: &TenantId,
        user: &UserId,
        new: &NewPreference,
    ) -> Result<Option<bool>, StoreError> {
        let (Db::Postgres(connections), [derived]) = (&self.db, &new.derived[..]) else { return Ok(None) };
        if new.expected_revision == 0 {
            return Ok(None);
        }
        let values = self.appended(tenant, user, new, derived);
        append(connections, &values).await.map(Some)
    }

    fn appended<'a>(
        &self,
        tenant: &'a TenantId,
        user: &'a UserId,
        new: &'a NewPreference,
        derived: &'a Derived,
    ) -> [Value<'a>; 22] {
        [
            tenant.into(),
            user.into(),
            new.expected_revision.into(),
            new.created.into(),
            new.query_id.into(),
            Value::Blob(Some(self.erasure_hash(tenant, user).into())),
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
        ]
    }
}

/// All parts of the statement see the database as it was when it began, but for the row of `users`, which is locked and looked
/// at anew if somebody else changed it meanwhile: who was erased since is not there any more.
const APPEND: &str = "WITH advanced AS (
         UPDATE users SET revision = revision + 1, updated = $4
         WHERE tenant = $1 AND user_id = $2 AND revision = $3
           AND ($5 IS NOT NULL OR NOT EXISTS (
               SELECT 1 FROM erased_user WHERE tenant = $1 AND user_hash = $6 AND erased > $7))
         RETURNING 1
     ), line AS (
         INSERT INTO preference (tenant, user_id, position, preference_id, query_id, prompt, response_a, response_b,
                                 pair_key, outcome, weight, body_hash, reply, created)
         SELECT $1, $2, $22, $8, $5, $9, $10, $11, $12, $13, $14, $15, $16, $4 FROM advanced
     ), feature AS (
         INSERT INTO preference_feature (tenant, user_id, position, model_version, delta)
         SELECT $1, $2, $22, $17, $18 FROM advanced WHERE $18 IS NOT NULL
     ), fit AS (
         INSERT INTO user_posterior (tenant, user_id, model_version, revision, coefficients, hessian, answers)
         SELECT $1, $2, $17, $22, $19, $20, $21 FROM advanced
         ON CONFLICT (tenant, user_id, model_version) DO UPDATE
         SET revision = excluded.revision, coefficients = excluded.coefficients, hessian = excluded.hessian,
             answers = excluded.answers
     )
     SELECT 1 FROM advanced";

async fn append(connections: &Connections, values: &[Value<'_>]) -> Result<bool, StoreError> {
    match super::sql::row_on(connections, APPEND, values).await? {
        Ok(row) => Ok(row.is_some()),
        // Which one was violated is found by looking.
        Err(error) if super::preferences::is_violation(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn asked(row: &Row) -> Result<AskedQuery, StoreError> {
    Ok(AskedQuery {
        comparison: Comparison { prompt: row.get(2)?, response_a: row.get(3)?, response_b: row.get(4)? },
        model_version: row.parsed(5, "query", "model_version", |name| ModelVersion::parse(name))?,
        information_gain: row.get(6)?,
        delta: row.numbers(8)?.unwrap_or_default(),
    })
}
