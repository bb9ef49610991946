use futures::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::idempotency::Call;
use super::{Engine, EngineError};
use crate::domain::{DatasetId, Judgment, RequestId, TenantId};

/// Rows that are written in one transaction, so that an import of any length takes bounded memory.
const BATCH: usize = 512;

/// What an import changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PreferencesImported {
    /// Rows that were new.
    pub imported: u64,
    /// Rows that were there already.
    pub duplicates: u64,
    /// Rows that compare a text with itself and tell nothing.
    pub skipped: u64,
}

impl Engine {
    /// Adds rows to a dataset as they arrive; a row that compares a text with itself comes as `None` and is counted.
    /// What is there already is left as it is, so that a resend is harmless: a stream that breaks off leaves what was
    /// written, and the same stream again adds the rest.
    ///
    /// The first error of the stream ends the import.
    pub async fn import_preferences<E: From<EngineError>>(
        &self,
        tenant: &TenantId,
        dataset: &DatasetId,
        request_id: Option<RequestId>,
        rows: impl Stream<Item = Result<Option<Judgment>, E>>,
    ) -> Result<PreferencesImported, E> {
        let mut rows = std::pin::pin!(rows.chunks(BATCH));
        let mut digest = Sha256::new();
        let mut imported = PreferencesImported::default();
        while let Some(chunk) = rows.next().await {
            let mut batch = Vec::with_capacity(chunk.len());
            let mut broken = None;
            for row in chunk {
                match row {
                    Ok(Some(judgment)) => batch.push(judgment),
                    Ok(None) => imported.skipped += 1,
                    Err(error) => {
                        broken = Some(error);
                        break;
                    }
                }
            }
            digest.update(serde_json::to_vec(&batch).map_err(EngineError::from)?);
            if !batch.is_empty() {
                let written = self.store().append_dataset(tenant, dataset, &batch, self.now()).await;
                let written = written.map_err(EngineError::from)?;
                imported.imported += written.added;
                imported.duplicates += written.duplicates;
            }
            if let Some(error) = broken {
                return Err(error);
            }
        }
        let body: [u8; 32] = digest.finalize().into();
        let call = Call::new("ImportPreferences", request_id, &(dataset, body)).map_err(E::from)?;
        Ok(self.remember(tenant, None, &call, imported).await?)
    }
}
