use serde::{Deserialize, Serialize};

use super::idempotency::{Call, replay};
use super::training_job::TrainingJob;
use super::{Engine, EngineError};
use crate::domain::{DatasetId, Invalid, JobId, Reliability, RequestId, TenantId};
use crate::model::{Tuning, has_weights};
use crate::store::{JobState, UnixMillis};
use crate::train::TuneConfig;

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
    /// What of the backbone is trained.
    #[serde(default, skip_serializing_if = "Tune::is_head")]
    pub tune: Tune,
    /// How far the answers of the people who are served hold.
    #[serde(default, skip_serializing_if = "Reliability::is_full")]
    pub reliability: Reliability,
    /// The value head that the model is to have, for VALUE_GUIDED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_head: Option<TrainValueHead>,
    /// Seed of everything drawn.
    pub seed: u64,
    /// The caller's key; the reply is given again to a repeat.
    #[serde(skip)]
    pub request_id: Option<RequestId>,
}

/// A value head, learned from completions of some of the data's prompts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainValueHead {
    /// Name of the language model of this server's that completions are written with, and will be.
    pub generator: String,
    /// Most prompts that are completed.
    pub prompts: usize,
    /// Completions of each.
    pub rollouts: usize,
    /// Longest completion, in tokens.
    pub max_tokens: usize,
}

/// What is trained on top of the backbone, or of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tune {
    /// The head alone.
    #[default]
    Head,
    /// The head and low-rank adapters of the backbone.
    Lora,
    /// The head and all of the backbone.
    Full,
}

impl Tune {
    fn is_head(&self) -> bool {
        *self == Self::Head
    }

    /// How the backbone is tuned; nothing where it stays as it is. A job keeps no checkpoint: whoever takes it up begins
    /// anew.
    pub(super) fn config(self) -> Option<TuneConfig> {
        match self {
            Self::Head => None,
            Self::Lora => Some(TuneConfig::new(Tuning::LORA)),
            Self::Full => Some(TuneConfig::new(Tuning::Full)),
        }
    }
}

impl Engine {
    /// Queues a training job.
    pub async fn train(&self, tenant: &TenantId, mut request: Train) -> Result<TrainingJob, EngineError> {
        if request.datasets.is_empty() && !request.include_service_log {
            let allowed = "at least one dataset, or include_service_log";
            return Err(Invalid::new("datasets", "none", allowed).into());
        }
        if request.tune != Tune::Head && !has_weights(&request.backbone) {
            let given = format!("{:?} of {:?}", request.tune, request.backbone);
            return Err(Invalid::new("tune", given, "Head, or a BERT, Qwen2 or Llama backbone").into());
        }
        if let Some(value_head) = &request.value_head {
            self.check_writes_here(&value_head.generator)?;
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
