use futures::{Stream, stream};
use serde::{Deserialize, Serialize};

use super::{Engine, EngineError};
use crate::domain::{JobId, ModelVersion, TenantId};
use crate::store::{JobRow, JobState, UnixMillis};

/// A training job, as its tenant sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingJob {
    /// Which job.
    pub job_id: JobId,
    /// Where it stands.
    pub state: JobState,
    /// Share of the work done, 0 to 1.
    pub progress: f64,
    /// What it is doing, in words.
    pub stage: String,
    /// Why it failed.
    pub error: Option<String>,
    /// The model it made.
    pub model_version: Option<ModelVersion>,
    /// When it was asked for.
    pub created: UnixMillis,
    /// When it was last begun.
    pub started: Option<UnixMillis>,
    /// When it ended.
    pub finished: Option<UnixMillis>,
}

/// What a worker writes down with every heartbeat.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    pub(super) share: f64,
    pub(super) stage: String,
    pub(super) started: UnixMillis,
}

impl Engine {
    /// A job as it is now.
    pub async fn get_training_job(&self, tenant: &TenantId, job: JobId) -> Result<TrainingJob, EngineError> {
        self.store().job(tenant, job).await?.map(TrainingJob::from).ok_or(EngineError::JobNotFound(job))
    }

    /// Jobs, newest first, those older than `before`, at most `limit`.
    pub async fn list_training_jobs(
        &self,
        tenant: &TenantId,
        before: Option<(UnixMillis, JobId)>,
        limit: u32,
    ) -> Result<Vec<TrainingJob>, EngineError> {
        Ok(self.store().list_jobs(tenant, before, limit).await?.into_iter().map(TrainingJob::from).collect())
    }

    /// Asks a job to stop: at once where it is queued, else with its worker's next step. One that has ended stays as
    /// it ended. Harmless to repeat.
    pub async fn cancel_training_job(
        &self,
        tenant: &TenantId,
        job: JobId,
    ) -> Result<TrainingJob, EngineError> {
        let row = self.store().cancel_job(tenant, job, self.now()).await?;
        self.shared.training.cancelled.notify_one();
        self.shared.training.changed.notify_waiters();
        row.map(TrainingJob::from).ok_or(EngineError::JobNotFound(job))
    }

    /// The job's states from now until it ends, each once. Ends early when the server drains.
    pub async fn watch_training_job(
        &self,
        tenant: &TenantId,
        job: JobId,
    ) -> Result<impl Stream<Item = Result<TrainingJob, EngineError>> + Send + 'static, EngineError> {
        let first = self.get_training_job(tenant, job).await?;
        let (engine, tenant) = (self.clone(), tenant.clone());
        let states = stream::try_unfold((Some(first), None), move |(next, last)| {
            let (engine, tenant) = (engine.clone(), tenant.clone());
            async move {
                let state = match (next, last) {
                    (Some(first), _) => first,
                    (None, Some(last)) => match engine.next_state(&tenant, last).await? {
                        Some(state) => state,
                        None => return Ok(None),
                    },
                    (None, None) => return Ok(None),
                };
                Ok(Some((state.clone(), (None, Some(state)))))
            }
        });
        Ok(states)
    }

    /// The next state that differs from `last`; nothing after the final one. The job may run on another server, so
    /// that the store is asked; a worker on this one says when it is worth asking sooner.
    async fn next_state(
        &self,
        tenant: &TenantId,
        last: TrainingJob,
    ) -> Result<Option<TrainingJob>, EngineError> {
        while !last.state.is_final() {
            let changed = self.shared.training.changed.notified();
            let state = self.get_training_job(tenant, last.job_id).await?;
            if state != last {
                return Ok(Some(state));
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(self.config().job_poll) => {}
                () = self.draining().cancelled() => return Err(EngineError::Draining),
            }
        }
        Ok(None)
    }
}

impl From<JobRow> for TrainingJob {
    fn from(row: JobRow) -> Self {
        // Empty until the first heartbeat.
        let told: Option<Progress> = serde_json::from_str(&row.progress).ok();
        let Progress { share, stage, .. } = told.clone().unwrap_or_default();
        let succeeded = row.state == JobState::Succeeded;
        Self {
            job_id: row.job_id,
            state: row.state,
            progress: if succeeded { 1.0 } else { share },
            stage: if row.state == JobState::Running { stage } else { String::new() },
            error: row.error,
            model_version: row.model_version,
            created: row.created,
            started: told.map(|progress| progress.started),
            finished: row.finished,
        }
    }
}
