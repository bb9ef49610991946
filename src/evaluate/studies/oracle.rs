//! What limits a learned φ: how much of the gain that the true attribute scores reach is reached from text.
//!
//! On the synthetic Attributes set the truth is known. Four φ meet the same new people: the one learned from judgments, the
//! best linear readout of the true scores from the same embeddings, the scores of the seven attributes beside the classic
//! reward, and all true scores, quality among them. From truth to readout the embedding loses, from readout to learned the
//! judgments and the factorization. Each φ is told the answers to the questions that the learned one asked, to its own, and
//! to random ones: whoever knows more also asks better.
//!
//! Quality is what everybody likes and no attribute of App. B.1: who is told it knows better than any reward read from text
//! before the first answer. With the attributes alone, what all like is known as well as the classic reward knows it. What
//! answers add is shown beside the gain over the classic reward.

mod questions;
mod told;

use std::fmt;

use serde::Serialize;

pub use self::questions::Questions;
pub use self::told::Features;
use self::told::Trained;
use super::{Chart, Pictured, cell};
use crate::evaluate::attributes::Config;
use crate::evaluate::protocol::people;
use crate::evaluate::report::{Means, means as add_means};
use crate::evaluate::study::run;
use crate::evaluate::{Curve, EvaluateError, Method, Protocol};
use crate::math::metrics::{Estimate, mean_and_standard_error};
use crate::model::Backbone;

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
    /// People of the sets' tested part, none of whom was trained on; who has judged too little is not asked.
    pub users: usize,
    /// A line for each φ, asker, and number of answers.
    pub shares: Vec<Share>,
}

/// One φ's gain and what part of the true scores' gain that is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Share {
    /// What was told of the texts.
    pub features: Features,
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
    /// Over the same mean for the attributes' scores beside the classic reward; nothing without answers, when these know no more
    /// than the classic reward.
    pub share_of_attributes: Option<f64>,
    /// Mean over people of AUC less that of the same φ before the first answer: what knowing the person is worth.
    pub personal_mean: f64,
    /// Its standard error.
    pub personal_se: Option<f64>,
    /// Over the same mean for the true scores after such questions; nothing without answers.
    pub personal_share: Option<f64>,
}

