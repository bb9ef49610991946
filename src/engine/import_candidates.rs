use std::collections::{BTreeMap, BTreeSet};

use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::idempotency::Call;
use super::{Engine, EngineError};
use crate::domain::{Candidates, PoolName, RequestId, TenantId};
use crate::store::{PoolRow, UnixMillis};

/// Rows that are written in one transaction, so that an import of any length takes bounded memory.
const BATCH: usize = 256;

/// What an import changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidatesImported {
    /// Rows read.
    pub rows: u64,
    /// Responses that were new.
    pub added: u64,
    /// The pools that were added to, as they were then, by name.
    pub pools: Vec<PoolSummary>,
}

/// A pool, briefly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Its name.
    pub name: PoolName,
    /// Distinct prompts.
    pub prompts: i64,
    /// Distinct (prompt, response).
    pub responses: i64,
    /// Grows with every change.
    pub revision: i64,
    /// First import.
    pub created: UnixMillis,
}

impl Engine {
    /// Adds rows to pools as they arrive. What is there already is left as it is, so that a resend is harmless: a
    /// stream that breaks off leaves what was written, and the same stream again adds the rest.
    ///
    /// The first error of the stream ends the import.
    pub async fn import_candidates<E: From<EngineError>>(
        &self,
        tenant: &TenantId,
        request_id: Option<RequestId>,
        rows: impl Stream<Item = Result<(PoolName, Candidates), E>>,
    ) -> Result<CandidatesImported, E> {
        let mut rows = std::pin::pin!(rows.chunks(BATCH));
        let mut digest = Sha256::new();
        let mut imported = CandidatesImported { rows: 0, added: 0, pools: Vec::new() };
        let mut touched = BTreeSet::new();
        while let Some(chunk) = rows.next().await {
            let mut batch: BTreeMap<PoolName, Vec<Candidates>> = BTreeMap::new();
            let mut broken = None;
            for row in chunk {
                let (pool, candidates) = match row {
                    Ok(row) => row,
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                };
                digest.update(serde_json::to_vec(&(&pool, &candidates)).map_err(EngineError::from)?);
                imported.rows += 1;
                batch.entry(pool).or_default().push(candidates);
            }
            for (pool, candidates) in batch {
                imported.added += self.add_candidates(tenant, &pool, &candidates).await?;
                touched.insert(pool);
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
        for pool in touched {
            imported.pools.extend(self.pool_summary(tenant, &pool).await?);
        }
        let body: [u8; 32] = digest.finalize().into();
        let call = Call::new("ImportCandidates", request_id, &body).map_err(E::from)?;
        Ok(self.remember(tenant, None, &call, imported).await?)
    }

    async fn add_candidates(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
        candidates: &[Candidates],
    ) -> Result<u64, EngineError> {
        Ok(self.store().import_candidates(tenant, pool, candidates, self.now()).await?.added)
    }

    async fn pool_summary(
        &self,
        tenant: &TenantId,
        pool: &PoolName,
    ) -> Result<Option<PoolSummary>, EngineError> {
        Ok(self.store().pool(tenant, pool).await?.map(PoolSummary::from))
    }
}

impl From<PoolRow> for PoolSummary {
    fn from(row: PoolRow) -> Self {
        let PoolRow { pool, revision, prompts, responses, created, updated: _ } = row;
        Self { name: pool, prompts, responses, revision, created }
    }
}
