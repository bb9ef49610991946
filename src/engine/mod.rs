//! One use case a file: what the service does, free of tonic types.
//!
//! An [`Engine`] is the store, the resident models and the pools in memory. Its verbs take a tenant and a request of
//! plain domain types, and return plain structs or an [`EngineError`]. It never sees a socket, a header or a
//! protobuf message, writes no SQL, and does no mathematics of its own.
//!
//! Reading order: [`submit_preference`](Engine::submit_preference), then [`next_query`](Engine::next_query) and
//! [`generate`](Engine::generate).

mod activate_model;
mod authenticate;
mod delete_pool;
mod delete_preference;
mod delete_user;
mod describe_model;
mod error;
mod exact;
mod export_user;
mod follow;
mod generate;
mod generate_question;
mod generators;
mod get_user;
mod idempotency;
mod import_candidates;
mod import_preferences;
mod install_model;
mod last_used;
mod list_pools;
mod list_preferences;
mod list_users;
mod load_active_models;
mod model_summary;
mod next_query;
mod pair_index;
mod patience;
mod person;
mod pools;
mod profile;
mod quota;
mod recent;
mod recent_metrics;
mod refit;
mod registry;
mod remember_completion;
mod score;
mod submit_preference;
mod sweep;
mod train;
mod training_data;
mod training_job;
mod worker;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use delete_preference::DeletePreference;
pub use describe_model::{BaseFunction, ModelDescription};
pub use error::EngineError;
pub(crate) use error::is_damage;
pub use export_user::Exported;
pub use generate::{Generate, Generated, Generation, GenerationEvent, GenerationStrategy};
pub use generate_question::GenerateQuestion;
pub use generators::GeneratorName;
pub use import_candidates::{CandidatesImported, PoolSummary};
pub use import_preferences::PreferencesImported;
pub use model_summary::ModelSummary;
pub use next_query::{Asked, NextQuery, QuerySource, Question};
pub use profile::Profile;
pub use recent_metrics::RecentMetrics;
pub use registry::{ModelRegistry, Readiness, ServingModel};
pub use remember_completion::Remembered;
pub use score::{Score, Scored, ScoredResponse};
pub use submit_preference::{Choice, SubmitPreference, Submitted, Target};
pub use train::{Train, TrainValueHead, Tune};
pub use training_job::TrainingJob;

// What the verbs' requests, replies and errors are made of: whoever calls them needs no other room.
pub use crate::generate::{Finish, GenerateError, Prompt, Sampling};
pub use crate::math::Acquisition;
pub use crate::math::questions::MAX_BASE_FUNCTIONS;
pub use crate::model::{Example, ModelError};
pub use crate::store::{
    ChoiceRow, JobState, ModelState, PreferenceRow, StoreError, UnixMillis, UserRow, with_database_time,
};

use crate::domain::{ModelVersion, TenantId, UserId};
use crate::model::{ArtifactLocation, BackboneOptions, ResidentConfig};
use crate::store::Store;
use authenticate::KeyCache;
use generators::Generators;
use pools::PoolCache;
use quota::Headcounts;
use recent::RecentLogs;
use worker::TrainingSignals;

/// Tells the time; tests bring their own.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// Users share so many locks: many more than calls are under way, so that hardly anybody waits for somebody else.
const TURNS: usize = 1 << 14;

/// What an engine is told once.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How long a question's pair is kept from being asked again. A later answer still counts.
    pub query_lifetime: Duration,
    /// How long a reply is kept for a repeat of its request id. (That of an answer is kept with it.)
    pub reply_lifetime: Duration,
    /// How long the choices of a chat completion are kept to be compared; nothing of them where it is 0.
    pub completion_lifetime: Duration,
    /// N of best-of-N where the caller says nothing.
    pub default_candidates: usize,
    /// Models that may serve at once, of however many tenants; the one used longest ago makes room for another.
    pub resident_models: usize,
    /// What pools in memory may take, in bytes; one alone may take more.
    pub pool_bytes: usize,
    /// What is remembered of people between calls may take, in bytes; 0: every answer reads its person's log.
    pub recent_bytes: usize,
    /// Counts that.
    pub recent_metrics: RecentMetrics,
    /// Bounds of each resident model.
    pub resident: ResidentConfig,
    /// How backbones are opened.
    pub backbone: BackboneOptions,
    /// Where trained models are written, each in a folder of its own.
    pub models: ArtifactLocation,
    /// How long a training job is its worker's without a sign of life.
    pub job_lease: Duration,
    /// How often the store is asked for new jobs and for the progress of watched ones.
    pub job_poll: Duration,
    /// How often the store is asked what other servers have changed, beside what they tell of themselves.
    pub change_poll: Duration,
    /// How long ActivateModel waits for the change to be done before it tells how it stands.
    pub activation_wait: Duration,
    /// How long an API key is taken to be as the store had it: when a revoked key is refused everywhere.
    pub key_memory: Duration,
    /// Most people that one tenant may have.
    pub tenant_users: u64,
    /// Names of the language models that completions are written with; the first is the default.
    pub generators: Vec<String>,
    /// Seed of the questions' order and of generation; nothing: drawn from the system.
    pub seed: Option<u64>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            query_lifetime: Duration::from_secs(3600),
            reply_lifetime: Duration::from_secs(24 * 3600),
            completion_lifetime: Duration::from_secs(24 * 3600),
            default_candidates: 16,
            resident_models: 8,
            pool_bytes: 4 << 30,
            recent_bytes: 64 << 20,
            recent_metrics: RecentMetrics::default(),
            resident: ResidentConfig::default(),
            backbone: BackboneOptions::default(),
            models: ArtifactLocation::new("data/models"),
            job_lease: Duration::from_secs(30),
            job_poll: Duration::from_secs(1),
            change_poll: Duration::from_secs(5),
            activation_wait: Duration::from_secs(20),
            key_memory: Duration::from_secs(10),
            tenant_users: 10_000_000,
            generators: Vec::new(),
            seed: None,
        }
    }
}

