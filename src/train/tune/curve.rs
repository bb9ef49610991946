use serde::Serialize;

use crate::train::ValidationScore;

/// A look at held-out judgments during tuning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct TuningPoint {
    /// Steps made.
    pub step: usize,
    /// Epochs made, in part too.
    pub epoch: f64,
    /// The next step's learning rate.
    pub learning_rate: f64,
    /// Mean loss of the steps since the last look, nats a judgment, the prior's part included; NaN before the first.
    pub loss: f64,
    /// Mean log-likelihood of held-out decided judgments of the same people on other prompts, nats.
    pub validation_log_likelihood: f64,
    /// AUC over the same, each comparison counted in both orders.
    pub validation_auc: f64,
}

/// What tuning made of a backbone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TuningReport {
    /// `lora` or `full`.
    pub kind: &'static str,
    /// Numbers of the backbone that were trained.
    pub parameters: usize,
    /// Judgments that they were trained on.
    pub judgments: usize,
    /// Held-out decided judgments that chose the step.
    pub validation: usize,
    /// Steps made.
    pub steps: usize,
    /// The step whose weights are kept: the best on held-out judgments.
    pub best_step: usize,
    /// The step that an interrupted training was taken up at; 0 where it was not.
    pub resumed_at: usize,
    /// On held-out judgments, base functions on the backbone as it was.
    pub frozen: ValidationScore,
    /// The same of base functions learned anew on the backbone as it is.
    pub tuned: ValidationScore,
    /// From before the first step to the last.
    pub curve: Vec<TuningPoint>,
}

impl TuningPoint {
    /// Before the first step, nothing seen yet.
    pub(super) fn before(learning_rate: f64) -> Self {
        let nothing = f64::NAN;
        Self {
            step: 0,
            epoch: 0.0,
            learning_rate,
            loss: nothing,
            validation_log_likelihood: nothing,
            validation_auc: nothing,
        }
    }

    /// How many numbers a point is.
    pub(super) const NUMBERS: usize = 6;

    /// The point as numbers that a file keeps to the last digit.
    pub(super) fn numbers(&self) -> [f64; Self::NUMBERS] {
        let Self { step, epoch, learning_rate, loss, validation_log_likelihood, validation_auc } = *self;
        [step as f64, epoch, learning_rate, loss, validation_log_likelihood, validation_auc]
    }

    /// The point of [`Self::numbers`].
    pub(super) fn of_numbers(numbers: &[f64]) -> Option<Self> {
        let &[step, epoch, learning_rate, loss, validation_log_likelihood, validation_auc] = numbers else {
            return None;
        };
        let step = step as usize;
        Some(Self { step, epoch, learning_rate, loss, validation_log_likelihood, validation_auc })
    }
}
