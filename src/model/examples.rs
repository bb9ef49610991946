use serde::{Deserialize, Serialize};

/// The training texts at the two ends of one base function: `examples.json` of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Examples {
    /// Texts that it rewards most, best first.
    pub top: Vec<Example>,
    /// Texts that it rewards least, worst first.
    pub bottom: Vec<Example>,
}

/// A text and its value under one base function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// x
    pub prompt: String,
    /// y, shortened where it is long.
    pub response: String,
    /// φ_j(x, y), centred over the prompt's responses.
    pub value: f64,
}
