use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::training_job::Progress;
use super::{Engine, EngineError, Train};
use crate::domain::{JobId, ModelVersion};
use crate::generate::{LocalGenerator, Sampling};
use crate::model::{Artifact, RewardModel, open_backbone};
use crate::store::{JobEnd, JobRow, Lease, StoreError};
use crate::train::{self, Observer, Stage, TrainConfig, Trained, ValueHeadConfig};

/// How often a job is begun before it counts as one that kills its workers.
const ATTEMPTS: i64 = 5;

/// How the parts of this server that have to do with jobs wake each other. Other servers find out by asking the store.
#[derive(Default)]
pub(super) struct TrainingSignals {
    /// A job was queued.
    pub(super) wake: Notify,
    /// A job was cancelled.
    pub(super) cancelled: Notify,
    /// A job changed.
    pub(super) changed: Notify,
}

impl Engine {
    /// Takes training jobs until the engine drains, as one of its tasks.
    pub fn spawn_training_worker(&self) {
        let engine = self.clone();
        self.shared.tasks.spawn(async move {
            let stop = engine.draining().clone();
            engine.run_training_jobs(stop).await;
        });
    }

    /// Waits for the engine's own tasks, which end when it drains: the training worker and activations.
    pub async fn finish_tasks(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
    }

