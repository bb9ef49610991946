use super::datasets::{LineDigest, dataset_line};
use super::preferences::preference_row;
use super::queries::query_row;
use super::sql::values;
use super::{PreferenceRow, QueryRow, Revision, Store, StoreError, UnixMillis};
use crate::domain::{DatasetId, Judgment, QueryId, TenantId, UserId};

/// Where a page of lines of datasets ends.
pub type DatasetPlace = (DatasetId, LineDigest);

impl Store {
    /// The user's log with the lines that were undone, and when each was: those after position `after`, at most `limit`.
    pub async fn whole_log(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Revision,
        limit: u32,
    ) -> Result<Vec<(PreferenceRow, Option<UnixMillis>)>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT position, preference_id, query_id, prompt, response_a, response_b, outcome, weight, created,
                        deleted
                 FROM preference WHERE tenant = $1 AND user_id = $2 AND position > $3
                 ORDER BY position LIMIT $4",
                values![tenant, user, after, i64::from(limit)],
            )
            .await?;
        rows.iter().map(|row| Ok((preference_row(row, 0)?, row.get(9)?))).collect()
    }

    /// All questions that were put to the user, in the order of their ids, those after `after`, at most `limit`.
    pub async fn all_queries(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<QueryId>,
        limit: u32,
    ) -> Result<Vec<QueryRow>, StoreError> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let rows = self
            .db
            .rows(
                "SELECT q.query_id, q.prompt, q.response_a, q.response_b, q.model_version, q.delta,
                        q.information_gain, q.predicted_preference, q.created, q.expires, p.preference_id
                 FROM query q
                 LEFT JOIN preference p
                   ON p.tenant = q.tenant AND p.user_id = q.user_id AND p.query_id = q.query_id
                  AND p.deleted IS NULL
                 WHERE q.tenant = $1 AND q.user_id = $2 AND q.query_id > $3
                 ORDER BY q.query_id LIMIT $4",
                values![tenant, user, after.as_str(), i64::from(limit)],
            )
            .await?;
        rows.iter().map(query_row).collect()
    }

    /// The user's lines of all datasets, by dataset and digest, those after `after`, at most `limit`.
    pub async fn dataset_lines_of(
        &self,
        tenant: &TenantId,
        user: &UserId,
        after: Option<&DatasetPlace>,
        limit: u32,
    ) -> Result<Vec<(DatasetPlace, Judgment)>, StoreError> {
        let (dataset, digest) =
            after.map_or(("", &[][..]), |(dataset, digest)| (dataset.as_str(), digest.as_slice()));
        let rows = self
            .db
            .rows(
                "SELECT line_digest, user_id, prompt, response_a, response_b, preference, kind, dataset_id
                 FROM dataset_row
                 WHERE tenant = $1 AND user_id = $2 AND (dataset_id, line_digest) > ($3, $4)
                 ORDER BY dataset_id, line_digest LIMIT $5",
                values![tenant, user, dataset, digest, i64::from(limit)],
            )
            .await?;
        rows.iter()
            .map(|row| {
                let (digest, judgment) = dataset_line(row)?;
                let dataset = row.parsed(7, "dataset_row", "dataset_id", |name| DatasetId::parse(name))?;
                Ok(((dataset, digest), judgment))
            })
            .collect()
    }
}
