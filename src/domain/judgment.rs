use serde::Serialize;

use super::{Comparison, UserId};

/// One user's judgment of one comparison: a line of a preference file.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgment {
    /// Who judged.
    pub user_id: UserId,
    /// What was compared.
    #[serde(flatten)]
    pub comparison: Comparison,
    /// a ∈ [0, 1]: 1 if `response_a` is preferred, 0 if `response_b`, ½ for a tie.
    pub preference: f64,
    /// Kind of prompt or topic; empty where the file says nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
}

impl Judgment {
    /// Whether one of the two was preferred.
    pub fn is_decided(&self) -> bool {
        self.preference != 0.5
    }
}

/// A prompt with its candidate responses: a line of a pool file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Candidates {
    /// x
    pub prompt: String,
    /// Responses to x, in the order given.
    pub responses: Vec<String>,
}
