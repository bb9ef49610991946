use super::sql::{Row, values};
use super::{Idempotent, JobEnd, JobRow, JobState, Lease, Recall, Store, StoreError, UnixMillis};
use crate::domain::{Invalid, JobId, ModelVersion, TenantId};

impl Store {
    /// Queues a training job, in one transaction with the request id's reply; anything but [`Recall::New`] says that
    /// nothing was queued.
    pub async fn create_job(
        &self,
        tenant: &TenantId,
        job: JobId,
        request: &[u8],
        idempotent: Option<&Idempotent>,
        now: UnixMillis,
    ) -> Result<Recall, StoreError> {
        let mut tx = self.db.begin().await?;
        if let Some(idempotent) = idempotent {
            let recall = tx.remember(tenant, None, idempotent).await?;
            if recall != Recall::New {
                return Ok(recall);
            }
        }
        tx.execute(
            "INSERT INTO training_job (tenant, job_id, state, request, progress, attempts, created, updated)
             VALUES ($1, $2, 'QUEUED', $3, '', 0, $4, $4)",
            values![tenant, job, request, now],
        )
        .await?;
        tx.commit().await?;
        Ok(Recall::New)
    }

    /// Gives `worker` the oldest job that nobody holds, of any tenant, until `lease_until`; nothing where there is
    /// none. A running job whose worker let its lease run out counts as held by nobody.
    pub async fn claim_job(
        &self,
        worker: &str,
        now: UnixMillis,
        lease_until: UnixMillis,
    ) -> Result<Option<JobRow>, StoreError> {
        loop {
            let mut tx = self.db.begin().await?;
            let free = tx
                .row(
                    "SELECT tenant, job_id FROM training_job
                     WHERE state = 'QUEUED' OR (state = 'RUNNING' AND lease_until < $1)
                     ORDER BY created, job_id LIMIT 1",
                    values![now],
                )
                .await?;
            let Some(free) = free else { return Ok(None) };
            let (tenant, job): (String, String) = (free.get(0)?, free.get(1)?);
            let claimed = tx
                .row(
                    "UPDATE training_job
                     SET state = 'RUNNING', worker = $3, lease_until = $4, attempts = attempts + 1, updated = $5
                     WHERE tenant = $1 AND job_id = $2
                       AND (state = 'QUEUED' OR (state = 'RUNNING' AND lease_until < $5))
                     RETURNING tenant, job_id, state, request, progress, error, model_version, attempts,
                               cancel_requested, created, updated, finished",
                    values![&tenant, &job, worker, lease_until, now],
                )
                .await?;
            tx.commit().await?;
            // Nothing: another worker was quicker; there may be a next job.
            if let Some(row) = claimed {
                return job_row(&row).map(Some);
            }
        }
    }

    /// Keeps `worker`'s lease until `lease_until` and tells what the job is doing.
    pub async fn heartbeat_job(
        &self,
        tenant: &TenantId,
        job: JobId,
        worker: &str,
        progress: &str,
        now: UnixMillis,
        lease_until: UnixMillis,
    ) -> Result<Lease, StoreError> {
        let mut tx = self.db.begin().await?;
        let row = tx
            .row(
                "UPDATE training_job SET progress = $4, lease_until = $5, updated = $6
                 WHERE tenant = $1 AND job_id = $2 AND worker = $3 AND state = 'RUNNING'
                 RETURNING cancel_requested",
                values![tenant, job, worker, progress, lease_until, now],
            )
            .await?;
        tx.commit().await?;
        Ok(match row {
            None => Lease::Lost,
            Some(row) if row.get::<Option<i64>>(0)?.is_some() => Lease::CancelRequested,
            Some(_) => Lease::Held,
        })
    }

