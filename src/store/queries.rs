use super::preferences::is_violation;
use super::sql::{Row, Value, values};
use super::users::ENSURE_USER;
use super::{Idempotent, QueryRow, Recall, Store, StoreError, UnixMillis};
use crate::domain::{Comparison, ModelVersion, PreferenceId, QueryId, TenantId, UserId};

impl Store {
    /// Stores questions before they are answered with, and makes the user where they are not there. All of one
    /// transaction with the request id's reply; anything but [`Recall::New`] says that nothing was stored.
    pub async fn save_queries(
        &self,
        tenant: &TenantId,
        user: &UserId,
        queries: &[QueryRow],
        request: Option<&Idempotent>,
        now: UnixMillis,
    ) -> Result<Recall, StoreError> {
        match self.try_save_queries(tenant, user, queries, request, now).await {
            // They were erased while their question was being stored; it is the first thing that is known of them now.
            Err(StoreError::Internal(error)) if is_violation(&error) => {
                self.try_save_queries(tenant, user, queries, request, now).await
            }
            saved => saved,
        }
    }

    async fn try_save_queries(
        &self,
        tenant: &TenantId,
        user: &UserId,
        queries: &[QueryRow],
        request: Option<&Idempotent>,
        now: UnixMillis,
    ) -> Result<Recall, StoreError> {
        if let [query] = queries
            && self.save_at_once(tenant, user, query, request, now).await?
        {
            return Ok(Recall::New);
        }
        let mut tx = self.db.begin().await?;
        // The person before the reply, as the shared statement does: else each could wait for the other.
        tx.execute(ENSURE_USER, values![tenant, user, now]).await?;
        if let Some(request) = request {
            let recall = tx.remember(tenant, Some(user), request).await?;
            if recall != Recall::New {
                return Ok(recall);
            }
        }
        let keys: Vec<_> = queries.iter().map(|query| query.comparison.pair_key()).collect();
        let rows: Vec<[Value<'_>; 13]> = queries
            .iter()
            .zip(&keys)
            .map(|(query, key)| {
                [
                    tenant.into(),
                    user.into(),
                    query.query_id.into(),
                    (&query.comparison.prompt).into(),
                    (&query.comparison.response_a).into(),
                    (&query.comparison.response_b).into(),
                    key.into(),
                    (&query.model_version).into(),
                    query.delta.as_slice().into(),
                    query.information_gain.into(),
                    query.predicted_preference.into(),
                    query.created.into(),
                    query.expires.into(),
                ]
            })
            .collect();
        tx.insert_many(
            "INSERT INTO query (tenant, user_id, query_id, prompt, response_a, response_b, pair_key, model_version,
                                delta, information_gain, predicted_preference, created, expires) VALUES ",
            "",
            &rows,
        )
        .await?;
        tx.commit().await?;
        Ok(Recall::New)
    }

    /// A question put to this user, open, expired or answered.
    pub async fn query(
        &self,
        tenant: &TenantId,
        user: &UserId,
        query: QueryId,
    ) -> Result<Option<QueryRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT q.query_id, q.prompt, q.response_a, q.response_b, q.model_version, q.delta,
                        q.information_gain, q.predicted_preference, q.created, q.expires, p.preference_id
                 FROM query q
                 LEFT JOIN preference p
                   ON p.tenant = q.tenant AND p.user_id = q.user_id AND p.query_id = q.query_id
                  AND p.deleted IS NULL
                 WHERE q.tenant = $1 AND q.user_id = $2 AND q.query_id = $3",
                values![tenant, user, query],
            )
            .await?;
        row.map(|row| query_row(&row)).transpose()
    }

    /// Expected gain, in bits, of the best of the questions that were chosen last; nothing where none was ever asked.
    pub async fn latest_information_gain(
        &self,
        tenant: &TenantId,
        user: &UserId,
    ) -> Result<Option<f64>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT information_gain FROM query WHERE tenant = $1 AND user_id = $2
                 ORDER BY created DESC, information_gain DESC LIMIT 1",
                values![tenant, user],
            )
            .await?;
        row.map(|row| row.get(0)).transpose()
    }

    /// The user's questions that are neither answered nor expired at `now`, oldest first.
    pub async fn open_queries(
        &self,
        tenant: &TenantId,
        user: &UserId,
        now: UnixMillis,
    ) -> Result<Vec<QueryRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT q.query_id, q.prompt, q.response_a, q.response_b, q.model_version, q.delta,
                        q.information_gain, q.predicted_preference, q.created, q.expires, p.preference_id
                 FROM query q
                 LEFT JOIN preference p
                   ON p.tenant = q.tenant AND p.user_id = q.user_id AND p.query_id = q.query_id
                  AND p.deleted IS NULL
                 WHERE q.tenant = $1 AND q.user_id = $2 AND q.expires > $3 AND p.preference_id IS NULL
                 ORDER BY q.created, q.query_id",
                values![tenant, user, now],
            )
            .await?;
        rows.iter().map(query_row).collect()
    }
}

pub(super) fn query_row(row: &Row) -> Result<QueryRow, StoreError> {
    Ok(QueryRow {
        query_id: row.parsed(0, "query", "query_id", QueryId::parse)?,
        comparison: Comparison { prompt: row.get(1)?, response_a: row.get(2)?, response_b: row.get(3)? },
        model_version: row.parsed(4, "query", "model_version", |name| ModelVersion::parse(name))?,
        delta: row.numbers(5)?.unwrap_or_default(),
        information_gain: row.get(6)?,
        predicted_preference: row.get(7)?,
        created: row.get(8)?,
        expires: row.get(9)?,
        answered: row.parsed_option(10, "preference", "preference_id", PreferenceId::parse)?,
    })
}
