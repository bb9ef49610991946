//! Figures of the paper beside the learning curves (its Figure 2): how quality depends on the data, on J and on the
//! backbone (Figures 3 and 4), on how questions are chosen (Figure 7), and on the parts of the factorization (Figure 9).
//!
//! Each study trains, asks new people by the protocol of [`super::evaluate`], and ends in a [`Study`]: rows that are a
//! table, JSON, and a picture.

mod ablations;
mod active;
mod ceiling;
mod data;
mod oracle;
mod sweep;

use std::fmt;

use nalgebra::DMatrix;
use serde::Serialize;

use super::{Chart, Contestants, EvaluateError, Method, Protocol, TrainedMethod, Training, evaluate};
use crate::train::Dataset;

pub use ablations::{Ablation, Ablations, ablations};
pub use active::{Active, Ratio, active};
pub use ceiling::{Agreement, Ceiling, ceiling};
pub use data::{DataPoint, DataSweep, data_sweep};
pub use oracle::{Features, Oracle, OracleConfig, Questions, Share, oracle};
pub use sweep::{Sweep, Swept, backbones, base_functions};

/// What a study found, with how it came about.
#[derive(Debug, Clone, Serialize)]
pub struct Study<T> {
    /// Which study.
    pub study: &'static str,
    /// What it found.
    #[serde(flatten)]
    pub found: T,
    /// The command that printed this.
    pub command: String,
    /// SHA-256 of the judgments trained on.
    pub train_digest: String,
    /// SHA-256 of the judgments of the people asked.
    pub data_digest: String,
}

/// A study's picture.
pub trait Pictured: fmt::Display + Serialize {
    /// As curves.
    fn chart(&self) -> Chart;
}

/// Judgments to train on and people to ask, with their texts embedded.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Trained on.
    pub train: &'a Dataset,
    /// h of its texts, N × d.
    pub train_embeddings: &'a DMatrix<f64>,
    /// New people.
    pub data: &'a Dataset,
    /// h of their texts.
    pub data_embeddings: &'a DMatrix<f64>,
}

impl Material<'_> {
    fn rows(&self) -> Vec<usize> {
        (0..self.train.rows().len()).collect()
    }

    fn contestants(
        &self,
        rows: &[usize],
        methods: &[Method],
        training: &Training,
    ) -> Result<Contestants, EvaluateError> {
        let Self { train, train_embeddings, data_embeddings, .. } = *self;
        let mut silent = |_: &TrainedMethod| {};
        Contestants::train(train, train_embeddings, rows, data_embeddings, methods, training, &mut silent)
    }

    /// AUC of pref after `answers` answers and its gain over the classic reward, both trained on some rows.
    fn measure(
        &self,
        rows: &[usize],
        training: &Training,
        protocol: &Protocol,
    ) -> Result<(Vec<Measured>, Contestants), EvaluateError> {
        let contestants = self.contestants(rows, &protocol.methods, training)?;
        let report = evaluate(self.data, &contestants, protocol, String::new())?;
        let measured = report
            .curves
            .iter()
            .filter(|point| point.method == Method::Pref)
            .map(|point| {
                let gain =
                    report.paired.iter().find(|g| g.method == Method::Pref && g.answers == point.answers);
                Measured {
                    answers: point.answers,
                    auc_mean: point.auc_mean,
                    auc_se: point.auc_se,
                    gain_mean: gain.map_or(0.0, |gain| gain.gain_mean),
                    gain_se: gain.and_then(|gain| gain.gain_se),
                    users: point.users,
                }
            })
            .collect();
        Ok((measured, contestants))
    }
}

/// How well new people are predicted, and by how much better than by one shared reward.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// Questions answered.
    pub answers: usize,
    /// Mean AUC-ROC over people.
    pub auc_mean: f64,
    /// Its standard error.
    pub auc_se: Option<f64>,
    /// Mean over people of AUC less that of the classic reward trained on the same judgments.
    pub gain_mean: f64,
    /// Its standard error.
    pub gain_se: Option<f64>,
    /// People who count.
    pub users: usize,
}

/// A mean with its error, for a table.
fn cell(mean: f64, se: Option<f64>, signed: bool) -> String {
    let mean = if signed { format!("{mean:+.3}") } else { format!("{mean:.3}") };
    se.map_or(mean.clone(), |se| format!("{mean} ± {se:.3}"))
}
