use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::contestants::{Contestants, TrainedMethod};
use super::protocol::{MIN_TEST, people};
use super::report::{Means, Report, Summary, means, summarise};
use super::study::{Protocol, run};
use super::{EvaluateError, Method};
use crate::train::Dataset;

/// People asked and tested, of one set or of several whose people are pooled.
///
/// Each set has contestants of its own: a person counts under the models that met them. A name in two sets is two people.
#[derive(Debug)]
pub struct Evaluation {
    protocol: Protocol,
    means: Means,
    trained: Vec<TrainedMethod>,
    versions: Vec<String>,
    trained_on: Vec<String>,
    digests: Vec<String>,
    judgments: usize,
    people: usize,
    left_out: usize,
}

impl Evaluation {
    /// Nobody asked yet.
    pub fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            means: Means::new(),
            trained: Vec::new(),
            versions: Vec::new(),
            trained_on: Vec::new(),
            digests: Vec::new(),
            judgments: 0,
            people: 0,
            left_out: 0,
        }
    }

    /// Asks the people of `dataset` and predicts their choices by the protocol of the design. That they are new to the
    /// contestants is for the caller to see to: [`super::refuse_known_people`].
    ///
    /// # Errors
    /// Nobody with enough decided comparisons.
    pub fn ask(&mut self, dataset: &Dataset, contestants: &Contestants) -> Result<(), EvaluateError> {
        let people = people(dataset);
        let tested = people.iter().filter(|person| person.cut(0).is_some()).count();
        if tested == 0 {
            return Err(EvaluateError::NobodyToTest { people: people.len(), least: MIN_TEST });
        }
        let set = self.digests.len();
        means(set, &run(&people, contestants, &self.protocol)?, &mut self.means);
        self.trained.extend(contestants.trained.iter().cloned());
        self.versions.push(contestants.version.clone());
        self.trained_on.extend(contestants.trained_on.clone());
        self.digests.push(dataset.digest());
        self.judgments += dataset.rows().len();
        self.people += people.len();
        self.left_out += people.len() - tested;
        Ok(())
    }

    /// What was found.
    pub fn report(&self, command: String) -> Report {
        let Summary { curves, paired, against_pref, cohort } = summarise(&self.means, &self.protocol);
        Report {
            curves,
            paired,
            against_pref,
            cohort,
            trained: self.trained.clone(),
            command,
            sets: self.digests.len(),
            model_version: self.model_version(),
            data_digest: self.data_digest(),
            judgments: self.judgments,
            people: self.people,
            left_out: self.left_out,
        }
    }

    /// SHA-256 of the judgments; of several sets, over their digests.
    pub fn data_digest(&self) -> String {
        digest_of(&self.digests)
    }

    /// The same of the judgments that methods were trained on for this.
    pub fn train_digest(&self) -> String {
        digest_of(&self.trained_on)
    }

    fn model_version(&self) -> String {
        match &self.versions[..] {
            [] => String::new(),
            [version] => version.clone(),
            [first, rest @ ..] => format!("{first}, and {} more", rest.len()),
        }
    }

    /// AUC at every number of answers from 0 to `most` by some methods, of each person who counts at all of them.
    pub(super) fn paths<const N: usize>(&self, methods: [Method; N], most: usize) -> Vec<[Vec<f64>; N]> {
        let mut paths: BTreeMap<_, [Vec<f64>; N]> = BTreeMap::new();
        for (at, method) in methods.into_iter().enumerate() {
            for n in 0..=most {
                for (who, &auc) in self.means.get(&(method, n)).into_iter().flatten() {
                    paths.entry(who).or_insert_with(|| std::array::from_fn(|_| Vec::new()))[at].push(auc);
                }
            }
        }
        paths.into_values().filter(|path| path.iter().all(|aucs| aucs.len() == most + 1)).collect()
    }

    /// People asked.
    pub(super) fn people(&self) -> usize {
        self.people
    }
}

/// One digest is itself; several are hashed together.
fn digest_of(digests: &[String]) -> String {
    match digests {
        [only] => only.clone(),
        several => hex::encode(Sha256::digest(several.concat())),
    }
}
