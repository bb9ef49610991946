use super::model_summary::ModelSummary;
use super::{Engine, EngineError};
use crate::domain::{ModelVersion, TenantId};
use crate::model::{Artifact, ArtifactLocation, Example, Examples};

/// What a model rewards.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelDescription {
    /// The model.
    pub model: ModelSummary,
    /// Its base reward functions, in order.
    pub base_functions: Vec<BaseFunction>,
}

/// One base reward function.
#[derive(Debug, Clone, PartialEq)]
pub struct BaseFunction {
    /// Its share of what people differ on, D_jj / tr D.
    pub difference_share: f64,
    /// Its share of what people have in common, μ_j² / ‖μ‖².
    pub common_share: f64,
    /// μ_j, the average person's coefficient.
    pub prior_mean: f64,
    /// √Σ_jj, how far people's coefficients lie from it.
    pub prior_standard_deviation: f64,
    /// What it rewards, in a few words; empty where no word fits.
    pub label: String,
    /// Texts that it rewards most, best first.
    pub top: Vec<Example>,
    /// Texts that it rewards least, worst first.
    pub bottom: Vec<Example>,
}

impl Engine {
    /// What each base function of a model rewards, with at most `examples` texts at each end; a shared model shows no
    /// texts, which are another's.
    pub async fn describe_model(
        &self,
        tenant: &TenantId,
        version: Option<&ModelVersion>,
        examples: usize,
    ) -> Result<ModelDescription, EngineError> {
        let row = self.model_row(tenant, version).await?;
        let location = ArtifactLocation::new(row.location.clone());
        let (model, manifest) = ModelSummary::read(row)?;
        let texts = if model.shared { Vec::new() } else { Artifact::load(&location).await?.examples };
        // Both were found to have J rows when the model was registered.
        let (mean, covariance) = (manifest.prior.mean(), manifest.prior.covariance());
        let base_functions = (0..manifest.base_functions)
            .map(|j| {
                let Examples { mut top, mut bottom } = texts.get(j).cloned().unwrap_or_default();
                top.truncate(examples);
                bottom.truncate(examples);
                let share = |shares: &[f64]| shares.get(j).copied().unwrap_or(0.0);
                BaseFunction {
                    difference_share: share(&manifest.personal_shares),
                    common_share: share(&manifest.common_shares),
                    prior_mean: mean[j],
                    prior_standard_deviation: covariance[(j, j)].sqrt(),
                    label: manifest.labels.get(j).cloned().unwrap_or_default(),
                    top,
                    bottom,
                }
            })
            .collect();
        Ok(ModelDescription { model, base_functions })
    }
}
