//! What a question costs the database: one statement that reads, and on Postgres one that writes, unless each is to be by itself.

use super::requests::recalled;
use super::shared::{Reading, SHARED_BYTES};
use super::sql::{Row, Value};
use super::users::stored_posterior;
use super::{
    Asking, AskingPerson, AskingSnapshot, Idempotent, PoolVersion, QueryRow, Recall, Store, StoreError,
    UnixMillis,
};
use crate::domain::{Comparison, PairKey, TenantId, UserId};

/// The user with their fit.
const USER: i64 = 0;
/// A pair that was answered.
const ANSWERED: i64 = 1;
/// A pair that is open, with δ.
const OPEN: i64 = 2;
/// The pool.
const POOL: i64 = 3;
/// The reply of a call before.
const REQUEST: i64 = 4;

/// All that a question needs, for a tenant, user, model version, time, pool, method and request id.
#[rustfmt::skip] // SQL, not a list of texts.
macro_rules! snapshot {
    ($tenant:literal, $user:literal, $model:literal, $now:literal, $pool:literal, $method:literal, $request:literal) => {
        concat!(
            "SELECT CAST(0 AS BIGINT) AS kind, u.revision, p.revision, p.coefficients, p.hessian, p.answers
             FROM users u
             LEFT JOIN user_posterior p
               ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.model_version = ", $model, "
             WHERE u.tenant = ", $tenant, " AND u.user_id = ", $user, "
             UNION ALL
             SELECT 1, NULL, NULL, l.pair_key, NULL, NULL
             FROM preference l
             WHERE l.tenant = ", $tenant, " AND l.user_id = ", $user, " AND l.deleted IS NULL
             UNION ALL
             SELECT 2, NULL, NULL, q.pair_key, CASE WHEN q.model_version = ", $model, " THEN q.delta END, NULL
             FROM query q
             WHERE q.tenant = ", $tenant, " AND q.user_id = ", $user, " AND q.expires > ", $now, "
               AND (SELECT 1 FROM preference a
                    WHERE a.tenant = q.tenant AND a.user_id = q.user_id
                      AND a.query_id = q.query_id AND a.deleted IS NULL) IS NULL
             UNION ALL
             SELECT 3, revision, created, NULL, NULL, NULL
             FROM pool WHERE tenant = ", $tenant, " AND pool = ", $pool, "
             UNION ALL
             SELECT 4, NULL, NULL, body_hash, reply, NULL FROM request
             WHERE tenant = ", $tenant, " AND user_id = ", $user, " AND method = ", $method, "
               AND request_id = ", $request, " AND expires > ", $now
        )
    };
}
/// Shared as [`super::submission::SNAPSHOT`] is.
pub(super) const SNAPSHOT: Reading<Found, 7> = Reading {
    alone: concat!(snapshot!("$1", "$2", "$3", "$4", "$5", "$6", "$7"), " ORDER BY kind"),
    together: concat!(
        "SELECT s.*, a.n
         FROM unnest((SELECT $1::text[]), $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
              WITH ORDINALITY AS a (tenant, user_id, model, now, pool, method, request_id, n)
         CROSS JOIN LATERAL (",
        snapshot!("a.tenant", "a.user_id", "a.model", "a.now", "a.pool", "a.method", "a.request_id"),
        ") AS s (kind, revision, fitted, one, other, answers)
         WHERE 1000 >= COALESCE((SELECT u.revision FROM users u WHERE u.tenant = a.tenant AND u.user_id = a.user_id), 0)
         ORDER BY a.n, s.kind"
    ),
    place: 6,
    add,
};

/// What the statement found.
#[derive(Default)]
pub(super) struct Found {
    /// Digest and reply of the call that had the request id first.
    first: Option<(Vec<u8>, Vec<u8>)>,
    pool_version: Option<PoolVersion>,
    person: Option<AskingPerson>,
}

impl Store {
    /// All that choosing the next question for `user` needs, of one moment: one statement.
    pub async fn asking_snapshot(
        &self,
        tenant: &TenantId,
        user: &UserId,
        asking: &Asking<'_>,
    ) -> Result<AskingSnapshot, StoreError> {
        let (method, request_id) =
            asking.call.map_or((None, None), |(method, request_id, _)| (Some(method), Some(request_id)));
        let key: [Value<'_>; 7] = [
            tenant.into(),
            user.into(),
            asking.model.into(),
            asking.now.into(),
            asking.pool.into(),
            method.into(),
            request_id.into(),
        ];
        let found = match &self.together {
            Some(together) => together.askings.call(key.clone().map(Value::into_owned)).await?,
            None => None,
        };
        let Found { first, pool_version, person } = match found {
            Some(found) => found,
            None => SNAPSHOT.of(&self.db, &key).await?,
        };
        let recall = match (first, asking.call) {
            (Some((first, reply)), Some((.., body_hash))) => recalled(&first, body_hash, || Ok(reply))?,
            _ => Recall::New,
        };
        Ok(AskingSnapshot { recall, pool_version, person })
    }

    /// [`Store::save_queries`] of one question in one statement; false where nothing was stored, for whatever reason, and on
    /// SQLite, which is no round trip away.
    pub(super) async fn save_at_once(
        &self,
        tenant: &TenantId,
        user: &UserId,
        query: &QueryRow,
        request: Option<&Idempotent>,
        now: UnixMillis,
    ) -> Result<bool, StoreError> {
        let Some(together) = &self.together else { return Ok(false) };
        let Comparison { prompt, response_a, response_b } = &query.comparison;
        let reply = request.map_or(0, |request| request.reply.len());
        if prompt.len() + response_a.len() + response_b.len() + reply > SHARED_BYTES {
            return Ok(false);
        }
        let line: [Value<'_>; 20] = [
            tenant.into(),
            user.into(),
            now.into(),
            query.query_id.into(),
            prompt.into(),
            response_a.into(),
            response_b.into(),
            Value::Blob(Some(query.comparison.pair_key().0.to_vec().into())),
            (&query.model_version).into(),
            query.delta.as_slice().into(),
            query.information_gain.into(),
            query.predicted_preference.into(),
            query.created.into(),
            query.expires.into(),
            request.map(|request| request.method).into(),
            request.map(|request| request.request_id).into(),
            request.map(|request| request.body_hash.as_slice()).into(),
            request.map(|request| request.reply.as_slice()).into(),
            request.map(|request| request.created).into(),
            request.map(|request| request.expires).into(),
        ];
        Ok(together.saves.call(line.map(Value::into_owned)).await?.is_some())
    }
}

/// Many questions, and the people whom they are the first thing known of. Passed over are people whom somebody else changes or
/// erases at this moment, or has made meanwhile, and calls whose request id has a reply already. What is waited for is only
/// somebody else who is making the same person or giving the same reply. All come in one order, so that of two such
/// statements none holds what the other waits for. (A KEY SHARE lock would do, but for one it waits in spite of SKIP LOCKED where
/// an erasure has changed the row before it deleted it.)
pub(super) const SAVE: &str = "WITH asked AS MATERIALIZED (
         SELECT * FROM unnest((SELECT $1::text[]), $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::bytea[], $9::text[], $10::bytea[], $11::double precision[],
                              $12::double precision[], $13::bigint[], $14::bigint[], $15::text[], $16::text[],
                              $17::bytea[], $18::bytea[], $19::bigint[], $20::bigint[]) WITH ORDINALITY
              AS a (tenant, user_id, now, query_id, prompt, response_a, response_b,
                    pair_key, model_version, delta, information_gain,
                    predicted_preference, created, expires, method, request_id,
                    body_hash, reply, replied, forgotten, n)
         ORDER BY tenant, user_id, request_id
     ), known AS MATERIALIZED (
         SELECT a.n FROM asked a CROSS JOIN LATERAL (
             SELECT 1 FROM users u WHERE u.tenant = a.tenant AND u.user_id = a.user_id
             FOR SHARE SKIP LOCKED) AS locked
     ), made AS (
         INSERT INTO users (tenant, user_id, revision, created, updated)
         SELECT a.tenant, a.user_id, 0, a.now, a.now FROM asked a
         WHERE (SELECT 1 FROM users u WHERE u.tenant = a.tenant AND u.user_id = a.user_id) IS NULL
         ON CONFLICT (tenant, user_id) DO NOTHING
         RETURNING tenant, user_id
     ), there AS MATERIALIZED (
         SELECT a.* FROM asked a
         WHERE a.n IN (SELECT n FROM known) OR (a.tenant, a.user_id) IN (SELECT tenant, user_id FROM made)
     ), remembered AS (
         INSERT INTO request (tenant, user_id, method, request_id, body_hash, reply, created, expires)
         SELECT tenant, user_id, method, request_id, body_hash, reply, replied, forgotten
         FROM there WHERE method IS NOT NULL
         ON CONFLICT (tenant, user_id, method, request_id) DO UPDATE
         SET body_hash = excluded.body_hash, reply = excluded.reply, created = excluded.created,
             expires = excluded.expires
         WHERE request.expires <= excluded.created
         RETURNING tenant, user_id, method, request_id
     ), fresh AS MATERIALIZED (
         SELECT * FROM there
         WHERE method IS NULL
            OR (tenant, user_id, method, request_id) IN (SELECT tenant, user_id, method, request_id FROM remembered)
     ), line AS (
         INSERT INTO query (tenant, user_id, query_id, prompt, response_a, response_b, pair_key, model_version, delta,
                            information_gain, predicted_preference, created, expires)
         SELECT tenant, user_id, query_id, prompt, response_a, response_b, pair_key, model_version, delta,
                information_gain, predicted_preference, created, expires FROM fresh
     )
     SELECT n FROM fresh";

/// One row of what a question needs.
fn add(found: &mut Found, row: &Row) -> Result<(), StoreError> {
    match row.get::<i64>(0)? {
        USER => {
            let (revision, posterior) = (row.get(1)?, stored_posterior(row, 2)?);
            let (seen, open_deltas) = Default::default();
            found.person = Some(AskingPerson { revision, posterior, seen, open_deltas });
        }
        // The user comes first.
        ANSWERED | OPEN if let Some(person) = &mut found.person => {
            person.seen.insert(PairKey(row.digest(3, "preference", "pair_key")?));
            person.open_deltas.extend(row.numbers(4)?);
        }
        POOL => {
            found.pool_version = Some(PoolVersion { created: row.get(2)?, revision: row.get(1)? });
        }
        REQUEST => found.first = Some((row.get(3)?, row.get(4)?)),
        _ => {}
    }
    Ok(())
}
