//! The methods of an evaluation, trained and with the texts of the evaluation before them.

use std::collections::BTreeMap;
use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use serde::Serialize;

use super::EvaluateError;
use super::corpus::Corpus;
use super::method::Method;
use super::models::{Classic, Factored, Fit, Lore, Model, Pal, Paper, PerUser, Vpl};
use super::search::Tuning;
use crate::math::Prior;
use crate::math::factorization::Start;
use crate::model::{RewardModel, Text};
use crate::train::Dataset;

/// Methods, each with its model and its view of the evaluation's texts.
pub struct Contestants {
    entries: BTreeMap<Method, Entry>,
    pub(super) version: String,
    pub(super) trained: Vec<TrainedMethod>,
    /// Digest of the dataset that they were trained on here, or on a part of.
    pub(super) trained_on: Option<String>,
    /// Singular values of the factorization's start, where one was trained here.
    pub(super) spectrum: Vec<f64>,
    /// J, where a factorization was trained here or loaded.
    pub(super) base_functions: usize,
}

#[derive(Clone)]
pub(super) struct Entry {
    pub(super) model: Arc<dyn Model>,
    /// A column a text of the evaluation.
    pub(super) texts: Arc<DMatrix<f64>>,
    /// Whose questions people are asked; nothing where they are its own.
    pub(super) asker: Option<Arc<Entry>>,
}

impl Entry {
    /// Asks its own questions.
    pub(super) fn new(model: Arc<dyn Model>, texts: Arc<DMatrix<f64>>) -> Self {
        Self { model, texts, asker: None }
    }
}

/// How a method was trained.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainedMethod {
    /// Which.
    pub method: Method,
    /// What was chosen on validation judgments.
    #[serde(flatten)]
    pub tuning: Tuning,
}

/// What to train.
#[derive(Debug, Clone)]
pub struct Training {
    /// J of this project's model; nothing takes the elbow of the spectrum and climbs.
    pub base_functions: Option<usize>,
    /// Seed of the validation split and of all starts.
    pub seed: u64,
}

impl Contestants {
    /// Those that an artifact holds.
    ///
    /// # Errors
    /// Methods that must be trained, a model without a shared reward, texts that cannot be embedded.
    pub fn of_model(
        model: &RewardModel,
        dataset: &Dataset,
        methods: &[Method],
    ) -> Result<Self, EvaluateError> {
        refuse_untrained(methods)?;
        let manifest = model.manifest();
        let texts: Vec<Text<'_>> = (0..dataset.text_count())
            .map(|text| {
                let (prompt, response) = dataset.text(text);
                Text::new(prompt, response)
            })
            .collect();
        let embeddings = model.embed(&texts)?;
        let phi = DMatrix::from_columns(&model.features_of_embeddings(&embeddings)?);
        let shared = model
            .classic_of_embeddings(&embeddings)?
            .ok_or_else(|| EvaluateError::NoClassicHead { version: manifest.version.clone() })?;
        let shared = DMatrix::from_row_slice(1, shared.len(), &shared);
        let prior = Arc::new(Prior::new(manifest.prior.mean(), manifest.prior.covariance())?);
        let (phi, shared) = (Arc::new(phi), Arc::new(shared));
        let entry = |&method: &Method| {
            let entry = match method.acquisition() {
                Some(acquisition) => {
                    let lapse_rate = manifest.reliability.lapse_rate();
                    let factored = Factored::served(prior.clone(), acquisition, lapse_rate);
                    Entry::new(Arc::new(factored), phi.clone())
                }
                None => Entry::new(Arc::new(Classic::new(DVector::from_element(1, 1.0))), shared.clone()),
            };
            (method, entry)
        };
        Ok(Self {
            entries: methods.iter().map(entry).collect(),
            version: manifest.version.clone(),
            trained: Vec::new(),
            trained_on: None,
            spectrum: manifest.spectrum.clone(),
            base_functions: manifest.base_functions,
        })
    }

