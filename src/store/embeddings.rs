use std::collections::HashMap;

use sqlx::SqlSafeStr;

use super::sql::{BATCH, Value, placeholders};
use super::{Store, StoreError};
use crate::domain::{ContentHash, TenantId};

impl Store {
    /// The stored embeddings h(x, y) of `contents` under one backbone, in their order; nothing for those that are not
    /// there.
    pub async fn get_embeddings(
        &self,
        tenant: &TenantId,
        backbone: &str,
        contents: &[ContentHash],
    ) -> Result<Vec<Option<Vec<f32>>>, StoreError> {
        let mut found = HashMap::with_capacity(contents.len());
        for batch in contents.chunks(BATCH) {
            let sql = format!(
                "SELECT content_hash, vector FROM embedding
                 WHERE tenant = $1 AND backbone = $2 AND content_hash IN ({})",
                placeholders(3)
            );
            // A last batch that is not full repeats its last key, so that one text serves them all.
            let last = batch.iter().cycle().skip(batch.len() - 1).take(1).cycle();
            let mut values = vec![Value::from(tenant), Value::from(backbone)];
            values.extend(batch.iter().chain(last).take(BATCH).map(Value::from));
            // Only numbered placeholders went into the text.
            let rows = self.db.rows_of(sqlx::AssertSqlSafe(sql).into_sql_str(), &values).await?;
            for row in rows {
                let content = ContentHash(row.digest(0, "embedding", "content_hash")?);
                found.insert(content, row.get::<Vec<u8>>(1)?);
            }
        }
        let vector = |bytes: &Vec<u8>| bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
        Ok(contents.iter().map(|content| found.get(content).map(vector)).collect())
    }

    /// Stores embeddings; one that is there already stays as it is.
    pub async fn put_embeddings<V: AsRef<[f32]>>(
        &self,
        tenant: &TenantId,
        backbone: &str,
        embeddings: &[(ContentHash, V)],
    ) -> Result<(), StoreError> {
        let rows: Vec<[Value<'_>; 4]> = embeddings
            .iter()
            .map(|(content, vector)| [tenant.into(), backbone.into(), content.into(), vector.as_ref().into()])
            .collect();
        let mut tx = self.db.begin().await?;
        tx.insert_many(
            "INSERT INTO embedding (tenant, backbone, content_hash, vector) VALUES ",
            " ON CONFLICT (tenant, backbone, content_hash) DO NOTHING",
            &rows,
        )
        .await?;
        tx.commit().await
    }
}
