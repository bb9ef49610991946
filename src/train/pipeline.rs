use std::time::{SystemTime, UNIX_EPOCH};

use nalgebra::{DMatrix, DVector};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::fit::{Chosen, Corpus, Fitted};
use super::measure::{HeldOut, Quadrants};
use super::watch::Watch;
use super::{Dataset, Observer, Stage, TrainError, TuningReport, ValidationScore, embed, labels};
use crate::domain::{ModelVersion, Reliability};
use crate::math::factorization::{Config, Hyperparameters, Start, Trial};
use crate::math::{SolverReport, Termination};
use crate::model::{Artifact, Backbone, Manifest, PriorRecord, TrainingUsers};

/// What a training may be told.
#[derive(Debug, Clone, Default)]
pub struct TrainConfig {
    /// J; nothing begins at the elbow of the spectrum and climbs by held-out judgments.
    pub base_functions: Option<usize>,
    /// Seed of everything drawn: the same data, backbone and seed give the same model.
    pub seed: u64,
    /// Name of the model; nothing makes one of the data, the backbone and this config.
    pub version: Option<ModelVersion>,
    /// Position of the preference log up to which the data goes, where it comes from there.
    pub log_position: Option<i64>,
    /// How far the answers of the people who are served hold. Training takes all judgments as they are.
    pub reliability: Reliability,
}

/// A trained model and what is known of it.
#[derive(Debug, Clone)]
pub struct Trained {
    /// What serving loads.
    pub artifact: Artifact,
    /// How well it was seen to predict, and what it was made from.
    pub report: TrainReport,
}

/// What a training says of itself.
#[derive(Debug, Clone, Serialize)]
pub struct TrainReport {
    /// The model's name.
    pub model_version: String,
    /// SHA-256 of the judgments.
    pub data_digest: String,
    /// Lines read.
    pub lines: usize,
    /// Lines left out because they compare a text with itself.
    pub equal_responses: usize,
    /// Distinct users.
    pub users: usize,
    /// Distinct prompts.
    pub prompts: usize,
    /// Distinct texts.
    pub texts: usize,
    /// Distinct pairs.
    pub pairs: usize,
    /// Judgments that were learned from.
    pub judgments: usize,
    /// Those among them that are ties.
    pub ties: usize,
    /// J
    pub base_functions: usize,
    /// `svd` or `gradient`.
    pub start: &'static str,
    /// What was chosen on held-out judgments.
    pub hyperparameters: ChosenReport,
    /// What was tried for it, in the order made.
    pub trials: Vec<TrialReport>,
    /// How the fit of the model that is kept ended.
    pub solver: SolverEnd,
    /// How the judgments of the first cut that these were chosen on are predicted.
    pub validation: ValidationScore,
    /// How the backbone was tuned; nothing where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tuning: Option<TuningReport>,
    /// AUC where people or pairs were held out; measured by a model that was fitted without them.
    pub quadrants: Quadrants,
}

/// Hyperparameters, as they are printed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ChosenReport {
    /// J
    pub base_functions: usize,
    /// γ, on the spread of logits.
    pub gamma: f64,
    /// α, on the head's weights.
    pub alpha: f64,
    /// κ, how strongly what people share is penalised beside what they differ on.
    pub kappa: f64,
    /// Soft-impute threshold, as a share of the largest singular value.
    pub threshold: f64,
    /// Weight of a tie's likelihood term.
    pub tie_weight: f64,
    /// The prior's mean, as a multiple of that of the training users.
    pub mean_scale: f64,
    /// What of that mean is beyond the classic reward, as a multiple again.
    pub beyond_scale: f64,
    /// The prior's covariance, as a multiple of that of the training users.
    pub spread_scale: f64,
}

/// How a solver ended, as it is printed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SolverEnd {
    /// `converged`, `stalled` or `iteration limit`.
    pub ended: &'static str,
    /// Rounds made; one that raised the objective was undone and was the last.
    pub iterations: usize,
    /// Largest absolute entry of the gradient by the head in the last round, nats.
    pub gradient_norm: f64,
    /// The objective at the end, nats.
    pub objective: f64,
}