    /// Ends a job that `worker` still holds; [`Lease::Lost`] says that nothing was written.
    pub async fn finish_job(
        &self,
        tenant: &TenantId,
        job: JobId,
        worker: &str,
        end: &JobEnd,
        now: UnixMillis,
    ) -> Result<Lease, StoreError> {
        let (state, model, error) = match end {
            JobEnd::Succeeded(model) => (JobState::Succeeded, Some(model), None),
            JobEnd::Failed(error) => (JobState::Failed, None, Some(error)),
            JobEnd::Cancelled => (JobState::Cancelled, None, None),
        };
        let touched = self
            .db
            .execute(
                "UPDATE training_job
                 SET state = $4, model_version = $5, error = $6, finished = $7, updated = $7, worker = NULL,
                     lease_until = NULL
                 WHERE tenant = $1 AND job_id = $2 AND worker = $3 AND state = 'RUNNING'",
                values![tenant, job, worker, state.as_str(), model, error, now],
            )
            .await?;
        Ok(if touched == 1 { Lease::Held } else { Lease::Lost })
    }

    /// Cancels a job: at once where it is still queued, else by telling its worker with the next heartbeat. Returns
    /// the job as it is now; a job that ended stays as it ended.
    pub async fn cancel_job(
        &self,
        tenant: &TenantId,
        job: JobId,
        now: UnixMillis,
    ) -> Result<Option<JobRow>, StoreError> {
        self.db
            .execute(
                "UPDATE training_job
                 SET cancel_requested = COALESCE(cancel_requested, $3),
                     finished = CASE WHEN state = 'QUEUED' THEN $3 ELSE finished END,
                     state = CASE WHEN state = 'QUEUED' THEN 'CANCELLED' ELSE state END,
                     updated = $3
                 WHERE tenant = $1 AND job_id = $2 AND state IN ('QUEUED', 'RUNNING')",
                values![tenant, job, now],
            )
            .await?;
        self.job(tenant, job).await
    }

    /// A job as it is now.
    pub async fn job(&self, tenant: &TenantId, job: JobId) -> Result<Option<JobRow>, StoreError> {
        let row = self
            .db
            .row(
                "SELECT tenant, job_id, state, request, progress, error, model_version, attempts, cancel_requested,
                        created, updated, finished
                 FROM training_job WHERE tenant = $1 AND job_id = $2",
                values![tenant, job],
            )
            .await?;
        row.map(|row| job_row(&row)).transpose()
    }

    /// Jobs, newest first, those older than `before` (creation time and id of the last one of the page before), at
    /// most `limit`.
    pub async fn list_jobs(
        &self,
        tenant: &TenantId,
        before: Option<(UnixMillis, JobId)>,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        let (created, job) = before.map_or((i64::MAX, String::new()), |(at, job)| (at, job.to_string()));
        let rows = self
            .db
            .rows(
                "SELECT tenant, job_id, state, request, progress, error, model_version, attempts, cancel_requested,
                        created, updated, finished
                 FROM training_job
                 WHERE tenant = $1 AND (created < $2 OR (created = $2 AND job_id < $3))
                 ORDER BY created DESC, job_id DESC LIMIT $4",
                values![tenant, created, &job, i64::from(limit)],
            )
            .await?;
        rows.iter().map(job_row).collect()
    }
}

impl JobState {
    const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether the job will not change any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }

    /// The name that is stored and printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Running => "RUNNING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed => "FAILED",
            Self::Cancelled => "CANCELLED",
        }
    }

    fn parse(name: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| Invalid::new("state", format!("{name:?}"), "a state of a training job"))
    }
}

fn job_row(row: &Row) -> Result<JobRow, StoreError> {
    Ok(JobRow {
        tenant: row.parsed(0, "training_job", "tenant", |name| TenantId::parse(name))?,
        job_id: row.parsed(1, "training_job", "job_id", JobId::parse)?,
        state: row.parsed(2, "training_job", "state", JobState::parse)?,
        request: row.get(3)?,
        progress: row.get(4)?,
        error: row.get(5)?,
        model_version: row
            .parsed_option(6, "training_job", "model_version", |name| ModelVersion::parse(name))?,
        attempts: row.get(7)?,
        cancel_requested: row.get(8)?,
        created: row.get(9)?,
        updated: row.get(10)?,
        finished: row.get(11)?,
    })
}
