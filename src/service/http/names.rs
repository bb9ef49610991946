use super::error::HttpError;
use crate::domain::Invalid;
use crate::engine::EngineError;

/// What a field of the API, as an error names it, is called in the JSON of this edge.
const NAMES: [(&str, &str); 14] = [
    ("user_id", "user"),
    ("generator", "model"),
    ("prompt", "messages"),
    ("strategy", "pref.strategy"),
    ("candidates", "pref.candidates"),
    ("guidance_scale", "pref.guidance_scale"),
    ("risk_aversion", "pref.risk_aversion"),
    ("min_revision", "pref.min_revision"),
    ("sampling.temperature", "temperature"),
    ("sampling.top_p", "top_p"),
    ("sampling.max_tokens", "max_tokens"),
    ("sampling.stop", "stop"),
    ("sampling.top_k", "pref.top_k"),
    ("sampling.min_p", "pref.min_p"),
];

/// Which of the fields that mean the same a caller used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Names {
    /// `n` decided how many candidates there are.
    pub(super) n: bool,
    /// `max_completion_tokens`, and not the older `max_tokens`.
    pub(super) max_completion_tokens: bool,
}

impl Names {
    /// The error, with the name that the caller knows the field by.
    pub(super) fn error(self, error: EngineError) -> HttpError {
        let renamed = |invalid: Invalid| Invalid { field: self.of(invalid.field), ..invalid };
        match error {
            EngineError::Invalid(invalid) => EngineError::Invalid(renamed(invalid)),
            EngineError::TooLarge(invalid) => EngineError::TooLarge(renamed(invalid)),
            other => other,
        }
        .into()
    }

    fn of(self, field: String) -> String {
        match field.as_str() {
            "candidates" if self.n => return "n".to_owned(),
            "sampling.max_tokens" if self.max_completion_tokens => return "max_completion_tokens".to_owned(),
            _ => {}
        }
        let known = NAMES.iter().find(|(name, _)| *name == field);
        known.map_or(field, |(_, ours)| (*ours).to_owned())
    }
}
