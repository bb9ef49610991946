use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::location::{ArtifactLocation, block_on};
use super::{Adapter, Examples, Manifest, ModelError, ValueHead};

const MANIFEST: &str = "manifest.json";
const HEAD: &str = "head.safetensors";
const CLASSIC_HEAD: &str = "classic_head.safetensors";
const ADAPTER: &str = "adapter.safetensors";
const VALUE_HEAD: &str = "value_head.safetensors";
const EXAMPLES: &str = "examples.json";
/// Name of the one tensor of a head's file.
const WEIGHT: &str = "weight";

/// What training leaves behind and serving loads: a folder `models/<version>/` of files whose SHA-256 the manifest
/// holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    /// Everything that is not a weight.
    pub manifest: Manifest,
    /// W, J × d.
    pub head: DMatrix<f32>,
    /// w ∈ Rᵈ, the one reward shared by all that the base functions are compared with.
    pub classic_head: Option<DVector<f32>>,
    /// What tuning made of the backbone; nothing where the head alone was trained.
    pub adapter: Option<Adapter>,
    /// What steers a language model token by token; nothing where none was trained.
    pub value_head: Option<ValueHead>,
    /// Training texts at the ends of each base function, J entries; empty where none were kept.
    pub examples: Vec<Examples>,
}

impl Artifact {
    /// Writes the artifact and returns its manifest with the hashes of the files.
    ///
    /// Files go to a temporary prefix first and the manifest takes its place last, after any older manifest has
    /// gone: whatever stops this half-way, what is left is not loadable.
    pub async fn save(&self, location: &ArtifactLocation) -> Result<Manifest, ModelError> {
        self.check(&location.name)?;
        let mut files = vec![(HEAD, encode(self.head.nrows(), self.head.ncols(), &row_major(&self.head)))];
        if let Some(w) = &self.classic_head {
            files.push((CLASSIC_HEAD, encode(1, w.len(), w.as_slice())));
        }
        if let Some(adapter) = &self.adapter {
            files.push((ADAPTER, adapter.encode()));
        }
        if let Some(head) = &self.value_head {
            files.push((VALUE_HEAD, head.encode()));
        }
        if !self.examples.is_empty() {
            let json =
                serde_json::to_vec_pretty(&self.examples).map_err(|error| location.file(EXAMPLES, error))?;
            files.push((EXAMPLES, json));
        }
        let mut manifest = self.manifest.clone();
        manifest.files = files.iter().map(|(name, bytes)| ((*name).to_owned(), sha256(bytes))).collect();
        let json = serde_json::to_vec_pretty(&manifest).map_err(|error| ModelError::Manifest {
            location: location.name.clone(),
            reason: error.to_string(),
        })?;
        files.push((MANIFEST, json));

        let store = location.store(true)?;
        let temporary = format!("partial-{}", Uuid::new_v4().simple());
        let temporary = |name: &str| Path::from_iter([temporary.as_str(), name]);
        for (name, bytes) in &files {
            store
                .put(&temporary(name), bytes.clone().into())
                .await
                .map_err(|error| location.storage(error))?;
        }
        for old in [MANIFEST, EXAMPLES, VALUE_HEAD, ADAPTER, CLASSIC_HEAD, HEAD] {
            match store.delete(&Path::from(old)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(location.storage(error)),
            }
        }
        for (name, _) in &files {
            store
                .rename(&temporary(name), &Path::from(*name))
                .await
                .map_err(|error| location.storage(error))?;
        }
        location.remove_temporary_folder(&temporary(""));
        Ok(manifest)
    }

    /// Adds a value head to the artifact that lies at `location`, in place of one that is there. Whatever stops this
    /// half-way, what is left is the artifact without a value head.
    pub async fn add_value_head(
        location: &ArtifactLocation,
        head: &ValueHead,
    ) -> Result<Manifest, ModelError> {
        let store = location.store(false)?;
        let mut manifest = Self::load_manifest_from(&*store, location).await?;
        let put = async |name: &str, bytes: Vec<u8>| {
            store.put(&Path::from(name), bytes.into()).await.map_err(|error| location.storage(error))
        };
        let json = |manifest: &Manifest| {
            serde_json::to_vec_pretty(manifest).map_err(|error| location.file(MANIFEST, error))
        };
        let bytes = head.encode();
        if manifest.files.remove(VALUE_HEAD).is_some() {
            put(MANIFEST, json(&manifest)?).await?;
        }
        manifest.files.insert(VALUE_HEAD.to_owned(), sha256(&bytes));
        put(VALUE_HEAD, bytes).await?;
        put(MANIFEST, json(&manifest)?).await?;
        Ok(manifest)
    }

