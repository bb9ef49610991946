/// What a training is doing. The stages follow one another in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Embeds each distinct (prompt, response); steps are texts.
    Embed,
    /// Chooses hyperparameters on held-out judgments; steps are trials.
    Tune,
    /// Measures the chosen ones on people and pairs that were held out; steps are quadrants.
    Measure,
    /// Fits the model that is kept, on all judgments; steps are models.
    Fit,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 4] = [Self::Embed, Self::Tune, Self::Measure, Self::Fit];

    /// What is being done, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Embed => "embedding texts",
            Self::Tune => "choosing hyperparameters",
            Self::Measure => "measuring on held-out people",
            Self::Fit => "fitting on all judgments",
        }
    }
}

/// Is told how a training proceeds, and may stop it.
pub trait Observer {
    /// `done` of `total` steps of a stage are done; first called with `done` = 0.
    fn progress(&mut self, stage: Stage, done: usize, total: usize);

    /// Asked between steps: whether to stop with [`TrainError::Cancelled`](super::TrainError::Cancelled).
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn progress(&mut self, _stage: Stage, _done: usize, _total: usize) {}
}
