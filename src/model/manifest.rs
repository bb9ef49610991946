use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::BackboneRecord;
use crate::domain::Reliability;

/// Everything about a trained model that is not a weight: `manifest.json` of its artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of the artifact; see [`Manifest::FORMAT`].
    pub format: u32,
    /// Name of the model, a [`ModelVersion`](crate::domain::ModelVersion).
    pub version: String,
    /// Version of this crate that trained it.
    pub crate_version: String,
    /// When it was trained, unix milliseconds.
    pub created_unix_ms: i64,
    /// J
    pub base_functions: usize,
    /// What embeds its texts.
    pub backbone: BackboneRecord,
    /// What was tuned: `head`, `lora` or `full`.
    pub kind: String,
    /// Number type of the files' tensors: `f32`.
    pub dtype: String,
    /// Hex SHA-256 of every other file of the artifact, by name. Filled in when the artifact is saved.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Hex digest of the training data.
    pub data_digest: String,
    /// Position of the preference log up to which it was trained, where the log was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_position: Option<i64>,
    /// Seed of all that was random in training.
    pub seed: u64,
    /// How the factorization started: `svd`, `gradient`.
    pub start: String,
    /// Held-out figures of training, such as `auc_new_users_new_pairs`.
    pub metrics: serde_json::Map<String, serde_json::Value>,
    /// N(μ, Σ), the population of λ.
    pub prior: PriorRecord,
    /// Weight of a TIE's likelihood term.
    pub tie_weight: f64,
    /// How far people's answers hold when they are fitted.
    #[serde(default, skip_serializing_if = "Reliability::is_full")]
    pub reliability: Reliability,
    /// Singular values of the comparison matrix, descending.
    pub spectrum: Vec<f64>,
    /// For each base function, its share in what people differ on: D_jj / tr D.
    pub personal_shares: Vec<f64>,
    /// For each base function, its share in what people have in common: μ_j² / ‖μ‖².
    pub common_shares: Vec<f64>,
    /// For each base function, what it seems to measure, in words; empty where nothing could be said.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Who it was trained on.
    pub training_users: TrainingUsers,
}

impl Manifest {
    /// The layout that this version writes, and the only one that it reads.
    pub const FORMAT: u32 = 1;

    /// Whether another manifest is of the same model: of its name, and of the files and settings that φ and people's fits rest on. A
    /// value head may come later.
    pub fn is_same_model(&self, other: &Self) -> bool {
        let rest = |manifest: &Self| {
            let mut files = manifest.files.clone();
            files.remove("value_head.safetensors");
            files
        };
        let settings = |manifest: &Self| (manifest.tie_weight, manifest.reliability);
        self.version == other.version && settings(self) == settings(other) && rest(self) == rest(other)
    }

    /// Whether the user's comparisons were part of training (up to a collision of 128-bit hashes).
    pub fn was_trained_on(&self, user_id: &str) -> bool {
        self.training_users.contains(user_id)
    }
}

/// Mean and covariance of the population's coefficients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PriorRecord {
    /// μ, J numbers.
    pub mean: Vec<f64>,
    /// Σ, J rows of J numbers.
    pub covariance: Vec<Vec<f64>>,
}

impl PriorRecord {
    /// Of μ and Σ.
    pub fn new(mean: &DVector<f64>, covariance: &DMatrix<f64>) -> Self {
        Self {
            mean: mean.iter().copied().collect(),
            covariance: covariance.row_iter().map(|row| row.iter().copied().collect()).collect(),
        }
    }

    /// μ
    pub fn mean(&self) -> DVector<f64> {
        DVector::from_column_slice(&self.mean)
    }

    /// Σ
    pub fn covariance(&self) -> DMatrix<f64> {
        let columns = self.covariance.first().map_or(0, Vec::len);
        DMatrix::from_row_iterator(self.covariance.len(), columns, self.covariance.iter().flatten().copied())
    }
}

/// Salted hashes of the users that a model was trained on: enough to refuse testing on them, too little to list them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingUsers {
    /// Hex, random for each model.
    pub salt: String,
    /// First 128 bits of SHA-256(salt, user), hex, sorted.
    pub hashes: Vec<String>,
}

impl TrainingUsers {
    /// Of these users.
    pub fn new<'a>(salt: [u8; 16], users: impl IntoIterator<Item = &'a str>) -> Self {
        let salt = hex::encode(salt);
        let mut hashes: Vec<_> = users.into_iter().map(|user| salted_hash(&salt, user)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self { salt, hashes }
    }

    /// Whether the user is one of them.
    pub fn contains(&self, user: &str) -> bool {
        self.hashes.binary_search(&salted_hash(&self.salt, user)).is_ok()
    }
}

fn salted_hash(salt: &str, user: &str) -> String {
    let digest = Sha256::new().chain_update(salt.as_bytes()).chain_update(user.as_bytes()).finalize();
    hex::encode(&digest[..16])
}
