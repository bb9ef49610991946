//! What limits a learned φ: how much of the gain that the true attribute scores reach is reached from text.
//!
//! On the synthetic Attributes set the truth is known. Three φ meet the same new people: the one learned from judgments, the
//! best linear readout of the true scores from the same embeddings, and the scores themselves. From truth to readout the
//! embedding loses, from readout to learned the judgments and the factorization. Each φ is told the answers to the questions
//! that the learned one asked, to its own, and to random ones: whoever knows more also asks better.
//!
//! The truth also knows better than any reward read from text what everybody likes, before the first answer. What answers
//! add to that is shown beside the gain over the classic reward.

use std::fmt;
use std::sync::Arc;

use nalgebra::{DMatrix, DVector};
use serde::Serialize;

use super::{Chart, Pictured, cell};
use crate::evaluate::attributes::{Config, FEATURES, Population};
use crate::evaluate::contestants::Entry;
use crate::evaluate::models::Factored;
use crate::evaluate::protocol::people;
use crate::evaluate::report::{Means, means as add_means};
use crate::evaluate::study::run;
use crate::evaluate::{Contestants, Curve, EvaluateError, Method, Protocol, Set};
use crate::math::factorization::{EmOptions, empirical_bayes};
use crate::math::metrics::{Estimate, mean_and_standard_error};
use crate::math::{Acquisition, Evidence};
use crate::model::Backbone;
use crate::train::Dataset;

/// What to run.
#[derive(Debug, Clone)]
pub struct OracleConfig {
    /// The set, made anew for each seed.
    pub set: Config,
    /// Seeds, each with texts, people and models of its own.
    pub seeds: std::ops::Range<u64>,
    /// Numbers of answers.
    pub answers: Vec<usize>,
    /// Cuts of each person.
    pub cuts: u64,
    /// J of the learned φ.
    pub base_functions: Option<usize>,
}

/// Gains over the classic reward.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Oracle {
    /// People asked, none of whom was trained on.
    pub users: usize,
    /// A line for each φ, asker, and number of answers.
    pub shares: Vec<Share>,
}

/// One φ's gain and what part of the true scores' gain that is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// `learned`, `readout` or `true scores`.
    pub features: &'static str,
    /// Whose questions were answered.
    pub questions: Questions,
    /// Questions answered.
    pub answers: usize,
    /// Mean over people of AUC less that of the classic reward.
    pub gain_mean: f64,
    /// Its standard error.
    pub gain_se: Option<f64>,
    /// Over the same mean for the true scores after such questions.
    pub share: f64,
    /// Mean over people of AUC less that of the same φ before the first answer: what knowing the person is worth.
    pub personal_mean: f64,
    /// Its standard error.
    pub personal_se: Option<f64>,
    /// Over the same mean for the true scores after such questions; nothing without answers.
    pub personal_share: Option<f64>,
}

/// Whose questions people answer before a φ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Questions {
    /// Those that the learned φ chose: the same for all.
    Learned,
    /// Those that the φ itself chose.
    #[serde(rename = "itself")]
    Own,
    /// Drawn at random: the same for all.
    Random,
}

impl Questions {
    const ALL: [Self; 3] = [Self::Learned, Self::Own, Self::Random];

    fn method(self) -> Method {
        match self {
            Self::Learned | Self::Own => Method::Pref,
            Self::Random => Method::Random,
        }
    }

    /// The name in the table, and in JSON.
    fn name(self) -> &'static str {
        match self {
            Self::Learned => "learned",
            Self::Own => "itself",
            Self::Random => "random",
        }
    }
}

const LEARNED: &str = "learned";
const READOUT: &str = "readout";
const TRUE: &str = "true scores";
const FEATURE_SETS: [&str; 3] = [TRUE, READOUT, LEARNED];
/// Weight of a tie for the prior of known features; the middle of what trainings choose.
const TIE_WEIGHT: f64 = 0.25;
/// Ridge of the readout as a share of each feature's variance: by R² on prompts held out, it hardly matters.
const RIDGE: f64 = 0.1;

