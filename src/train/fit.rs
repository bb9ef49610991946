use nalgebra::{DMatrix, DVector};

use super::split::{Split, cuts, folds};
use super::watch::Watch;
use super::{Dataset, Quadrant, Row, TrainError, ValidationScore};
use crate::math::factorization::{
    self, Comparisons, Config, Cut, Factorization, Hyperparameters, Newcomers, Observation, Problem, Trial,
};
use crate::math::{Evidence, MathError, Posterior, Prior};

/// Of the choice of hyperparameters, where the trials of the factorization end, and those of the shared reward.
const TUNED: f64 = 0.6;
const SHARED: f64 = 0.65;

/// A dataset with the embeddings of its texts.
pub(super) struct Corpus<'a> {
    pub(super) data: &'a Dataset,
    /// h, N × d.
    pub(super) embeddings: DMatrix<f64>,
    /// The style measure whose correlation with a base function is positive, one number a text.
    pub(super) style: Vec<f64>,
}

/// What was chosen on held-out judgments, for the base functions and for the shared reward.
#[derive(Debug, Clone)]
pub(super) struct Chosen {
    pub(super) hyperparameters: Hyperparameters,
    /// Ridge strength of the shared reward.
    pub(super) ridge: f64,
    /// What was tried.
    pub(super) trials: Vec<Trial>,
    /// The best trial's fit, without the judgments held out first.
    pub(super) start: Factorization,
    /// How it predicts those.
    pub(super) validation: ValidationScore,
}

/// The base functions beside one shared reward, fitted on the same rows.
pub(super) struct Fitted {
    pub(super) factorization: Factorization,
    /// w ∈ Rᵈ, the one reward shared by all.
    pub(super) classic: DVector<f64>,
    /// φ = W h of every text of the dataset, N × J.
    pub(super) features: DMatrix<f64>,
    /// wᵀh of every text of the dataset.
    rewards: DVector<f64>,
}

impl Corpus<'_> {
    /// Chooses hyperparameters on prompts of `rows` that are held out for their own users ([`cuts`]).
    pub(super) fn choose(
        &self,
        rows: &[usize],
        config: &Config,
        watch: &mut Watch<'_>,
    ) -> Result<Chosen, TrainError> {
        let parts = cuts(self.data, rows, config.seed);
        let [first, ..] = &parts[..] else { return Err(TrainError::too_few(self.data)) };
        let held_out = self.data.observations(first.rows(Quadrant::Validation));
        let cuts = parts.iter().map(|part| self.cut(part)).collect::<Result<Vec<_>, _>>()?;
        let tuned = factorization::tune(&cuts, config, &mut watch.within(0.0, TUNED))?;
        let classic = factorization::tune_classic(&cuts, &mut watch.within(TUNED, SHARED))?;
        let hyperparameters =
            Hyperparameters { ridge: Some(classic.ridge), ..tuned.factorization.hyperparameters };
        let hyperparameters =
            self.calibrate(rows, &hyperparameters, config, &mut watch.within(SHARED, 1.0))?;
        let start = tuned.factorization;
        let validation = self.score(&start, &held_out);
        Ok(Chosen { hyperparameters, ridge: classic.ridge, trials: tuned.trials, start, validation })
    }

    fn cut(&self, split: &Split) -> Result<Cut, MathError> {
        let [train, validation] =
            [Quadrant::Train, Quadrant::Validation].map(|part| self.data.observations(split.rows(part)));
        Cut::new(Problem::new(&self.comparisons(&train))?, &validation)
    }

    fn score(&self, fitted: &Factorization, held_out: &[Observation]) -> ValidationScore {
        let features = fitted.features(&self.embeddings);
        let decided = held_out.iter().filter(|judgment| judgment.preference != 0.5);
        ValidationScore::new(decided.map(|judgment| {
            let delta = features.row(judgment.first) - features.row(judgment.second);
            (fitted.coefficients.row(judgment.user).dot(&delta), judgment.preference)
        }))
    }

    /// The hyperparameters with the prior scaled to what people are like who were not fitted to.
    fn calibrate(
        &self,
        rows: &[usize],
        hyperparameters: &Hyperparameters,
        config: &Config,
        watch: &mut Watch<'_>,
    ) -> Result<Hyperparameters, TrainError> {
        let mut newcomers = Vec::new();
        let folds = folds(self.data, rows, config.seed);
        let share = |fold: usize| fold as f64 / folds.len() as f64;
        for (k, fold) in folds.iter().enumerate() {
            let (fitted, left_out) =
                (self.data.observations(&fold.fitted), self.data.observations(&fold.newcomers));
            let problem = Problem::new(&self.comparisons(&fitted))?;
            let fitted = problem.fit(hyperparameters, config, &mut watch.within(share(k), share(k + 1)))?;
            newcomers.push(Newcomers::new(&fitted, &self.embeddings, &left_out));
        }
        Ok(hyperparameters.scaled(factorization::calibrate(&newcomers)?))
    }

    /// Fits the base functions (Algorithm 1) and the shared reward on some rows.
    pub(super) fn fit(
        &self,
        rows: &[usize],
        chosen: &Chosen,
        config: &Config,
        watch: &mut Watch<'_>,
    ) -> Result<Fitted, TrainError> {
        let observations = self.data.observations(rows);
        let problem = Problem::new(&self.comparisons(&observations))?;
        let classic = problem.classic(chosen.ridge)?.weights;
        let factorization = problem.fit(&chosen.hyperparameters, config, watch)?;
        let features = factorization.features(&self.embeddings);
        let rewards = &self.embeddings * &classic;
        Ok(Fitted { factorization, classic, features, rewards })
    }

    fn comparisons<'b>(&'b self, observations: &'b [Observation]) -> Comparisons<'b> {
        Comparisons {
            embeddings: &self.embeddings,
            observations,
            users: self.data.users().len(),
            style: Some(&self.style),
        }
    }
}

impl Fitted {
    pub(super) fn prior(&self) -> &Prior {
        &self.factorization.prior
    }

    /// λ of a user given some of their rows, as the service fits it.
    pub(super) fn coefficients(&self, data: &Dataset, rows: &[usize]) -> Result<DVector<f64>, TrainError> {
        let tie_weight = self.factorization.hyperparameters.tie_weight;
        let evidence: Vec<Evidence> = (rows.iter().map(|&row| &data.rows()[row]))
            .map(|row| Evidence {
                delta: self.delta(data, row),
                preference: row.preference,
                weight: row.weight * if row.is_decided() { 1.0 } else { tie_weight },
            })
            .collect();
        Ok(Posterior::fit(&evidence, self.prior())?.coefficients().clone())
    }

    /// δ = φ(x, first) − φ(x, second).
    pub(super) fn delta(&self, data: &Dataset, row: &Row) -> DVector<f64> {
        let pair = data.pairs()[row.pair];
        (self.features.row(pair.first) - self.features.row(pair.second)).transpose()
    }

    /// The shared reward's difference, first less second.
    pub(super) fn classic_difference(&self, data: &Dataset, row: &Row) -> f64 {
        let pair = data.pairs()[row.pair];
        self.rewards[pair.first] - self.rewards[pair.second]
    }
}