    /// [`Artifact::add_value_head`] for callers that are not asynchronous.
    pub fn add_value_head_blocking(
        location: &ArtifactLocation,
        head: &ValueHead,
    ) -> Result<Manifest, ModelError> {
        block_on(location, Self::add_value_head(location, head))
    }

    /// Reads an artifact and checks it: hashes, shapes against the manifest, finite values.
    pub async fn load(location: &ArtifactLocation) -> Result<Self, ModelError> {
        let store = location.store(false)?;
        let manifest = Self::load_manifest_from(&*store, location).await?;
        let mut files = BTreeMap::new();
        for (name, expected) in &manifest.files {
            let path = Path::parse(name).map_err(|error| location.file(name, error))?;
            let bytes = match store.get(&path).await {
                Ok(found) => found.bytes().await.map_err(|error| location.storage(error))?,
                Err(object_store::Error::NotFound { .. }) => return Err(location.file(name, "is missing")),
                Err(error) => return Err(location.storage(error)),
            };
            let found = sha256(&bytes);
            if found != *expected {
                return Err(ModelError::ArtifactHash {
                    location: location.name.clone(),
                    file: name.clone(),
                    expected: expected.clone(),
                    found,
                });
            }
            files.insert(name.as_str(), bytes);
        }
        let d = manifest.backbone.dimension;
        let head = files.get(HEAD).ok_or_else(|| location.file(HEAD, "is not named in the manifest"))?;
        let head = decode(head, HEAD, (manifest.base_functions, d), location)?;
        let classic_head = match files.get(CLASSIC_HEAD) {
            Some(bytes) => {
                Some(decode(bytes, CLASSIC_HEAD, (1, d), location)?.transpose().column(0).into_owned())
            }
            None => None,
        };
        let adapter = match files.get(ADAPTER) {
            Some(bytes) => Some(Adapter::decode(bytes).map_err(|reason| location.file(ADAPTER, reason))?),
            None => None,
        };
        let examples = match files.get(EXAMPLES) {
            Some(bytes) => serde_json::from_slice(bytes).map_err(|error| location.file(EXAMPLES, error))?,
            None => Vec::new(),
        };
        let value_head = match files.get(VALUE_HEAD) {
            Some(bytes) => Some(
                ValueHead::decode(bytes, manifest.base_functions)
                    .map_err(|reason| location.file(VALUE_HEAD, reason))?,
            ),
            None => None,
        };
        let artifact = Self { head, classic_head, adapter, value_head, examples, manifest };
        artifact.check(&location.name)?;
        Ok(artifact)
    }

    /// Reads only the manifest; the files are not looked at.
    pub async fn load_manifest(location: &ArtifactLocation) -> Result<Manifest, ModelError> {
        Self::load_manifest_from(&*location.store(false)?, location).await
    }

    /// [`Artifact::save`] for callers that are not asynchronous.
    pub fn save_blocking(&self, location: &ArtifactLocation) -> Result<Manifest, ModelError> {
        block_on(location, self.save(location))
    }

    /// [`Artifact::load`] for callers that are not asynchronous.
    pub fn load_blocking(location: &ArtifactLocation) -> Result<Self, ModelError> {
        block_on(location, Self::load(location))
    }

    async fn load_manifest_from(
        store: &dyn ObjectStore,
        location: &ArtifactLocation,
    ) -> Result<Manifest, ModelError> {
        let bytes = match store.get(&Path::from(MANIFEST)).await {
            Ok(found) => found.bytes().await.map_err(|error| location.storage(error))?,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ModelError::NoArtifact {
                    location: location.name.clone(),
                    reason: "there is no manifest.json, so nothing was written here, or not to its end"
                        .to_owned(),
                });
            }
            Err(error) => return Err(location.storage(error)),
        };
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| ModelError::Manifest {
            location: location.name.clone(),
            reason: error.to_string(),
        })?;
        check_manifest(&manifest)
            .map_err(|reason| ModelError::Manifest { location: location.name.clone(), reason })?;
        Ok(manifest)
    }

    /// Shapes agree with the manifest and every number is finite.
    fn check(&self, location: &str) -> Result<(), ModelError> {
        check_manifest(&self.manifest)
            .map_err(|reason| ModelError::Manifest { location: location.to_owned(), reason })?;
        let (j, d) = (self.manifest.base_functions, self.manifest.backbone.dimension);
        check_head(location, HEAD, (j, d), self.head.shape(), &row_major(&self.head))?;
        if let Some(w) = &self.classic_head {
            check_head(location, CLASSIC_HEAD, (1, d), (1, w.len()), w.as_slice())?;
        }
        self.check_adapter(location)
    }

    /// There is one where the manifest says that the backbone was tuned, of that kind, and its numbers are finite.
    fn check_adapter(&self, location: &str) -> Result<(), ModelError> {
        let (given, kind) =
            (&self.manifest.kind, self.adapter.as_ref().map_or("head", |a| a.tuning().kind()));
        if given != kind {
            let found = if kind == "head" {
                "no adapter.safetensors".to_owned()
            } else {
                format!("an adapter of kind {kind}")
            };
            let reason = format!("kind: got {given:?}, and there is {found}; allowed: {kind:?}");
            return Err(ModelError::Manifest { location: location.to_owned(), reason });
        }
        match self.adapter.as_ref().and_then(Adapter::not_finite) {
            Some((tensor, index, value)) => Err(ModelError::NotFinite {
                location: location.to_owned(),
                file: format!("{ADAPTER}: {tensor}"),
                index,
                value: f64::from(value),
            }),
            None => Ok(()),
        }
    }
}