    /// Takes training jobs, one at a time, until `stop`. A job that is under way then is left to whoever asks next,
    /// to be begun again.
    ///
    /// The training itself runs on a blocking thread; this task keeps the job's lease meanwhile.
    pub async fn run_training_jobs(&self, stop: CancellationToken) {
        let worker = Uuid::new_v4().to_string();
        while !stop.is_cancelled() {
            let now = self.now();
            match self.store().claim_job(&worker, now, now + self.lease_millis()).await {
                Ok(Some(job)) => {
                    let job_id = job.job_id;
                    if let Err(error) = self.run_job(&worker, job, &stop).await {
                        tracing::warn!(job.id = %job_id, %error, "training job left to be begun again");
                    }
                    self.shared.training.changed.notify_waiters();
                    continue;
                }
                Ok(None) => {}
                Err(error) => tracing::warn!(%error, "cannot ask for training jobs"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.shared.training.wake.notified() => {}
                () = tokio::time::sleep(self.config().job_poll) => {}
            }
        }
    }

    /// Runs one job to its end. An error leaves it claimed, to be begun again when its lease is over.
    async fn run_job(&self, worker: &str, job: JobRow, stop: &CancellationToken) -> Result<(), EngineError> {
        tracing::info!(job.id = %job.job_id, job.attempt = job.attempts, "training job begins");
        if job.attempts > ATTEMPTS {
            let why = format!("the training was begun {ATTEMPTS} times and never came to an end");
            return self.finish(worker, &job, &JobEnd::Failed(why)).await;
        }
        let watch = Arc::new(JobWatch::new(self.now()));
        let mut work = std::pin::pin!(self.make_model(&job, watch.clone()));
        let mut beat = tokio::time::interval(self.config().job_lease / 6);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                _ = beat.tick() => self.beat(worker, &job, &watch).await,
                () = self.shared.training.cancelled.notified() => self.beat(worker, &job, &watch).await,
                () = stop.cancelled(), if watch.goes_on() => watch.stop(Stop::Draining),
            }
        };
        match (outcome, watch.stopped()) {
            (_, Some(Stop::Lost)) => Ok(()),
            (Ok(version), _) => self.finish(worker, &job, &JobEnd::Succeeded(version)).await,
            (Err(_), Some(Stop::Cancelled)) => self.finish(worker, &job, &JobEnd::Cancelled).await,
            (Err(_), Some(Stop::Draining)) => {
                // A lease that is over already: free for the next worker.
                let (now, told) = (self.now(), watch.told()?);
                self.store().heartbeat_job(&job.tenant, job.job_id, worker, &told, now, now - 1).await?;
                Ok(())
            }
            (Err(EngineError::Store(error @ StoreError::Unavailable(_))), None) => Err(error.into()),
            (Err(error), None) => self.finish(worker, &job, &JobEnd::Failed(error.to_string())).await,
        }
    }

    /// Keeps the lease and hears whether to stop. A store that is away for a moment does not stop the work.
    async fn beat(&self, worker: &str, job: &JobRow, watch: &JobWatch) {
        let now = self.now();
        let lease = async {
            let told = watch.told()?;
            let until = now + self.lease_millis();
            Ok::<_, EngineError>(
                self.store().heartbeat_job(&job.tenant, job.job_id, worker, &told, now, until).await?,
            )
        };
        match lease.await {
            Ok(Lease::Held) => {}
            Ok(Lease::CancelRequested) => watch.stop(Stop::Cancelled),
            Ok(Lease::Lost) => watch.stop(Stop::Lost),
            Err(error) => {
                tracing::warn!(job.id = %job.job_id, %error, "cannot renew the lease of a training job")
            }
        }
        self.shared.training.changed.notify_waiters();
    }

    async fn finish(&self, worker: &str, job: &JobRow, end: &JobEnd) -> Result<(), EngineError> {
        match end {
            JobEnd::Succeeded(version) => {
                tracing::info!(job.id = %job.job_id, model.version = %version, "training job succeeded");
            }
            JobEnd::Failed(why) => tracing::warn!(job.id = %job.job_id, error = %why, "training job failed"),
            JobEnd::Cancelled => tracing::info!(job.id = %job.job_id, "training job cancelled"),
        }
        self.store().finish_job(&job.tenant, job.job_id, worker, end, self.now()).await?;
        Ok(())
    }

    /// From the stored data to a registered model. Begun again, it writes the same model under the same name.
    async fn make_model(&self, job: &JobRow, watch: Arc<JobWatch>) -> Result<ModelVersion, EngineError> {
        let request: Train = serde_json::from_slice(&job.request)?;
        let version = version_of(job.job_id)?;
        let writer = match &request.value_head {
            Some(value_head) => Some((value_head.clone(), self.writer(&value_head.generator, &watch).await?)),
            None => None,
        };
        watch.writes.store(writer.is_some(), Ordering::Relaxed);
        let data = self.training_data(&job.tenant, &request, &watch).await?;
        let prompts =
            writer.as_ref().map(|(wanted, _)| some_of(data.prompts(), wanted.prompts, request.seed));
        let options = self.config().backbone.clone();
        let config = TrainConfig {
            base_functions: request.base_functions,
            seed: request.seed,
            version: Some(version.clone()),
            log_position: request.as_of,
            reliability: request.reliability,
        };
        let (backbone, tune) = (request.backbone, request.tune.config());
        let (watched, opened) = (watch.clone(), options.clone());
        let trained = tokio::task::spawn_blocking(move || -> Result<Trained, EngineError> {
            let mut watch = &*watched;
            Ok(match tune {
                Some(tune) => train::train_tuned(&data, &config, &tune, &backbone, &opened, &mut watch)?,
                None => train::train(&data, &config, &*open_backbone(&backbone, &opened)?, &mut watch)?,
            })
        })
        .await??;
        let location = self.config().models.join(version.as_str());
        let mut manifest = trained.artifact.save(&location).await?;
        if let (Some((wanted, writer)), Some(prompts)) = (writer, prompts) {
            let (place, seed) = (location.clone(), request.seed);
            let head = tokio::task::spawn_blocking(move || -> Result<_, EngineError> {
                let model = RewardModel::open(&place, &options)?;
                let sampling = Sampling { max_tokens: wanted.max_tokens, ..Sampling::default() };
                let config = ValueHeadConfig { rollouts: wanted.rollouts, sampling, seed };
                Ok(train::train_value_head(&model, &writer, &prompts, &config, &mut &*watch)?)
            });
            manifest = Artifact::add_value_head(&location, &head.await??).await?;
        }
        let manifest = serde_json::to_string(&manifest)?;
        let location = location.to_string();
        self.store().register_model(Some(&job.tenant), &version, &manifest, &location, self.now()).await?;
        Ok(version)
    }

    /// The language model of that name, which may still be on its way into memory.
    async fn writer(&self, name: &str, watch: &JobWatch) -> Result<LocalGenerator, EngineError> {
        loop {
            match self.local_generator(name) {
                Err(EngineError::GeneratorNotResident(_)) if watch.goes_on() => {
                    tokio::time::sleep(self.config().job_poll).await;
                }
                found => return found,
            }
        }
    }

    fn lease_millis(&self) -> i64 {
        i64::try_from(self.config().job_lease.as_millis()).unwrap_or(i64::MAX / 2)
    }
}

