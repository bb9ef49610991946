use super::TuningPoint;

/// What a training is doing. The stages follow one another in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Where the backbone is tuned: fits base functions on it as it is, to start from.
    Start,
    /// Where the backbone is tuned: tunes it.
    Backbone,
    /// Embeds each distinct (prompt, response).
    Embed,
    /// Chooses hyperparameters on held-out judgments.
    Tune,
    /// Fits without a part of people and prompts, and measures on those.
    Measure,
    /// Fits the model that is kept, on all judgments.
    Fit,
    /// Where there is to be a value head: writes completions and learns what comes of them.
    ValueHead,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 7] =
        [Self::Start, Self::Backbone, Self::Embed, Self::Tune, Self::Measure, Self::Fit, Self::ValueHead];

    /// What is being done, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Start => "fitting on the backbone as it is",
            Self::Backbone => "tuning the backbone",
            Self::Embed => "embedding texts",
            Self::Tune => "choosing hyperparameters",
            Self::Measure => "measuring on held-out people",
            Self::Fit => "fitting on all judgments",
            Self::ValueHead => "learning the value head",
        }
    }
}

/// Is told how a training proceeds, and may stop it.
pub trait Observer {
    /// A stage is done to this share, from 0 when it begins to 1 when it ends; never falling.
    fn progress(&mut self, stage: Stage, share: f64);

    /// A look at held-out judgments while the backbone is tuned.
    fn tuned(&mut self, _point: &TuningPoint) {}

    /// Asked with every step: whether to stop with [`TrainError::Cancelled`](super::TrainError::Cancelled).
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Observer for () {
    fn progress(&mut self, _stage: Stage, _share: f64) {}
}
