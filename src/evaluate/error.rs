use crate::math::MathError;
use crate::model::ModelError;

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
    /// The artifact has no single shared reward to compare with.
    #[error("model {version} has no classic_head.safetensors, which gains are measured against")]
    NoClassicHead {
        /// The model.
        version: String,
    },
    /// The reward model could not embed the texts.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A person could not be fitted.
    #[error(transparent)]
    Math(#[from] MathError),
}
