use std::fmt;

/// A value that a caller gave and that cannot be taken: which field, what was given, what is allowed.
///
/// Every parsing constructor of this room returns it, so that a client, a command line and a data file
/// all hear the same three things.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: got {given}; allowed: {allowed}")]
pub struct Invalid {
    /// Path of the field, as the caller spelled it (`candidates.responses[2]`, `weight`).
    pub field: String,
    /// What was given, shortened.
    pub given: String,
    /// What is allowed, in words.
    pub allowed: String,
}

impl Invalid {
    /// An error about `field`; `given` is shortened to 80 characters.
    pub fn new(field: impl Into<String>, given: impl fmt::Display, allowed: impl Into<String>) -> Self {
        Self { field: field.into(), given: shorten(&given.to_string()), allowed: allowed.into() }
    }

    /// The same error one level up: `responses` within `candidates` becomes `candidates.responses`.
    #[must_use]
    pub fn within(mut self, parent: &str) -> Self {
        self.field = format!("{parent}.{}", self.field);
        self
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_field_given_and_allowed_and_shortens_what_was_given() {
        let error = Invalid::new("weight", "x".repeat(100), "a number in (0, 10]").within("preference");
        assert_eq!(
            error.to_string(),
            format!("preference.weight: got {}…; allowed: a number in (0, 10]", "x".repeat(80))
        );
    }
}