/// Runs every seed: a set, a split, a training, and the three φ before the people of the unseen quadrant.
///
/// # Errors
/// A set without people to ask; texts that the backbone cannot embed.
pub fn oracle(backbone: &dyn Backbone, config: &OracleConfig) -> Result<Oracle, EvaluateError> {
    let mut answers = config.answers.clone();
    answers.push(0);
    let protocol =
        |questions: Questions| Protocol::new(vec![questions.method()], answers.clone(), config.cuts);
    let mut lines: Vec<Line> = Vec::new();
    for features in FEATURE_SETS {
        for questions in Questions::ALL {
            lines.extend(protocol(questions).answers.iter().map(|&n| Line::new(features, questions, n)));
        }
    }
    let mut users = 0;
    for seed in config.seeds.clone() {
        let trained = Trained::new(backbone, config, seed)?;
        let asked = people(&trained.set.test);
        users += asked.len();
        for features in FEATURE_SETS {
            let known = trained.known(features)?;
            for questions in Questions::ALL {
                let contestants = trained.contestants(&known, questions);
                let mut means = Means::new();
                add_means(0, &run(&asked, &contestants, &protocol(questions))?, &mut means);
                let same = |line: &&mut Line| line.features == features && line.questions == questions;
                lines.iter_mut().filter(same).for_each(|line| line.add(&means));
            }
        }
    }
    let truth = |of: &Line| {
        lines.iter().find(|l| l.features == TRUE && l.questions == of.questions && l.answers == of.answers)
    };
    let shares = lines.iter().filter_map(|line| line.share(truth(line)?)).collect();
    Ok(Oracle { users, shares })
}

/// A line of the table in the making.
struct Line {
    features: &'static str,
    questions: Questions,
    answers: usize,
    /// AUC less that of the classic reward, a number a person.
    gains: Vec<f64>,
    /// AUC less that before the first answer.
    personal: Vec<f64>,
}

impl Line {
    fn new(features: &'static str, questions: Questions, answers: usize) -> Self {
        Self { features, questions, answers, gains: Vec::new(), personal: Vec::new() }
    }

    fn add(&mut self, means: &Means) {
        let method = self.questions.method();
        let (Some(own), Some(before), Some(classic)) = (
            means.get(&(method, self.answers)),
            means.get(&(method, 0)),
            means.get(&(Method::Classic, self.answers)),
        ) else {
            return;
        };
        self.gains.extend(own.iter().filter_map(|(user, auc)| Some(auc - classic.get(user)?)));
        self.personal.extend(own.iter().filter_map(|(user, auc)| Some(auc - before.get(user)?)));
    }

    fn share(&self, truth: &Self) -> Option<Share> {
        let Estimate { mean: gain_mean, standard_error: gain_se, .. } = mean_and_standard_error(&self.gains)?;
        let Estimate { mean: personal_mean, standard_error: personal_se, .. } =
            mean_and_standard_error(&self.personal)?;
        let (gain, personal) =
            (mean_and_standard_error(&truth.gains)?.mean, mean_and_standard_error(&truth.personal)?.mean);
        Some(Share {
            features: self.features,
            questions: self.questions,
            answers: self.answers,
            gain_mean,
            gain_se,
            share: gain_mean / gain,
            personal_mean,
            personal_se,
            personal_share: (self.answers > 0).then(|| personal_mean / personal),
        })
    }
}

/// One seed's data, the truth of its texts, and what was learned from its judgments.
struct Trained {
    set: Set,
    /// N × [`FEATURES`]
    train_scores: DMatrix<f64>,
    test_scores: DMatrix<f64>,
    learned: Contestants,
}

