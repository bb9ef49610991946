//! What each φ is told of a set's texts.

use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use serde::Serialize;

use super::questions::Questions;
use crate::evaluate::attributes::{ATTRIBUTES, Config, FEATURES, Population};
use crate::evaluate::contestants::Entry;
use crate::evaluate::corpus::Corpus;
use crate::evaluate::models::{Classic, Factored, Model};
use crate::evaluate::{Contestants, EvaluateError, Method, Set};
use crate::math::factorization::{EmOptions, empirical_bayes};
use crate::math::{Acquisition, Evidence};
use crate::model::Backbone;
use crate::train::{Dataset, TextId};

/// Weight of a tie for the prior of known features; the middle of what trainings choose.
const TIE_WEIGHT: f64 = 0.25;
/// Ridge of the readout as a share of each feature's variance: by R² on prompts held out, it hardly matters.
const RIDGE: f64 = 0.1;
/// Parts that a set's prompts are cut into, for what is read of texts that it was not fitted to. How far people follow it, the
/// prior, is read off these: texts that it was fitted to it explains better than the unseen ones that they are asked about.
const FOLDS: usize = 5;

/// What a φ is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// The scores of the seven attributes, and quality.
    #[serde(rename = "true scores")]
    TrueScores,
    /// The scores of the seven attributes, and the classic reward in place of quality.
    Attributes,
    /// The best linear readout of all true scores from the embeddings.
    Readout,
    /// What was learned from judgments.
    Learned,
}

impl Features {
    pub(super) const ALL: [Self; 4] = [Self::TrueScores, Self::Attributes, Self::Readout, Self::Learned];

    /// The name in the table, and in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TrueScores => "true scores",
            Self::Attributes => "attributes",
            Self::Readout => "readout",
            Self::Learned => "learned",
        }
    }
}

/// One seed's data, the truth of its texts, and what was learned from its judgments.
pub(super) struct Trained {
    pub(super) set: Set,
    /// N × [`FEATURES`]
    train_scores: DMatrix<f64>,
    test_scores: DMatrix<f64>,
    learned: Contestants,
}

impl Trained {
    pub(super) fn new(
        backbone: &dyn Backbone,
        config: &Config,
        base_functions: Option<usize>,
        seed: u64,
    ) -> Result<Self, EvaluateError> {
        let set = Set::new(backbone, config, seed)?;
        let learned =
            set.contestants(&[Method::Classic, Method::Pref, Method::Random], base_functions, &mut |_| {})?;
        let (train_scores, test_scores) =
            (scores(&set.population, &set.train), scores(&set.population, &set.test));
        Ok(Self { set, train_scores, test_scores, learned })
    }

    /// A φ with its prior, asking by information gain and at random.
    pub(super) fn known(&self, features: Features) -> Result<Known, EvaluateError> {
        let (seen, unseen) = (&self.set.train_embeddings, &self.set.test_embeddings);
        let (train, test) = match features {
            Features::Learned => {
                let [choosing, drawing] = [Method::Pref, Method::Random].map(|by| self.learned(by));
                return Ok(Known { choosing, drawing });
            }
            Features::Readout => {
                let map = readout(seen, &self.train_scores)?;
                (readout_of_unseen(&self.set, &self.train_scores)?, unseen * map)
            }
            Features::Attributes => {
                let shared = self.learned(Method::Classic).model.encode(unseen);
                (
                    without_quality(&self.train_scores, &classic_of_unseen(&self.set)?),
                    without_quality(&self.test_scores, &shared.row(0).transpose()),
                )
            }
            Features::TrueScores => (self.train_scores.clone(), self.test_scores.clone()),
        };
        let options = EmOptions { rounds: 60, tolerance: 1e-4, pseudo_users: 2.0 };
        let prior = Arc::new(empirical_bayes(&evidence(&self.set.train, &train), train.ncols(), &options)?);
        let texts = Arc::new(test.transpose());
        let asking = |by| Entry::new(Arc::new(Factored::served(prior.clone(), by, 0.0)), texts.clone());
        Ok(Known { choosing: asking(Acquisition::InformationGain), drawing: asking(Acquisition::Random) })
    }

