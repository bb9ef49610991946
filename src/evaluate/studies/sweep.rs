//! Along one setting: the number of base functions, with the spectrum (Figure 3, C), or the backbone (Figure 4).

use std::fmt;

use serde::Serialize;

use super::{Chart, Material, Measured, Pictured, cell};
use crate::evaluate::{Curve, EvaluateError, Protocol, Training};

/// Quality along one setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sweep {
    /// What was set.
    pub setting: &'static str,
    /// In the order given.
    pub points: Vec<Swept>,
    /// Singular values of the start, descending: the longest list of those trained.
    pub spectrum: Vec<f64>,
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Swept {
    /// Its value.
    pub value: String,
    /// J of the model.
    pub base_functions: usize,
    /// After each number of answers; empty where it was not run.
    pub measured: Vec<Measured>,
    /// Why it was not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
}

/// Trains with each J; nothing stands for the elbow of the spectrum.
///
/// # Errors
/// Those of training.
pub fn base_functions(
    material: &Material<'_>,
    values: &[Option<usize>],
    protocol: &Protocol,
    seed: u64,
) -> Result<Sweep, EvaluateError> {
    let mut sweep = Sweep { setting: "base functions", points: Vec::new(), spectrum: Vec::new() };
    for &j in values {
        let training = Training { base_functions: j, seed };
        let (measured, contestants) = material.measure(&material.rows(), &training, protocol)?;
        if contestants.spectrum.len() > sweep.spectrum.len() {
            sweep.spectrum.clone_from(&contestants.spectrum);
        }
        sweep.points.push(Swept {
            value: j.map_or("auto".to_owned(), |j| j.to_string()),
            base_functions: contestants.base_functions,
            measured,
            not_run: None,
        });
    }
    Ok(sweep)
}

/// The same judgments under one backbone after another: each name with its material, or with why it cannot be run here.
///
/// # Errors
/// Those of training.
pub fn backbones<'a>(
    materials: impl IntoIterator<Item = (String, Result<Material<'a>, String>)>,
    protocol: &Protocol,
    training: &Training,
) -> Result<Sweep, EvaluateError> {
    let mut sweep = Sweep { setting: "backbone", points: Vec::new(), spectrum: Vec::new() };
    for (value, material) in materials {
        sweep.points.push(match material {
            Ok(material) => {
                let (measured, contestants) = material.measure(&material.rows(), training, protocol)?;
                Swept { value, base_functions: contestants.base_functions, measured, not_run: None }
            }
            Err(why) => Swept { value, base_functions: 0, measured: Vec::new(), not_run: Some(why) },
        });
    }
    Ok(sweep)
}

impl Pictured for Sweep {
    fn chart(&self) -> Chart {
        let mut curves: Vec<Curve> = Vec::new();
        for (place, point) in self.points.iter().enumerate() {
            let x = if self.setting == "backbone" { place } else { point.base_functions };
            for measured in &point.measured {
                let name = format!("{} answers", measured.answers);
                let at = (x as f64, measured.auc_mean, measured.auc_se);
                match curves.iter_mut().find(|curve| curve.name == name) {
                    Some(curve) => curve.points.push(at),
                    None => curves.push(Curve { name, points: vec![at] }),
                }
            }
        }
        curves.iter_mut().for_each(|curve| curve.points.sort_by(|a, b| a.0.total_cmp(&b.0)));
        curves.reverse();
        let horizontal = match self.setting {
            "backbone" => {
                let names: Vec<&str> = self.points.iter().map(|point| point.value.as_str()).collect();
                format!("backbone: {}", names.join(", "))
            }
            _ => "J, base functions".to_owned(),
        };
        Chart {
            title: format!("Quality by {}", self.setting),
            horizontal,
            vertical: "AUC-ROC of new people".into(),
            curves,
        }
    }
}

impl fmt::Display for Sweep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers: Vec<usize> = self
            .points
            .iter()
            .find(|point| !point.measured.is_empty())
            .map_or(Vec::new(), |point| point.measured.iter().map(|m| m.answers).collect());
        write!(f, "{:24}{:>4}", self.setting, "J")?;
        answers.iter().try_for_each(|n| write!(f, "{:>16}{:>17}", format!("AUC at {n}"), "gain"))?;
        writeln!(f)?;
        for point in &self.points {
            write!(f, "{:24}", point.value)?;
            if let Some(why) = &point.not_run {
                writeln!(f, "  not run: {why}")?;
                continue;
            }
            write!(f, "{:>4}", point.base_functions)?;
            for m in &point.measured {
                let (auc, gain) = (cell(m.auc_mean, m.auc_se, false), cell(m.gain_mean, m.gain_se, true));
                write!(f, "{auc:>16}{gain:>17}")?;
            }
            writeln!(f)?;
        }
        if !self.spectrum.is_empty() {
            let spectrum: Vec<String> = self.spectrum.iter().map(|s| format!("{s:.2}")).collect();
            writeln!(f, "\nSingular values of the start: {}", spectrum.join(" "))?;
        }
        Ok(())
    }
}