/// One trial and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TrialReport {
    /// The setting.
    #[serde(flatten)]
    pub setting: ChosenReport,
    /// Mean log-likelihood of held-out judgments, nats.
    pub log_likelihood: f64,
}

/// Learns base reward functions from a dataset (§4.1): embeds each text once, chooses hyperparameters on held-out
/// judgments, measures a model that has not seen a fifth of the people and prompts, and fits the model that is kept on
/// all judgments.
///
/// # Errors
/// A single user, texts that the backbone cannot embed, cancellation by the observer.
pub fn train(
    data: &Dataset,
    config: &TrainConfig,
    backbone: &dyn Backbone,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    if let [user] = data.users() {
        return Err(TrainError::SingleUser { user: user.to_string() });
    }
    let embeddings = embed::embed(data, backbone, &mut Watch::begin(observer, Stage::Embed))?;
    let styles = labels::style_measures(data);
    let corpus =
        Corpus { data, embeddings, style: styles.column(labels::SIGN_MEASURE).iter().copied().collect() };
    let factorization = Config { base_functions: config.base_functions, seed: config.seed, start: None };

    let all: Vec<usize> = (0..data.rows().len()).collect();
    let held_out = HeldOut::draw(data, &all, config.seed);
    let chosen = corpus.choose(&held_out.train, &factorization, &mut Watch::begin(observer, Stage::Tune))?;
    let quadrants = {
        let fitted = corpus.fit(
            &held_out.train,
            &chosen,
            &factorization,
            &mut Watch::begin(observer, Stage::Measure),
        )?;
        held_out.quadrants(data, &fitted)?
    };
    let fitted = corpus.fit(&all, &chosen, &factorization, &mut Watch::begin(observer, Stage::Fit))?;

    let report = report(data, config, backbone, &chosen, &fitted, quadrants);
    let artifact = Artifact {
        manifest: manifest(data, config, backbone, &fitted, &styles, &report),
        head: fitted.factorization.head.map(|value| value as f32),
        classic_head: Some(fitted.classic.map(|value| value as f32)),
        adapter: None,
        value_head: None,
        examples: labels::examples(data, &fitted.features),
    };
    Ok(Trained { artifact, report })
}

fn report(
    data: &Dataset,
    config: &TrainConfig,
    backbone: &dyn Backbone,
    chosen: &Chosen,
    fitted: &Fitted,
    quadrants: Quadrants,
) -> TrainReport {
    let data_digest = data.digest();
    let model_version = match &config.version {
        Some(version) => version.to_string(),
        None => version(&data_digest, config, backbone),
    };
    TrainReport {
        model_version,
        data_digest,
        lines: data.lines(),
        equal_responses: data.equal(),
        users: data.users().len(),
        prompts: data.prompts().len(),
        texts: data.text_count(),
        pairs: data.pairs().len(),
        judgments: data.rows().len(),
        ties: data.rows().iter().filter(|row| !row.is_decided()).count(),
        base_functions: fitted.factorization.head.nrows(),
        start: start_name(fitted.factorization.start),
        hyperparameters: (&chosen.hyperparameters).into(),
        solver: fitted.factorization.report.into(),
        trials: chosen.trials.iter().map(TrialReport::from).collect(),
        validation: chosen.validation,
        tuning: None,
        quadrants,
    }
}

fn manifest(
    data: &Dataset,
    config: &TrainConfig,
    backbone: &dyn Backbone,
    fitted: &Fitted,
    styles: &DMatrix<f64>,
    report: &TrainReport,
) -> Manifest {
    let prior = fitted.prior();
    Manifest {
        format: Manifest::FORMAT,
        version: report.model_version.clone(),
        crate_version: env!("CARGO_PKG_VERSION").to_owned(),
        created_unix_ms: SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis() as i64),
        base_functions: report.base_functions,
        backbone: backbone.record(),
        kind: "head".to_owned(),
        dtype: "f32".to_owned(),
        files: Default::default(),
        data_digest: report.data_digest.clone(),
        log_position: config.log_position,
        seed: config.seed,
        start: report.start.to_owned(),
        metrics: metrics(report),
        prior: PriorRecord::new(prior.mean(), prior.covariance()),
        tie_weight: fitted.factorization.hyperparameters.tie_weight,
        reliability: config.reliability,
        spectrum: fitted.factorization.spectrum.clone(),
        personal_shares: shares(&prior.covariance().diagonal()),
        common_shares: shares(&prior.mean().map(|mean| mean * mean)),
        labels: labels::labels(data, &fitted.features, styles),
        training_users: TrainingUsers::new(
            salt(&report.data_digest, &report.model_version),
            data.users().iter().map(|user| user.as_str()),
        ),
    }
}

