use super::import_candidates::PoolSummary;
use super::{Engine, EngineError};
use crate::domain::{PoolName, TenantId};

impl Engine {
    /// The tenant's pools in the order of their names, those after `after`, at most `limit`.
    pub async fn list_pools(
        &self,
        tenant: &TenantId,
        after: Option<&PoolName>,
        limit: u32,
    ) -> Result<Vec<PoolSummary>, EngineError> {
        let rows = self.store().list_pools(tenant, after, limit).await?;
        Ok(rows.into_iter().map(PoolSummary::from).collect())
    }
}
