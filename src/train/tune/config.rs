use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::domain::Invalid;
use crate::model::Tuning;

/// How a backbone is tuned.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneConfig {
    /// Which weights.
    pub tuning: Tuning,
    /// The highest learning rate. The head and people's coefficients move at this rate times the size that they
    /// start with.
    pub learning_rate: f64,
    /// How often every pair is seen.
    pub epochs: usize,
    /// Pairs of a step, each with all that was said of it.
    pub batch: usize,
    /// Share of the steps over which the learning rate rises.
    pub warm_up: f64,
    /// Of the backbone's matrices, decoupled.
    pub weight_decay: f64,
    /// The largest norm of a step's gradient; a longer one is scaled to it.
    pub clip: f64,
    /// Steps between two looks at held-out judgments, after each of which the state is kept; one more ends each epoch.
    pub every: usize,
    /// Tokens of one forward and backward pass, about; a batch with more goes in several whose gradients add up, on a
    /// CPU as many at a time as there are cores. Few are quicker on a CPU (the gradient of a cut out of all rows is
    /// as large as all rows), many on a GPU.
    pub tokens: usize,
    /// Where the state is kept, so that the same training begun again goes on; nothing keeps none.
    pub checkpoint: Option<PathBuf>,
    /// Begins anew whatever lies there.
    pub fresh: bool,
}

impl TuneConfig {
    /// The defaults of a tuning.
    pub fn new(tuning: Tuning) -> Self {
        Self {
            tuning,
            learning_rate: match tuning {
                Tuning::Lora { .. } => 1e-3,
                Tuning::Full => 1e-4,
            },
            epochs: 3,
            batch: 16,
            warm_up: 0.1,
            weight_decay: 0.01,
            clip: 1.0,
            every: 50,
            tokens: 512,
            checkpoint: None,
            fresh: false,
        }
    }

    /// # Errors
    /// A number out of its range, by its field's name.
    pub fn check(&self) -> Result<(), Invalid> {
        let positive = |field: &'static str, given: f64| match given > 0.0 && given.is_finite() {
            true => Ok(()),
            false => Err(Invalid::new(field, given, "a positive number")),
        };
        positive("learning_rate", self.learning_rate)?;
        positive("clip", self.clip)?;
        if let Tuning::Lora { rank, alpha } = self.tuning {
            positive("alpha", alpha)?;
            positive("rank", rank as f64)?;
        }
        for (field, given) in
            [("epochs", self.epochs), ("batch", self.batch), ("every", self.every), ("tokens", self.tokens)]
        {
            positive(field, given as f64)?;
        }
        if !(0.0..1.0).contains(&self.warm_up) {
            return Err(Invalid::new("warm_up", self.warm_up, "a share from 0 up to, not including, 1"));
        }
        if !(0.0..1.0).contains(&self.weight_decay) {
            return Err(Invalid::new(
                "weight_decay",
                self.weight_decay,
                "a number from 0 up to, not including, 1",
            ));
        }
        Ok(())
    }

    /// All on which the result depends, by name.
    pub(super) fn identity(&self) -> BTreeMap<String, String> {
        let Self { tuning, learning_rate, epochs, batch, warm_up, weight_decay, clip, every, tokens, .. } =
            self;
        let numbers = [
            ("learning_rate", learning_rate),
            ("warm_up", warm_up),
            ("weight_decay", weight_decay),
            ("clip", clip),
        ];
        let counts = [("epochs", epochs), ("batch", batch), ("every", every), ("tokens", tokens)];
        let mut identity = BTreeMap::from([("tune".to_owned(), format!("{tuning:?}"))]);
        identity.extend(numbers.map(|(name, number)| (name.to_owned(), format!("{number:?}"))));
        identity.extend(counts.map(|(name, count)| (name.to_owned(), count.to_string())));
        identity
    }
}