/// Figures by name: what was counted, and AUC in the quadrants.
fn metrics(report: &TrainReport) -> serde_json::Map<String, serde_json::Value> {
    let mut metrics = serde_json::Map::new();
    for (name, count) in [
        ("judgments", report.judgments),
        ("ties", report.ties),
        ("pairs", report.pairs),
        ("texts", report.texts),
        ("prompts", report.prompts),
    ] {
        metrics.insert(name.to_owned(), count.into());
    }
    for (name, score) in report.quadrants.named() {
        let Some(score) = score else { continue };
        for (measure, value) in [("auc", score.auc), ("classic_auc", score.classic_auc), ("gain", score.gain)]
        {
            metrics.insert(format!("{measure}.{name}"), value.into());
        }
    }
    metrics
}

/// Parts of a sum; zeros where there is nothing to share.
fn shares(parts: &DVector<f64>) -> Vec<f64> {
    let sum = parts.sum();
    parts.iter().map(|part| if sum > 0.0 { part / sum } else { 0.0 }).collect()
}

fn start_name(start: Start) -> &'static str {
    match start {
        Start::SoftImpute => "svd",
        Start::UserGradients => "gradient",
        Start::Random => "random",
    }
}

/// A name that the same data, backbone, config and version of this crate give again.
fn version(data_digest: &str, config: &TrainConfig, backbone: &dyn Backbone) -> String {
    let mut hasher = Sha256::new();
    for part in [data_digest, backbone.hash(), env!("CARGO_PKG_VERSION")] {
        hasher.update(part.as_bytes());
        hasher.update([0]);
    }
    hasher.update(format!("{:?} {}", config.base_functions, config.seed));
    if !config.reliability.is_full() {
        hasher.update(format!(" {:?}", config.reliability));
    }
    format!("pref-{}", hex::encode(&hasher.finalize()[..6]))
}

/// Salt of the hashes of training users: not to be known without the data, and the same when training is repeated.
fn salt(data_digest: &str, version: &str) -> [u8; 16] {
    let digest = Sha256::new()
        .chain_update(b"training users")
        .chain_update(data_digest)
        .chain_update(version)
        .finalize();
    let mut salt = [0; 16];
    salt.copy_from_slice(&digest[..16]);
    salt
}

impl From<&Hyperparameters> for ChosenReport {
    fn from(chosen: &Hyperparameters) -> Self {
        Self {
            base_functions: chosen.base_functions,
            gamma: chosen.gamma,
            alpha: chosen.alpha,
            kappa: chosen.kappa,
            threshold: chosen.threshold,
            tie_weight: chosen.tie_weight,
            mean_scale: chosen.mean_scale,
            beyond_scale: chosen.beyond_scale,
            spread_scale: chosen.spread_scale,
        }
    }
}

impl From<SolverReport> for SolverEnd {
    fn from(report: SolverReport) -> Self {
        let ended = match report.termination {
            Termination::Converged => "converged",
            Termination::Stalled => "stalled",
            Termination::IterationLimit => "iteration limit",
            Termination::NotRun => "not run",
        };
        let SolverReport { iterations, gradient_norm, objective, .. } = report;
        Self { ended, iterations, gradient_norm, objective }
    }
}

impl From<&Trial> for TrialReport {
    fn from(trial: &Trial) -> Self {
        Self { setting: (&trial.hyperparameters).into(), log_likelihood: trial.log_likelihood }
    }
}
