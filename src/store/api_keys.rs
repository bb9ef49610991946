use super::sql::{Row, values};
use super::{ApiKeyRow, Store, StoreError, UnixMillis};
use crate::domain::{Scopes, TenantId};

impl Store {
    /// Keeps a new key.
    pub async fn create_api_key(&self, key: &ApiKeyRow) -> Result<(), StoreError> {
        self.db
            .execute(
                "INSERT INTO api_key (key_id, tenant, hash, scopes, label, created, expires, revoked)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                values![
                    &key.key_id,
                    &key.tenant,
                    key.hash.as_slice(),
                    key.scopes.to_string().as_str(),
                    &key.label,
                    key.created,
                    key.expires,
                    key.revoked
                ],
            )
            .await?;
        Ok(())
    }

    /// The key of this id.
    pub async fn api_key(&self, key_id: &str) -> Result<Option<ApiKeyRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT key_id, tenant, hash, scopes, label, created, expires, revoked FROM api_key
                 WHERE key_id = $1",
                values![key_id],
            )
            .await?;
        row.map(|row| api_key(&row)).transpose()
    }

    /// Keys in the order of their making, the tenant's, or everybody's.
    pub async fn list_api_keys(&self, tenant: Option<&TenantId>) -> Result<Vec<ApiKeyRow>, StoreError> {
        let rows = self
            .db
            .rows(
                "SELECT key_id, tenant, hash, scopes, label, created, expires, revoked FROM api_key
                 WHERE $1 IS NULL OR tenant = $1 ORDER BY created, key_id",
                values![tenant],
            )
            .await?;
        rows.iter().map(api_key).collect()
    }

    /// Takes a key back; one that was taken back before stays as it is. False where there is no such key.
    pub async fn revoke_api_key(&self, key_id: &str, now: UnixMillis) -> Result<bool, StoreError> {
        let revoked = self
            .db
            .execute(
                "UPDATE api_key SET revoked = COALESCE(revoked, $2) WHERE key_id = $1",
                values![key_id, now],
            )
            .await?;
        Ok(revoked > 0)
    }
}

fn api_key(row: &Row) -> Result<ApiKeyRow, StoreError> {
    Ok(ApiKeyRow {
        key_id: row.get(0)?,
        tenant: row.parsed(1, "api_key", "tenant", |name| TenantId::parse(name))?,
        hash: row.digest(2, "api_key", "hash")?,
        scopes: row.parsed(3, "api_key", "scopes", Scopes::parse)?,
        label: row.get(4)?,
        created: row.get(5)?,
        expires: row.get(6)?,
        revoked: row.get(7)?,
    })
}
