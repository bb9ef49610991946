use std::path::Path;

use crate::model::Tuning;
use crate::train::TuneConfig;

/// What of the backbone is trained, and how.
#[derive(Debug, clap::Args)]
pub(super) struct TuneArgs {
    /// What is trained: the head alone, low-rank adapters of the backbone too, or all of its weights. A training of the
    /// latter two that is stopped goes on when the same command is given again.
    #[arg(long, value_enum, default_value = "head")]
    tune: Tune,
    /// Rank of the adapters.
    #[arg(long, default_value_t = 8, value_name = "R")]
    rank: usize,
    /// Scale α of the adapters: each adds α / rank times its product.
    #[arg(long, default_value_t = 16.0, value_name = "A")]
    alpha: f64,
    /// Highest learning rate of the backbone [default: 1e-3 for lora, 1e-4 for full].
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// How often every pair is seen.
    #[arg(long, default_value_t = 3, value_name = "N")]
    epochs: usize,
    /// Pairs of a step.
    #[arg(long, default_value_t = 16, value_name = "N")]
    batch: usize,
    /// Tokens of one pass, about: a batch with more goes in several, which gives the same; more suit a GPU.
    #[arg(long, default_value_t = 512, value_name = "N")]
    pass_tokens: usize,
    /// Steps between looks at held-out judgments, after each of which a checkpoint is written.
    #[arg(long, default_value_t = 50, value_name = "N")]
    every: usize,
    /// Begins anew where an earlier training left a checkpoint.
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Tune {
    Head,
    Lora,
    Full,
}

impl TuneArgs {
    /// Nothing where the head alone is trained; the checkpoint lies in the folder of the model.
    pub(super) fn config(&self, output: &Path) -> Option<TuneConfig> {
        let tuning = match self.tune {
            Tune::Head => return None,
            Tune::Lora => Tuning::Lora { rank: self.rank, alpha: self.alpha },
            Tune::Full => Tuning::Full,
        };
        let defaults = TuneConfig::new(tuning);
        Some(TuneConfig {
            learning_rate: self.learning_rate.unwrap_or(defaults.learning_rate),
            epochs: self.epochs,
            batch: self.batch,
            tokens: self.pass_tokens,
            every: self.every,
            checkpoint: Some(output.join("checkpoint")),
            fresh: self.fresh,
            ..defaults
        })
    }
}