    /// A φ before people who answer these questions, and the classic reward.
    pub(super) fn contestants(&self, known: &Known, questions: Questions) -> Contestants {
        let entry = match questions {
            Questions::Own => known.choosing.clone(),
            Questions::Random => known.drawing.clone(),
            Questions::Learned => {
                Entry { asker: Some(Arc::new(self.learned(Method::Pref))), ..known.choosing.clone() }
            }
        };
        let classic = (Method::Classic, self.learned(Method::Classic));
        Contestants::from_entries([(questions.method(), entry), classic])
    }

    fn learned(&self, method: Method) -> Entry {
        self.learned.get(method).expect("trained in Trained::new").clone()
    }
}

/// A φ, by how it asks when it is the one who asks.
pub(super) struct Known {
    choosing: Entry,
    drawing: Entry,
}

/// The true scores of every text.
fn scores(population: &Population, data: &Dataset) -> DMatrix<f64> {
    let mut scores = DMatrix::zeros(data.text_count(), FEATURES);
    for text in 0..data.text_count() {
        let (prompt, response) = data.text(text);
        let traits =
            population.traits(prompt, response).expect("the data are this population's own judgments");
        scores.row_mut(text).iter_mut().zip(traits.features()).for_each(|(to, from)| *to = from);
    }
    scores
}

/// The scores with a shared reward (N) where quality was.
fn without_quality(scores: &DMatrix<f64>, shared: &DVector<f64>) -> DMatrix<f64> {
    let mut scores = scores.clone();
    scores.set_column(ATTRIBUTES, shared);
    scores
}

/// The classic reward of each text of the training set by [`cross_fitted`], with the ridge strength that classic chooses (N).
fn classic_of_unseen(set: &Set) -> Result<DVector<f64>, EvaluateError> {
    let rows: Vec<usize> = (0..set.train.rows().len()).collect();
    let corpus = Corpus::new(&set.train, &set.train_embeddings, &rows, set.seed)?;
    cross_fitted(&corpus, &set.train, Classic::ridge(&corpus)?)
}

/// The classic reward of each text, fitted without the judgments of its own prompt and others (N).
fn cross_fitted(corpus: &Corpus<'_>, data: &Dataset, ridge: f64) -> Result<DVector<f64>, EvaluateError> {
    let mut rewards = DVector::zeros(data.text_count());
    for left_out in 0..FOLDS {
        let others: Vec<_> = corpus.all.iter().copied().filter(|o| fold(data, o.first) != left_out).collect();
        let classic = Classic::fit(corpus, &others, ridge)?.encode(corpus.embeddings);
        for text in (0..data.text_count()).filter(|&text| fold(data, text) == left_out) {
            rewards[text] = classic[(0, text)];
        }
    }
    Ok(rewards)
}

/// The readout of each text, fitted without the scores of its own prompt and others (N × J).
fn readout_of_unseen(set: &Set, scores: &DMatrix<f64>) -> Result<DMatrix<f64>, EvaluateError> {
    let h = &set.train_embeddings;
    let mut read = DMatrix::zeros(scores.nrows(), scores.ncols());
    for left_out in 0..FOLDS {
        let (own, others): (Vec<TextId>, Vec<TextId>) =
            (0..scores.nrows()).partition(|&text| fold(&set.train, text) == left_out);
        let map = readout(&h.select_rows(&others), &scores.select_rows(&others))?;
        let of_own = h.select_rows(&own) * map;
        own.iter().zip(of_own.row_iter()).for_each(|(&text, row)| read.set_row(text, &row));
    }
    Ok(read)
}

/// Which of [`FOLDS`] parts a text's prompt is in.
fn fold(data: &Dataset, text: TextId) -> usize {
    let (prompts, prompt) = (data.prompts(), data.text(text).0);
    prompts.partition_point(|other| other.as_str() < prompt) * FOLDS / prompts.len()
}

