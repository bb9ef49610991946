use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use nalgebra::{DMatrix, DVector};
use serde::Deserialize;

use super::adamw::{AdamW, clip, global_norm};
use super::descent::{Descent, Judgments};
use super::*;
use crate::domain::{Comparison, Judgment, UserId};
use crate::math::factorization::{Factorization, Hyperparameters, Start};
use crate::math::{Prior, SolverReport, Termination};
use crate::model::{DeviceChoice, Tuning};

#[path = "../../../tests/support/made_decoder.rs"]
mod made_decoder;

use made_decoder::{Numbers, made_decoder};

fn judgment(user: &str, prompt: &str, a: &str, b: &str, preference: f64) -> Judgment {
    Judgment {
        user_id: UserId::parse(user).unwrap(),
        comparison: Comparison::parse(prompt, a, b).unwrap(),
        preference,
        group: String::new(),
    }
}

/// tests/reference/tune_step.json, and tune_step.py beside it.
#[derive(Deserialize)]
struct Reference {
    judgments: Vec<(String, String, String, String, f64)>,
    tie_weight: f64,
    decay: f64,
    clip: f64,
    rates: Vec<f64>,
    rank: usize,
    alpha: f64,
    head: Vec<Vec<f64>>,
    coefficients: Vec<Vec<f64>>,
    mean: Vec<f64>,
    precision: Vec<Vec<f64>>,
    lora: Vec<ReferenceStep>,
    full: Vec<ReferenceStep>,
}

#[derive(Deserialize)]
struct ReferenceStep {
    loss: f64,
    norm: f64,
    gradients: BTreeMap<String, [f64; 5]>,
    values: BTreeMap<String, [f64; 5]>,
}

fn matrix(rows: &[Vec<f64>]) -> DMatrix<f64> {
    DMatrix::from_row_iterator(rows.len(), rows[0].len(), rows.iter().flatten().copied())
}

/// The first two numbers, the last two and the norm.
fn ends(tensor: &Tensor) -> [f64; 5] {
    let values: Vec<f64> =
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
    let n = values.len();
    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
    [values[0], values[1], values[n - 2], values[n - 1], norm]
}

fn assert_close(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 2e-5 * (1.0 + expected.abs()), "{what}: {found}, not {expected}");
}

/// float32 here, float64 there.
#[test]
fn steps_are_those_of_torch() {
    let reference = include_str!("../../../tests/reference/tune_step.json");
    let reference: Reference = serde_json::from_str(reference).unwrap();
    let folder = tempfile::tempdir().unwrap();
    made_decoder(folder.path());
    let judgments: Vec<_> = reference
        .judgments
        .iter()
        .map(|(user, prompt, a, b, said)| judgment(user, prompt, a, b, *said))
        .collect();
    let data = Dataset::from_judgments(&judgments);
    let covariance = matrix(&reference.precision).try_inverse().unwrap();
    let head = matrix(&reference.head);
    let start = Factorization {
        coefficients: matrix(&reference.coefficients),
        prior: Prior::new(DVector::from_vec(reference.mean.clone()), covariance).unwrap(),
        shared: None,
        spectrum: Vec::new(),
        start: Start::SoftImpute,
        report: SolverReport {
            termination: Termination::NotRun,
            iterations: 0,
            gradient_norm: 0.0,
            objective: 0.0,
        },
        hyperparameters: Hyperparameters {
            base_functions: head.nrows(),
            gamma: 1.0,
            alpha: 1.0,
            kappa: 1.0,
            threshold: 0.0,
            tie_weight: reference.tie_weight,
            ridge: None,
            mean_scale: 1.0,
            beyond_scale: 1.0,
            spread_scale: 1.0,
        },
        head,
    };
    let rows: Vec<_> = (0..data.rows().len()).collect();
    let said = Judgments::new(&data, &rows, &[], reference.tie_weight);
    let pairs: Vec<_> = (0..data.pairs().len()).collect();
    let lora = Tuning::Lora { rank: reference.rank, alpha: reference.alpha };
    for (tuning, steps) in [(lora, &reference.lora), (Tuning::Full, &reference.full)] {
        let backbone = tunable(folder.path(), tuning);
        if tuning == lora {
            let mut numbers = Numbers(11);
            for variable in backbone.variables().values() {
                let values: Vec<f32> = numbers.by_ref().take(variable.elem_count()).collect();
                variable.set(&Tensor::from_vec(values, variable.dims(), &Device::Cpu).unwrap()).unwrap();
            }
        }
        // Passes of a pair each, whose gradients add up.
        let config = TuneConfig { weight_decay: reference.decay, tokens: 1, ..TuneConfig::new(tuning) };
        let descent = Descent::new(&data, &backbone, &said, &start, &config, 0).unwrap();
        let mut optimizer = AdamW::new(descent.parameters()).unwrap();
        assert_eq!(descent.parameters().len(), steps[0].values.len());
        for (number, (step, &rate)) in steps.iter().zip(&reference.rates).enumerate() {
            let what = |name: &str| format!("{} step {number} {name}", tuning.kind());
            let (loss, mut gradients) = descent.gradients(&pairs).unwrap();
            assert_close(loss, step.loss, &what("loss"));
            for (parameter, gradient) in descent.parameters().iter().zip(&gradients) {
                for (found, &expected) in ends(gradient).into_iter().zip(&step.gradients[&parameter.name]) {
                    assert_close(found, expected, &what(&format!("gradient {}", parameter.name)));
                }
            }
            let norm = global_norm(&gradients).unwrap();
            assert_close(norm, step.norm, &what("norm"));
            clip(&mut gradients, norm, reference.clip).unwrap();
            optimizer.step(descent.parameters(), &gradients, rate).unwrap();
            for parameter in descent.parameters() {
                let found = ends(parameter.variable.as_tensor());
                for (found, &expected) in found.into_iter().zip(&step.values[&parameter.name]) {
                    assert_close(found, expected, &what(&parameter.name));
                }
            }
        }
    }
}

