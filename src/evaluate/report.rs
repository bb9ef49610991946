//! What an evaluation found, as JSON and as a table.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::{Method, Protocol, TrainedMethod};
use crate::domain::UserId;
use crate::math::metrics::{Estimate, mean_and_standard_error};

/// AUC-ROC of one method for one person at one number of answers, one entry a seed that counts.
pub(super) type Scores = BTreeMap<(Method, usize, UserId), Vec<f64>>;

/// The method that gains are measured against.
pub const BASELINE: Method = Method::Classic;

/// Learning curves with standard errors over people, after averaging each person's seeds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Everyone who can be asked that many questions.
    pub curves: Vec<Point>,
    /// Differences to [`BASELINE`] person by person: what claims rest on.
    pub paired: Vec<Gain>,
    /// Differences to [`Method::Pref`] person by person, where it is among the methods: whether any is ahead of it.
    pub against_pref: Vec<Gain>,
    /// The same for the people who count at every number of answers.
    pub cohort: Cohort,
    /// What was chosen for each method that was trained for this, on the same validation judgments.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trained: Vec<TrainedMethod>,
    /// The command that printed this.
    pub command: String,
    /// Sets whose people are pooled, each with models of its own.
    pub sets: usize,
    /// The model that was evaluated; of several, the first and how many more.
    pub model_version: String,
    /// SHA-256 of the judgments, whatever the order of lines; of several sets, over their digests.
    pub data_digest: String,
    /// Judgments read.
    pub judgments: usize,
    /// People in the data.
    pub people: usize,
    /// People with too few decided judgments to be tested.
    pub left_out: usize,
}

/// The same people at every number of answers, so that a curve does not mix learning with selection.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cohort {
    /// As [`Report::curves`].
    pub curves: Vec<Point>,
    /// As [`Report::paired`].
    pub paired: Vec<Gain>,
}

/// A point of a learning curve.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The method.
    pub method: Method,
    /// Questions answered.
    pub answers: usize,
    /// Mean AUC-ROC over people.
    pub auc_mean: f64,
    /// Its standard error; nothing for a single person.
    pub auc_se: Option<f64>,
    /// People who count.
    pub users: usize,
    /// Seeds averaged.
    pub seeds: u64,
}

/// A method's mean gain over the baseline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Gain {
    /// The method.
    pub method: Method,
    /// What it is compared with.
    pub baseline: Method,
    /// Questions answered.
    pub answers: usize,
    /// Mean over people of AUC(method) − AUC(baseline).
    pub gain_mean: f64,
    /// Its standard error; nothing for a single person.
    pub gain_se: Option<f64>,
    /// People who count.
    pub users: usize,
}

/// Someone of one of several sets.
pub(super) type Who = (usize, UserId);

/// AUC of each person, seeds averaged, by method and number of answers.
pub(super) type Means = BTreeMap<(Method, usize), BTreeMap<Who, f64>>;

/// What is said of scores.
pub(super) struct Summary {
    pub(super) curves: Vec<Point>,
    pub(super) paired: Vec<Gain>,
    pub(super) against_pref: Vec<Gain>,
    pub(super) cohort: Cohort,
}

/// Averages the seeds of the people of a set.
pub(super) fn means(set: usize, scores: &Scores, means: &mut Means) {
    for ((method, n, user), aucs) in scores {
        let mean = aucs.iter().sum::<f64>() / aucs.len() as f64;
        means.entry((*method, *n)).or_default().insert((set, user.clone()), mean);
    }
}

/// Averages people.
pub(super) fn summarise(means: &Means, protocol: &Protocol) -> Summary {
    let everywhere = |who: &Who| {
        protocol.methods.iter().all(|m| {
            let counts = |n: &usize| means.get(&(*m, *n)).is_some_and(|people| people.contains_key(who));
            protocol.answers.iter().all(counts)
        })
    };
    Summary {
        curves: points(means, protocol, |_| true),
        paired: gains(means, protocol, BASELINE, |_| true),
        against_pref: gains(means, protocol, Method::Pref, |_| true),
        cohort: Cohort {
            curves: points(means, protocol, everywhere),
            paired: gains(means, protocol, BASELINE, everywhere),
        },
    }
}

fn points(means: &Means, protocol: &Protocol, counts: impl Fn(&Who) -> bool) -> Vec<Point> {
    let mut points = Vec::new();
    for &method in &protocol.methods {
        for &n in &protocol.answers {
            let Some(people) = means.get(&(method, n)) else { continue };
            let aucs: Vec<f64> = people.iter().filter(|(who, _)| counts(who)).map(|(_, &auc)| auc).collect();
            if let Some(auc) = mean_and_standard_error(&aucs) {
                let Estimate { mean: auc_mean, standard_error: auc_se, count: users } = auc;
                points.push(Point { method, answers: n, auc_mean, auc_se, users, seeds: protocol.seeds });
            }
        }
    }
    points
}

fn gains(means: &Means, protocol: &Protocol, baseline: Method, counts: impl Fn(&Who) -> bool) -> Vec<Gain> {
    let mut gains = Vec::new();
    for &method in protocol.methods.iter().filter(|&&method| method != baseline) {
        for &n in &protocol.answers {
            let (Some(people), Some(base)) = (means.get(&(method, n)), means.get(&(baseline, n))) else {
                continue;
            };
            let differences: Vec<f64> = people
                .iter()
                .filter(|(who, _)| counts(who))
                .filter_map(|(who, auc)| base.get(who).map(|b| auc - b))
                .collect();
            if let Some(gain) = mean_and_standard_error(&differences) {
                let Estimate { mean: gain_mean, standard_error: gain_se, count: users } = gain;
                gains.push(Gain { method, baseline, answers: n, gain_mean, gain_se, users });
            }
        }
    }
    gains
}