/// Every user's judgments with the differences of known features (N × J).
fn evidence(data: &Dataset, features: &DMatrix<f64>) -> Vec<Vec<Evidence>> {
    let mut evidence = vec![Vec::new(); data.users().len()];
    for row in data.rows() {
        let pair = data.pairs()[row.pair];
        evidence[row.user].push(Evidence {
            delta: (features.row(pair.first) - features.row(pair.second)).transpose(),
            preference: row.preference,
            weight: row.weight * if row.is_decided() { 1.0 } else { TIE_WEIGHT },
        });
    }
    evidence
}

/// The d × J map from embeddings to scores by ridge regression on centred columns.
fn readout(embeddings: &DMatrix<f64>, scores: &DMatrix<f64>) -> Result<DMatrix<f64>, EvaluateError> {
    let centred = |matrix: &DMatrix<f64>| {
        let mut centred = matrix.clone();
        let mean = matrix.row_mean();
        centred.row_iter_mut().for_each(|mut row| row -= &mean);
        centred
    };
    let (h, y) = (centred(embeddings), centred(scores));
    let mut gram = h.transpose() * &h;
    let variance: DVector<f64> = gram.diagonal();
    // Coordinates in which no text differs get a ridge too, and no weight.
    let least = 1e-9 * variance.max().max(f64::MIN_POSITIVE);
    gram.set_diagonal(&variance.map(|v| v * (1.0 + RIDGE) + least));
    let factor = gram
        .cholesky()
        .ok_or(crate::math::MathError::NotPositiveDefinite { what: "the readout's system" })?;
    Ok(factor.solve(&(h.transpose() * y)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Judgment;

    #[test]
    fn a_readout_finds_a_linear_map_and_ignores_what_never_differs() {
        let h = DMatrix::from_fn(50, 3, |t, k| if k == 2 { 7.0 } else { ((t * (k + 3)) % 11) as f64 });
        let y = &h * DMatrix::from_column_slice(3, 1, &[1.0, -2.0, 0.0]);
        let map = readout(&h, &y).unwrap();
        assert!((map[0] - 1.0).abs() < 0.3 && (map[1] + 2.0).abs() < 0.3 && map[2].abs() < 1e-6, "{map}");
    }

    #[test]
    fn a_cross_fitted_reward_does_not_know_the_judgments_of_its_own_prompt() {
        let config = Config { users: 6, pairs: 340, ..Config::default() };
        let judgments = Population::new(config, 5).unwrap().judgments();
        let asked = judgments[0].comparison.prompt.clone();
        let rewards = |judgments: &[Judgment]| {
            let data = Dataset::from_judgments(judgments);
            let embeddings = DMatrix::from_fn(data.text_count(), 5, |t, k| ((t * (2 * k + 3)) % 17) as f64);
            let rows: Vec<usize> = (0..data.rows().len()).collect();
            let corpus = Corpus::new(&data, &embeddings, &rows, 0).unwrap();
            let rewards = cross_fitted(&corpus, &data, 10.0).unwrap();
            let own = (0..data.text_count()).map(|text| data.text(text).0 == asked);
            own.zip(rewards.iter().copied()).collect::<Vec<_>>()
        };
        let turned: Vec<Judgment> = (judgments.iter().cloned())
            .map(|mut judgment| {
                if judgment.comparison.prompt == asked {
                    judgment.preference = 1.0 - judgment.preference;
                }
                judgment
            })
            .collect();
        let changes: Vec<(bool, f64)> = (rewards(&judgments).into_iter().zip(rewards(&turned)))
            .map(|((own, one), (_, other))| (own, (one - other).abs()))
            .collect();
        let most = |own: bool| changes.iter().filter(|c| c.0 == own).map(|c| c.1).fold(0.0, f64::max);
        assert!(most(true) < 1e-9 && most(false) > 1e-4, "{} {}", most(true), most(false));
    }
}