fn options() -> BackboneOptions {
    BackboneOptions { device: DeviceChoice::Cpu, ..BackboneOptions::default() }
}

fn tunable(folder: &Path, tuning: Tuning) -> TunableBackbone {
    TunableBackbone::open(&folder.to_string_lossy(), &options(), tuning, 3).unwrap()
}

/// Half of the people like exclamations, the others do not.
fn people() -> Dataset {
    let mut judgments = Vec::new();
    for user in 0..8 {
        for prompt in 0..10 {
            let prompt = format!("Say {prompt}.");
            let loud = if (user + prompt.len()) % 2 == 0 { 1.0 } else { 0.0 };
            let (a, b) = (format!("{prompt} Yes!!"), format!("{prompt} Well."));
            judgments.push(judgment(&format!("u{user}"), &prompt, &a, &b, loud));
            let c = format!("{prompt} {}", "So. ".repeat(user % 3 + 1));
            judgments.push(judgment(
                &format!("u{user}"),
                &prompt,
                &a,
                &c,
                if user == 3 { 0.5 } else { loud },
            ));
        }
    }
    Dataset::from_judgments(&judgments)
}

/// Stops after so many steps of the descent.
struct Impatient {
    steps: usize,
    seen: Cell<usize>,
}

impl Observer for Impatient {
    fn progress(&mut self, stage: Stage, share: f64) {
        if stage == Stage::Backbone && share > 0.0 {
            self.seen.set(self.seen.get() + 1);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.seen.get() >= self.steps
    }
}

#[test]
fn a_stopped_training_goes_on_to_the_same_model() {
    let (model, kept) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    made_decoder(model.path());
    let (data, spec) = (people(), model.path().to_string_lossy().into_owned());
    let config = TrainConfig { base_functions: Some(2), ..TrainConfig::default() };
    for tuning in [Tuning::Lora { rank: 2, alpha: 4.0 }, Tuning::Full] {
        let tune =
            TuneConfig { epochs: 3, batch: 4, every: 2, learning_rate: 3e-3, ..TuneConfig::new(tuning) };
        let through = train_tuned(&data, &config, &tune, &spec, &options(), &mut ()).unwrap();
        let report = through.report.tuning.as_ref().unwrap();
        assert!(report.steps > 8 && report.curve.len() > 4, "{report:?}");
        assert!(report.curve.iter().skip(1).all(|point| point.loss.is_finite()));

        let tune = TuneConfig { checkpoint: Some(kept.path().join(tuning.kind())), ..tune };
        // Stopped between two checkpoints, and stopped again.
        for steps in [3, 4] {
            let mut impatient = Impatient { steps, seen: Cell::new(0) };
            let stopped = train_tuned(&data, &config, &tune, &spec, &options(), &mut impatient);
            assert!(matches!(stopped, Err(TrainError::Cancelled)));
        }
        let resumed = train_tuned(&data, &config, &tune, &spec, &options(), &mut ()).unwrap();
        let again = resumed.report.tuning.as_ref().unwrap();
        assert_eq!(again.resumed_at, 6);
        assert_eq!(again.curve[1..], report.curve[1..]);
        assert_eq!(resumed.artifact.adapter, through.artifact.adapter);
        assert_eq!(resumed.artifact.head, through.artifact.head);
        assert_eq!(resumed.artifact.classic_head, through.artifact.classic_head);
        assert_eq!(resumed.artifact.manifest.prior, through.artifact.manifest.prior);
        assert_ne!(resumed.artifact.manifest.backbone.hash, tunable(model.path(), tuning).frozen().hash);

        let other = TuneConfig { learning_rate: 2e-3, ..tune.clone() };
        let refused =
            train_tuned(&data, &config, &other, &spec, &options(), &mut ()).unwrap_err().to_string();
        assert!(refused.contains("learning_rate was 0.003 and is 0.002"), "{refused}");
        let fresh = TuneConfig { fresh: true, epochs: 1, ..other };
        let fresh = train_tuned(&data, &config, &fresh, &spec, &options(), &mut ()).unwrap();
        assert_eq!(fresh.report.tuning.unwrap().resumed_at, 0);
        remove_checkpoint(&tune).unwrap();
        assert!(!kept.path().join(tuning.kind()).exists());
    }
}

#[test]
fn what_cannot_be_tuned_is_refused_by_name() {
    let data = people();
    let tune = TuneConfig::new(Tuning::LORA);
    let refused = |tune: &TuneConfig, spec: &str| {
        train_tuned(&data, &TrainConfig::default(), tune, spec, &options(), &mut ()).unwrap_err().to_string()
    };
    assert!(refused(&tune, "lexical").contains("\"lexical\" cannot be tuned: it has no weights"));
    assert!(refused(&tune, "lexical+lexical").contains("it is several backbones"));
    let table = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/static");
    assert!(refused(&tune, table).contains("it is a table of static vectors"));
    let none = TuneConfig { epochs: 0, ..tune };
    assert!(refused(&none, "lexical").starts_with("epochs: got 0"));
}
