use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use nalgebra::DVector;

use super::{
    Artifact, ArtifactLocation, Backbone, BackboneOptions, Embedding, Manifest, ModelError, OpenBackbones,
    Text, ValueHead,
};

/// φ(x, y) = W h(x, y): a backbone with the head that was trained on it, both resident on the device.
pub struct RewardModel {
    manifest: Manifest,
    backbone: Arc<dyn Backbone>,
    /// Wᵀ, d × J.
    head: Tensor,
    /// w, d × 1.
    classic_head: Option<Tensor>,
    value_head: Option<ValueHead>,
}

impl RewardModel {
    /// Loads the artifact at `location` and opens the backbone that its manifest names, tuned where the artifact has
    /// an adapter.
    pub fn open(location: &ArtifactLocation, options: &BackboneOptions) -> Result<Self, ModelError> {
        Self::open_among(&OpenBackbones::default(), location, options)
    }

    /// As [`Self::open`], on the backbone that is open already where one of `backbones` is it.
    pub fn open_among(
        backbones: &OpenBackbones,
        location: &ArtifactLocation,
        options: &BackboneOptions,
    ) -> Result<Self, ModelError> {
        let artifact = Artifact::load_blocking(location)?;
        let backbone = backbones.open(&artifact.manifest.backbone, artifact.adapter.as_ref(), options)?;
        Self::new(artifact, backbone, &options.device.open()?)
    }

    /// A loaded artifact on a backbone that is already open. The backbone must be the one that the head was trained
    /// on, by its hash.
    pub fn new(artifact: Artifact, backbone: Arc<dyn Backbone>, device: &Device) -> Result<Self, ModelError> {
        let Artifact { manifest, head, classic_head, value_head, .. } = artifact;
        let record = &manifest.backbone;
        if record.hash != backbone.hash() || record.dimension != backbone.dimension() {
            return Err(ModelError::ForeignBackbone {
                version: manifest.version.clone(),
                expected: format!("{} (hash {})", record.id, record.hash),
                found: format!("{} (hash {})", backbone.id(), backbone.hash()),
            });
        }
        // nalgebra keeps columns together, so that the J × d matrix reads as its transpose row by row.
        let (j, d) = head.shape();
        let head = Tensor::from_slice(head.as_slice(), (d, j), device)?;
        let classic_head = match classic_head {
            Some(w) => Some(Tensor::from_slice(w.as_slice(), (d, 1), device)?),
            None => None,
        };
        Ok(Self { manifest, backbone, head, classic_head, value_head })
    }

    /// φ for each of `texts`, J numbers each. Texts of one prompt belong in one call: see [`Backbone::embed`].
    pub fn features(&self, texts: &[Text<'_>]) -> Result<Vec<DVector<f64>>, ModelError> {
        self.features_of_embeddings(&self.embed(texts)?)
    }

    /// h for each of `texts`.
    pub fn embed(&self, texts: &[Text<'_>]) -> Result<Vec<Embedding>, ModelError> {
        self.backbone.embed(texts)
    }

    /// φ = W h for each embedding.
    pub fn features_of_embeddings(&self, embeddings: &[Embedding]) -> Result<Vec<DVector<f64>>, ModelError> {
        let rows = self.product(embeddings, &self.head)?;
        Ok(rows
            .into_iter()
            .map(|row| DVector::from_iterator(row.len(), row.into_iter().map(f64::from)))
            .collect())
    }

    /// The classic single reward wᵀh for each embedding; nothing where the artifact has none.
    pub fn classic_of_embeddings(&self, embeddings: &[Embedding]) -> Result<Option<Vec<f64>>, ModelError> {
        let Some(w) = &self.classic_head else { return Ok(None) };
        Ok(Some(self.product(embeddings, w)?.into_iter().map(|row| f64::from(row[0])).collect()))
    }

    /// What training said of the model.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// What steers a language model token by token; nothing where none was trained.
    pub fn value_head(&self) -> Option<&ValueHead> {
        self.value_head.as_ref()
    }

    /// The backbone, to share with another head.
    pub fn backbone(&self) -> &Arc<dyn Backbone> {
        &self.backbone
    }

    /// J
    pub fn base_functions(&self) -> usize {
        self.manifest.base_functions
    }

    /// The embeddings as rows, times a d × k matrix.
    fn product(&self, embeddings: &[Embedding], matrix: &Tensor) -> Result<Vec<Vec<f32>>, ModelError> {
        let d = self.backbone.dimension();
        if embeddings.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows = Vec::with_capacity(embeddings.len() * d);
        for embedding in embeddings {
            if embedding.vector.len() != d {
                return Err(ModelError::Dimension { expected: d, found: embedding.vector.len() });
            }
            rows.extend_from_slice(&embedding.vector);
        }
        let rows = Tensor::from_vec(rows, (embeddings.len(), d), matrix.device())?;
        Ok(rows.matmul(matrix)?.to_dtype(DType::F32)?.to_vec2()?)
    }
}