/// Runs every seed: a set, a split, a training, and the four φ before the people of the unseen quadrant.
///
/// # Errors
/// A set without people to ask; texts that the backbone cannot embed.
pub fn oracle(backbone: &dyn Backbone, config: &OracleConfig) -> Result<Oracle, EvaluateError> {
    let mut answers = config.answers.clone();
    answers.push(0);
    let protocol =
        |questions: Questions| Protocol::new(vec![questions.method()], answers.clone(), config.cuts);
    let mut lines: Vec<Line> = Vec::new();
    for features in Features::ALL {
        for questions in Questions::ALL {
            lines.extend(protocol(questions).answers.iter().map(|&n| Line::new(features, questions, n)));
        }
    }
    let mut users = 0;
    for seed in config.seeds.clone() {
        let trained = Trained::new(backbone, &config.set, config.base_functions, seed)?;
        let asked = people(&trained.set.test);
        users += asked.len();
        for features in Features::ALL {
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
    let told = |features: Features, of: &Line| {
        lines.iter().find(|l| (l.features, l.questions, l.answers) == (features, of.questions, of.answers))
    };
    let shares = lines
        .iter()
        .filter_map(|line| line.share(told(Features::TrueScores, line)?, told(Features::Attributes, line)?))
        .collect();
    Ok(Oracle { users, shares })
}

/// A line of the table in the making.
struct Line {
    features: Features,
    questions: Questions,
    answers: usize,
    /// AUC less that of the classic reward, a number a person.
    gains: Vec<f64>,
    /// AUC less that before the first answer.
    personal: Vec<f64>,
}

impl Line {
    fn new(features: Features, questions: Questions, answers: usize) -> Self {
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

    fn share(&self, truth: &Self, attributes: &Self) -> Option<Share> {
        let Estimate { mean: gain_mean, standard_error: gain_se, .. } = mean_and_standard_error(&self.gains)?;
        let Estimate { mean: personal_mean, standard_error: personal_se, .. } =
            mean_and_standard_error(&self.personal)?;
        let (gain, personal) =
            (mean_and_standard_error(&truth.gains)?.mean, mean_and_standard_error(&truth.personal)?.mean);
        let of_attributes = mean_and_standard_error(&attributes.gains)?.mean;
        let is_asked = self.answers > 0;
        Some(Share {
            features: self.features,
            questions: self.questions,
            answers: self.answers,
            gain_mean,
            gain_se,
            share: gain_mean / gain,
            share_of_attributes: is_asked.then(|| gain_mean / of_attributes),
            personal_mean,
            personal_se,
            personal_share: is_asked.then(|| personal_mean / personal),
        })
    }
}

impl Pictured for Oracle {
    fn chart(&self) -> Chart {
        let curve = |features: Features| Curve {
            name: features.name().to_owned(),
            points: (self.shares.iter())
                .filter(|share| share.features == features && share.questions == Questions::Learned)
                .map(|share| (share.answers as f64, share.gain_mean, share.gain_se))
                .collect(),
        };
        Chart {
            title: "What is gained over one shared reward".into(),
            horizontal: "answers".into(),
            vertical: "gain in AUC-ROC".into(),
            curves: Features::ALL.into_iter().map(curve).collect(),
        }
    }
}

impl fmt::Display for Oracle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} people new to their models: gain over the classic reward, its shares of the true scores' and of the \
             attributes', gain over the same features before the first answer, and its share of the true scores'",
            self.users
        )?;
        writeln!(
            f,
            "{:<14}{:<10}{:>9}{:>20}{:>8}{:>15}{:>20}{:>8}",
            "features",
            "asked by",
            "answers",
            "over classic",
            "share",
            "of attributes'",
            "over no answers",
            "share"
        )?;
        for s in &self.shares {
            let (gain, personal) =
                (cell(s.gain_mean, s.gain_se, true), cell(s.personal_mean, s.personal_se, true));
            let percent =
                |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.0}%", 100.0 * share));
            let [share, of_attributes, personal_share] =
                [Some(s.share), s.share_of_attributes, s.personal_share].map(percent);
            let (features, questions, answers) = (s.features.name(), s.questions.name(), s.answers);
            writeln!(
                f,
                "{features:<14}{questions:<10}{answers:>9}{gain:>20}{share:>8}{of_attributes:>15}{personal:>20}\
                 {personal_share:>8}"
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
        let gain = |features: Features, questions: Questions| {
            let mut lines = found.shares.iter().filter(|s| s.features == features && s.answers == 10);
            let line = lines.find(|s| s.questions == questions);
            line.map(|share| share.gain_mean).unwrap()
        };
        for questions in Questions::ALL {
            let [truth, attributes, readout, learned] =
                Features::ALL.map(|features| gain(features, questions));
            assert!(truth > readout && readout > 0.05 && learned > 0.0, "{found}");
            // Seventeen people say too little where questions are drawn.
            if questions != Questions::Random {
                assert!(truth > attributes && attributes > learned, "{found}");
            }
        }
        assert_eq!(gain(Features::Learned, Questions::Learned), gain(Features::Learned, Questions::Own));
        assert_ne!(
            gain(Features::TrueScores, Questions::Learned),
            gain(Features::TrueScores, Questions::Own)
        );
        for questions in Questions::ALL {
            assert_eq!(serde_json::to_value(questions).unwrap(), questions.name());
        }
        let before = |features: Features| {
            found.shares.iter().find(|s| s.features == features && s.answers == 0).unwrap().clone()
        };
        let unasked = before(Features::Attributes);
        assert!(
            unasked.gain_mean.abs() < 0.01,
            "what all like is known as the classic reward knows it: {found}"
        );
        assert_eq!(unasked.share_of_attributes, None);
        let before = before(Features::TrueScores);
        assert!(before.gain_mean > 0.0, "the truth knows what everybody likes: {found}");
        assert_eq!((before.personal_mean, before.personal_share), (0.0, None));
        let known =
            found.shares.iter().find(|s| s.features == Features::TrueScores && s.answers == 10).unwrap();
        assert!((known.personal_mean - (known.gain_mean - before.gain_mean)).abs() < 1e-12);
    }
}
