//! What a question costs the database: one statement that reads, and on Postgres one that writes.

use super::requests::{RECALL, recalled};
use super::sql::{Db, Value, row_on, values};
use super::users::stored_posterior;
use super::{
    Asking, AskingPerson, AskingSnapshot, Idempotent, PoolVersion, QueryRow, Recall, Store, StoreError,
    UnixMillis,
};
use crate::domain::{PairKey, TenantId, UserId};

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
        let rows = self
            .db
            .rows(
                "SELECT CAST(0 AS BIGINT) AS kind, u.revision, p.revision, p.coefficients, p.hessian, p.answers
                 FROM users u
                 LEFT JOIN user_posterior p
                   ON p.tenant = u.tenant AND p.user_id = u.user_id AND p.model_version = $3
                 WHERE u.tenant = $1 AND u.user_id = $2
                 UNION ALL
                 SELECT 1, NULL, NULL, l.pair_key, NULL, NULL
                 FROM preference l
                 WHERE l.tenant = $1 AND l.user_id = $2 AND l.deleted IS NULL
                 UNION ALL
                 SELECT 2, NULL, NULL, q.pair_key, CASE WHEN q.model_version = $3 THEN q.delta END, NULL
                 FROM query q
                 WHERE q.tenant = $1 AND q.user_id = $2 AND q.expires > $4
                   AND NOT EXISTS (SELECT 1 FROM preference a
                                   WHERE a.tenant = q.tenant AND a.user_id = q.user_id
                                     AND a.query_id = q.query_id AND a.deleted IS NULL)
                 UNION ALL
                 SELECT 3, revision, created, NULL, NULL, NULL FROM pool WHERE tenant = $1 AND pool = $5
                 UNION ALL
                 SELECT 4, NULL, NULL, body_hash, reply, NULL FROM request
                 WHERE tenant = $1 AND user_id = $2 AND method = $6 AND request_id = $7 AND expires > $4
                 ORDER BY kind",
                values![tenant, user, asking.model, asking.now, asking.pool, method, request_id],
            )
            .await?;
        let mut snapshot = AskingSnapshot { recall: Recall::New, pool_version: None, person: None };
        for row in &rows {
            match row.get::<i64>(0)? {
                USER => {
                    let revision = row.get(1)?;
                    let posterior = stored_posterior(row, 2)?;
                    snapshot.person = Some(AskingPerson {
                        revision,
                        posterior,
                        seen: Default::default(),
                        open_deltas: Vec::new(),
                    });
                }
                // The user comes first.
                ANSWERED | OPEN if let Some(person) = &mut snapshot.person => {
                    person.seen.insert(PairKey(row.digest(3, "preference", "pair_key")?));
                    person.open_deltas.extend(row.numbers(4)?);
                }
                POOL => {
                    snapshot.pool_version = Some(PoolVersion { created: row.get(2)?, revision: row.get(1)? });
                }
                REQUEST if let Some((.., body_hash)) = asking.call => {
                    let first: Vec<u8> = row.get(3)?;
                    snapshot.recall = recalled(&first, body_hash, || row.get(4))?;
                }
                _ => {}
            }
        }
        Ok(snapshot)
    }

    /// [`Store::save_queries`] of one question in one statement of Postgres.
    pub(super) async fn save_at_once(
        &self,
        tenant: &TenantId,
        user: &UserId,
        query: &QueryRow,
        request: Option<&Idempotent>,
        now: UnixMillis,
    ) -> Result<Option<Recall>, StoreError> {
        let Db::Postgres(connections) = &self.db else { return Ok(None) };
        let key = query.comparison.pair_key();
        let values: &[Value<'_>] = values![
            tenant,
            user,
            now,
            query.query_id,
            &query.comparison.prompt,
            &query.comparison.response_a,
            &query.comparison.response_b,
            &key,
            &query.model_version,
            query.delta.as_slice(),
            query.information_gain,
            query.predicted_preference,
            query.created,
            query.expires,
            request.map(|request| request.method),
            request.map(|request| request.request_id),
            request.map(|request| request.body_hash.as_slice()),
            request.map(|request| request.reply.as_slice()),
            request.map(|request| request.created),
            request.map(|request| request.expires),
        ];
        let row = row_on(connections, SAVE, values).await??;
        if row.is_some() {
            return Ok(Some(Recall::New));
        }
        let Some(request) = request else { return Ok(None) };
        let key = values![tenant, user, request.method, request.request_id, request.created];
        let row = self.db.row(RECALL, key).await?;
        row.map(|row| recalled(&row.get::<Vec<u8>>(0)?, &request.body_hash, || row.get(1))).transpose()
    }
}

/// Of two calls that race with one request id, the second waits for the first to commit, and then stores nothing.
const SAVE: &str = "WITH remembered AS (
         INSERT INTO request (tenant, user_id, method, request_id, body_hash, reply, created, expires)
         SELECT $1, $2, $15, $16, $17, $18, $19, $20 WHERE $15 IS NOT NULL
         ON CONFLICT (tenant, user_id, method, request_id) DO UPDATE
         SET body_hash = excluded.body_hash, reply = excluded.reply, created = excluded.created,
             expires = excluded.expires
         WHERE request.expires <= excluded.created
         RETURNING 1
     ), fresh AS (
         SELECT 1 WHERE $15 IS NULL OR EXISTS (SELECT 1 FROM remembered)
     ), person AS (
         INSERT INTO users (tenant, user_id, revision, created, updated)
         SELECT $1, $2, 0, $3, $3 FROM fresh ON CONFLICT (tenant, user_id) DO NOTHING
     ), asked AS (
         INSERT INTO query (tenant, user_id, query_id, prompt, response_a, response_b, pair_key, model_version, delta,
                            information_gain, predicted_preference, created, expires)
         SELECT $1, $2, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM fresh
     )
     SELECT 1 FROM fresh";