/// The use cases. Clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    models: ModelRegistry,
    pools: PoolCache,
    keys: KeyCache,
    headcounts: Headcounts,
    recent: RecentLogs,
    generators: Generators,
    config: EngineConfig,
    clock: Clock,
    seeds: Mutex<ChaCha8Rng>,
    draining: CancellationToken,
    training: TrainingSignals,
    tasks: TaskTracker,
    /// Models that are being brought in because another server said so.
    following: Mutex<HashSet<(TenantId, ModelVersion)>>,
    /// A user's changes wait for each other here, so that an optimistic commit is only lost to other servers.
    turns: Vec<tokio::sync::Mutex<()>>,
}

impl Engine {
    /// An engine on an open store, with no model yet: see [`Engine::load_active_models`].
    pub fn new(store: Store, config: EngineConfig) -> Self {
        Self::with_clock(store, config, Arc::new(system_time))
    }

    /// The same with a clock of the caller's own.
    pub fn with_clock(store: Store, config: EngineConfig, clock: Clock) -> Self {
        let seeds = match config.seed {
            Some(seed) => ChaCha8Rng::seed_from_u64(seed),
            None => ChaCha8Rng::from_rng(&mut rand::rng()),
        };
        Self {
            shared: Arc::new(Shared {
                models: ModelRegistry::new(&config),
                pools: PoolCache::new(config.pool_bytes),
                keys: KeyCache::default(),
                headcounts: Headcounts::default(),
                recent: RecentLogs::new(
                    if store.appends_at_once() { config.recent_bytes } else { 0 },
                    config.recent_metrics.clone(),
                ),
                generators: Generators::new(config.generators.clone()),
                seeds: Mutex::new(seeds),
                draining: CancellationToken::new(),
                training: TrainingSignals::default(),
                tasks: TaskTracker::new(),
                following: Mutex::default(),
                turns: (0..TURNS).map(|_| tokio::sync::Mutex::default()).collect(),
                store,
                config,
                clock,
            }),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// Which models are resident, and which one serves whom.
    pub fn models(&self) -> &ModelRegistry {
        &self.shared.models
    }

    /// What the engine was told.
    pub fn config(&self) -> &EngineConfig {
        &self.shared.config
    }

    /// Cancelled when the server begins to drain: endless streams end then.
    pub fn draining(&self) -> &CancellationToken {
        &self.shared.draining
    }

    /// Now, unix milliseconds.
    pub fn now(&self) -> UnixMillis {
        (self.shared.clock)()
    }

    /// Waits until no other call on this server changes the user.
    async fn turn(&self, tenant: &TenantId, user: &UserId) -> tokio::sync::MutexGuard<'_, ()> {
        let mut hasher = DefaultHasher::new();
        (tenant, user).hash(&mut hasher);
        let turns = &self.shared.turns;
        turns[(hasher.finish() % turns.len() as u64) as usize].lock().await
    }

    /// A generator for one call.
    fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.draw_seed())
    }

    fn draw_seed(&self) -> u64 {
        self.shared.seeds.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// The system's clock, never going back within a process: an answer's time orders the log.
fn system_time() -> UnixMillis {
    static LATEST: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX >> 1);
    let latest = LATEST.fetch_max(now, Ordering::Relaxed).max(now);
    i64::try_from(latest).unwrap_or(i64::MAX)
}
