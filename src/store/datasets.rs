use sha2::{Digest, Sha256};

use super::sql::{Row, Value, values};
use super::{DatasetRow, Imported, Store, StoreError, UnixMillis};
use crate::domain::{Comparison, DatasetId, Judgment, TenantId, UserId};

/// SHA-256 of a line of a dataset: its key, and where a page of lines ends.
pub type LineDigest = [u8; 32];

impl Store {
    /// Adds lines to a dataset, made where it is not there, in one transaction. A line that is there already is
    /// counted and changes nothing, so that sending a file again is harmless.
    pub async fn append_dataset(
        &self,
        tenant: &TenantId,
        dataset: &DatasetId,
        lines: &[Judgment],
        now: UnixMillis,
    ) -> Result<Imported, StoreError> {
        let mut tx = self.db.begin().await?;
        tx.execute(
            "INSERT INTO dataset (tenant, dataset_id, rows, created, updated) VALUES ($1, $2, 0, $3, $3)
             ON CONFLICT (tenant, dataset_id) DO UPDATE SET rows = dataset.rows",
            values![tenant, dataset, now],
        )
        .await?;
        let digests: Vec<LineDigest> = lines.iter().map(line_digest).collect();
        let rows: Vec<[Value<'_>; 9]> = lines
            .iter()
            .zip(&digests)
            .map(|(line, digest)| {
                [
                    tenant.into(),
                    dataset.into(),
                    digest.as_slice().into(),
                    (&line.user_id).into(),
                    (&line.comparison.prompt).into(),
                    (&line.comparison.response_a).into(),
                    (&line.comparison.response_b).into(),
                    line.preference.into(),
                    (&line.group).into(),
                ]
            })
            .collect();
        let added = tx
            .insert_many(
                "INSERT INTO dataset_row (tenant, dataset_id, line_digest, user_id, prompt, response_a, response_b,
                                          preference, kind) VALUES ",
                " ON CONFLICT (tenant, dataset_id, line_digest) DO NOTHING",
                &rows,
            )
            .await?;
        let row = tx
            .row(
                "UPDATE dataset SET rows = rows + $3, updated = CASE WHEN $3 > 0 THEN $4 ELSE updated END
                 WHERE tenant = $1 AND dataset_id = $2 RETURNING rows",
                values![tenant, dataset, added as i64, now],
            )
            .await?;
        let revision = row.map_or(Ok(0), |row| row.get(0))?;
        tx.commit().await?;
        Ok(Imported { added, duplicates: rows.len() as u64 - added, revision })
    }

    /// A dataset, without its lines.
    pub async fn dataset(
        &self,
        tenant: &TenantId,
        dataset: &DatasetId,
    ) -> Result<Option<DatasetRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT dataset_id, rows, created, updated FROM dataset WHERE tenant = $1 AND dataset_id = $2",
                values![tenant, dataset],
            )
            .await?;
        row.map(|row| dataset_row(&row)).transpose()
    }

    /// Lines of a dataset in the order of their digests, which does not depend on the order of sending, those after
    /// `after`, at most `limit`. The next page begins after the last digest of this one.
    pub async fn dataset_lines(
        &self,
        tenant: &TenantId,
        dataset: &DatasetId,
        after: Option<&LineDigest>,
        limit: u32,
    ) -> Result<Vec<(LineDigest, Judgment)>, StoreError> {
        let after: &[u8] = after.map_or(&[], |digest| digest.as_slice());
        let rows = self
            .db
            .rows(
                "SELECT line_digest, user_id, prompt, response_a, response_b, preference, kind FROM dataset_row
                 WHERE tenant = $1 AND dataset_id = $2 AND line_digest > $3
                 ORDER BY line_digest LIMIT $4",
                values![tenant, dataset, after, i64::from(limit)],
            )
            .await?;
        rows.iter().map(dataset_line).collect()
    }
}

/// Every field with its length first.
fn line_digest(line: &Judgment) -> LineDigest {
    let mut hasher = Sha256::new();
    let Comparison { prompt, response_a, response_b } = &line.comparison;
    for text in [line.user_id.as_str(), prompt, response_a, response_b, &line.group] {
        hasher.update((text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(line.preference.to_le_bytes());
    hasher.finalize().into()
}

/// line_digest, user_id, prompt, response_a, response_b, preference and kind in the first seven columns.
pub(super) fn dataset_line(row: &Row) -> Result<(LineDigest, Judgment), StoreError> {
    let digest = row.digest(0, "dataset_row", "line_digest")?;
    let judgment = Judgment {
        user_id: row.parsed(1, "dataset_row", "user_id", |name| UserId::parse(name))?,
        comparison: Comparison { prompt: row.get(2)?, response_a: row.get(3)?, response_b: row.get(4)? },
        preference: row.get(5)?,
        group: row.get(6)?,
    };
    Ok((digest, judgment))
}

fn dataset_row(row: &Row) -> Result<DatasetRow, StoreError> {
    Ok(DatasetRow {
        dataset_id: row.parsed(0, "dataset", "dataset_id", |name| DatasetId::parse(name))?,
        rows: row.get(1)?,
        created: row.get(2)?,
        updated: row.get(3)?,
    })
}
