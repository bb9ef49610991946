//! How much data it takes: users × judged pairs (Figure 3, A and B).

use std::collections::{BTreeSet, HashSet};
use std::fmt;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::{Chart, Material, Measured, Pictured, cell};
use crate::evaluate::{Curve, EvaluateError, Protocol, Training};

/// Quality over a grid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataSweep {
    /// Every combination that leaves enough to train on.
    pub points: Vec<DataPoint>,
}

/// One combination.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataPoint {
    /// Users trained on.
    pub users: usize,
    /// Distinct pairs that they judged among.
    pub pairs: usize,
    /// Judgments trained on.
    pub judgments: usize,
    /// After each number of answers.
    pub measured: Vec<Measured>,
}

/// Trains on the judgments of the first users and pairs of one random order, for each number of both; numbers beyond what
/// there is mean all.
///
/// # Errors
/// Those of training, but for combinations with too few judgments, which are left out.
pub fn data_sweep(
    material: &Material<'_>,
    users: &[usize],
    pairs: &[usize],
    protocol: &Protocol,
    training: &Training,
) -> Result<DataSweep, EvaluateError> {
    let mut rng = ChaCha8Rng::seed_from_u64(training.seed);
    let mut order = |n: usize| {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut rng);
        order
    };
    let (by_user, by_pair) = (order(material.train.users().len()), order(material.train.pairs().len()));
    let sizes =
        |wanted: &[usize], all: usize| -> BTreeSet<usize> { wanted.iter().map(|&n| n.min(all)).collect() };
    let mut points = Vec::new();
    for &users in &sizes(users, by_user.len()) {
        for &pairs in &sizes(pairs, by_pair.len()) {
            let kept_users: HashSet<usize> = by_user.iter().take(users).copied().collect();
            let kept_pairs: HashSet<usize> = by_pair.iter().take(pairs).copied().collect();
            let rows: Vec<usize> = (material.train.rows().iter().enumerate())
                .filter(|(_, row)| kept_users.contains(&row.user) && kept_pairs.contains(&row.pair))
                .map(|(at, _)| at)
                .collect();
            match material.measure(&rows, training, protocol) {
                Ok((measured, _)) => {
                    points.push(DataPoint { users, pairs, judgments: rows.len(), measured });
                }
                Err(EvaluateError::TooFew { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(DataSweep { points })
}

impl Pictured for DataSweep {
    /// Over users, a curve for each number of pairs, after the most answers.
    fn chart(&self) -> Chart {
        let mut curves: Vec<(usize, Curve)> = Vec::new();
        for point in &self.points {
            let Some(last) = point.measured.last() else { continue };
            let at = (point.users as f64, last.auc_mean, last.auc_se);
            match curves.iter_mut().find(|(pairs, _)| *pairs == point.pairs) {
                Some((_, curve)) => curve.points.push(at),
                None => curves
                    .push((point.pairs, Curve { name: format!("{} pairs", point.pairs), points: vec![at] })),
            }
        }
        curves.sort_by_key(|(pairs, _)| std::cmp::Reverse(*pairs));
        let answers =
            self.points.iter().find_map(|point| point.measured.last()).map_or(0, |last| last.answers);
        Chart {
            title: format!("Quality by training data, after {answers} answers"),
            horizontal: "users trained on".into(),
            vertical: "AUC-ROC of new people".into(),
            curves: curves.into_iter().map(|(_, curve)| curve).collect(),
        }
    }
}

impl fmt::Display for DataSweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>7}{:>8}{:>11}", "users", "pairs", "judgments")?;
        if let Some(point) = self.points.first() {
            for m in &point.measured {
                write!(f, "{:>16}{:>17}", format!("AUC at {}", m.answers), "gain")?;
            }
        }
        writeln!(f)?;
        for point in &self.points {
            write!(f, "{:>7}{:>8}{:>11}", point.users, point.pairs, point.judgments)?;
            for m in &point.measured {
                let (auc, gain) = (cell(m.auc_mean, m.auc_se, false), cell(m.gain_mean, m.gain_se, true));
                write!(f, "{auc:>16}{gain:>17}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
