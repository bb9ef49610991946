use super::idempotency::Call;
use super::{Engine, EngineError};
use crate::domain::{PoolName, RequestId, TenantId};

impl Engine {
    /// Deletes a pool. Questions that were asked from it stay answerable.
    pub async fn delete_pool(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        request_id: Option<RequestId>,
    ) -> Result<(), EngineError> {
        let call = Call::new("DeletePool", request_id, pool)?;
        if let Some(reply) = self.recall(tenant, None, &call).await? {
            return Ok(reply);
        }
        if !self.store().delete_pool(tenant, pool).await? {
            return Err(EngineError::PoolNotFound(pool.clone()));
        }
        self.shared.pools.forget(tenant, pool);
        self.remember(tenant, None, &call, ()).await
    }
}
