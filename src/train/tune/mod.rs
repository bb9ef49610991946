//! Training of the backbone beside the head and the people (§4.1, "Training"; Algorithm 1, line 4).
//!
//! From the fit on the backbone as it is (Algorithm 1, lines 1 to 3), AdamW over batches of pairs moves the backbone's
//! weights or low-rank adapters of them, W and Λ together; the weights that predict held-out judgments best are kept.
//! W, Λ and the population are then learned anew on the tuned embeddings by [`train`], as for a backbone that is not
//! tuned: what is kept of the descent is the backbone alone.
//!
//! `objective` is the loss, `adamw` and `schedule` the steps, `batches` what each step sees, `descent` the loop,
//! `checkpoint` what a training that was stopped goes on from.

mod adamw;
mod batches;
mod checkpoint;
mod config;
mod curve;
mod descent;
mod objective;
mod schedule;
#[cfg(test)]
mod tests;

use nalgebra::DMatrix;

use super::fit::Corpus;
use super::measure::HeldOut;
use super::watch::Watch;
use super::{Dataset, Observer, Quadrant, Stage, TrainConfig, TrainError, Trained, embed, labels, train};
use crate::math::factorization::Config;
use crate::model::{BackboneOptions, TunableBackbone, open_backbone, open_tuned};
use checkpoint::Checkpoint;
use descent::{Descent, Judgments};

pub use config::TuneConfig;
pub use curve::{TuningPoint, TuningReport};

/// [`train`] on a backbone that is tuned first, on the judgments that `train` learns from when it measures: people and
/// prompts on which a model is measured have moved no weight of it.
///
/// With [`TuneConfig::checkpoint`] a training that was stopped goes on where its state was last kept, and gives what it
/// would have given.
///
/// # Errors
/// As [`train`]; a backbone that has no weights to tune; settings out of range; a checkpoint of another training; a
/// loss that is not finite.
pub fn train_tuned(
    data: &Dataset,
    config: &TrainConfig,
    tune: &TuneConfig,
    backbone: &str,
    options: &BackboneOptions,
    observer: &mut dyn Observer,
) -> Result<Trained, TrainError> {
    tune.check().map_err(TrainError::Setting)?;
    if let [user] = data.users() {
        return Err(TrainError::SingleUser { user: user.to_string() });
    }
    let tunable = TunableBackbone::open(backbone, options, tune.tuning, config.seed)?;
    let held_out = HeldOut::draw(data, &(0..data.rows().len()).collect::<Vec<_>>(), config.seed);

    // Algorithm 1, lines 1 to 3, on the backbone as it is.
    let frozen = open_backbone(backbone, options)?;
    let embeddings = embed::embed(data, &*frozen, &mut Watch::part(observer, Stage::Start, 0.0, 0.5))?;
    drop(frozen);
    let corpus = corpus(data, embeddings);
    let factorization = Config { base_functions: config.base_functions, seed: config.seed, start: None };
    let watch = &mut Watch::part(observer, Stage::Start, 0.5, 1.0);
    let start = corpus.choose(&held_out.train, &factorization, watch)?;
    drop(corpus);

    // Line 4.
    let cuts = super::split::cuts(data, &held_out.train, config.seed);
    let Some(split) = cuts.first() else { return Err(TrainError::too_few(data)) };
    let judgments = Judgments::new(
        data,
        split.rows(Quadrant::Train),
        split.rows(Quadrant::Validation),
        start.hyperparameters.tie_weight,
    );
    let checkpoint = tune.checkpoint.as_ref().map(|folder| {
        let mut identity = tune.identity();
        identity.extend([
            ("data".to_owned(), data.digest()),
            ("backbone".to_owned(), tunable.frozen().hash.clone()),
            ("seed".to_owned(), config.seed.to_string()),
            ("base_functions".to_owned(), format!("{:?}", config.base_functions)),
            ("pref's version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]);
        Checkpoint::new(folder, identity)
    });
    if let (Some(checkpoint), true) = (&checkpoint, tune.fresh) {
        checkpoint.remove()?;
    }
    let descent = Descent::new(data, &tunable, &judgments, &start.start, tune, config.seed)?;
    let ended = descent.run(checkpoint.as_ref(), observer)?;
    let adapter = tunable.adapter(&ended.best)?;
    drop(tunable);

    let tuned = open_tuned(backbone, options, &adapter)?;
    let mut trained = train(data, config, &*tuned, observer)?;
    trained.report.tuning = Some(TuningReport {
        kind: tune.tuning.kind(),
        parameters: adapter.parameters(),
        judgments: split.rows(Quadrant::Train).len(),
        validation: start.validation.comparisons,
        steps: ended.steps,
        best_step: ended.best_step,
        resumed_at: ended.resumed_at,
        frozen: start.validation,
        tuned: trained.report.validation,
        curve: ended.curve,
    });
    trained.artifact.manifest.kind = tune.tuning.kind().to_owned();
    trained.artifact.adapter = Some(adapter);
    Ok(trained)
}

/// Removes the state of a training whose model has been kept.
///
/// # Errors
/// A folder that cannot be changed.
pub fn remove_checkpoint(tune: &TuneConfig) -> Result<(), TrainError> {
    match &tune.checkpoint {
        Some(folder) => Checkpoint::new(folder, Default::default()).remove(),
        None => Ok(()),
    }
}

fn corpus(data: &Dataset, embeddings: DMatrix<f64>) -> Corpus<'_> {
    let style = labels::style_measures(data).column(labels::SIGN_MEASURE).iter().copied().collect();
    Corpus { data, embeddings, style }
}