    /// Trains each method on some rows of `data` and lets it see the texts of the evaluation, embedded as `tested`
    /// (N × d). `done` hears of each as it is ready.
    ///
    /// # Errors
    /// Too few judgments.
    pub fn train(
        data: &Dataset,
        embeddings: &DMatrix<f64>,
        rows: &[usize],
        tested: &DMatrix<f64>,
        methods: &[Method],
        training: &Training,
        done: &mut dyn FnMut(&TrainedMethod),
    ) -> Result<Self, EvaluateError> {
        let corpus = Corpus::new(data, embeddings, rows, training.seed)?;
        let digest = data.digest();
        let mut contestants = Self {
            entries: BTreeMap::new(),
            version: format!("trained here on {}, seed {}", &digest[..12], training.seed),
            trained: Vec::new(),
            trained_on: Some(digest),
            spectrum: Vec::new(),
            base_functions: 0,
        };
        let own = |method: &Method| method.acquisition().is_some() || *method == Method::NoReg;
        let fit = match methods.iter().any(own) {
            true => Some(Fit::train(&corpus, training.base_functions, None)?),
            false => None,
        };
        if let Some((fit, _)) = &fit {
            contestants.spectrum.clone_from(&fit.spectrum);
            contestants.base_functions = fit.base_functions;
        }
        for &method in methods {
            let (model, tuning): (Arc<dyn Model>, Tuning) = match (method, &fit) {
                (Method::Classic, _) => shared(Classic::train(&corpus)?),
                (Method::Paper, _) => shared(Paper::train(&corpus)?),
                (Method::PerUser, _) => shared(PerUser::train(&corpus)?),
                (Method::Vpl, _) => shared(Vpl::train(&corpus)?),
                (Method::Pal, _) => shared(Pal::train(&corpus)?),
                (Method::Lore, _) => shared(Lore::train(&corpus)?),
                (Method::NoSvd, fit) => {
                    // The elbow of a spectrum needs one.
                    let j = fit.as_ref().map(|(fit, _)| fit.base_functions).or(training.base_functions);
                    let (random, tuning) = Fit::train(&corpus, j.or(Some(8)), Some(Start::Random))?;
                    (Arc::new(random.asking(crate::math::Acquisition::InformationGain)), tuning)
                }
                (Method::NoReg, Some((fit, tuning))) => {
                    let free = fit.without_penalty(&corpus)?;
                    // J and tie weight are of those trials; nothing was tried without a penalty.
                    let tuning = Tuning { chosen: free.setting(), log_likelihood: None, ..*tuning };
                    (Arc::new(free.asking(crate::math::Acquisition::InformationGain)), tuning)
                }
                (method, Some((fit, tuning))) => match method.acquisition() {
                    Some(acquisition) => (Arc::new(fit.asking(acquisition)), tuning.clone()),
                    None => continue,
                },
                (_, None) => continue,
            };
            let trained = TrainedMethod { method, tuning };
            done(&trained);
            contestants.trained.push(trained);
            let texts = Arc::new(model.encode(tested));
            contestants.entries.insert(method, Entry::new(model, texts));
        }
        Ok(contestants)
    }

    /// Methods whose models were made elsewhere.
    pub(super) fn from_entries(entries: impl IntoIterator<Item = (Method, Entry)>) -> Self {
        Self {
            entries: entries.into_iter().collect(),
            version: "given".to_owned(),
            trained: Vec::new(),
            trained_on: None,
            spectrum: Vec::new(),
            base_functions: 0,
        }
    }

    /// A method of this evaluation.
    pub(super) fn get(&self, method: Method) -> Option<&Entry> {
        self.entries.get(&method)
    }
}

fn shared<M: Model + 'static>((model, tuning): (M, Tuning)) -> (Arc<dyn Model>, Tuning) {
    (Arc::new(model), tuning)
}

fn refuse_untrained(methods: &[Method]) -> Result<(), EvaluateError> {
    let (untrained, held): (Vec<Method>, Vec<Method>) =
        Method::ALL.into_iter().partition(|method| method.needs_training());
    let names = |methods: Vec<Method>| methods.iter().map(|m| m.name()).collect::<Vec<_>>().join(", ");
    let wanted: Vec<Method> = untrained.into_iter().filter(|method| methods.contains(method)).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    Err(EvaluateError::NeedsTraining { methods: names(wanted), allowed: names(held) })
}