fn check_manifest(manifest: &Manifest) -> Result<(), String> {
    let j = manifest.base_functions;
    if manifest.format != Manifest::FORMAT {
        return Err(format!("format: got {}; allowed: {}", manifest.format, Manifest::FORMAT));
    }
    if j == 0 {
        return Err("base_functions: got 0; allowed: at least 1".to_owned());
    }
    if manifest.dtype != "f32" {
        return Err(format!("dtype: got {:?}; allowed: \"f32\"", manifest.dtype));
    }
    let prior = &manifest.prior;
    let square = prior.covariance.len() == j && prior.covariance.iter().all(|row| row.len() == j);
    if prior.mean.len() != j || !square {
        return Err(format!(
            "prior: got a mean of {} numbers and a covariance of {} rows; allowed: {j} numbers, {j} rows of {j}",
            prior.mean.len(),
            prior.covariance.len()
        ));
    }
    if !prior.mean.iter().chain(prior.covariance.iter().flatten()).all(|number| number.is_finite()) {
        return Err("prior: got a number that is not finite; allowed: finite numbers".to_owned());
    }
    let shares = [("personal_shares", &manifest.personal_shares), ("common_shares", &manifest.common_shares)];
    if let Some((name, shares)) = shares.iter().find(|(_, shares)| shares.len() != j) {
        return Err(format!("{name}: got {} numbers; allowed: {j}", shares.len()));
    }
    if !manifest.labels.is_empty() && manifest.labels.len() != j {
        return Err(format!("labels: got {}; allowed: none or {j}", manifest.labels.len()));
    }
    if !(0.0..=1.0).contains(&manifest.tie_weight) {
        return Err(format!("tie_weight: got {}; allowed: a number in [0, 1]", manifest.tie_weight));
    }
    manifest.reliability.check().map_err(|invalid| invalid.to_string())
}

fn check_head(
    location: &str,
    file: &str,
    expected: (usize, usize),
    found: (usize, usize),
    values: &[f32],
) -> Result<(), ModelError> {
    if found != expected {
        return Err(ModelError::ArtifactShape {
            location: location.to_owned(),
            file: file.to_owned(),
            expected,
            found: vec![found.0, found.1],
        });
    }
    match values.iter().position(|value| !value.is_finite()) {
        Some(index) => Err(ModelError::NotFinite {
            location: location.to_owned(),
            file: file.to_owned(),
            index,
            value: f64::from(values[index]),
        }),
        None => Ok(()),
    }
}

/// A matrix as the one tensor of a safetensors file.
fn encode(rows: usize, columns: usize, row_major: &[f32]) -> Vec<u8> {
    let bytes: Vec<u8> = row_major.iter().flat_map(|value| value.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F32, vec![rows, columns], &bytes)
        .expect("four bytes were written for each of rows × columns values");
    safetensors::serialize([(WEIGHT, view)], None).expect("one f32 tensor without metadata serializes")
}

fn decode(
    bytes: &[u8],
    file: &str,
    (rows, columns): (usize, usize),
    location: &ArtifactLocation,
) -> Result<DMatrix<f32>, ModelError> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| location.file(file, error))?;
    let weight = tensors.tensor(WEIGHT).map_err(|error| location.file(file, error))?;
    if weight.dtype() != Dtype::F32 {
        return Err(location.file(file, format!("{WEIGHT} is {:?}; allowed: F32", weight.dtype())));
    }
    if weight.shape() != [rows, columns] {
        return Err(ModelError::ArtifactShape {
            location: location.name.clone(),
            file: file.to_owned(),
            expected: (rows, columns),
            found: weight.shape().to_vec(),
        });
    }
    let values =
        weight.data().chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]]));
    Ok(DMatrix::from_row_iterator(rows, columns, values))
}

fn row_major(matrix: &DMatrix<f32>) -> Vec<f32> {
    matrix.transpose().as_slice().to_vec()
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