/// At most `most` of the prompts, drawn by the seed.
fn some_of(prompts: &[String], most: usize, seed: u64) -> Vec<String> {
    let mut prompts = prompts.to_vec();
    prompts.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    prompts.truncate(most);
    prompts
}

/// A job's model is named after it.
fn version_of(job: JobId) -> Result<ModelVersion, EngineError> {
    let name = job.0.simple().to_string();
    Ok(ModelVersion::parse(format!("model-{}", &name[..12]))?)
}

/// The share of a training at which its backbone is tuned, where it is.
const TUNED: f64 = 0.7;

/// The share of a training at which the model is there, where a value head follows.
const MODEL: f64 = 0.3;

/// Why a training is to stop before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stop {
    /// Somebody asked.
    Cancelled = 1,
    /// Another worker has the job.
    Lost = 2,
    /// This server ends.
    Draining = 3,
}

/// Between the task that keeps a job's lease and the thread that trains: progress one way, a stop the other.
pub(super) struct JobWatch {
    stop: AtomicU8,
    /// Whether a backbone is tuned.
    tunes: AtomicBool,
    /// Whether a value head is learned at the end.
    writes: AtomicBool,
    progress: Mutex<Progress>,
}

impl JobWatch {
    fn new(started: i64) -> Self {
        let stage = "reading the data".to_owned();
        Self {
            stop: AtomicU8::new(0),
            tunes: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            progress: Mutex::new(Progress { share: 0.0, stage, started }),
        }
    }

    /// Whether nothing has asked to stop.
    pub(super) fn goes_on(&self) -> bool {
        self.stop.load(Ordering::Relaxed) == 0
    }

    fn stop(&self, why: Stop) {
        self.stop.store(why as u8, Ordering::Relaxed);
    }

    fn stopped(&self) -> Option<Stop> {
        let why = self.stop.load(Ordering::Relaxed);
        [Stop::Cancelled, Stop::Lost, Stop::Draining].into_iter().find(|stop| *stop as u8 == why)
    }

    fn told(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&*self.progress.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for &JobWatch {
    fn progress(&mut self, stage: Stage, share: f64) {
        // About how the time is spent: most of it on trials, or on the backbone where that is tuned.
        let (from, to) = match stage {
            Stage::Start => (0.0, 0.1),
            Stage::Backbone => (0.1, TUNED),
            Stage::Embed => (0.0, 0.2),
            Stage::Tune => (0.2, 0.7),
            Stage::Measure => (0.7, 0.85),
            Stage::Fit => (0.85, 1.0),
            Stage::ValueHead => (0.0, 1.0),
        };
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let mut whole = from + (to - from) * share;
        if stage <= Stage::Backbone {
            self.tunes.store(true, Ordering::Relaxed);
        } else if self.tunes.load(Ordering::Relaxed) {
            whole = TUNED + (1.0 - TUNED) * whole;
        }
        if stage == Stage::ValueHead {
            whole = MODEL + (1.0 - MODEL) * share;
        } else if self.writes.load(Ordering::Relaxed) {
            whole *= MODEL;
        }
        progress.share = whole;
        progress.stage = stage.describe().to_owned();
    }

    fn is_cancelled(&self) -> bool {
        !self.goes_on()
    }
}
