use serde::{Deserialize, Serialize};

use super::idempotency::{Call, replay};
use super::training_job::TrainingJob;
use super::{Engine, EngineError};
use crate::domain::{DatasetId, Invalid, JobId, RequestId, TenantId};
use crate::store::{JobState, UnixMillis};

/// What is to be trained, on what. A job keeps it, so that it can be begun again after a crash.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Train {
    /// Datasets to train on.
    pub datasets: Vec<DatasetId>,
    /// Whether the service's own log is trained on too.
    pub include_service_log: bool,
    /// The log up to here; nothing: all there is when the job is created.
    pub as_of: Option<UnixMillis>,
    /// What embeds the texts.
    pub backbone: String,
    /// J; nothing: as many as the data's spectrum shows.
    pub base_functions: Option<usize>,
    /// Seed of everything drawn.
    pub seed: u64,
    /// The caller's key; the reply is given again to a repeat.
    #[serde(skip)]
    pub request_id: Option<RequestId>,
}

impl Engine {
    /// Queues a training job.
    pub async fn train(&self, tenant: &TenantId, mut request: Train) -> Result<TrainingJob, EngineError> {
        if request.datasets.is_empty() && !request.include_service_log {
            let allowed = "at least one dataset, or include_service_log";
            return Err(Invalid::new("datasets", "none", allowed).into());
        }
        let call = Call::new("Train", request.request_id, &request)?;
        if let Some(first) = self.recall(tenant, None, &call).await? {
            return Ok(first);
        }
        for dataset in &request.datasets {
            if self.store().dataset(tenant, dataset).await?.is_none() {
                return Err(EngineError::DatasetNotFound(dataset.clone()));
            }
        }
        let now = self.now();
        if request.include_service_log {
            request.as_of = Some(request.as_of.unwrap_or(now));
        }
        let job_id = JobId::random();
        let job = TrainingJob {
            job_id,
            state: JobState::Queued,
            progress: 0.0,
            stage: String::new(),
            error: None,
            model_version: None,
            created: now,
            started: None,
            finished: None,
        };
        let stored = serde_json::to_vec(&request)?;
        let reply = self.remembered(&call, &job)?;
        let known = self.store().create_job(tenant, job_id, &stored, reply.as_ref(), now).await?;
        if let Some(first) = replay(known)? {
            return Ok(first);
        }
        self.shared.training.wake.notify_one();
        Ok(job)
    }
}