impl fmt::Display for Report {
    /// A table a person can read: a row a method, a column a number of answers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sets = if self.sets > 1 { format!(" of {} sets", self.sets) } else { String::new() };
        writeln!(
            f,
            "{} judgments of {} people{sets} new to model {} ({} with too few decided judgments left out)",
            self.judgments, self.people, self.model_version, self.left_out
        )?;
        writeln!(f, "\nAUC-ROC on held-out comparisons, mean ± s.e. over people")?;
        table(f, &self.curves)?;
        writeln!(f, "\nGain over {BASELINE}, person by person, mean ± s.e.")?;
        gain_table(f, &self.paired)?;
        if !self.against_pref.is_empty() {
            writeln!(f, "\nAhead of {} (+) or behind it (−), person by person, mean ± s.e.", Method::Pref)?;
            gain_table(f, &self.against_pref)?;
        }
        let cohort = self.cohort.curves.first().map_or(0, |point| point.users);
        if cohort > 0 && self.curves.iter().any(|point| point.users != cohort) {
            writeln!(f, "\nThe {cohort} people who count at every number of answers")?;
            table(f, &self.cohort.curves)?;
            gain_table(f, &self.cohort.paired)?;
        }
        let mut methods: Vec<Method> = self.curves.iter().map(|point| point.method).collect();
        methods.dedup();
        writeln!(f)?;
        methods.into_iter().try_for_each(|method| writeln!(f, "{method:12}{}", method.note()))
    }
}

fn table(f: &mut fmt::Formatter<'_>, points: &[Point]) -> fmt::Result {
    rows(f, points.iter().map(|p| (p.method, p.answers, p.auc_mean, p.auc_se, p.users)), false)
}

fn gain_table(f: &mut fmt::Formatter<'_>, gains: &[Gain]) -> fmt::Result {
    rows(f, gains.iter().map(|g| (g.method, g.answers, g.gain_mean, g.gain_se, g.users)), true)
}

fn rows(
    f: &mut fmt::Formatter<'_>,
    cells: impl Iterator<Item = (Method, usize, f64, Option<f64>, usize)>,
    signed: bool,
) -> fmt::Result {
    let mut columns: BTreeMap<usize, usize> = BTreeMap::new();
    let mut methods: Vec<(Method, BTreeMap<usize, String>)> = Vec::new();
    for (method, n, mean, se, users) in cells {
        let people = columns.entry(n).or_default();
        *people = users.max(*people);
        let mean = if signed { format!("{mean:+.3}") } else { format!("{mean:.3}") };
        let cell = se.map_or(mean.clone(), |se| format!("{mean} ± {se:.3}"));
        match methods.iter_mut().find(|(m, _)| *m == method) {
            Some((_, row)) => _ = row.insert(n, cell),
            None => methods.push((method, BTreeMap::from([(n, cell)]))),
        }
    }
    write!(f, "{:12}", "answers")?;
    columns.keys().try_for_each(|n| write!(f, "{n:>17}"))?;
    write!(f, "\n{:12}", "people")?;
    columns.values().try_for_each(|users| write!(f, "{users:>17}"))?;
    writeln!(f)?;
    for (method, row) in methods {
        write!(f, "{:12}", method.name())?;
        columns.keys().try_for_each(|n| write!(f, "{:>17}", row.get(n).map_or("–", String::as_str)))?;
        writeln!(f)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn seeds_are_averaged_before_people_and_gains_are_paired() {
        let protocol = Protocol::new(vec![Method::Pref], vec![0, 5], 2);
        let mut scores = Scores::new();
        for (name, pref, classic) in [("a", [0.6, 0.8], 0.5), ("b", [0.9, 0.9], 0.8)] {
            scores.insert((Method::Pref, 5, user(name)), pref.to_vec());
            scores.insert((Method::Classic, 5, user(name)), vec![classic; 2]);
        }
        for method in [Method::Pref, Method::Classic] {
            scores.insert((method, 0, user("a")), vec![0.5, 0.5]);
        }
        let mut by_person = Means::new();
        means(0, &scores, &mut by_person);
        let Summary { curves, paired, cohort, .. } = summarise(&by_person, &protocol);

        let at_five = curves.iter().find(|p| p.method == Method::Pref && p.answers == 5).unwrap();
        assert_eq!((at_five.users, at_five.seeds), (2, 2));
        assert!((at_five.auc_mean - 0.8).abs() < 1e-12, "mean of .7 and .9");
        assert!((at_five.auc_se.unwrap() - 0.1).abs() < 1e-12);
        let gain = paired.iter().find(|g| g.answers == 5).unwrap();
        assert!((gain.gain_mean - 0.15).abs() < 1e-12, "mean of .2 and .1");
        assert!((gain.gain_se.unwrap() - 0.05).abs() < 1e-12);
        // Only a counts at 0 and at 5.
        assert!(cohort.curves.iter().all(|point| point.users == 1 && point.auc_se.is_none()));
    }

    #[test]
    fn the_table_has_a_column_for_each_number_of_answers_and_a_dash_where_nobody_counts() {
        let point = |method, answers, users| Point {
            method,
            answers,
            auc_mean: 0.75,
            auc_se: Some(0.01),
            users,
            seeds: 1,
        };
        let curves = vec![point(Method::Pref, 0, 9), point(Method::Pref, 5, 7), point(Method::Classic, 0, 9)];
        struct Table(Vec<Point>);
        impl fmt::Display for Table {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                table(f, &self.0)
            }
        }
        let lines: Vec<String> = Table(curves).to_string().lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[1].ends_with("9                7"), "{}", lines[1]);
        assert!(lines[3].trim_end().ends_with('–'), "{}", lines[3]);
    }
}