impl Trained {
    fn new(backbone: &dyn Backbone, config: &OracleConfig, seed: u64) -> Result<Self, EvaluateError> {
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
    fn known(&self, features: &str) -> Result<Known, EvaluateError> {
        if features == LEARNED {
            return Ok(Known { choosing: self.learned(Method::Pref), drawing: self.learned(Method::Random) });
        }
        let (train, test) = if features == READOUT {
            let map = readout(&self.set.train_embeddings, &self.train_scores)?;
            (&self.set.train_embeddings * &map, &self.set.test_embeddings * &map)
        } else {
            (self.train_scores.clone(), self.test_scores.clone())
        };
        let options = EmOptions { rounds: 60, tolerance: 1e-4, pseudo_users: 2.0 };
        let prior = Arc::new(empirical_bayes(&evidence(&self.set.train, &train), train.ncols(), &options)?);
        let texts = Arc::new(test.transpose());
        let asking = |by| Entry::new(Arc::new(Factored::served(prior.clone(), by)), texts.clone());
        Ok(Known { choosing: asking(Acquisition::InformationGain), drawing: asking(Acquisition::Random) })
    }

    /// A φ before people who answer these questions, and the classic reward.
    fn contestants(&self, known: &Known, questions: Questions) -> Contestants {
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
struct Known {
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

impl Pictured for Oracle {
    fn chart(&self) -> Chart {
        let curve = |features: &str| Curve {
            name: features.to_owned(),
            points: (self.shares.iter())
                .filter(|share| share.features == features && share.questions == Questions::Learned)
                .map(|share| (share.answers as f64, share.gain_mean, share.gain_se))
                .collect(),
        };
        Chart {
            title: "What is gained over one shared reward".into(),
            horizontal: "answers".into(),
            vertical: "gain in AUC-ROC".into(),
            curves: FEATURE_SETS.into_iter().map(curve).collect(),
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} people new to their models: gain over the classic reward, gain over the same features before the first \
             answer, and their shares of the true scores'",
            self.users
        )?;
        writeln!(
            f,
            "{:<14}{:<10}{:>9}{:>20}{:>8}{:>20}{:>8}",
            "features", "asked by", "answers", "over classic", "share", "over no answers", "share"
        )?;
        for s in &self.shares {
            let (gain, personal) =
                (cell(s.gain_mean, s.gain_se, true), cell(s.personal_mean, s.personal_se, true));
            let personal_share =
                s.personal_share.map_or(String::new(), |share| format!("{:.0}%", 100.0 * share));
            let (features, questions, answers) = (s.features, s.questions.name(), s.answers);
            let share = format!("{:.0}%", 100.0 * s.share);
            writeln!(
                f,
                "{features:<14}{questions:<10}{answers:>9}{gain:>20}{share:>8}{personal:>20}{personal_share:>8}"
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Lexical;

    #[test]
    fn the_truth_gains_most_and_a_readout_from_text_less() {
        let config = OracleConfig {
            set: Config { pairs: 340, ..Config::default() },
            seeds: 100..101,
            answers: vec![0, 10],
            cuts: 1,
            base_functions: Some(8),
        };
        let found = oracle(&Lexical::new(), &config).unwrap();
        assert_eq!(found.users, 17);
        let gain = |features: &str, questions: Questions| {
            let mut lines = found.shares.iter().filter(|s| s.features == features && s.answers == 10);
            let line = lines.find(|s| s.questions == questions);
            line.map(|share| share.gain_mean).unwrap()
        };
        for questions in Questions::ALL {
            let [truth, readout, learned] = FEATURE_SETS.map(|features| gain(features, questions));
            assert!(truth > readout && readout > 0.05 && learned > 0.0, "{found}");
        }
        assert_eq!(gain(LEARNED, Questions::Learned), gain(LEARNED, Questions::Own));
        assert_ne!(gain(TRUE, Questions::Learned), gain(TRUE, Questions::Own));
        for questions in Questions::ALL {
            assert_eq!(serde_json::to_value(questions).unwrap(), questions.name());
        }
        let before = found.shares.iter().find(|s| s.features == TRUE && s.answers == 0).unwrap();
        assert!(before.gain_mean > 0.0, "the truth knows what everybody likes: {found}");
        assert_eq!((before.personal_mean, before.personal_share), (0.0, None));
        let known = found.shares.iter().find(|s| s.features == TRUE && s.answers == 10).unwrap();
        assert!((known.personal_mean - (known.gain_mean - before.gain_mean)).abs() < 1e-12);
    }

    #[test]
    fn a_readout_finds_a_linear_map_and_ignores_what_never_differs() {
        let h = DMatrix::from_fn(50, 3, |t, k| if k == 2 { 7.0 } else { ((t * (k + 3)) % 11) as f64 });
        let y = &h * DMatrix::from_column_slice(3, 1, &[1.0, -2.0, 0.0]);
        let map = readout(&h, &y).unwrap();
        assert!((map[0] - 1.0).abs() < 0.3 && (map[1] + 2.0).abs() < 0.3 && map[2].abs() < 1e-6, "{map}");
    }
}
