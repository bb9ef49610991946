use crate::domain::Invalid;
use crate::generate::GenerateError;
use crate::math::MathError;
use crate::model::ModelError;
use crate::train::TrainError;

/// Why an evaluation cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// People of the data were in training: predicting them would be no evaluation.
    #[error(
        "user_id: {overlap} of {people} people of the data (the first is {first:?}) were in the training of model \
         {version}; allowed: people new to the model"
    )]
    KnownPeople {
        /// The model.
        version: String,
        /// How many.
        overlap: usize,
        /// Of how many.
        people: usize,
        /// One of them.
        first: String,
    },
    /// Nobody decided enough comparisons to be tested.
    #[error(
        "none of the {people} people decided more than a tie on at least {least} comparisons, which the test part needs"
    )]
    NobodyToTest {
        /// People in the data.
        people: usize,
        /// Comparisons needed.
        least: usize,
    },
    /// Nobody can be asked as many questions as wanted.
    #[error(
        "none of the {people} people decided enough comparisons to be asked {questions} questions and tested on others"
    )]
    NobodyToAsk {
        /// People in the data.
        people: usize,
        /// Questions wanted.
        questions: usize,
    },
    /// The artifact has no single shared reward to compare with.
    #[error("model {version} has no classic_head.safetensors, which gains are measured against")]
    NoClassicHead {
        /// The model.
        version: String,
    },
    /// Methods that an artifact does not hold.
    #[error(
        "methods: {methods} must be trained: give --train FILE and --backbone in place of --model; with --model \
         allowed: {allowed}"
    )]
    NeedsTraining {
        /// Those asked for that need it.
        methods: String,
        /// Those that do not.
        allowed: String,
    },
    /// The judgments to train on leave nothing to train on, or nothing to choose hyperparameters on.
    #[error(
        "the {judgments} judgments to train on are too few: both the part that is fitted and the fifth of the prompts that \
         hyperparameters are chosen on need decided ones"
    )]
    TooFew {
        /// Judgments given.
        judgments: usize,
    },
    /// A network could not be trained.
    #[error("a network could not be trained")]
    Network(#[from] candle_core::Error),
    /// A picture could not be drawn.
    #[error("the plot could not be drawn: {error}")]
    Plot {
        /// What the drawing library said.
        error: String,
    },
    /// All prompts are asked about, and none is left to write for.
    #[error("prompts: got {given}; allowed: more than the {asked} that are asked about")]
    FewPrompts {
        /// Different prompts given.
        given: usize,
        /// How many are asked about.
        asked: usize,
    },
    /// A value-guided strategy without a value head for the language model.
    #[error(
        "model {version} has no value head for {language_model}; train one (pref train value-head), or leave value-guided out"
    )]
    NoValueHead {
        /// The reward model.
        version: String,
        /// Who writes.
        language_model: String,
    },
    /// The language model could not write.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// Texts could not be embedded for training.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The reward model could not embed the texts.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A setting is out of its range.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A person could not be fitted.
    #[error(transparent)]
    Math(#[from] MathError),
}
