use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::{Notify, watch};

use super::last_used::{LastUsed, Uses};
use super::{EngineConfig, EngineError};
use crate::domain::{Invalid, ModelVersion, Reliability, TenantId};
use crate::math::{Prior, questions};
use crate::model::{
    Artifact, ArtifactLocation, BackboneOptions, Manifest, OpenBackbones, ResidentConfig, ResidentModel,
    RewardModel,
};
use crate::store::ModelRow;

/// A model in memory, with what a person's fit needs of its manifest.
pub struct ServingModel {
    /// Its name.
    pub version: ModelVersion,
    /// φ(x, y), on a thread of its own.
    pub resident: ResidentModel,
    /// N(μ, Σ)
    pub prior: Prior,
    /// Weight of a TIE.
    pub tie_weight: f64,
    /// How far answers hold.
    pub reliability: Reliability,
}

impl ServingModel {
    /// What training said of the model.
    pub fn manifest(&self) -> &Manifest {
        self.resident.manifest()
    }
}

/// Whether this server can personalise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// It is not known yet which model serves, or it is being loaded.
    Starting,
    /// No tenant has an active model: one can be trained here.
    NoModel,
    /// A model is warm.
    Serving,
}

/// The models in memory, and which one serves each tenant. Clones are handles to the same registry.
#[derive(Clone)]
pub struct ModelRegistry {
    shared: Arc<Shared>,
}

struct Shared {
    resident: ResidentConfig,
    backbone: BackboneOptions,
    backbones: Arc<OpenBackbones>,
    /// Held while a model is brought into memory.
    loading: tokio::sync::Mutex<()>,
    /// By location of the artifact.
    loaded: RwLock<HashMap<String, Arc<ServingModel>>>,
    active: RwLock<HashMap<TenantId, Slot>>,
    /// Models that may serve at once.
    most: usize,
    uses: Uses,
    /// Rung when a model is asked for that has made room for others.
    wanted: Notify,
    readiness: watch::Sender<Readiness>,
}

/// What a tenant is served by.
enum Slot {
    Loading(ModelVersion),
    Active(Arc<ServingModel>, LastUsed),
    /// It has made room for others, and is loaded again when it is asked for.
    Away(ModelVersion),
}

