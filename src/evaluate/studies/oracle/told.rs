//! What each φ is told of a set's texts.

use std::sync::Arc;

use nalgebra::{DMatrix, DVector};

use super::{ATTRIBUTES_TOLD, LEARNED, OracleConfig, Questions, READOUT};
use crate::evaluate::attributes::{ATTRIBUTES, FEATURES, Population};
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
/// Parts that a set's prompts are cut into, for rewards of texts that they were not fitted to.
const FOLDS: usize = 5;

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
        config: &OracleConfig,
        seed: u64,
    ) -> Result<Self, EvaluateError> {
        let set = Set::new(backbone, &config.set, seed)?;
        let learned = set.contestants(
            &[Method::Classic, Method::Pref, Method::Random],
            config.base_functions,
            &mut |_| {},
        )?;
        let (train_scores, test_scores) =
            (scores(&set.population, &set.train), scores(&set.population, &set.test));
        Ok(Self { set, train_scores, test_scores, learned })
    }

    /// A φ with its prior, asking by information gain and at random.
    pub(super) fn known(&self, features: &str) -> Result<Known, EvaluateError> {
        if features == LEARNED {
            return Ok(Known { choosing: self.learned(Method::Pref), drawing: self.learned(Method::Random) });
        }
        let (seen, unseen) = (&self.set.train_embeddings, &self.set.test_embeddings);
        let (train, test) = match features {
            READOUT => {
                let map = readout(seen, &self.train_scores)?;
                (seen * &map, unseen * &map)
            }
            ATTRIBUTES_TOLD => {
                let shared = self.learned(Method::Classic).model.encode(unseen);
                (
                    without_quality(&self.train_scores, &classic_of_unseen(&self.set)?),
                    without_quality(&self.test_scores, &shared.row(0).transpose()),
                )
            }
            _ => (self.train_scores.clone(), self.test_scores.clone()),
        };
        let options = EmOptions { rounds: 60, tolerance: 1e-4, pseudo_users: 2.0 };
        let prior = Arc::new(empirical_bayes(&evidence(&self.set.train, &train), train.ncols(), &options)?);
        let texts = Arc::new(test.transpose());
        let asking = |by| Entry::new(Arc::new(Factored::served(prior.clone(), by)), texts.clone());
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

/// The classic reward of each text of the training set, fitted without the judgments of its own prompt (N). How far people
/// follow it is read off these: texts that it was fitted to it explains better than the unseen ones that they are asked about.
fn classic_of_unseen(set: &Set) -> Result<DVector<f64>, EvaluateError> {
    let (data, embeddings) = (&set.train, &set.train_embeddings);
    let rows: Vec<usize> = (0..data.rows().len()).collect();
    let corpus = Corpus::new(data, embeddings, &rows, set.seed)?;
    let ridge = Classic::ridge(&corpus)?;
    let fold = |text: TextId| {
        let prompts = data.prompts();
        let prompt = data.text(text).0;
        prompts.partition_point(|other| other.as_str() < prompt) * FOLDS / prompts.len()
    };
    let mut rewards = DVector::zeros(data.text_count());
    for left_out in 0..FOLDS {
        let others: Vec<_> = corpus.all.iter().copied().filter(|o| fold(o.first) != left_out).collect();
        let classic = Classic::fit(&corpus, &others, ridge)?.encode(embeddings);
        for text in (0..data.text_count()).filter(|&text| fold(text) == left_out) {
            rewards[text] = classic[(0, text)];
        }
    }
    Ok(rewards)
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

    #[test]
    fn a_readout_finds_a_linear_map_and_ignores_what_never_differs() {
        let h = DMatrix::from_fn(50, 3, |t, k| if k == 2 { 7.0 } else { ((t * (k + 3)) % 11) as f64 });
        let y = &h * DMatrix::from_column_slice(3, 1, &[1.0, -2.0, 0.0]);
        let map = readout(&h, &y).unwrap();
        assert!((map[0] - 1.0).abs() < 0.3 && (map[1] + 2.0).abs() < 0.3 && map[2].abs() < 1e-6, "{map}");
    }
}