impl ModelRegistry {
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self {
            shared: Arc::new(Shared {
                resident: config.resident.clone(),
                backbone: config.backbone.clone(),
                backbones: Arc::default(),
                loading: tokio::sync::Mutex::default(),
                loaded: RwLock::default(),
                active: RwLock::default(),
                most: config.resident_models,
                uses: Uses::default(),
                wanted: Notify::new(),
                readiness: watch::Sender::new(Readiness::Starting),
            }),
        }
    }

    /// The model that serves the tenant.
    ///
    /// # Errors
    /// [`EngineError::NoActiveModel`], or [`EngineError::ModelNotResident`] while it is being loaded, which begins now if it
    /// had made room for others.
    pub fn active(&self, tenant: &TenantId) -> Result<Arc<ServingModel>, EngineError> {
        let active = self.shared.active.read().unwrap_or_else(PoisonError::into_inner);
        match active.get(tenant) {
            Some(Slot::Active(model, used)) => {
                self.shared.uses.again(used);
                Ok(model.clone())
            }
            Some(Slot::Loading(version)) => Err(EngineError::ModelNotResident(version.clone())),
            Some(Slot::Away(version)) => {
                let version = version.clone();
                drop(active);
                self.want(tenant);
                Err(EngineError::ModelNotResident(version))
            }
            None if *self.shared.readiness.borrow() == Readiness::Starting => Err(EngineError::Starting),
            None => Err(EngineError::NoActiveModel),
        }
    }

    /// Whether this model, which is to serve the tenant, is to be loaded now: not where it serves already, nor where the
    /// tenant's has made room for others, or finds none, until it is asked for. At the start, which may be about to put
    /// another in its place, nothing is.
    pub(super) fn needs(&self, tenant: &TenantId, version: &ModelVersion) -> bool {
        if *self.shared.readiness.borrow() == Readiness::Starting {
            return false;
        }
        let mut active = self.shared.active.write().unwrap_or_else(PoisonError::into_inner);
        match active.get(tenant) {
            Some(Slot::Active(model, _)) => model.version != *version,
            Some(Slot::Loading(_)) => true,
            Some(Slot::Away(_)) => false,
            None if serving_models(&active).len() < self.shared.most => true,
            None => {
                active.insert(tenant.clone(), Slot::Away(version.clone()));
                false
            }
        }
    }

    /// Whether the tenant is served from memory, by this model.
    pub(super) fn serves(&self, tenant: &TenantId, version: &ModelVersion) -> bool {
        let active = self.shared.active.read().unwrap_or_else(PoisonError::into_inner);
        matches!(active.get(tenant), Some(Slot::Active(model, _)) if model.version == *version)
    }

    fn want(&self, tenant: &TenantId) {
        let mut active = self.shared.active.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = active.get_mut(tenant)
            && let Slot::Away(version) = slot
        {
            *slot = Slot::Loading(version.clone());
            self.shared.wanted.notify_one();
        }
    }

    /// Waits until a model is asked for that is not in memory.
    pub(super) async fn wanted(&self) {
        self.shared.wanted.notified().await;
    }

    /// Tenants whose model is on its way.
    pub(super) fn waiting(&self) -> Vec<TenantId> {
        let active = self.shared.active.read().unwrap_or_else(PoisonError::into_inner);
        active
            .iter()
            .filter(|(_, slot)| matches!(slot, Slot::Loading(_)))
            .map(|(tenant, _)| tenant.clone())
            .collect()
    }

    /// Models in memory.
    pub fn resident(&self) -> usize {
        self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Brings the artifact at `location` into memory and warms it up, off the async threads. What is there already is
    /// not loaded again, unless other files have taken its place. One at a time, so that nothing is loaded twice at once.
    pub async fn load(&self, location: &str) -> Result<Arc<ServingModel>, EngineError> {
        let loaded = || self.shared.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let _loading = self.shared.loading.lock().await;
        let manifest = Artifact::load_manifest(&ArtifactLocation::new(location)).await?;
        if let Some(model) = loaded().get(location)
            && is_unchanged(model.manifest(), &manifest)
        {
            return Ok(model.clone());
        }
        let (artifact, backbone) = (ArtifactLocation::new(location), self.shared.backbone.clone());
        let (backbones, resident) = (self.shared.backbones.clone(), self.shared.resident.clone());
        let model = tokio::task::spawn_blocking(move || {
            questions::prepare();
            let model = RewardModel::open_among(&backbones, &artifact, &backbone)?;
            serving(ResidentModel::start(Arc::new(model), &resident)?)
        })
        .await??;
        let model = Arc::new(model);
        let mut loaded = self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.insert(location.to_owned(), model.clone());
        Ok(model)
    }

    /// As [`Self::load`], for a model that is registered: what lies at its place must still be that model, since people
    /// were fitted under it.
    pub(super) async fn load_registered(&self, row: &ModelRow) -> Result<Arc<ServingModel>, EngineError> {
        let model = self.load(&row.location).await?;
        let registered: Manifest = serde_json::from_str(&row.manifest)?;
        if registered.is_same_model(model.manifest()) {
            return Ok(model);
        }
        Err(EngineError::ModelReplaced {
            version: row.model_version.clone(),
            location: row.location.clone(),
            found: model.version.clone(),
        })
    }

    /// From now on `model` serves the tenant; of more models than may serve at once those used longest ago make room. Calls in
    /// flight finish with the model that they began with.
    pub fn set_active(&self, tenant: &TenantId, model: Arc<ServingModel>) {
        tracing::info!(%tenant, model.version = %model.version, "model serves");
        self.put(tenant, Slot::Active(model.clone(), self.shared.uses.first()));
        self.make_room(&model);
        self.shared.readiness.send_replace(Readiness::Serving);
        self.forget_unused();
    }

    fn make_room(&self, kept: &Arc<ServingModel>) {
        let mut active = self.shared.active.write().unwrap_or_else(PoisonError::into_inner);
        loop {
            let serving = serving_models(&active);
            let surplus = serving.len() > self.shared.most;
            let others = serving.into_iter().filter(|(model, _)| *model != Arc::as_ptr(kept));
            let Some((leaving, _)) = others.min_by_key(|(_, used)| *used).filter(|_| surplus) else { return };
            for (tenant, slot) in active.iter_mut() {
                if let Slot::Active(model, _) = slot
                    && Arc::as_ptr(model) == leaving
                {
                    let version = model.version.clone();
                    tracing::info!(%tenant, model.version = %version, "model makes room for another");
                    *slot = Slot::Away(version);
                }
            }
        }
    }

    /// Lets go of models that serve nobody, are not about to, and have no call in flight.
    pub(super) fn forget_unused(&self) {
        let mut loaded = self.shared.loaded.write().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|_, model| Arc::strong_count(model) > 1);
    }

    /// Where as many models serve as may, one that is on its way waits until it is asked for; whether that is so.
    pub(super) fn send_away_if_full(&self, tenant: &TenantId) -> bool {
        let mut active = self.shared.active.write().unwrap_or_else(PoisonError::into_inner);
        let full = serving_models(&active).len() >= self.shared.most;
        match active.get_mut(tenant) {
            Some(slot) if full => {
                if let Slot::Loading(version) = slot {
                    *slot = Slot::Away(version.clone());
                }
                matches!(slot, Slot::Away(_))
            }
            _ => false,
        }
    }

    /// Follows whether this server can personalise.
    pub fn readiness(&self) -> watch::Receiver<Readiness> {
        self.shared.readiness.subscribe()
    }

    /// Nobody is served yet, and that is how it is.
    pub(super) fn know_of_no_model(&self) {
        self.shared.readiness.send_if_modified(|readiness| {
            let first_news = *readiness == Readiness::Starting;
            if first_news {
                *readiness = Readiness::NoModel;
            }
            first_news
        });
    }

    /// Has those who follow readiness look again.
    pub(super) fn announce_again(&self) {
        self.shared.readiness.send_modify(|_| {});
    }

    /// Until it is there, calls are told that it is on its way; those that a model serves already go on.
    pub(super) fn expect_soon(&self, tenant: &TenantId, version: &ModelVersion) {
        let mut active = self.shared.active.write().unwrap_or_else(PoisonError::into_inner);
        active.entry(tenant.clone()).or_insert_with(|| Slot::Loading(version.clone()));
    }

    fn put(&self, tenant: &TenantId, slot: Slot) {
        self.shared.active.write().unwrap_or_else(PoisonError::into_inner).insert(tenant.clone(), slot);
    }
}

/// Each model that serves somebody, and when it was last used.
fn serving_models(active: &HashMap<TenantId, Slot>) -> HashMap<*const ServingModel, u64> {
    let mut serving = HashMap::new();
    for slot in active.values() {
        if let Slot::Active(model, used) = slot {
            let latest = serving.entry(Arc::as_ptr(model)).or_insert(0);
            *latest = used.when().max(*latest);
        }
    }
    serving
}

/// Whether two manifests are of the same model with the same files, a value head included.
fn is_unchanged(one: &Manifest, other: &Manifest) -> bool {
    one.version == other.version && one.files == other.files
}

fn serving(resident: ResidentModel) -> Result<ServingModel, EngineError> {
    let manifest = resident.manifest();
    Ok(ServingModel {
        version: ModelVersion::parse(manifest.version.clone())
            .map_err(|error: Invalid| error.within("manifest"))?,
        prior: Prior::new(manifest.prior.mean(), manifest.prior.covariance())?,
        tie_weight: manifest.tie_weight,
        reliability: manifest.reliability,
        resident,
    })
}
